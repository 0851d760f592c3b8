%% @doc The connection against nginx: long-lived connections, large bodies, chunks, TLS
%% in both versions, client certificates, and a server that hangs up.
-module(hansom_nginx_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
-define(LARGE, 16777216).

-import(hansom_case, [state/1, is_state/2, exchange/2, pieces/1, payloads/1, pulled/2, body_of/1,
                      async/1, result/2, monitor_exit/1, await/1]).
-import(hansom_server_case, [server/1, port/2, roots/1, publish/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    hansom_server_case:init_suite(nginx, fun() -> publish(files(), hansom_servers:nginx()) end, Config).

end_per_suite(Config) -> hansom_server_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

files() ->
    [{"empty", <<>>}, {"one", <<"1">>}, {"hello.txt", <<"hello, world">>}, {"large", large()},
     {"assembled.html", <<"[<!--#include virtual=\"/hello.txt\" -->|<!--#include virtual=\"/one\" -->]">>}].

%% Each word tells its place, so that a lost, doubled or misplaced piece shows.
%% Not for assertEqual, which would print it.
large() -> << <<N:32>> || N <- lists:seq(1, ?LARGE div 4) >>.

plain(Name, Config) ->
    open(#{host => "127.0.0.1", port => port(Name, Config)}).

secure(Name, Config) -> secure(Name, [], Config).

secure(Name, More, Config) ->
    open(secure_options(Name, More, Config)).

secure_options(Name, More, Config) ->
    #{host => "127.0.0.1", port => port(Name, Config), transport => hackney_ssl,
      connect_options => [{protocols, [http1]}], ssl_options => More ++ trust(Config)}.

trust(Config) ->
    [{cacerts, roots(Config)}, {server_name_indication, "localhost"}].

open(Options) ->
    Pid = hansom_case:start_with(Options),
    ok = ?CONN:connect(Pid),
    Pid.

get(Pid, Path) -> ?CONN:request(Pid, <<"GET">>, Path, [], <<>>).

header(Name, Headers) -> proplists:get_value(Name, Headers).

%% Clauses: RSP-20, RSP-27, ST-14
rsp_27_many_exchanges_on_one_connection(Config) ->
    Pid = plain(http, Config),
    [begin
         {ok, 200, Headers} = get(Pid, <<"/hello.txt">>),
         ?assertEqual(integer_to_binary(N), header(<<"Connection-Requests">>, Headers)),
         ?assertEqual({ok, <<"hello, world">>}, ?CONN:body(Pid))
     end || N <- lists:seq(1, 300)],
    ?assertEqual(connected, state(Pid)).

%% Clauses: RSP-20, RSP-16, RSP-17
rsp_20_sizes_on_one_connection(Config) ->
    Large = large(),
    Sizes = [{<<"/empty">>, <<>>}, {<<"/one">>, <<"1">>}, {<<"/large">>, Large}, {<<"/hello.txt">>, <<"hello, world">>}],
    [begin
         Pid = open(Options),
         [begin
              ?assert({200, Body} =:= exchange(Pid, Path)),
              {ok, 200, Headers} = ?CONN:request(Pid, <<"HEAD">>, Path, [], <<>>),
              ?assertEqual(integer_to_binary(byte_size(Body)), header(<<"Content-Length">>, Headers)),
              ?assertEqual({ok, <<>>}, ?CONN:body(Pid))
          end || {Path, Body} <- Sizes]
     end || Options <- [#{host => "127.0.0.1", port => port(http, Config)}, secure_options(https, [], Config)]].

%% Clauses: API-10, ASY-1, ASY-2
rsp_20_large_body_in_pieces(Config) ->
    Large = large(),
    [begin
         {ok, 200, _} = get(Pid, <<"/large">>),
         Pieces = pieces(Pid),
         ?assertEqual(done, lists:last(Pieces)),
         ?assert(Large =:= iolist_to_binary(lists:droplast(Pieces)))
     end || Pid <- [plain(http, Config), secure(https, Config)]].

%% Clauses: ASY-1, ASY-9
asy_01_large_body_pushed(Config) ->
    Large = large(),
    [begin
         Exit = monitor_exit(Pid),
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/large">>, [], <<>>, true),
         [{status, 200, <<"OK">>}, {headers, _} | Rest] = payloads(Pid),
         ?assert(Large =:= body_of(Rest)),
         ?assertEqual(done, lists:last(Rest)),
         ?assertEqual(normal, await(Exit))
     end || Pid <- [plain(http, Config), secure(https, Config)]].

%% Clauses: ASY-2, ASY-13
asy_02_large_body_pulled(Config) ->
    Large = large(),
    [begin
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/large">>, [], <<>>, once),
         {status, 200, <<"OK">>} = hansom_case:payload(Pid),
         {headers, _} = hansom_case:payload(Pid),
         ?assert(Large =:= body_of(pulled(Pid, Pid)))
     end || Pid <- [plain(http, Config), secure(https, Config)]].

%% Clauses: RSP-18
rsp_18_chunked_through_a_proxy(Config) ->
    Pid = plain(http, Config),
    [begin
         {ok, 200, Headers} = get(Pid, Path),
         ?assertEqual(<<"chunked">>, header(<<"Transfer-Encoding">>, Headers)),
         ?assertEqual({ok, <<"[hello, world|1]">>}, ?CONN:body(Pid))
     end || Path <- [<<"/ssi/assembled.html">>, <<"/proxied/assembled.html">>, <<"/ssi/assembled.html">>]],
    ?assertEqual(connected, state(Pid)).

%% Clauses: RSP-21, RSP-18
rsp_21_compressed_on_the_fly(Config) ->
    Pid = secure(https, Config),
    Large = large(),
    Accept = [{<<"Accept-Encoding">>, <<"gzip">>}],
    {ok, 200, Headers} =
        ?CONN:request(Pid, <<"GET">>, <<"/gzip/large">>, Accept, <<>>, infinity, [{auto_decompress, true}]),
    ?assertEqual(<<"gzip">>, header(<<"Content-Encoding">>, Headers)),
    ?assert({ok, Large} =:= ?CONN:body(Pid)),
    {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/gzip/large">>, Accept, <<>>),
    {ok, Compressed} = ?CONN:body(Pid),
    ?assert(Large =:= zlib:gunzip(Compressed)).

%% Clauses: RSP-17, ST-16
rsp_17_no_content(Config) ->
    Pid = plain(http, Config),
    {ok, 204, _} = get(Pid, <<"/status/204">>),
    ?assertEqual({ok, <<>>}, ?CONN:body(Pid)).

%% Clauses: REQ-9, REQ-6
req_09_large_request_body(Config) ->
    Large = large(),
    [begin
         {ok, Status, _} = ?CONN:request(Pid, <<"PUT">>, Path, [], Large),
         ?assert(Status =:= 201 orelse Status =:= 204),
         {ok, _} = ?CONN:body(Pid),
         {200, Stored} = exchange(Pid, Path),
         ?assert(Stored =:= Large)
     end || {Pid, Path} <- [{plain(http, Config), <<"/dav/plain">>}, {secure(https, Config), <<"/dav/secure">>}]].

%% Clauses: REQ-10, REQ-11, API-11, API-12, API-13, API-14
req_10_large_request_body_in_chunks(Config) ->
    Large = large(),
    Headers = [{<<"Host">>, <<"localhost">>}],
    [begin
         ok = ?CONN:send_request_headers(Pid, <<"PUT">>, Path, Headers),
         ok = send_pieces(Pid, Large, 1),
         ok = ?CONN:finish_send_body(Pid),
         {ok, Status, _, Pid} = ?CONN:start_response(Pid),
         ?assert(Status =:= 201 orelse Status =:= 204),
         {ok, _} = ?CONN:body(Pid),
         {200, Stored} = exchange(Pid, Path),
         ?assert(Stored =:= Large)
     end || {Pid, Path} <- [{plain(http, Config), <<"/dav/chunks">>}, {secure(https, Config), <<"/dav/secret">>}]].

%% Pieces from 1 byte to 2 MiB, each twice the one before.
send_pieces(Pid, Body, Size) when byte_size(Body) =< Size ->
    ?CONN:send_body_chunk(Pid, Body);
send_pieces(Pid, Body, Size) ->
    <<Piece:Size/binary, Rest/binary>> = Body,
    ok = ?CONN:send_body_chunk(Pid, [Piece]),
    send_pieces(Pid, Rest, min(Size * 2, 2097152)).

%% Clauses: TLS-4, TLS-9
tls_04_both_versions(Config) ->
    [begin
         Pid = secure(Name, Config),
         {ok, 200, Headers} = get(Pid, <<"/hello.txt">>),
         ?assertEqual(Version, header(<<"Tls-Version">>, Headers)),
         ?assertEqual({ok, <<"hello, world">>}, ?CONN:body(Pid)),
         ?assertMatch({ok, <<_/binary>>}, ?CONN:peercert(Pid))
     end || {Name, Version} <- [{tls12, <<"TLSv1.2">>}, {tls13, <<"TLSv1.3">>}, {https, <<"TLSv1.3">>}]].

%% Clauses: TLS-12
tls_12_no_version_in_common(Config) ->
    [begin
         Pid = hansom_case:start_with(secure_options(Name, [{versions, [Version]}], Config)),
         ?assertMatch({error, {tls_alert, {protocol_version, _}}}, ?CONN:connect(Pid))
     end || {Name, Version} <- [{tls13, 'tlsv1.2'}, {tls12, 'tlsv1.3'}]].

%% Clauses: TLS-3, TLS-4, TLS-12
tls_03_unknown_authority(Config) ->
    Options = secure_options(https, [], Config),
    Pid = hansom_case:start_with(Options#{ssl_options => [{server_name_indication, "localhost"}]}),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, ?CONN:connect(Pid)),
    Insecure = open(Options#{ssl_options => [{insecure, true}]}),
    ?assertEqual({200, <<"hello, world">>}, exchange(Insecure, <<"/hello.txt">>)).

%% Clauses: TLS-9, TLS-12
tls_09_certificate_of_another_name(Config) ->
    Options = secure_options(https, [], Config),
    #{cacerts := Roots} = server(Config),
    Pid = hansom_case:start_with(Options#{ssl_options => [{cacerts, Roots},
                                                          {server_name_indication, "elsewhere.example"}]}),
    ?assertMatch({error, {tls_alert, {handshake_failure, _}}}, ?CONN:connect(Pid)).

%% Clauses: TLS-1
tls_01_client_certificate(Config) ->
    #{client := Identity, dir := Dir} = server(Config),
    Files = [{certfile, filename:join(Dir, "client.pem")}, {keyfile, filename:join(Dir, "client-key.pem")}],
    [begin
         Pid = secure(mutual, More ++ [{versions, [Version]}], Config),
         {ok, 200, Headers} = get(Pid, <<"/hello.txt">>),
         ?assertMatch({match, _}, re:run(header(<<"Client-Subject">>, Headers), "CN=hansom test client")),
         ?assertEqual({ok, <<"hello, world">>}, ?CONN:body(Pid))
     end || More <- [Identity, Files], Version <- ['tlsv1.2', 'tlsv1.3']],
    %% nginx says over HTTP that it wanted one.
    Anonymous = secure(mutual, Config),
    {400, Page} = exchange(Anonymous, <<"/hello.txt">>),
    ?assertMatch({match, _}, re:run(Page, "No required SSL certificate")).

%% Clauses: LOW-10, API-25, API-26
low_10_upgraded_connection(Config) ->
    Pid = plain(https, Config),
    ok = ?CONN:upgrade_to_ssl(Pid, [{protocols, [http1]} | trust(Config)]),
    ?assert(?CONN:is_upgraded_ssl(Pid)),
    ?assertEqual({200, <<"hello, world">>}, exchange(Pid, <<"/hello.txt">>)).

%% Clauses: RSP-28, RSP-30, ST-6
rsp_28_keep_alive_expires(Config) ->
    Pid = plain(expiring, Config),
    ?assertEqual({200, <<"1">>}, exchange(Pid, <<"/one">>)),
    is_state(Pid, closed),
    ?assertEqual({error, invalid_state}, get(Pid, <<"/one">>)),
    ok = ?CONN:connect(Pid),
    ?assertEqual({200, <<"1">>}, exchange(Pid, <<"/one">>)).

%% Clauses: RSP-27, ST-14, TRAP-21, TRAP-29
rsp_27_last_response_of_a_connection(Config) ->
    Pid = plain(last, Config),
    Exit = monitor_exit(Pid),
    ?assertEqual({200, <<"1">>}, exchange(Pid, <<"/one">>)),
    {ok, 200, Headers} = get(Pid, <<"/one">>),
    ?assertEqual(<<"close">>, header(<<"Connection">>, Headers)),
    ?assertEqual({ok, <<"1">>}, ?CONN:body(Pid)),
    ?assertEqual(normal, await(Exit)).

%% Clauses: ST-24
st_24_many_connections_at_once(Config) ->
    Options = [#{host => "127.0.0.1", port => port(http, Config)}, secure_options(https, [], Config)],
    Large = large(),
    Work = fun(Opts) ->
                   fun() ->
                           {ok, Pid} = ?CONN:start_link(Opts),
                           ok = ?CONN:connect(Pid),
                           Small = [exchange(Pid, <<"/hello.txt">>) || _ <- lists:seq(1, 20)],
                           {200, Body} = exchange(Pid, <<"/large">>),
                           ok = ?CONN:stop(Pid),
                           {lists:usort(Small), Body =:= Large}
                   end
           end,
    Running = [async(Work(Opts)) || _ <- lists:seq(1, 8), Opts <- Options],
    [?assertEqual({ok, {[{200, <<"hello, world">>}], true}}, result(Handle, 60000)) || Handle <- Running].

%% HTTP/2

secure_http2(Config) ->
    Pid = open(maps:remove(connect_options, secure_options(http2, [], Config))),
    ?assertEqual(http2, ?CONN:get_protocol(Pid)),
    Pid.

%% Clauses: H2-3, NEG-2
h2_03_exchanges_and_sizes(Config) ->
    Pid = secure_http2(Config),
    Large = large(),
    Sizes = [{<<"/empty">>, <<>>}, {<<"/one">>, <<"1">>}, {<<"/large">>, Large}, {<<"/hello.txt">>, <<"hello, world">>}],
    [begin
         {ok, 200, Headers, Got} = get(Pid, Path),
         ?assert(Got =:= Body),
         ?assertEqual(integer_to_binary(byte_size(Body)), header(<<"content-length">>, Headers)),
         ?assertMatch({ok, 200, _, <<>>}, ?CONN:request(Pid, <<"HEAD">>, Path, [], <<>>))
     end || {Path, Body} <- Sizes],
    ?assertMatch({ok, 204, _, <<>>}, get(Pid, <<"/status/204">>)),
    ?assertMatch({ok, 302, _, _}, get(Pid, <<"/moved">>)).

%% Clauses: H2-3
h2_03_many_users(Config) ->
    Pid = secure_http2(Config),
    Large = large(),
    Work = fun() ->
                   Small = [get(Pid, <<"/hello.txt">>) || _ <- lists:seq(1, 20)],
                   {ok, 200, _, Body} = get(Pid, <<"/large">>),
                   {lists:usort([Answer || {ok, 200, _, Answer} <- Small]), length(Small), Body =:= Large}
           end,
    Running = [async(Work) || _ <- lists:seq(1, 20)],
    [?assertEqual({ok, {[<<"hello, world">>], 20, true}}, result(Handle, 60000)) || Handle <- Running].

%% Clauses: H2-10
h2_10_large_body_as_messages(Config) ->
    Pid = secure_http2(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/large">>, [], <<>>, true),
    ?assert(large() =:= body_of(payloads(Pid))).

%% Clauses: H2-11, H2-13, TRAP-30
h2_11_large_uploads(Config) ->
    Pid = secure_http2(Config),
    Large = large(),
    {ok, 201, _, _} = ?CONN:request(Pid, <<"PUT">>, <<"/dav/whole">>, [], Large),
    ok = ?CONN:send_request_headers(Pid, <<"PUT">>, <<"/dav/pieces">>, []),
    [ok = ?CONN:send_body_chunk(Pid, binary:part(Large, At, ?LARGE div 16))
     || At <- lists:seq(0, ?LARGE - 1, ?LARGE div 16)],
    ok = ?CONN:finish_send_body(Pid),
    {ok, 201, _, Pid} = ?CONN:start_response(Pid),
    {ok, _} = ?CONN:body(Pid),
    [begin
         {ok, 200, _, Stored} = get(Pid, Path),
         ?assert(Stored =:= Large)
     end || Path <- [<<"/dav/whole">>, <<"/dav/pieces">>]].
