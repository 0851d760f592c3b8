%% @doc Requests: what arrives at the server, whole and in pieces.
-module(hansom_scenarios_request).

-export([scenarios/0]).

scenarios() ->
    [hansom_deviations:mark(Scenario) || Scenario <- whole() ++ uploads() ++ early()].

%% Sent at once

whole() ->
    [#{id => {request, Name, Way}, script => [request, {send, hansom_case:response(<<"hi">>)}],
       do => [connect | way(Way, Method, Path, Headers, Body)]}
     || {Name, Method, Path, Headers, Body} <- requests(), Way <- [sync, async]].

way(sync, Method, Path, Headers, Body) ->
    [{request, Method, Path, Headers, Body}, body];
way(async, Method, Path, Headers, Body) ->
    [{push, Method, Path, Headers, Body}].

requests() ->
    [{{method, Method, byte_size(Body)}, Method, <<"/">>, [], Body}
     || Method <- [<<"GET">>, <<"POST">>, <<"PUT">>, <<"PATCH">>, <<"DELETE">>, <<"OPTIONS">>, <<"TRACE">>,
                   <<"QUERY">>, <<"post">>, <<"Put">>, <<"X-OWN">>, <<"PROPFIND">>],
        Body <- [<<>>, <<"data">>]]
    ++ [{{path, Index}, <<"GET">>, Path, [], <<>>}
        || {Index, Path} <- numbered([<<>>, <<"/a b">>, <<"*">>, <<"/?q=1&r=%20">>, <<"/#f">>, <<"no-slash">>,
                                      <<"http://other:1/x">>, <<"/", 195, 164>>, <<"/a\tb">>, <<"?q">>,
                                      <<"/a\nb">>, <<"/a\rb">>, <<"/a", 0, "b">>])]
    ++ [{{headers, Index}, <<"GET">>, <<"/">>, Headers, <<>>}
        || {Index, Headers} <- numbered(headers())]
    ++ [{{body, Index}, <<"POST">>, <<"/">>, Headers, Body}
        || {Index, {Headers, Body}} <- numbered(bodies())]
    ++ [{{method_bytes, Index}, Method, <<"/">>, [], <<>>}
        || {Index, Method} <- numbered([<<"G\nT">>, <<"G\rT">>, <<"G", 0>>, <<"G T">>, <<>>])].

headers() ->
    [[{<<"A">>, <<"b">>}], [{<<"a-B_c">>, <<"D">>}], [{"A", "b"}], [{<<"A">>, 17}], [{accept, <<"b">>}],
     [{<<"A">>, b}], [{<<"A">>, <<"1">>}, {<<"A">>, <<"2">>}, {<<"a">>, <<"3">>}],
     [{<<"B">>, <<"1">>}, {<<"A">>, <<"2">>}], [{<<"A">>, <<>>}], [{<<"A">>, <<" b ">>}],
     [{<<"A">>, <<"b\r\nC: d">>}], [{<<"A\r\nB">>, <<"c">>}], [{<<"A">>, <<"b", 0, "c">>}],
     [{<<"A">>, <<200, 255>>}], [{<<"A">>, {<<"b">>, [{<<"k">>, <<"v">>}]}}],
     [{<<"A">>, {<<"b">>, [{<<"k">>, <<"v">>}, <<"w">>]}}],
     [{<<"Host">>, <<"other">>}], [{<<"host">>, <<"other">>}], [{"HOST", "other"}],
     [{<<"User-Agent">>, <<"me">>}], [{<<"user-agent">>, <<>>}], [{<<"Content-Length">>, <<"0">>}],
     [{<<"Accept-Encoding">>, <<"gzip">>}], [{<<"Expect">>, <<"100-continue">>}],
     [{<<"A b">>, <<"c">>}], [{<<"">>, <<"c">>}], [{<<"A:">>, <<"c">>}],
     [not_a_pair], [{<<"A">>, <<"b">>, <<"c">>}], [{<<"A">>, 1.5}], [<<"A: b">>],
     [{<<"X-", (integer_to_binary(N))/binary>>, <<"v">>} || N <- lists:seq(1, 5)]].

bodies() ->
    [{[], "string"}, {[], ["io", [<<"list">>]]}, {[], []}, {[], <<0, 1, 2, 255>>},
     {[{<<"Content-Length">>, <<"4">>}], <<"data">>},
     {[{<<"content-length">>, 4}], <<"data">>},
     {[{<<"Transfer-Encoding">>, <<"chunked">>}], <<"4\r\ndata\r\n0\r\n\r\n">>},
     {[{<<"Content-Type">>, <<"text/plain">>}], <<"data">>},
     {[{<<"Content-Length">>, <<"0">>}], <<>>}].

numbered(List) -> lists:zip(lists:seq(1, length(List)), List).

%% In pieces

