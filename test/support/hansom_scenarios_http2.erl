%% @doc HTTP/2, negotiated by ALPN: exchanges, bodies, faults, and what does not belong there.
-module(hansom_scenarios_http2).

-export([scenarios/0]).

scenarios() ->
    [hansom_deviations:mark(Scenario)
     || Scenario <- requests() ++ messages() ++ uploads() ++ faults() ++ frames() ++ lasting() ++ operations() ++ life()].

%% One exchange after the other

requests() ->
    [#{id => {h2, Name}, origin => https, do => [connect, get_protocol | Do] ++ [get_state]}
     || {Name, Do} <-
            [{bytes, [{get, <<"/bytes/5000">>}, {get, <<"/bytes/10">>}]},
             {large, [{get, <<"/bytes/300000">>}]},
             {empty, [{get, <<"/bytes/0">>}]},
             {head, [{request, <<"HEAD">>, <<"/bytes/10">>, [], <<>>}, {get, <<"/bytes/3">>}]},
             {no_content, [{get, <<"/status/204">>}]}, {not_modified, [{get, <<"/cache/304">>}]},
             {not_found, [{get, <<"/no-such-thing">>}]}, {status, [{get, <<"/status/599">>}]},
             {post, [{post, <<"/echo">>, <<"data">>}]}, {post_large, [{post, <<"/echo">>, binary:copy(<<"x">>, 30000)}]},
             {post_empty, [{post, <<"/headers">>, <<>>}]}, {post_iolist, [{post, <<"/echo">>, ["da", [<<"ta">>]]}]},
             {delete, [{request, <<"DELETE">>, <<"/headers">>, [], <<>>}]},
             {query, [{request, <<"QUERY">>, <<"/echo">>, [], <<"q">>}]},
             {trailers, [{request, <<"GET">>, <<"/trailers">>, [{<<"te">>, <<"trailers">>}], <<>>}]},
             {gzip, [{get, <<"/gzip?bytes=100">>, [{auto_decompress, true}]}]},
             {interim, [{get, <<"/interim/103?count=2">>}]},
             {redirect, [{get, <<"/redirect/1">>}]}, {headers_many, [{get, <<"/headers-count/200">>}]},
             {empty_path, [{get, <<>>}]}, {path_iolist, [{get, "/bytes/3"}]}, {method_atom, [{request, get, <<"/bytes/3">>, [], <<>>}]},
             {bad_target, [{get, <<"/\r\n">>}]}, {bad_method, [{request, <<"G\nT">>, <<"/">>, [], <<>>}]},
             {connect_method, [{request, <<"CONNECT">>, <<"/">>, [], <<>>}]},
             {path_without_slash, [{get, <<"bytes/3">>}]}, {options_star, [{request, <<"OPTIONS">>, <<"*">>, [], <<>>}]},
             {body_afterwards, [{get, <<"/bytes/3">>}, body]}, {pieces_afterwards, [{get, <<"/bytes/3">>}, stream_body]},
             {response_headers, [response_headers, {get, <<"/bytes/3">>}, response_headers]}]]
    ++ [#{id => {h2_header, Name}, origin => https,
          do => [connect, {request, <<"GET">>, <<"/headers">>, Headers, <<>>}, {get, <<"/bytes/1">>}]}
        || {Name, Headers} <-
               [{plain, [{<<"A">>, <<"b">>}]}, {host, [{<<"Host">>, <<"other">>}]}, {agent, [{<<"User-Agent">>, <<"me">>}]},
                {strings, [{"A", "b"}]}, {atoms, [{accept, text}]}, {twice, [{<<"a">>, <<"1">>}, {<<"A">>, <<"2">>}]},
                {cookie, [{<<"Cookie">>, <<"a=b; c=d">>}]}, {length, [{<<"Content-Length">>, <<"0">>}]},
                {te, [{<<"te">>, <<"trailers">>}]}, {te_other, [{<<"te">>, <<"gzip">>}]},
                {connection, [{<<"Connection">>, <<"close">>}]}, {keep_alive, [{<<"Keep-Alive">>, <<"5">>}]},
                {transfer_encoding, [{<<"Transfer-Encoding">>, <<"chunked">>}]}, {upgrade, [{<<"Upgrade">>, <<"x">>}]},
                {proxy_connection, [{<<"Proxy-Connection">>, <<"x">>}]}, {line_end, [{<<"A">>, <<"b\r\nc">>}]},
                {nul, [{<<"A">>, <<"b", 0>>}]}, {blanks, [{<<"A">>, <<" b ">>}]}, {bad_name, [{<<"A b">>, <<"c">>}]},
                {empty_name, [{<<>>, <<"c">>}]}, {pseudo, [{<<":path">>, <<"/x">>}]}, {empty_value, [{<<"A">>, <<>>}]},
                {high_bytes, [{<<"A">>, <<200, 255>>}]}, {number, [{<<"A">>, 17}]}]].

