%% @doc The connection's side of the pool protocol. The case is the pool: it gets the
%% casts and calls a pool would get.
-module(hansom_pool_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [connected/2, serve/1, request/1, exchange/1, state/1, response/1, response/2]).

all() -> hansom_case:cases(?MODULE).

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [].

pooled(Server) -> pooled(Server, #{}).

pooled(Server, Options) -> connected(Server, Options#{pool_pid => self()}).

echo() -> serve([{repeat, [request, {send, response(<<"x">>)}]}]).

checked_in(Pid) ->
    receive {'$gen_cast', {checkin, nil, Pid}} -> ok
    after hansom_case:deadline() -> error(no_checkin)
    end.

%% Answers `release_to_pool/1' as the pool does, and returns what it was told.
release(Pid) -> release(Pid, fun() -> ok end).

release(Pid, Meanwhile) ->
    Caller = hansom_case:async(fun() -> ?CONN:release_to_pool(Pid) end),
    receive
        {'$gen_call', From, {checkin_sync, Pid, ShouldClose}} ->
            Meanwhile(),
            gen_server:reply(From, ok),
            {ShouldClose, hansom_case:result(Caller)}
    after hansom_case:deadline() -> error(no_checkin)
    end.

%% Clauses: POOL-1, API-2
pool_01_started_by_the_pool(_) ->
    Server = echo(),
    Supervisor = list_to_atom(atom_to_list(hansom_case:application()) ++ "_conn_sup"),
    Requester = hansom_case:process(),
    {ok, Pid} = Supervisor:start_conn(
                  #{host => "127.0.0.1", port => hansom_script:port(Server),
                    transport => hackney_tcp, connect_timeout => 8000, recv_timeout => infinity,
                    idle_timeout => 2000, ssl_options => [], connect_options => [],
                    pool_pid => self(), owner => Requester}),
    hansom_case:adopt(Pid),
    ?assertEqual(ok, ?CONN:connect(Pid, 8000)),
    ?assertEqual({200, <<"x">>}, hansom_case:run_in(Requester, fun() -> exchange(Pid) end)),
    checked_in(Pid).

%% Clauses: POOL-2, POOL-11
pool_02_prewarmed(_) ->
    {Pid, Peer} = connected(echo(), #{owner => self(), pool_pid => self()}),
    ok = gen_statem:cast(Pid, {set_owner, self()}),
    ?assertEqual(connected, state(Pid)),
    ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)),
    ?assertEqual({200, <<"x">>}, exchange(Pid)),
    checked_in(Pid),
    ok = hansom_script:arrived(Peer, 1).

%% Clauses: POOL-3, POOL-4, POOL-5, ST-14
pool_03_checked_out_and_in_again(_) ->
    {Pid, Peer} = pooled(echo()),
    [begin
         {ok, connected} = ?CONN:is_ready(Pid),
         Requester = hansom_case:process(),
         ok = ?CONN:set_owner(Pid, Requester),
         ?assertEqual({200, <<"x">>}, hansom_case:run_in(Requester, fun() -> exchange(Pid) end)),
         checked_in(Pid),
         hansom_case:kill(Requester),
         ?assertEqual(connected, state(Pid)),
         ?assertMatch(#{ready := true, should_close := false}, ?CONN:checkin_info(Pid)),
         ok = ?CONN:set_owner_async(Pid, self())
     end
     || _ <- "1234"],
    ok = hansom_script:arrived(Peer, 4),
    hansom_case:no_message().

%% Clauses: POOL-3, TRAP-22, RSP-28
pool_03_closed_connection_is_not_handed_out(_) ->
    {Pid, Peer} = pooled(serve([request, {send, response(<<"x">>)}])),
    {200, <<"x">>} = exchange(Pid),
    checked_in(Pid),
    Exit = hansom_case:monitor_exit(Pid),
    ok = hansom_script:step(Peer, reset),
    Ready = try ?CONN:is_ready(Pid, 250) catch exit:Reason -> Reason end,
    ?assertNotEqual({ok, connected}, Ready),
    %% What the pool does with it.
    ok = ?CONN:stop(Pid, 1000),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: POOL-4, POOL-13
pool_04_one_checkin_for_an_exchange(_) ->
    Cases = [{fun(P) -> {200, <<"x">>} = exchange(P) end, response(<<"x">>)},
             {fun(P) -> {ok, 200, _} = request(P), [{ok, <<"x">>}, done] = [?CONN:stream_body(P), ?CONN:stream_body(P)] end,
              response(<<"x">>)},
             {fun(P) -> {ok, 200, _} = ?CONN:request(P, <<"HEAD">>, <<"/">>, [], <<>>), {ok, <<>>} = ?CONN:body(P) end,
              "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"},
             {fun upload/1, response(<<"x">>)}],
    [begin
         {Pid, _} = pooled(serve([request, {send, Bytes}])),
         Exchange(Pid),
         checked_in(Pid),
         ?assertEqual(connected, state(Pid)),
         hansom_case:no_message()
     end
     || {Exchange, Bytes} <- Cases].

upload(Pid) ->
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
    ok = ?CONN:send_body_chunk(Pid, <<"body">>),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, <<"x">>} = ?CONN:body(Pid).

%% Clauses: POOL-4, ASY-3, ASY-5, ASY-6, ASY-9
pool_04_checkin_of_async_exchanges_without_a_body(_) ->
    [begin
         {Pid, _} = pooled(serve([request, {send, Bytes}])),
         {ok, Pid} = ?CONN:request_async(Pid, Method, <<"/">>, [], <<>>, true, self(), true),
         ?assertMatch(Expected, [element(1, P) || P <- hansom_case:payloads(Pid), is_tuple(P)]),
         checked_in(Pid),
         ?assertEqual(connected, state(Pid)),
         %% POOL-13: a second check-in is harmless, and the other module sends one.
         [hansom_case:no_message() || hansom_case:is_hansom()],
         hansom_case:flush_to([])
     end
     || {Method, Bytes, Expected} <-
            [{<<"HEAD">>, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", [status, headers]},
             {<<"GET">>, "HTTP/1.1 204 X\r\n\r\n", [status, headers]},
             {<<"GET">>, "HTTP/1.1 301 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", [redirect]},
             {<<"POST">>, "HTTP/1.1 303 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", [see_other]}]].

%% Clauses: POOL-5, POOL-15, ST-31
pool_05_owner_is_the_pool_when_the_answer_comes(_) ->
    %% Many short-lived workers: none may take the connection with it.
    {Pid, _} = pooled(echo()),
    [begin
         Worker = hansom_case:async(
                    fun() ->
                            ok = ?CONN:set_owner(Pid, self()),
                            exchange(Pid)
                    end),
         ?assertEqual({ok, {200, <<"x">>}}, hansom_case:result(Worker)),
         checked_in(Pid),
         ?assertEqual(connected, state(Pid))
     end
     || _ <- lists:seq(1, 100)].

%% Clauses: POOL-5, ST-4
pool_05_death_of_the_pool_stops_it(_) ->
    Pool = hansom_case:process(),
    {Pid, _} = connected(echo(), #{pool_pid => Pool}),
    {200, <<"x">>} = exchange(Pid),
    Exit = hansom_case:monitor_exit(Pid),
    hansom_case:kill(Pool),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: POOL-5, ASY-11
pool_05_body_after_stop_async_checks_in(_) ->
    {Pid, _} = pooled(echo()),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
    {status, 200, _} = hansom_case:payload(Pid),
    {headers, _} = hansom_case:payload(Pid),
    ok = ?CONN:stop_async(Pid),
    {ok, <<"x">>} = ?CONN:body(Pid),
    checked_in(Pid),
    hansom_case:no_message().

%% Clauses: POOL-6, API-22
pool_06_release_tells_whether_to_close(_) ->
    {Pid, _} = pooled(echo()),
    ?assertEqual({false, {ok, ok}}, release(Pid)),
    ?assertEqual(connected, state(Pid)),
    {Tunnel, _} = pooled(echo(), #{no_reuse => true}),
    ?assertEqual({true, {ok, ok}}, release(Tunnel)).

%% Clauses: POOL-6
pool_06_owner_is_the_pool_after_release(_) ->
    Requester = hansom_case:process(),
    {Pid, Peer} = pooled(serve([]), #{owner => Requester}),
    {false, {ok, ok}} = release(Pid),
    hansom_case:kill(Requester),
    ?assertEqual(connected, state(Pid)),
    %% And the idle socket is watched.
    Exit = hansom_case:monitor_exit(Pid),
    ok = hansom_script:step(Peer, reset),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: POOL-7, API-43
pool_07_casts_during_release(_) ->
    {Pid, _} = pooled(echo()),
    Self = self(),
    ?assertEqual({false, {ok, ok}},
                 release(Pid, fun() -> gen_statem:cast(Pid, {set_owner, Self}) end)),
    ?assertEqual(connected, state(Pid)),
    Exit = hansom_case:monitor_exit(Pid),
    {false, {ok, Answer}} = release(Pid, fun() -> gen_statem:cast(Pid, stop) end),
    ?assertEqual(ok, Answer),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: POOL-8, TRAP-9, API-39
pool_08_questions_after_a_checkin(_) ->
    {Pid, _} = pooled(echo()),
    {200, <<"x">>} = exchange(Pid),
    checked_in(Pid),
    ?assertEqual(false, ?CONN:is_upgraded_ssl(Pid)),
    ?assertEqual(false, ?CONN:is_no_reuse(Pid)),
    ?assertEqual(#{upgraded_ssl => false, no_reuse => false, pool_ssl => false, protocol => http1,
                   should_close => false, ready => true}, ?CONN:checkin_info(Pid, 250)),
    ok = ?CONN:stop(Pid, 100).

%% Clauses: POOL-9, RSP-27, TRAP-21
pool_09_connection_that_must_close_is_not_checked_in(_) ->
    [begin
         {Pid, _} = pooled(serve([request, {send, Bytes}, eof]), Options),
         {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/">>, Headers, <<>>),
         ?assertMatch(#{should_close := Close, ready := false}
                          when Close orelse map_size(Options) > 0, ?CONN:checkin_info(Pid)),
         Exit = hansom_case:monitor_exit(Pid),
         {ok, <<"x">>} = ?CONN:body(Pid),
         ?assertEqual(normal, hansom_case:await(Exit)),
         hansom_case:no_message()
     end
     || {Bytes, Headers, Options} <-
            [{response(["Connection: close"], <<"x">>), [], #{}},
             {response(["Connection: a, close"], <<"x">>), [], #{}},
             {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", [], #{}},
             {response(<<"x">>), [{<<"Connection">>, <<"close">>}], #{}},
             {response(<<"x">>), [], #{no_reuse => true}}]].

%% Clauses: POOL-10, ST-11
pool_10_exit_after_trouble_is_normal(_) ->
    {Pid, _} = pooled(serve([request, {send, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"}])),
    Exit = hansom_case:monitor_exit(Pid),
    {error, invalid_chunk_size} = exchange(Pid),
    ?assertEqual(normal, hansom_case:await(Exit)),
    hansom_case:no_message().

%% Clauses: POOL-6, API-22
pool_06_released_twice_at_once(_) ->
    Case = self(),
    Pool = hansom_case:process(),
    hansom_case:start_in(Pool, fun() -> take_in(Case) end),
    {Pid, _} = connected(echo(), #{pool_pid => Pool}),
    Release = fun() -> ?CONN:release_to_pool(Pid) end,
    ?assertEqual([{ok, ok}, {ok, ok}], hansom_case:at_once(Pid, [Release, Release])),
    Pool ! {told, Case},
    ?assertEqual([{checkin_sync, Pid, false}], receive {told, Calls} -> Calls after hansom_case:deadline() -> none end),
    ?assertEqual(connected, state(Pid)).

take_in(Case) -> take_in(Case, []).

take_in(Case, Calls) ->
    receive
        {'$gen_call', From, Call} -> gen_server:reply(From, ok), take_in(Case, [Call | Calls]);
        {told, Case} -> Case ! {told, Calls}
    end.

%% Clauses: POOL-11, RSP-28
pool_11_ownership_cast_watches_the_idle_socket(_) ->
    {Pid, Peer} = pooled(serve([]), #{owner => hansom_case:process()}),
    {ok, connected} = ?CONN:is_ready(Pid),
    ok = gen_statem:cast(Pid, {set_owner, self()}),
    connected = state(Pid),
    Exit = hansom_case:monitor_exit(Pid),
    ok = hansom_script:step(Peer, half_close),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: POOL-11, TRAP-1, TRAP-22
pool_11_ownership_of_a_closed_connection(_) ->
    {Pid, _} = pooled(echo()),
    Exit = hansom_case:monitor_exit(Pid),
    ok = ?CONN:close(Pid),
    ?assertEqual({error, invalid_state}, ?CONN:set_owner(Pid, self())),
    ok = gen_statem:cast(Pid, {set_owner, self()}),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: POOL-16, TRAP-23
pool_16_stopped_by_the_pool_while_in_use(_) ->
    {Pid, Peer} = pooled(serve([request, {send, "HTTP/1.1 200 OK\r\n\r\nhello"}, eof])),
    {ok, 200, _} = request(Pid),
    Exit = hansom_case:monitor_exit(Pid),
    ok = ?CONN:stop(Pid),
    ?assertEqual(normal, hansom_case:await(Exit)),
    ?assertEqual({error, closed}, ?CONN:body(Pid)),
    ok = hansom_script:await_script(Peer),
    hansom_case:no_message().

%% Clauses: TRAP-8, TRAP-37
trap_08_death_during_a_probe_can_be_caught(_) ->
    [begin
         {Pid, _} = pooled(echo()),
         ok = sys:suspend(Pid),
         gen_statem:cast(Pid, stop),
         Caller = hansom_case:async(fun() -> Probe(Pid) end),
         ok = sys:resume(Pid),
         ?assertMatch({exit, {Reason, {gen_statem, call, _}}}
                          when Reason =:= normal orelse Reason =:= noproc, hansom_case:result(Caller))
     end
     || Probe <- [fun(P) -> ?CONN:is_ready(P, 250) end, fun(P) -> ?CONN:get_state(P, 250) end,
                  fun(P) -> ?CONN:checkin_info(P, 250) end]].

%% Clauses: TRAP-18, RSP-30
trap_18_checkout_racing_with_the_peer(_) ->
    %% The peer closes as soon as it has answered: whatever the checkout sees, nothing hangs.
    [begin
         {Pid, _} = pooled(serve([request, {send, response(<<"x">>)}, close])),
         {200, <<"x">>} = exchange(Pid),
         Outcome = case catch ?CONN:is_ready(Pid, 250) of
                       {ok, connected} -> request(Pid);
                       _ -> refused
                   end,
         ?assert(lists:member(Outcome, [refused, {error, closed}, {error, econnreset}, {error, epipe},
                                        {error, invalid_state}])),
         %% It is checked in unless the close was seen first.
         ok = ?CONN:stop(Pid),
         receive {'$gen_cast', {checkin, nil, Pid}} -> ok after 0 -> ok end
     end
     || _ <- lists:seq(1, 50)].
