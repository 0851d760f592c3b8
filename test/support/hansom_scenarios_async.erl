%% @doc Responses as messages: modes, changes of mode, redirects, receivers.
-module(hansom_scenarios_async).

-export([scenarios/0]).

scenarios() ->
    [hansom_deviations:mark(Scenario) || Scenario <- modes() ++ redirects() ++ changes() ++ receivers() ++ failures()].

%% Every kind of body in every mode, with what becomes of the connection.

modes() ->
    [#{id => {mode, Name, Mode, Pooled}, start => pooled(Pooled),
       script => [request, {send, Response}] ++ [half_close || Ends =:= close]
                 ++ [Step || Ends =:= open, Step <- [request, {send, hansom_case:response(<<"next">>)}]],
       do => [connect, {request_async, Method, <<"/">>, [], <<>>, Mode} | mode(Mode, Kind)] ++ afterwards(Ends, Pooled)}
     || Pooled <- [alone, pooled, no_reuse], Mode <- [true, once],
        {Name, Method, Kind, Ends, Response} <- bodies()].

pooled(alone) -> #{};
pooled(pooled) -> #{pool_pid => {actor, pool}};
pooled(no_reuse) -> #{no_reuse => true}.

mode(true, _) -> [messages];
mode(once, bodyless) -> [{messages, 3}];
mode(once, body) -> [{messages, 2}, pull_all].

%% Whether it can be used again.
afterwards(open, pooled) -> [get, body];
afterwards(_, _) -> [].

bodies() ->
    [{length, <<"GET">>, body, open, hansom_case:response(<<"hello">>)},
     {empty, <<"GET">>, body, open, hansom_case:response(<<>>)},
     {chunked, <<"GET">>, body, open, hansom_case:chunked(["one", "two"])},
     {no_chunks, <<"GET">>, body, open, hansom_case:chunked([])},
     {until_close, <<"GET">>, body, close, "HTTP/1.1 200 OK\r\n\r\nhello"},
     {says_close, <<"GET">>, body, close_said, hansom_case:response(["Connection: close"], <<"hello">>)},
     {http_1_0, <<"GET">>, body, close_said, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
     {head, <<"HEAD">>, bodyless, open, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
     {no_content, <<"GET">>, bodyless, open, "HTTP/1.1 204 None\r\n\r\n"},
     {not_modified, <<"GET">>, bodyless, open, "HTTP/1.1 304 Same\r\nETag: x\r\n\r\n"},
     {gzip, <<"GET">>, body, open, hansom_case:response(["Content-Encoding: gzip"], <<"not really">>)},
     {not_found, <<"GET">>, body, open, "HTTP/1.1 404 None\r\nContent-Length: 2\r\n\r\nno"}].

%% Redirects

redirects() ->
    [#{id => {redirect, Status, Method, Name, Follow, Pooled}, start => pooled(Pooled),
       script => [request, {send, ["HTTP/1.1 ", integer_to_list(Status), " X\r\n", Fields, "\r\n", Body]},
                  request, {send, hansom_case:response(<<"next">>)}],
       do => [connect, {request_async, Method, <<"/">>, [], <<>>, true, {actor, main}, Follow}, messages]
             ++ [Op || Follow, Pooled =:= pooled, Op <- [get, body]]}
     || Pooled <- [alone, pooled], Follow <- [true, false], Status <- [300, 301, 302, 303, 304, 305, 307, 308],
        Method <- [<<"GET">>, <<"POST">>],
        {Name, Fields, Body} <- [{to, "Location: /there\r\nContent-Length: 2\r\n", "hi"},
                                 {nowhere, "Content-Length: 2\r\n", "hi"}],
        Status =/= 304,
        Follow orelse Name =:= to]
    ++ [#{id => {redirect, detail, not_modified}, script => [request, {send, "HTTP/1.1 304 Same\r\nLocation: /a\r\n\r\n"}],
          do => [connect, {request_async, <<"GET">>, <<"/">>, [], <<>>, true, {actor, main}, true}, messages]}]
    ++ [#{id => {redirect, detail, Name}, script => [request, {send, ["HTTP/1.1 302 X\r\n" | Rest]} | Ends],
          do => [connect, {request_async, Method, <<"/">>, [], <<>>, Mode, {actor, main}, true} | Messages]}
        || {Name, Method, Mode, Messages, Ends, Rest} <-
               [{chunked, <<"GET">>, true, [messages], [],
                 "Location: /a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
                {until_close, <<"GET">>, true, [messages], [half_close], "Location: /a\r\n\r\nhi"},
                {says_close, <<"GET">>, true, [messages], [],
                 "Location: /a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"},
                {once, <<"GET">>, once, [messages], [], "Location: /a\r\nContent-Length: 2\r\n\r\nhi"},
                {head, <<"HEAD">>, true, [messages], [], "Location: /a\r\nContent-Length: 2\r\n\r\n"},
                {two_locations, <<"GET">>, true, [messages], [],
                 "Location: /a\r\nLocation: /b\r\nContent-Length: 2\r\n\r\nhi"},
                {empty_location, <<"GET">>, true, [messages], [], "Location:\r\nContent-Length: 2\r\n\r\nhi"},
                {lower_case, <<"GET">>, true, [messages], [], "location: /a\r\nContent-Length: 0\r\n\r\n"}]].