messages() ->
    [#{id => {h2_async, Name}, origin => https, do => [connect | Do] ++ [get_state]}
     || {Name, Do} <-
            [{push, [{async, <<"/bytes/5000">>, true}, messages]}, {push_empty, [{async, <<"/bytes/0">>, true}, messages]},
             {push_head, [{request_async, <<"HEAD">>, <<"/bytes/10">>, [], <<>>, true}, messages]},
             {push_no_content, [{async, <<"/status/204">>, true}, messages]},
             {once, [{async, <<"/bytes/100">>, once}, {messages, 2}, pull_all]},
             {once_chunks, [{async, <<"/bytes/50000">>, once}, {messages, 2}, pull_all]},
             {post, [{push, <<"POST">>, <<"/echo">>, [], <<"data">>}]},
             {redirect, [{request_async, <<"GET">>, <<"/redirect/1">>, [], <<>>, true, {actor, main}, true}, messages]},
             {interim, [{async, <<"/interim/103">>, true}, messages]},
             {trailers, [{request_async, <<"GET">>, <<"/trailers">>, [{<<"te">>, <<"trailers">>}], <<>>, true}, messages]},
             {other, [{request_async, <<"GET">>, <<"/bytes/10">>, [], <<>>, true, {actor, other}}, {as, other, messages}]},
             {other_once, [{request_async, <<"GET">>, <<"/bytes/10">>, [], <<>>, once, {actor, other}},
                           {as, other, {messages, 2}}, {as, other, pull_all}]},
             {one_by_one, [{async, <<"/bytes/10">>, true}, messages, {async, <<"/bytes/20">>, true}, messages]},
             {stop_async, [{async, <<"/bytes/10">>, once}, {messages, 2}, stop_async, pull_all]},
             {pause, [{async, <<"/bytes/10">>, once}, {messages, 2}, pause_stream, resume_stream, pull_all]},
             {reset, [{async, <<"/reset/before-head?code=8">>, true}, messages]},
             {reset_later, [{async, <<"/reset/after/100?code=2">>, true}, messages]}]].