uploads() ->
    [#{id => {upload, Name}, script => [request, {send, hansom_case:response(<<"hi">>)}],
       start => Start, do => [connect, Head | Pieces] ++ Rest}
     || {Name, Start, Headers, Pieces} <- upload(),
        Head <- [{send_request_headers, <<"POST">>, <<"/up">>, Headers}],
        Rest <- [case lists:member(finish_send_body, Pieces) of
                     true -> [start_response, body];
                     false -> []
                 end]]
    ++ [#{id => {upload_head, Name}, script => [request, {send, hansom_case:response(<<"hi">>)}],
          do => [connect, {send_request_headers, Method, Path, Headers}, finish_send_body, start_response, body]}
        || {Name, Method, Path, Headers}
               <- [{empty_path, <<"POST">>, <<>>, []}, {get, <<"GET">>, <<"/">>, []},
                   {query, <<"QUERY">>, <<"/">>, []}, {bad_target, <<"POST">>, <<"/\r">>, []},
                   {bad_method, <<"PO\nST">>, <<"/">>, []},
                   {line_ends, <<"POST">>, <<"/">>, [{<<"A">>, <<"b\r\nC: d">>}]},
                   {parameters, <<"POST">>, <<"/">>, [{<<"A">>, {<<"b">>, [{<<"k">>, <<"v">>}]}}]},
                   {strings, <<"POST">>, <<"/">>, [{"A", "b"}]}, {number, <<"POST">>, <<"/">>, [{<<"A">>, 1}]},
                   {own_host, <<"POST">>, <<"/">>, [{<<"Host">>, <<"h">>}, {<<"User-Agent">>, <<"u">>}]}]].

upload() ->
    Three = fun(3) -> eof; (N) -> {ok, integer_to_binary(N), N + 1} end,
    [{one, #{}, [], [{send_body_chunk, <<"data">>}, finish_send_body]},
     {three, #{}, [], [{send_body_chunk, Piece} || Piece <- [<<"a">>, "bc", [<<"d">>, "ef"]]] ++ [finish_send_body]},
     {none, #{}, [], [finish_send_body]},
     {long, #{}, [], [{send_body_chunk, binary:copy(<<"x">>, 300)}, finish_send_body]},
     {empty_piece, #{}, [], [{send_body_chunk, <<>>}, {send_body_chunk, <<"a">>}, finish_send_body]},
     {fun_eof, #{}, [], [{send_body_chunk, fun() -> eof end}, finish_send_body]},
     {fun_state, #{}, [], [{send_body_chunk, {Three, 0}}, finish_send_body]},
     {fun_iodata, #{}, [], [{send_body_chunk, {fun(0) -> {ok, ["a", <<"b">>], 1}; (1) -> eof end, 0}}, finish_send_body]},
     {fun_fails, #{}, [], [{send_body_chunk, fun() -> {error, enough} end}, get_state, {send_body_chunk, <<"x">>}]},
     {fun_fails_later, #{}, [], [{send_body_chunk, {fun(0) -> {ok, <<"a">>, 1}; (1) -> {error, enough} end, 0}}, get_state]},
     {fun_raises, #{}, [], [{send_body_chunk, fun() -> error(broken) end}]},
     {fun_exits, #{}, [], [{send_body_chunk, fun() -> exit(broken) end}]},
     {fun_other, #{}, [], [{send_body_chunk, fun() -> something end}]},
     {not_data, #{}, [], [{send_body_chunk, 17}]},
     {own_chunked, #{}, [{<<"transfer-encoding">>, <<"chunked">>}], [{send_body_chunk, <<"a">>}, finish_send_body]},
     {own_length, #{}, [{<<"Content-Length">>, <<"1">>}], [{send_body_chunk, <<"a">>}, finish_send_body]},
     {twice_finished, #{}, [], [{send_body_chunk, <<"a">>}, finish_send_body, finish_send_body]},
     {after_finish, #{}, [], [finish_send_body, {send_body_chunk, <<"a">>}]},
     {stream_atom, #{}, [], []},
     {pooled, #{pool_pid => {actor, pool}}, [], [{send_body_chunk, <<"a">>}, finish_send_body]},
     {no_reuse, #{no_reuse => true}, [], [{send_body_chunk, <<"a">>}, finish_send_body]}].

%% A server that does not wait for the body.

early() ->
    [#{id => {early, Name}, script => [head, {send, hansom_case:response(<<"no">>)} | Then],
       do => [connect, {send_request_headers, <<"POST">>, <<"/">>, []}, {send_body_chunk, <<"a">>} | Do]}
     || {Name, Then, Do} <- [{answer, [], [start_response, body, get_state]},
                             {pieces, [], [start_response, pieces]}]]
    ++ [#{id => {early, body_stream}, script => [head, {send, hansom_case:response(<<"ok">>)}],
          do => [connect, {request, <<"POST">>, <<"/">>, [{<<"Content-Length">>, <<"2">>}], stream}, body]}].