%% Changes of mode

changes() ->
    Chunk = fun(Text) -> {send, ["3\r\n", Text, "\r\n"]} end,
    Head = {send, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
    End = {send, "0\r\n\r\n"},
    [#{id => {change, Name}, start => Start, script => [request, Head | Script], do => [connect | Do]}
     || {Name, Start, Script, Do} <-
            [{stop_async_at_once, #{}, [Chunk("one"), Chunk("two"), End],
              [{async, once}, {messages, 2}, stop_async, get_state, body]},
             {stop_async_pieces, #{}, [Chunk("one"), Chunk("two"), End],
              [{async, once}, {messages, 2}, pull, stop_async, pieces]},
             {stop_async_pooled, #{pool_pid => {actor, pool}}, [Chunk("one"), End],
              [{async, once}, {messages, 2}, stop_async, body, get_state]},
             {stop_async_twice, #{}, [Chunk("one"), End],
              [{async, once}, {messages, 2}, stop_async, stop_async]},
             {stop_async_then_close, #{}, [Chunk("one"), End],
              [{async, once}, {messages, 2}, stop_async, close, get_state]},
             {pull_one_by_one, #{}, [Chunk("one"), wait, Chunk("two"), wait, End],
              [{async, once}, {messages, 2}, pull, continue, pull, continue, pull]},
             {pull_before_the_data, #{}, [wait, Chunk("one"), End],
              [{async, once}, {messages, 2}, stream_next, continue, {messages, 1}, pull]},
             {resume_after_once, #{}, [Chunk("one"), Chunk("two"), End],
              [{async, once}, {messages, 2}, pull, resume_stream, messages]},
             {pause_in_once, #{}, [Chunk("one"), Chunk("two"), End],
              [{async, once}, {messages, 2}, pause_stream, pull_all]},
             {close_in_once, #{}, [Chunk("one"), End], [{async, once}, {messages, 2}, close, get_state]},
             {second_request, #{}, [Chunk("one"), End],
              [{async, once}, {messages, 2}, get, {async, true}, {send_request_headers, <<"PUT">>, <<"/">>, []}, pull_all]},
             {set_owner_in_once, #{}, [Chunk("one"), End],
              [{async, once}, {messages, 2}, {set_owner, {actor, other}}, pull_all]}]].

%% Receivers

receivers() ->
    Body = [request, {send, hansom_case:chunked(["one", "two"])}],
    Open = [request, {send, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"}, wait,
            {send, "3\r\ntwo\r\n0\r\n\r\n"}],
    To = fun(Mode, Follow) ->
                 {request_async, <<"GET">>, <<"/">>, [], <<>>, Mode, {actor, other}, Follow}
         end,
    [#{id => {receiver, Name}, start => Start, script => Script, do => [connect | Do]}
     || {Name, Start, Script, Do} <-
            [{other, #{}, Body, [To(true, false), {as, other, messages}]},
             {other_once, #{}, Body, [To(once, false), {as, other, {messages, 2}}, {as, other, pull_all}]},
             {pulled_by_the_caller, #{}, Body,
              [To(once, false), {as, other, {messages, 2}}, stream_next, {as, other, {messages, 1}}]},
             {six_arguments, #{}, Body, [{request_async, <<"GET">>, <<"/">>, [], <<>>, true}, messages]},
             {seven_arguments, #{}, Body,
              [{request_async, <<"GET">>, <<"/">>, [], <<>>, true, {actor, other}}, {as, other, messages}]},
             {nine_arguments, #{}, Body,
              [{request_async, <<"GET">>, <<"/">>, [], <<>>, true, {actor, other}, false, [{recv_timeout, 900}]},
               {as, other, messages}]},
             {not_a_mode, #{}, Body, [{async, twice}]},
             {dies_in_once, #{}, Open, [To(once, false), {as, other, {messages, 2}}, {kill, other}, {wait, gone}]},
             {caller_dies_in_once, #{owner => {actor, owner}}, Body,
              [{as, caller, {request_async, <<"GET">>, <<"/">>, [], <<>>, once, {actor, other}, false}},
               {as, other, {messages, 2}}, {kill, caller}, {as, other, pull_all}]},
             {old_owner_dies, #{owner => {actor, owner}}, Body,
              [To(once, false), {as, other, {messages, 2}}, {kill, owner}, {as, other, pull_all}]},
             {stopped, #{}, Open, [{async, once}, {messages, 2}, stop]},
             {killed, #{}, Open, [{async, once}, {messages, 2}, {signal, kill}, {wait, gone}]},
             {owner_is_lost, #{owner => {actor, owner}}, Open,
              [{async, once}, {messages, 2}, {kill, owner}, {wait, gone}]},
             {owner_is_the_receiver, #{owner => {actor, owner}}, Body,
              [{request_async, <<"GET">>, <<"/">>, [], <<>>, once, {actor, owner}, false}, {as, owner, {messages, 2}},
               {kill, owner}, {wait, gone}]}]].

%% Failures

failures() ->
    [#{id => {failure, Name, Mode}, start => Start, script => [request | Script],
       do => [connect, {async, Mode}, messages]}
     || Mode <- [true, once],
        {Name, Start, Script} <-
            [{closed_before_the_head, #{}, [half_close]}, {timeout_before_the_head, #{recv_timeout => 100}, []},
             {not_http, #{}, [{send, "220 ready"}]}, {bad_status, #{}, [{send, "HTTP/x 1\r\n\r\n"}]},
             {long_line, #{}, [{send, ["HTTP/1.1 200 ", binary:copy(<<"a">>, 5000)]}]},
             {pooled_closed, #{pool_pid => {actor, pool}}, [half_close]},
             {pooled_timeout, #{pool_pid => {actor, pool}, recv_timeout => 100}, []}]]
    ++ [#{id => {failure, Name, body}, start => #{recv_timeout => 500, truncated_body => ok},
          script => [request, {send, ["HTTP/1.1 200 OK\r\n", Part]} | Script], do => [connect, {async, true}, messages]}
        || {Name, Part, Script} <-
               [{timeout_in_the_body, "Content-Length: 9\r\n\r\nhi", []},
                {closed_in_the_body, "Content-Length: 9\r\n\r\nhi", [half_close]},
                {bad_chunk, "Transfer-Encoding: chunked\r\n\r\nx\r\n", []},
                {timeout_in_the_head, "Content-Length: 9\r\n", []}]].