uploads() ->
    Begin = fun(Path) -> {send_request_headers, <<"POST">>, Path, []} end,
    [#{id => {h2_upload, Name}, origin => https, do => [connect | Do]}
     || {Name, Do} <-
            [{echo, [Begin(<<"/echo">>), {send_body_chunk, <<"one">>}, {send_body_chunk, ["t", <<"wo">>]}, finish_send_body,
                     start_response, body, get_state]},
             {pieces, [Begin(<<"/echo">>), {send_body_chunk, <<"one">>}, finish_send_body, start_response, pieces, stream_body]},
             {functions, [Begin(<<"/echo">>), {send_body_chunk, {fun(3) -> eof; (N) -> {ok, integer_to_binary(N), N + 1} end, 0}},
                          {send_body_chunk, fun() -> eof end}, finish_send_body, start_response, body]},
             {nothing, [Begin(<<"/upload">>), finish_send_body, start_response, body]},
             {body_twice, [Begin(<<"/echo">>), finish_send_body, start_response, body, body]},
             {no_upload, [{send_body_chunk, <<"x">>}, finish_send_body, start_response]},
             {next_request, [Begin(<<"/echo">>), {send_body_chunk, <<"a">>}, finish_send_body, start_response, body, {get, <<"/bytes/3">>}]},
             {state, [Begin(<<"/echo">>), get_state]},
             {bad_target, [{send_request_headers, <<"POST">>, <<"/\n">>, []}]},
             {bad_header, [{send_request_headers, <<"POST">>, <<"/">>, [{<<"Connection">>, <<"close">>}]}]}]].

%% Faults that the bundled server commits

