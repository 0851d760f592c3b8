%% @doc The life of a connection: dialling, timeouts, owners, callers, the peer's close, the pool.
-module(hansom_scenarios_life).

-export([scenarios/0]).

-define(HI, {send, hansom_case:response(<<"hi">>)}).
-define(ANSWERS, [request, ?HI, request, ?HI, request, ?HI]).

scenarios() ->
    [hansom_deviations:mark(Scenario)
     || Scenario <- dial() ++ timeouts() ++ owners() ++ callers() ++ closes() ++ pools() ++ signals() ++ options()].

dial() ->
    [#{id => {dial, refused, Pooled}, port => refused, start => pooled(Pooled), do => [connect]}
     || Pooled <- [alone, pooled]]
    ++ [#{id => {dial, timeout, Time}, port => full, start => #{connect_timeout => Time}, do => [connect]}
        || Time <- [50, 120]]
    ++ [#{id => {dial, caller_does_not_wait}, port => full, start => #{connect_timeout => 300},
          do => [{connect, 20}, {wait, gone}]},
        #{id => {dial, no_such_name}, port => refused, start => #{host => "no-such-name.invalid"}, do => [connect]},
        #{id => {dial, localhost}, script => ?ANSWERS, start => #{host => "localhost"}, do => [connect, get, body]},
        #{id => {dial, again}, script => ?ANSWERS, do => [connect, get, body, close, connect, get, body]},
        #{id => {dial, again_in_a_body}, script => ?ANSWERS, do => [connect, get, close, connect, get, body]},
        #{id => {dial, again_twice}, script => [], do => [connect, close, connect, close, connect, get_state]},
        #{id => {dial, concurrently}, script => ?ANSWERS, do => [connect, {as, other, connect}, get, body]}].

pooled(alone) -> #{};
pooled(pooled) -> #{pool_pid => {actor, pool}}.

