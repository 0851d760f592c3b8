%% @doc The states of a connection, what is allowed in each, its timers, and the
%% guarantees that come with being a process.
-module(hansom_state_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
-define(IS, {error, invalid_state}).

-import(hansom_case, [connected/1, connected/2, start/2, start_with/1, serve/1, request/1, exchange/1,
                      state/1, response/1, chunked/1]).

all() -> hansom_case:cases(?MODULE).

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{st_01_state_is_told_during_an_exchange, "ST-1: hackney answers after its read"},
     {st_04_owner_death_ends_a_running_exchange, "ST-4: hackney notices after its read"},
     {st_10_checkout_restarts_the_idle_timer, "ST-10 is marked wrong"}].

%% A connection in a state, brought there as users do.
in(idle, Options) ->
    start(serve([]), Options);
in(closed, Options) ->
    Pid = in(connected, Options),
    ok = ?CONN:close(Pid),
    Pid;
in(State, Options) ->
    {Pid, _} = connected(serve([request, {send, chunked(["one", "two"])}, wait]), Options),
    enter(State, Pid),
    State = state(Pid),
    Pid.

enter(connected, _) ->
    ok;
enter(receiving, Pid) ->
    {ok, 200, _} = request(Pid);
enter(streaming_body, Pid) ->
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []);
enter(streaming_once, Pid) ->
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
    {status, 200, _} = hansom_case:payload(Pid),
    {headers, _} = hansom_case:payload(Pid).

states() -> [idle, connected, streaming_body, receiving, streaming_once, closed].

%% Every call that can be out of place, and the states it has a place in.
calls() ->
    [{connect, fun(P) -> ?CONN:connect(P) end, [idle, closed]},
     {request, fun(P) -> request(P) end, [connected]},
     {request_async, fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true) end,
      [connected]},
     {request_streaming, fun(P) -> ?CONN:request_streaming(P, <<"GET">>, <<"/">>, [], <<>>) end, []},
     {send_request_headers, fun(P) -> ?CONN:send_request_headers(P, <<"POST">>, <<"/">>, []) end,
      [connected]},
     {send_body_chunk, fun(P) -> ?CONN:send_body_chunk(P, <<"x">>) end, [streaming_body]},
     {send_body_fun, fun(P) -> ?CONN:send_body_chunk(P, fun() -> eof end) end, [streaming_body]},
     {finish_send_body, fun(P) -> ?CONN:finish_send_body(P) end, [streaming_body]},
     {start_response, fun(P) -> ?CONN:start_response(P) end, [streaming_body]},
     {body, fun(P) -> ?CONN:body(P) end, [receiving]},
     {stream_body, fun(P) -> ?CONN:stream_body(P) end, [receiving]},
     {stop_async, fun(P) -> ?CONN:stop_async(P) end, [streaming_once]},
     {set_owner, fun(P) -> ?CONN:set_owner(P, self()) end, [connected, receiving]},
     {release_to_pool, fun(P) -> ?CONN:release_to_pool(P) end, [connected]},
     {verify_socket, fun(P) -> ?CONN:verify_socket(P) end, [connected]},
     {is_ready, fun(P) -> ?CONN:is_ready(P) end, [connected]},
     {upgrade_to_ssl, fun(P) -> ?CONN:upgrade_to_ssl(P, []) end, [connected]},
     {unknown, fun(P) -> gen_statem:call(P, some_unknown_call) end, []}].