faults() ->
    [#{id => {h2_reset, Phase, Code}, origin => https,
       do => [connect, {get, iolist_to_binary([Path, "?code=", integer_to_list(Code)])}, {get, <<"/bytes/3">>}]}
     || {Phase, Path} <- [{before_the_head, "/reset/before-head"}, {after_the_head, "/reset"}, {in_the_body, "/reset/after/100"}],
        Code <- [0, 1, 2, 5, 7, 8, 11, 13, 14, 70000]]
    ++ [#{id => {h2_fault, Name}, origin => https, start => maps:merge(#{recv_timeout => 5000}, Start), do => [connect | Do]}
        || {Name, Start, Do} <-
               [{cut, #{}, [{get, <<"/cut/10/100">>}, {wait, closed}]},
                {cut_before_the_head, #{}, [{get, <<"/cut/before-head">>}, {wait, closed}]},
                {cut_pooled, #{pool_pid => {actor, pool}}, [{get, <<"/cut/before-head">>}, {wait, gone}]},
                {goaway, #{}, [{get, <<"/goaway/close?code=2">>}, {wait, closed}]},
                {goaway_in_the_body, #{}, [{get, <<"/goaway/after/10?code=2">>}, {wait, closed}]},
                {goaway_pooled, #{pool_pid => {actor, pool}}, [{get, <<"/goaway/close?code=0">>}, {wait, gone}]},
                {stall, #{recv_timeout => 1000}, [{get, <<"/stall">>}, {get, <<"/bytes/3">>}]},
                {stall_in_the_body, #{recv_timeout => 1000}, [{get, <<"/stall/head">>}, {get, <<"/bytes/3">>}]},
                {stall_of_a_request, #{}, [{get, <<"/stall">>, [{recv_timeout, 100}]}, {get, <<"/bytes/3">>}]},
                {mismatch, #{recv_timeout => 1000}, [{get, <<"/mismatch/10/100">>}]},
                {mismatch_more, #{recv_timeout => 1000}, [{get, <<"/mismatch/100/10">>}]},
                {caller_gives_up, #{}, [{request, <<"GET">>, <<"/delay/1000">>, [], <<>>, 20}, {get, <<"/bytes/3">>}]}]].

%% Exact frames

frames() ->
    [#{id => {h2_frames, Name}, frames => ["h2-preface", "expect-frame headers 1"] ++ Lines ++ ["expect-eof"],
       start => #{recv_timeout => 1500}, do => [connect, {request, Method, <<"/">>, [], <<>>}]}
     || {Name, Method, Lines} <-
            [{ordinary, <<"GET">>, [head("200"), "frame data end_stream 1 \"hi\""]},
             {head_alone, <<"GET">>, ["fields headers end_headers|end_stream 1 \":status: 200\""]},
             {padded, <<"GET">>, [head("200"), "frame data padded|end_stream 1 \"\\x02hi\\0\\0\""]},
             {two_pieces, <<"GET">>, [head("200"), "frame data 0 1 \"h\"", "frame data end_stream 1 \"i\""]},
             {empty_pieces, <<"GET">>, [head("200"), "frame data 0 1 \"\"", "frame data end_stream 1 \"hi\""]},
             {empty_last, <<"GET">>, [head("200"), "frame data 0 1 \"hi\"", "frame data end_stream 1 \"\""]},
             {trailers, <<"GET">>, [head("200"), "frame data 0 1 \"hi\"",
                                    "fields headers end_headers|end_stream 1 \"x: y\""]},
             {interim, <<"GET">>, [head("103"), head("200"), "frame data end_stream 1 \"hi\""]},
             {repeated_fields, <<"GET">>, ["fields headers end_headers|end_stream 1 \":status: 200\" \"set-cookie: a\" \"set-cookie: b\""]},
             {unknown_frame, <<"GET">>, ["frame 250 0 1 \"what\"", head("200"), "frame data end_stream 1 \"hi\""]},
             {ping, <<"GET">>, ["frame ping 0 0 \"12345678\"", "expect-frame ping", head("200"), "frame data end_stream 1 \"hi\""]},
             {settings_again, <<"GET">>, ["frame settings 0 0 \"\"", head("200"), "frame data end_stream 1 \"hi\""]},
             {head_204_with_empty_data, <<"GET">>, [head("204"), "frame data end_stream 1 \"\""]},
             {head_request_with_empty_data, <<"HEAD">>, [head("200"), "frame data end_stream 1 \"\""]},
             {refused, <<"GET">>, ["frame rst_stream 0 1 \"\\0\\0\\0\\x07\""]},
             {goaway_above, <<"GET">>, ["frame goaway 0 0 \"\\0\\0\\0\\x01\\0\\0\\0\\0\""]},
             {goaway_below, <<"GET">>, ["frame goaway 0 0 \"\\0\\0\\0\\0\\0\\0\\0\\x02\""]},
             {no_status, <<"GET">>, ["fields headers end_headers|end_stream 1 \"a: b\""]},
             {bad_status, <<"GET">>, [head("abc"), "frame data end_stream 1 \"hi\""]},
             {data_first, <<"GET">>, ["frame data end_stream 1 \"hi\""]},
             {too_long, <<"GET">>, ["fields headers end_headers 1 \":status: 200\" \"content-length: 1\"", "frame data end_stream 1 \"hi\""]},
             {too_short, <<"GET">>, ["fields headers end_headers 1 \":status: 200\" \"content-length: 3\"", "frame data end_stream 1 \"hi\""]},
             {closes, <<"GET">>, [head("200"), "frame data 0 1 \"h\"", "close"]},
             {stream_zero_data, <<"GET">>, ["frame data 0 0 \"x\""]},
             {window_overflow, <<"GET">>, ["frame window_update 0 0 \"\\x7f\\xff\\xff\\xff\""]},
             {frame_too_large, <<"GET">>, ["frame data 0 1 \"x\"*20000"]},
             {push_promise, <<"GET">>, ["frame push_promise end_headers 1 \"\\0\\0\\0\\x02\\x82\""]}]].

%% A response that is complete before it is read, and one that begins before its request is sent

lasting() ->
    [#{id => {h2_unpulled, Name, Unpulled}, start => #{unpulled => Unpulled},
       do => [connect, {async, <<"/">>, once}, {messages, 2}, {wait, closed}, pull_all],
       frames => ["h2-preface", "expect-frame headers 1", head("200"), "frame data end_stream 1 \"hi\"" | End]}
     || {Name, End} <- [{goaway, ["frame goaway 0 0 \"\\0\\0\\0\\x01\\0\\0\\0\\0\"", "expect-eof"]}, {lost, ["close"]}],
        Unpulled <- [keep, drop]]
    ++ [#{id => {h2_unsent, Name}, start => #{send_timeout => 300},
          do => [connect, {request_async, <<"POST">>, <<"/">>, [], binary:copy(<<"x">>, 200000), true}, get_state],
          frames => ["h2-preface", "expect-frame headers 1"] ++ Answer ++ ["expect-eof"]}
        || {Name, Answer} <- [{unanswered, []}, {begun, [head("200")]},
                              {answered, [head("200"), "frame data end_stream 1 \"hi\""]}]].

head(Status) -> "fields headers end_headers 1 \":status: " ++ Status ++ "\"".

%% Every operation in `connected'

operations() ->
    [#{id => {h2_state, Name}, origin => https, do => [connect, Op | after_it(Name)]}
     || {Name, Op} <- hansom_scenarios_state:operations(),
        not lists:member(Name, [send, recv, upgrade])]
    ++ [#{id => {h2_state, upgrade}, origin => https, do => [connect, {upgrade_to_ssl, []}, get_state]}].

after_it(async) -> [messages];
after_it(async_once) -> [{messages, 2}];
after_it(async_legacy) -> [{as, other, {messages, 2}}];
after_it(Name) when Name =:= cast_stop; Name =:= stop; Name =:= stop_deadline -> [{wait, gone}];
after_it(_) -> [get_state, {get, <<"/bytes/1">>}].

%% Owners, pools, closes

life() ->
    [#{id => {h2_life, Name}, origin => https, start => Start, do => Do}
     || {Name, Start, Do} <-
            [{owner_dies, #{owner => {actor, owner}}, [connect, {kill, owner}, {wait, gone}]},
             {owner_changes, #{owner => {actor, owner}},
              [connect, {set_owner, {actor, new}}, {kill, owner}, {get, <<"/bytes/3">>}, {kill, new}, {wait, gone}]},
             {caller_killed, #{}, [connect, {as, other, {get, <<"/bytes/3">>}}, {kill, other}, {get, <<"/bytes/3">>}]},
             {receiver_is_not_the_owner, #{},
              [connect, {request_async, <<"GET">>, <<"/bytes/9">>, [], <<>>, once, {actor, other}}, {as, other, {messages, 2}},
               {kill, other}, {get, <<"/bytes/3">>}]},
             {stopped_under_messages, #{}, [connect, {async, <<"/stall/head">>, true}, {messages, 2}, stop]},
             {killed_under_messages, #{},
              [connect, {async, <<"/stall/head">>, true}, {messages, 2}, {signal, kill}, {wait, gone}]},
             {owner_lost_under_messages, #{owner => {actor, owner}},
              [connect, {async, <<"/stall/head">>, true}, {messages, 2}, {kill, owner}, {wait, gone}]},
             {owner_lost_under_a_request, #{owner => {actor, owner}},
              [connect, {spawn, other, {get, <<"/stall">>}}, {waits, other}, {kill, owner}, {join, other}]},
             {pooled_release, #{pool_pid => {actor, pool}}, [connect, {get, <<"/bytes/3">>}, checkin_info, release_to_pool]},
             {no_reuse, #{no_reuse => true}, [connect, {get, <<"/bytes/3">>}, {get, <<"/bytes/3">>}]},
             {idle, #{idle_timeout => 50}, [connect, {pass, 150}, {get, <<"/bytes/3">>}]},
             {close, #{}, [connect, close, get_state, {get, <<"/">>}, connect, get_protocol, {get, <<"/bytes/3">>}]},
             {close_pooled, #{pool_pid => {actor, pool}}, [connect, close, {wait, gone}]},
             {closed_under_a_request, #{}, [connect, {spawn, other, {get, <<"/stall">>}}, {waits, other}, close, {join, other}]},
             {stopped_under_a_request, #{}, [connect, {spawn, other, {get, <<"/stall">>}}, {waits, other}, stop, {join, other}]},
             {killed_under_a_request, #{}, [connect, {spawn, other, {get, <<"/stall">>}}, {waits, other}, {signal, kill}, {join, other}]}]].