timeouts() ->
    Head = {send, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
    [#{id => {timeout, Name, Pooled}, start => maps:merge(pooled(Pooled), Start), script => Script, do => [connect | Do]}
     || Pooled <- [alone, pooled],
        {Name, Start, Script, Do} <-
            [{no_answer, #{recv_timeout => 60}, [request], [get]},
             {part_of_the_head, #{recv_timeout => 60}, [request, {send, "HTTP/1.1 200 OK\r\nA: b\r\n"}], [get]},
             {in_the_body, #{recv_timeout => 500}, [request, Head, {send, "hi"}], [get, body]},
             {in_the_pieces, #{recv_timeout => 500}, [request, Head], [get, stream_body]},
             {of_a_request, #{}, [request], [{get, <<"/">>, [{recv_timeout, 60}]}]},
             {after_interim, #{recv_timeout => 60}, [request, {send, "HTTP/1.1 100 Go on\r\n\r\n"}], [get]},
             {in_a_chunk, #{recv_timeout => 500},
              [request, {send, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"}], [get, body]},
             {idle, #{idle_timeout => 60}, [], [{wait, closed}]},
             {idle_after_an_exchange, #{idle_timeout => 500}, [request, ?HI], [get, body, {wait, closed}]},
             {upload_without_an_answer, #{recv_timeout => 60}, [],
              [{send_request_headers, <<"POST">>, <<"/">>, []}, finish_send_body, start_response]}],
        %% The pool's own connection is gone before anybody could look.
        Pooled =:= alone orelse (Name =/= idle andalso Name =/= idle_after_an_exchange)]
    ++ [#{id => {timeout, idle_pooled, When}, start => #{idle_timeout => 500, pool_pid => {actor, pool}},
          script => [request, ?HI], do => [connect | Do] ++ [{wait, gone}]}
        || {When, Do} <- [{unused, []}, {used, [get, body]}]]
    ++ [#{id => {timeout, of_the_caller, Name}, script => [request, wait, ?HI | ?ANSWERS], do => [connect | Do]}
        || {Name, Do} <- [{request, [{request, <<"GET">>, <<"/">>, [], <<>>, 50}, continue, body, get, body]},
                          {request_left, [{request, <<"GET">>, <<"/">>, [], <<>>, 50}, continue, {wait, receiving}]}]]
    ++ [#{id => {timeout, of_the_caller, body},
          script => [request, Head, wait, {send, "123456789"} | ?ANSWERS],
          do => [connect, get, {body, 50}, continue, {wait, receiving}]},
        #{id => {timeout, does_not_stick}, script => [request, ?HI, request, wait, ?HI],
          do => [connect, {get, <<"/">>, [{recv_timeout, 400}]}, body, {spawn, other, get}, {arrived, 2}, {pass, 600},
                 continue, {join, other}]}].

owners() ->
    [#{id => {owner, State, How}, start => #{owner => {actor, owner}},
       script => [request, {send, hansom_case:chunked(["one"])}], do => enter(State) ++ lose(How) ++ [{wait, gone}]}
     || State <- [idle, connected, receiving, streaming_once, streaming_body, closed], How <- [kill, exit]]
    ++ [#{id => {owner, Name}, start => #{owner => {actor, owner}}, script => ?ANSWERS, do => Do}
        || {Name, Do} <-
               [{changed, [connect, {set_owner, {actor, new}}, {kill, owner}, get, body, {kill, new}, {wait, gone}]},
                {changed_async, [connect, {set_owner_async, {actor, new}}, get_state, {kill, owner}, get, body]},
                {changed_while_receiving, [connect, get, {set_owner, {actor, new}}, {kill, owner}, body]},
                {to_a_dead_one, [connect, {as, new, {tell, here}}, {kill, new}, {set_owner, {actor, new}}, {wait, gone}]},
                {to_itself, [connect, {set_owner, {actor, owner}}, get, body]},
                {refused_in_idle, [{set_owner, {actor, new}}, {kill, owner}, {wait, gone}]},
                {another_dies, [connect, {as, other, get}, {kill, other}, body]},
                {main_is_not_the_owner, [connect, {as, owner, get}, {as, owner, body}]}]].

enter(idle) -> [];
enter(connected) -> [connect];
enter(receiving) -> [connect, get];
enter(streaming_once) -> [connect, {async, once}, {messages, 2}];
enter(streaming_body) -> [connect, {send_request_headers, <<"POST">>, <<"/">>, []}];
enter(closed) -> [connect, close].

lose(kill) -> [{kill, owner}];
lose(exit) -> [{as, owner, leave}].

callers() ->
    [#{id => {caller, Name}, script => Script, do => [connect | Do]}
     || {Name, Script, Do} <-
            [{killed_before_the_answer, [request, wait, ?HI | ?ANSWERS],
              [{spawn, other, get}, {arrived, 1}, {kill, other}, continue, {wait, receiving}, body, get, body]},
             {killed_after_the_head, ?ANSWERS, [{as, other, get}, {kill, other}, body, get, body]},
             {killed_in_an_upload, ?ANSWERS,
              [{as, other, {send_request_headers, <<"POST">>, <<"/">>, []}}, {kill, other}, get_state,
               finish_send_body, start_response, body]},
             {body_by_another, ?ANSWERS, [get, {as, other, body}]},
             {upload_by_two, ?ANSWERS,
              [{send_request_headers, <<"POST">>, <<"/">>, []}, {as, other, {send_body_chunk, <<"x">>}},
               finish_send_body, {as, other, start_response}, body]},
             {second_while_receiving, ?ANSWERS, [get, {as, other, get}, body, {as, other, get}]},
             {stopped_by_another, [request, wait], [{spawn, other, get}, {arrived, 1}, stop, {join, other}]}]]
    ++ [#{id => {caller, dead_connection, Name}, script => [], do => [connect, stop, Op]}
        || {Name, Op} <- hansom_scenarios_state:operations(), Name =:= get orelse Name =:= body].

%% The peer closes.

closes() ->
    [#{id => {peer, Name, Pooled}, start => pooled(Pooled), script => Script, do => [connect | Do]}
     || Pooled <- [alone, pooled],
        {Name, Script, Do} <-
            [{closes_while_idle, ?ANSWERS, [get, body, {server, half_close}, Wait]}
             || Wait <- [case Pooled of alone -> {wait, closed}; pooled -> {wait, gone} end]]
            ++ [{closes_at_once, [half_close], [{server, half_close}, get]},
                {closes_after_the_request, [request, half_close], [get]},
                {resets_after_the_request, [request, reset], [get]},
                {closes_after_an_upload, [request, half_close],
                 [{send_request_headers, <<"POST">>, <<"/">>, []}, finish_send_body, start_response]}]].

%% The pool

pools() ->
    [#{id => {pool, Name}, start => maps:merge(#{pool_pid => {actor, pool}, owner => {actor, user}}, Start),
       script => Script, do => Do}
     || {Name, Start, Script, Do} <-
            [{body_gives_back, #{}, ?ANSWERS, [connect, get, body, {kill, user}, get, body]},
             {pieces_give_back, #{}, ?ANSWERS, [connect, get, pieces, {kill, user}, get_state]},
             {half_read_does_not, #{}, [request, {send, hansom_case:chunked(["one", "two"])}],
              [connect, get, {kill, user}, {wait, gone}]},
             {released, #{}, ?ANSWERS, [connect, release_to_pool, {kill, user}, get_state]},
             {released_after_use, #{}, ?ANSWERS, [connect, get, body, release_to_pool, is_ready, get, body]},
             {released_twice, #{}, ?ANSWERS, [connect, release_to_pool, release_to_pool]},
             {released_no_reuse, #{no_reuse => true}, ?ANSWERS, [connect, release_to_pool]},
             {no_reuse, #{no_reuse => true}, ?ANSWERS, [connect, get, body, {wait, gone}]},
             {checked_out, #{}, ?ANSWERS,
              [connect, get, body, {as, pool, is_ready}, {as, pool, {set_owner, {actor, next}}}, {kill, user},
               {as, next, get}, {as, next, body}, {kill, next}, get_state]},
             {checked_out_and_lost, #{}, ?ANSWERS,
              [connect, get, body, is_ready, {set_owner, {actor, next}}, {kill, next}, {wait, gone}]},
             {cast_to_the_pool, #{}, ?ANSWERS, [connect, {set_owner_async, {actor, pool}}, get_state, {kill, user}, get_state]},
             {cast_when_closed, #{}, [], [connect, close, {set_owner_async, {actor, pool}}, {wait, gone}]},
             {closed, #{}, [], [connect, close, {wait, gone}]},
             {pool_dies, #{}, ?ANSWERS, [connect, get, body, {kill, pool}, {wait, gone}]},
             {pool_dies_before, #{}, ?ANSWERS, [connect, {kill, pool}, get, body, {wait, gone}]},
             {info_idle, #{}, [], [checkin_info]},
             {info_fresh, #{}, [], [connect, checkin_info]},
             {info_used, #{}, ?ANSWERS, [connect, get, body, checkin_info]},
             {info_receiving, #{}, ?ANSWERS, [connect, get, checkin_info]},
             {info_no_reuse, #{no_reuse => true}, [], [connect, checkin_info]},
             {truncated, #{truncated_body => ok}, [request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"}, half_close],
              [connect, get, body]},
             {truncated_error, #{}, [request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"}, half_close],
              [connect, get, body]},
             {until_close, #{}, [request, {send, "HTTP/1.1 200 OK\r\n\r\nhi"}, half_close], [connect, get, body]},
             {no_content, #{}, [request, {send, "HTTP/1.1 204 None\r\n\r\n"}], [connect, get, body]},
             {head, #{}, [request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"} | ?ANSWERS],
              [connect, {request, <<"HEAD">>, <<"/">>, [], <<>>}, body, get, body]},
             {head_without_body_call, #{}, [request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"}],
              [connect, {request, <<"HEAD">>, <<"/">>, [], <<>>}, get_state]},
             {bad_response, #{}, [request, {send, "nonsense\r\n"}], [connect, get]},
             {dial_fails_again, #{}, [], [connect, {wait, connected}]}]].

%% Exit signals

signals() ->
    [#{id => {signal, State, Reason}, script => [request, {send, hansom_case:chunked(["one"])}],
       do => enter(State) ++ [{signal, Reason}, {wait, gone}]}
     || State <- [idle, connected, receiving, closed], Reason <- [kill]]
    ++ [#{id => {signal, swallowed, State, Reason}, script => [request, {send, hansom_case:chunked(["one"])}],
          do => enter(State) ++ [{signal, Reason}, get_state]}
        || State <- [idle, connected, receiving, streaming_once, closed], Reason <- [shutdown, something]]
    ++ [#{id => {signal, kill_in_a_call}, script => [request, wait],
          do => [connect, {spawn, other, get}, {arrived, 1}, {signal, kill}, {join, other}, {wait, gone}]}].

%% Start options

options() ->
    [#{id => {option, Name}, script => ?ANSWERS, start => Start, do => [connect, get, body, get, body]}
     || {Name, Start} <-
            [{nothing, #{}}, {unknown_key, #{something => 1}}, {transport_gen_tcp, #{transport => hackney_tcp}},
             {nodelay, #{connect_options => [{nodelay, true}]}}, {inet, #{connect_options => [inet]}},
             {protocols, #{connect_options => [{protocols, [http1]}]}},
             {protocols_http2, #{connect_options => [{protocols, [http2]}]}},
             {no_protocols, #{connect_options => [{protocols, []}]}},
             {infinite, #{recv_timeout => infinity, connect_timeout => infinity, idle_timeout => infinity}},
             {no_reuse, #{no_reuse => true}},
             {local_address, #{connect_options => [{ip, {127, 0, 0, 1}}]}},
             {decompress, #{auto_decompress => true}},
             {ssl_options_unused, #{ssl_options => [{verify, verify_none}]}}]]
    ++ [#{id => {option, unknown_socket_option}, script => ?ANSWERS, start => #{connect_options => [{no_such, 1}]},
          do => [connect]}].