%% Clauses: ST-3, API-8, API-17, API-22, API-23, API-24, API-25, API-27
st_03_calls_out_of_place_answer_invalid_state(_) ->
    [begin
         Pid = in(State, #{}),
         [?assertEqual({Name, State, ?IS}, {Name, State, Call(Pid)})
          || {Name, Call, Places} <- calls(), not lists:member(State, Places)],
         ?assertEqual(State, state(Pid))
     end
     || State <- states()],
    hansom_case:no_message().

%% Clauses: ST-3
st_03_calls_in_place_do_not(_) ->
    [begin
         Pid = in(State, #{}),
         ?assertNotEqual({Name, State, ?IS}, {Name, State, Call(Pid)})
     end
     || {Name, Call, Places} <- calls(), State <- Places,
        %% These wait for a server that says more than this one.
        not lists:member(Name, [start_response, upgrade_to_ssl, request_async])],
    hansom_case:no_message().

%% Clauses: ST-3, API-16
st_03_unknown_casts_and_messages_are_ignored(_) ->
    [begin
         Pid = in(State, #{}),
         gen_statem:cast(Pid, some_unknown_cast),
         gen_statem:cast(Pid, {set_something, 1}),
         Pid ! some_unknown_message,
         Pid ! {make_ref(), ok},
         Pid ! {tcp_closed, not_a_socket},
         ?assertEqual(State, state(Pid))
     end
     || State <- states()].

%% Clauses: API-18, ST-3
st_03_close_in_every_state(_) ->
    [begin
         Pid = in(State, #{}),
         ?assertEqual(ok, ?CONN:close(Pid)),
         ?assertEqual(closed, state(Pid)),
         ?assertEqual(ok, ?CONN:close(Pid)),
         %% The receiver of a stream may be told that it ended.
         receive {hackney_response, Pid, {error, closed}} when State =:= streaming_once -> ok
         after 0 -> ok
         end
     end
     || State <- states()],
    hansom_case:no_message().

%% Clauses: ST-1, ST-24
st_01_calls_during_an_exchange_do_not_disturb_it(_) ->
    {Pid, Peer} = connected(serve([request, wait, {send, response(<<"x">>)}])),
    Caller = hansom_case:async(fun() -> exchange(Pid) end),
    ok = hansom_script:arrived(Peer, 1),
    Second = hansom_case:async(fun() -> request(Pid) end),
    hansom_script:continue(Peer),
    ?assertEqual({ok, {200, <<"x">>}}, hansom_case:result(Caller)),
    ?assertEqual({ok, ?IS}, hansom_case:result(Second)).

%% Clauses: ST-1
st_01_state_is_told_during_an_exchange(_) ->
    {Pid, Peer} = connected(serve([request, wait, {send, response(<<"x">>)},
                                   request, wait, {send, response(<<"y">>)}])),
    Caller = hansom_case:async(fun() -> exchange(Pid) end),
    ok = hansom_script:arrived(Peer, 1),
    ?assertEqual(receiving, state(Pid)),
    ?assertEqual(?IS, request(Pid)),
    hansom_script:continue(Peer),
    ?assertEqual({ok, {200, <<"x">>}}, hansom_case:result(Caller)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
    ok = hansom_script:arrived(Peer, 2),
    ?assert(lists:member(state(Pid), [receiving, streaming])),
    hansom_script:continue(Peer),
    ?assertMatch([{status, 200, _}, {headers, _}, <<"y">>, done], hansom_case:payloads(Pid)).

%% Clauses: ST-4, ST-22, EXIT-1, API-28
st_04_owner_death_stops_in_every_state(_) ->
    [begin
         Owner = hansom_case:process(),
         Pid = in(State, #{owner => Owner}),
         Exit = hansom_case:monitor_exit(Pid),
         exit(Owner, Reason),
         ?assertEqual(normal, hansom_case:await(Exit)),
         %% hackney leaves the receiver without a word.
         [?assertEqual({error, closed}, hansom_case:payload(Pid))
          || State =:= streaming_once, hansom_case:is_hansom()]
     end
     || State <- states(), Reason <- [kill, shutdown]].

%% Clauses: ST-4, API-36
st_04_owner_death_ends_a_running_exchange(_) ->
    Owner = hansom_case:process(),
    {Pid, Peer} = connected(serve([request, eof]), #{owner => Owner}),
    Caller = hansom_case:async(fun() -> request(Pid) end),
    ok = hansom_script:arrived(Peer, 1),
    hansom_case:kill(Owner),
    ?assertEqual({ok, {error, closed}}, hansom_case:result(Caller)),
    ok = hansom_script:await_script(Peer).

%% Clauses: ST-5, ST-31, TRAP-28
st_05_set_owner_replaces_the_monitor(_) ->
    [begin
         Old = hansom_case:process(),
         New = hansom_case:process(),
         Pid = in(State, #{owner => Old}),
         ok = ?CONN:set_owner(Pid, New),
         hansom_case:kill(Old),
         ?assertEqual(State, state(Pid)),
         Exit = hansom_case:monitor_exit(Pid),
         hansom_case:kill(New),
         ?assertEqual(normal, hansom_case:await(Exit))
     end
     || State <- [connected, receiving]].

%% Clauses: ST-5
st_05_set_owner_after_the_death_of_the_old_one(_) ->
    Old = hansom_case:process(),
    Pid = in(connected, #{owner => Old}),
    ok = sys:suspend(Pid),
    hansom_case:kill(Old),
    %% The old owner's end is already in the mailbox, behind it the new owner: it stops.
    Caller = hansom_case:async(fun() -> ?CONN:set_owner(Pid, self()) end),
    Exit = hansom_case:monitor_exit(Pid),
    ok = sys:resume(Pid),
    ?assertMatch({exit, {Reason, _}} when Reason =:= normal orelse Reason =:= noproc,
                 hansom_case:result(Caller)),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: API-28, ST-5
st_05_set_owner_async_while_a_body_is_read(_) ->
    Old = hansom_case:process(),
    New = hansom_case:process(),
    Pid = in(receiving, #{owner => Old}),
    ok = ?CONN:set_owner_async(Pid, New),
    receiving = state(Pid),
    hansom_case:kill(Old),
    ?assertEqual({ok, <<"onetwo">>}, ?CONN:body(Pid)).

%% Connecting

%% Clauses: ST-6
st_06_connect_after_close_dials_again(_) ->
    {Pid, First} = connected(Server = serve([{repeat, [request, {send, response(<<"x">>)}]}])),
    {200, <<"x">>} = exchange(Pid),
    ok = ?CONN:close(Pid),
    ok = hansom_script:await_script(First),
    ?assertEqual(ok, ?CONN:connect(Pid)),
    ?assertEqual(connected, state(Pid)),
    ?assertEqual({200, <<"x">>}, exchange(Pid)),
    ?assertEqual(2, hansom_script:connections(Server)).

%% Clauses: ST-6
st_06_failed_redial_stays_closed(_) ->
    {Pid, _} = connected(Server = serve([])),
    ok = ?CONN:close(Pid),
    ok = hansom_script:stop(Server),
    ?assertEqual({error, econnrefused}, ?CONN:connect(Pid)),
    ?assertEqual(closed, state(Pid)).

%% Clauses: ST-6
st_06_redial_drops_buffered_bytes(_) ->
    {Pid, _} = connected(serve([request, {send, [response(<<"x">>), "left over"]},
                                eof])),
    {ok, 200, _} = request(Pid),
    ok = ?CONN:close(Pid),
    ok = ?CONN:connect(Pid),
    ?assertMatch({200, <<"x", _/binary>>}, exchange(Pid)).

%% Clauses: ST-7
st_07_address_literals_and_localhost(_) ->
    Server = serve([{repeat, [request, {send, response(<<"x">>)}]}]),
    [begin
         {Pid, _} = connected(Server, #{host => Host}),
         ?assertEqual({200, <<"x">>}, exchange(Pid))
     end
     || Host <- ["127.0.0.1", "localhost"]].

%% Clauses: ST-7
st_07_ipv6_literals(_) ->
    case hansom_case:serve_on({0, 0, 0, 0, 0, 0, 0, 1}, 0, [request, {send, response(<<"x">>)}]) of
        {ok, Server} ->
            [begin
                 Pid = start_with(#{host => Host, port => hansom_script:port(Server)}),
                 ?assertEqual(ok, ?CONN:connect(Pid)),
                 ?assertEqual({200, <<"x">>}, exchange(Pid))
             end
             || Host <- ["::1", "[::1]", "localhost"]];
        {error, Reason} ->
            {skip, {no_ipv6, Reason}}
    end.

%% Clauses: ST-7, API-5
st_07_errors_of_the_dial(_) ->
    [begin
         Pid = start_with(#{host => Host, port => Port}),
         Exit = hansom_case:monitor_exit(Pid),
         ?assertEqual({error, Reason}, ?CONN:connect(Pid)),
         ?assertEqual(normal, hansom_case:await(Exit))
     end
     || {Host, Port, Reason} <- [{"127.0.0.1", hansom_script:refused_port(), econnrefused},
                                 {"localhost", hansom_script:refused_port(), econnrefused},
                                 {"no-such-host.invalid", 80, nxdomain}]].

%% Clauses: ST-12, ST-7, TRAP-43
st_12_connect_timeout_bounds_the_dial(_) ->
    {Host, Port, Full} = hansom_case:full_listener(),
    Pid = start_with(#{host => Host, port => Port, connect_timeout => 100}),
    Exit = hansom_case:monitor_exit(Pid),
    {error, Reason} = ?CONN:connect(Pid),
    ?assert(lists:member(Reason, [timeout, connect_timeout])),
    ?assertEqual(normal, hansom_case:await(Exit)),
    Waiting = start_with(#{host => Host, port => Port, connect_timeout => 300}),
    WaitingExit = hansom_case:monitor_exit(Waiting),
    %% The argument bounds the wait, not the dial.
    ?assertExit({timeout, {gen_statem, call, _}}, ?CONN:connect(Waiting, 20)),
    ?assertEqual(normal, hansom_case:await(WaitingExit)),
    Full().

%% Timers

%% Clauses: ST-9
st_09_idle_timeout_closes(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"x">>)}, eof]), #{idle_timeout => 150}),
    {200, <<"x">>} = exchange(Pid),
    hansom_case:is_state(Pid, closed),
    ok = hansom_script:await_script(Peer).

%% Clauses: ST-9
st_09_idle_timeout_is_for_connected_only(_) ->
    [begin
         Pid = in(State, #{idle_timeout => 40}),
         hansom_case:hold(120),
         ?assertEqual(State, state(Pid))
     end
     || State <- [receiving, streaming_body, streaming_once]].

%% Clauses: ST-10
st_10_checkout_restarts_the_idle_timer(_) ->
    Pool = hansom_case:process(),
    [begin
         {Pid, _} = connected(serve([]), #{idle_timeout => 400, pool_pid => Pool}),
         [begin hansom_case:hold(200), Checkout(Pid) end || _ <- "1234"],
         ?assertEqual(connected, state(Pid))
     end
     || Checkout <- [fun(P) -> {ok, connected} = ?CONN:is_ready(P) end,
                     fun(P) -> ok = ?CONN:set_owner(P, self()) end]].

%% Clauses: ST-11, POOL-10, ST-15
st_11_pooled_connection_stops_after_a_grace(_) ->
    Pool = hansom_case:process(),
    Pid = in(connected, #{pool_pid => Pool}),
    Exit = hansom_case:monitor_exit(Pid),
    ok = ?CONN:close(Pid),
    ?assertEqual(?IS, request(Pid)),
    ?assertEqual({ok, closed}, ?CONN:get_state(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: ST-11, ST-23
st_11_connection_without_pool_stays(_) ->
    Pid = in(closed, #{}),
    hansom_case:hold(150),
    ?assertEqual(closed, state(Pid)).

%% Clauses: ST-15, ST-16, ST-19, ST-11, TRAP-41
st_15_dead_exchanges_of_a_pooled_connection(_) ->
    Pool = hansom_case:process(),
    [begin
         {Pid, _} = connected(serve([request, {send, Bytes}, half_close, eof]),
                              #{pool_pid => Pool, recv_timeout => 60}),
         Exit = hansom_case:monitor_exit(Pid),
         ?assertEqual(Result, exchange(Pid)),
         ?assertEqual(?IS, request(Pid)),
         ?assertEqual(normal, hansom_case:await(Exit))
     end
     || {Bytes, Result} <- [{"HTTP/1.1 204 No Content\r\n\r\n", {204, <<>>}},
                            {"HTTP/1.1 304 Not Modified\r\n\r\n", {304, <<>>}},
                            {"HTTP/1.1 200 OK\r\n\r\nhello", {200, <<"hello">>}},
                            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                             {error, invalid_chunk_size}}]].

%% Clauses: ST-21
st_21_bodyless_responses_need_the_body_call(_) ->
    [begin
         Read = fun({body, P}) -> {ok, <<>>} = ?CONN:body(P);
                   ({stream_body, P}) -> done = ?CONN:stream_body(P) end,
         [begin
              {Pid, _} = connected(serve([request, {send, Bytes}])),
              {ok, _, _} = ?CONN:request(Pid, Method, <<"/">>, [], <<>>),
              ?assertEqual(receiving, state(Pid)),
              ?assertEqual(?IS, request(Pid)),
              Read({How, Pid})
          end
          || How <- [body, stream_body]]
     end
     || {Method, Bytes} <- [{<<"HEAD">>, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
                            {<<"GET">>, "HTTP/1.1 204 No Content\r\n\r\n"},
                            {<<"GET">>, "HTTP/1.1 304 Not Modified\r\n\r\n"},
                            {<<"GET">>, response(<<>>)}]].

%% Clauses: ST-23, ST-16, ST-27
st_23_closed_connection_holds_no_socket(_) ->
    [begin
         {Pid, Peer} = connected(serve([request | Steps]), #{recv_timeout => 60}),
         _ = Act(Pid),
         ok = hansom_script:await_script(Peer),
         ?assertEqual(done, hansom_script:outcome(Peer))
     end
     || {Steps, Act} <- [{[{send, "HTTP/1.1 204 No Content\r\n\r\n"}, eof], fun hansom_case:exchange/1},
                         {[eof], fun hansom_case:request/1},
                         {[{send, "nonsense"}, eof], fun hansom_case:request/1}]].

%% Guarantees

%% Clauses: ST-24
st_24_concurrent_requests_are_never_interleaved(_) ->
    Body = binary:copy(<<"b">>, 2000),
    {Pid, Peer} = connected(serve([{repeat, [request, {send, response(<<"x">>)}]}])),
    Callers = [hansom_case:async(
                 fun() ->
                         Path = <<"/", (integer_to_binary(N))/binary>>,
                         case ?CONN:request(Pid, <<"POST">>, Path, [], Body) of
                             {ok, 200, _} -> {ok, <<"x">>} = ?CONN:body(Pid), ran;
                             ?IS -> refused
                         end
                 end) || N <- lists:seq(1, 50)],
    Results = [hansom_case:result(Caller) || Caller <- Callers],
    Ran = length([ran || {ok, ran} <- Results]),
    ?assert(Ran >= 1),
    ?assertEqual(50 - Ran, length([refused || {ok, refused} <- Results])),
    ok = ?CONN:close(Pid),
    Requests = hansom_script:requests(Peer),
    ?assertEqual(Ran, length(Requests)),
    [?assertEqual(byte_size(Body), byte_size(lists:last(binary:split(R, <<"\r\n\r\n">>))))
     || R <- Requests].

%% Clauses: ST-25
st_25_calls_and_casts_keep_their_order(_) ->
    Pid = in(streaming_once, #{}),
    ?CONN:stream_next(Pid),
    ok = ?CONN:stop_async(Pid),
    receive {hackney_response, Pid, <<"one">>} -> ok after 0 -> error(out_of_order) end,
    ?CONN:set_owner_async(Pid, self()),
    ok = ?CONN:close(Pid),
    ?assertEqual(closed, state(Pid)).

%% Clauses: ST-26
st_26_killed_caller_leaves_the_connection_usable(_) ->
    {Pid, Peer} = connected(serve([request, wait, {send, response(<<"x">>)}])),
    {Caller, _} = hansom_case:async(fun() -> request(Pid) end),
    ok = hansom_script:arrived(Peer, 1),
    hansom_case:kill(Caller),
    hansom_script:continue(Peer),
    hansom_case:is_state(Pid, receiving),
    ?assertEqual({ok, <<"x">>}, ?CONN:body(Pid)).

%% Clauses: ST-26
st_26_expired_wait_leaves_no_message_behind(_) ->
    {Pid, Peer} = connected(serve([request, wait, {send, response(<<"x">>)}])),
    Caller = hansom_case:async(
               fun() ->
                       {timeout, _} = try request_within(Pid, 20) catch exit:Reason -> Reason end,
                       hansom_script:continue(Peer),
                       hansom_case:is_state(Pid, receiving),
                       %% Whatever was sent is there before this answer.
                       {ok, <<"x">>} = ?CONN:body(Pid)
               end),
    ?assertEqual({ok, {ok, <<"x">>}}, hansom_case:result(Caller)).

request_within(Pid, Timeout) ->
    ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, Timeout).

%% Clauses: ST-26
st_26_caller_with_a_long_mailbox_that_traps_exits(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"x">>)}])),
    Caller = hansom_case:async(
               fun() ->
                       process_flag(trap_exit, true),
                       [self() ! {noise, N} || N <- lists:seq(1, 10000)],
                       Result = exchange(Pid),
                       {message_queue_len, 10000} = process_info(self(), message_queue_len),
                       [receive {noise, N} -> ok end || N <- lists:seq(1, 10000)],
                       Result
               end),
    ?assertEqual({ok, {200, <<"x">>}}, hansom_case:result(Caller)).

%% Clauses: ST-27, API-4
st_27_stop_and_close_close_the_socket(_) ->
    [begin
         {Pid, Peer} = connected(serve([eof])),
         ok = Close(Pid),
         ok = hansom_script:await_script(Peer),
         ?assertEqual(done, hansom_script:outcome(Peer))
     end
     || Close <- [fun(P) -> ?CONN:stop(P) end, fun(P) -> ?CONN:close(P) end]].

%% Clauses: ST-31, POOL-15
st_31_owner_is_the_pool_before_the_answer(_) ->
    Pool = hansom_case:process(),
    {Pid, _} = connected(serve([request, {send, response(<<"x">>)}]), #{pool_pid => Pool}),
    Worker = hansom_case:process(),
    ok = ?CONN:set_owner(Pid, Worker),
    {200, <<"x">>} = hansom_case:run_in(Worker, fun() -> exchange(Pid) end),
    hansom_case:kill(Worker),
    ?assertEqual(connected, state(Pid)),
    ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)).
