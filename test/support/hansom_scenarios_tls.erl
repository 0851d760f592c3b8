%% @doc TLS: certificates, versions, upgrades, and the end of a connection in every phase.
-module(hansom_scenarios_tls).

-export([scenarios/0]).

scenarios() ->
    [hansom_deviations:mark(Scenario)
     || Scenario <- certificates() ++ options() ++ servers() ++ upgrades() ++ exchanges() ++ ends()].

http1() -> #{connect_options => [{protocols, [http1]}]}.

%% Certificates

certificates() ->
    [#{id => {certificate, Name, Verified}, tls => ["--cert", Name], start => start(Verified), do => [connect, get_state]}
     || Name <- ["server", "server-rsa", "expired", "not-yet-valid", "wrong-name", "other-server", "self-signed",
                 "server-chain", "server-no-chain", "wildcard", "client-as-server"],
        Verified <- [verified, insecure]].

start(verified) -> http1();
start(insecure) -> (http1())#{ssl_options => [{insecure, true}]}.

%% Options of the client, with the ordinary server

options() ->
    [#{id => {tls_option, Name}, origin => https, start => maps:merge(http1(), Start), do => [connect, peercert, get_protocol]}
     || {Name, Start} <-
            [{trusted, #{}},
             {no_roots, #{ssl_options => []}},
             {roots_of_others, #{ssl_options => [{cacerts, []}]}},
             {verify_none_insecure, #{ssl_options => [{verify, verify_none}, {insecure, true}]}},
             {address, #{host => "127.0.0.1"}},
             {other_name, #{ssl_options => [{cacerts, roots}, {server_name_indication, "wrong.example"}]}},
             {no_name_sent, #{ssl_options => [{cacerts, roots}, {server_name_indication, disable}]}},
             {tls_1_2, #{ssl_options => [{cacerts, roots}, {versions, ['tlsv1.2']}]}},
             {tls_1_3, #{ssl_options => [{cacerts, roots}, {versions, ['tlsv1.3']}]}},
             {no_file, #{ssl_options => [{cacertfile, "/no/such/file.pem"}]}},
             {depth, #{ssl_options => [{cacerts, roots}, {depth, 0}]}}]]
    ++ [#{id => {tls_protocol, Name}, origin => https, start => #{connect_options => [{protocols, Protocols}]},
          do => [connect, get_protocol, get_state]}
        || {Name, Protocols} <- [{both, [http2, http1]}, {http1_first, [http1, http2]}, {http2_alone, [http2]},
                                 {http1_alone, [http1]}, {none, []}]].

servers() ->
    [#{id => {tls_server, Name}, tls => Options, start => maps:merge(http1(), Start), do => [connect, get_state]}
     || {Name, Options, Start} <-
            [{only_1_2, ["--tls-versions", "1.2"], #{}}, {only_1_3, ["--tls-versions", "1.3"], #{}},
             {no_common_version, ["--tls-versions", "1.2"],
              #{ssl_options => [{cacerts, roots}, {versions, ['tlsv1.3']}]}},
             {no_common_version_either, ["--tls-versions", "1.3"],
              #{ssl_options => [{cacerts, roots}, {versions, ['tlsv1.2']}]}},
             {no_alpn, ["--alpn", "none"], #{}},
             {no_alpn_http2, ["--alpn", "none"], #{connect_options => [{protocols, [http2]}]}},
             {alpn_http1, ["--alpn", "http/1.1"], #{connect_options => [{protocols, [http2, http1]}]}}]]
    ++ [#{id => {tls_server, plain, Name}, script => Script, start => #{transport => hackney_ssl, connect_timeout => limit(Name)},
          do => [connect]}
        || {Name, Script} <- [{silent, []}, {closes, [{read, 1}, half_close]}, {http, [{read, 1}, {send, "HTTP/1.1 400 Bad\r\n\r\n"}]},
                              {alert, [{read, 1}, {send, <<21, 3, 3, 0, 2, 2, 40>>}]}]].

%% Upgrades of a plain connection

upgrades() ->
    Trusted = [{cacerts, roots}],
    [#{id => {upgrade, Name}, origin => https, start => #{transport => hackney_tcp, host => "localhost"},
       do => [connect | Do]}
     || {Name, Do} <-
            [{done, [{upgrade_to_ssl, [{protocols, [http1]} | Trusted]}, is_upgraded_ssl, get_protocol, {get, <<"/bytes/3">>}, body,
                     checkin_info]},
             {http2, [{upgrade_to_ssl, Trusted}, is_upgraded_ssl, get_protocol]},
             {twice, [{upgrade_to_ssl, [{protocols, [http1]} | Trusted]}, {upgrade_to_ssl, []}]},
             {untrusted, [{upgrade_to_ssl, [{protocols, [http1]}]}, is_upgraded_ssl, get_state, get]},
             {insecure, [{upgrade_to_ssl, [{insecure, true}, {protocols, [http1]}]}, is_upgraded_ssl]},
             {final, [{upgrade_to_ssl, [{verify, verify_none}, {server_name_indication, "localhost"}], #{final => true}},
                      is_upgraded_ssl]},
             {pool_ssl, [{upgrade_to_ssl, [{protocols, [http1]} | Trusted], #{pool_ssl => true}}, checkin_info]},
             {again, [{upgrade_to_ssl, [{protocols, [http1]} | Trusted]}, close, is_upgraded_ssl, get_state]}]]
    ++ [#{id => {upgrade, with_silence, Name}, script => Script, start => #{connect_timeout => limit(Name)},
          do => [connect, {upgrade_to_ssl, []}, get_state, is_upgraded_ssl]}
        || {Name, Script} <- [{silent, []}, {closed, [half_close]}, {not_tls, [{read, 1}, {send, "no"}, half_close]}]].

limit(silent) -> 200;
limit(_) -> 8000.

%% HTTP/1.1 with the bundled server, plain and over TLS

exchanges() ->
    [#{id => {exchange, Origin, Name}, origin => Origin, start => maps:merge(http1(), Start), do => [connect | Do]}
     || Origin <- [http, https],
        {Name, Start, Do} <-
            [{bytes, #{}, [{get, <<"/bytes/5000">>}, body, {get, <<"/bytes/10">>}, body]},
             {pieces, #{}, [{get, <<"/bytes/100000">>}, pieces]},
             {push, #{}, [{async, <<"/bytes/100000">>, true}, messages]},
             {pull, #{}, [{async, <<"/chunks/4/100">>, once}, {messages, 2}, pull_all]},
             {chunks, #{}, [{get, <<"/chunks/3/1000">>}, body]},
             {drip, #{}, [{get, <<"/drip?bytes=10&interval_ms=5">>}, body]},
             {until_close, #{}, [{get, <<"/close-delimited/100">>}, body]},
             {says_close, #{}, [{get, <<"/close">>}, body]},
             {echo, #{}, [{post, <<"/echo">>, binary:copy(<<"x">>, 30000)}, body]},
             {upload, #{}, [{send_request_headers, <<"POST">>, <<"/echo">>, [{<<"Host">>, <<"h">>}]},
                            {send_body_chunk, <<"one">>}, {send_body_chunk, <<"two">>}, finish_send_body,
                            start_response, body]},
             {trailers, #{}, [{request, <<"GET">>, <<"/trailers">>, [{<<"TE">>, <<"trailers">>}], <<>>}, body]},
             {gzip, #{}, [{get, <<"/gzip?bytes=100">>, [{auto_decompress, true}]}, body]},
             {deflate, #{}, [{get, <<"/deflate?bytes=100">>, [{auto_decompress, true}]}, body]},
             {head, #{}, [{request, <<"HEAD">>, <<"/bytes/10">>, [], <<>>}, body, {get, <<"/">>}, body]},
             {no_content, #{}, [{get, <<"/status/204">>}, body]},
             {not_modified, #{}, [{get, <<"/cache/304">>}, body]},
             {not_found, #{}, [{get, <<"/no-such-thing">>}, body]},
             {teapot, #{}, [{get, <<"/status/418">>}, body]},
             {redirect, #{}, [{request_async, <<"GET">>, <<"/redirect/1">>, [], <<>>, true, {actor, main}, true}, messages]},
             {interim, #{}, [{get, <<"/interim/103?count=2">>}, body]},
             {large_head, #{}, [{get, <<"/headers-count/300">>}, body]},
             {expect, #{}, [{request, <<"POST">>, <<"/echo">>, [{<<"Expect">>, <<"100-continue">>}], <<"data">>}, body]},
             {cut_before_the_head, #{}, [{get, <<"/cut/before-head">>}]},
             {cut, #{truncated_body => ok}, [{get, <<"/cut/10/100">>}, body]},
             {cut_error, #{}, [{get, <<"/cut/10/100">>}, body]},
             {cut_pushed, #{truncated_body => ok}, [{async, <<"/cut/10/100">>, true}, messages]},
             {mismatch, #{truncated_body => ok}, [{get, <<"/mismatch/10/100">>}, body]},
             {stall, #{recv_timeout => 100}, [{get, <<"/stall">>}]},
             {stall_in_the_body, #{recv_timeout => 500}, [{get, <<"/stall/head">>}, body]},
             {pooled, #{pool_pid => {actor, pool}}, [{get, <<"/bytes/3">>}, body, {get, <<"/bytes/4">>}, body]}]].

%% The end of a TLS connection in a body: with and without close_notify, and by a reset.

ends() ->
    [#{id => {tls_end, How, Where, Read}, start => maps:merge(http1(), #{truncated_body => ok}),
       frames => ["expect-head" | sent(Where)] ++ [atom_to_list(How)], do => [connect | read(Read)]}
     || How <- [close, cut], Where <- [before_the_head, in_the_head, in_the_body, in_a_chunk, until_close],
        Read <- [body, push]].

sent(before_the_head) -> [];
sent(in_the_head) -> ["send \"HTTP/1.1 200 OK\\r\\nA: b\""];
sent(in_the_body) -> ["send \"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhi\""];
sent(in_a_chunk) -> ["send \"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nhi\\r\\n5\\r\\n\""];
sent(until_close) -> ["send \"HTTP/1.1 200 OK\\r\\n\\r\\nhello\""].

read(body) -> [get, body];
read(push) -> [{async, true}, messages].
