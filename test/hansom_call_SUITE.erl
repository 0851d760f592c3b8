%% @doc Calls that meet a process that is gone, functions of later versions, and the
%% messages other code sends to a connection without going through its functions.
-module(hansom_call_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [connected/1, connected/2, start/2, serve/1, request/1, exchange/1, state/1,
                      response/1]).

all() -> hansom_case:cases(?MODULE).

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

dead() ->
    Pid = start(serve([]), #{}),
    ok = ?CONN:stop(Pid),
    Pid.

%% The calls of API-36 that answer an error when the process is gone.
answering_calls() ->
    Self = self(),
    [fun(P) -> ?CONN:request(P, <<"GET">>, <<"/">>, [], <<>>) end,
     fun(P) -> ?CONN:request(P, <<"GET">>, <<"/">>, [], <<>>, 5000) end,
     fun(P) -> ?CONN:request(P, <<"GET">>, <<"/">>, [], <<>>, 5000, []) end,
     fun(P) -> ?CONN:request_streaming(P, <<"GET">>, <<"/">>, [], <<>>) end,
     fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true) end,
     fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true, Self) end,
     fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true, Self, false) end,
     fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true, Self, false, []) end,
     fun(P) -> ?CONN:send_request_headers(P, <<"POST">>, <<"/">>, []) end,
     fun(P) -> ?CONN:send_request_headers(P, <<"POST">>, <<"/">>, [], []) end,
     fun(P) -> ?CONN:send_body_chunk(P, <<"x">>) end,
     fun(P) -> ?CONN:send_body_chunk(P, fun() -> eof end) end,
     fun(P) -> ?CONN:finish_send_body(P) end,
     fun(P) -> ?CONN:start_response(P) end,
     fun(P) -> ?CONN:body(P) end,
     fun(P) -> ?CONN:body(P, 5000) end,
     fun(P) -> ?CONN:stream_body(P) end].

exiting_calls() ->
    Self = self(),
    [fun(P) -> ?CONN:connect(P) end,
     fun(P) -> ?CONN:connect(P, 5000) end,
     fun(P) -> ?CONN:get_state(P) end,
     fun(P) -> ?CONN:get_state(P, 250) end,
     fun(P) -> ?CONN:is_ready(P) end,
     fun(P) -> ?CONN:is_ready(P, 250) end,
     fun(P) -> ?CONN:verify_socket(P) end,
     fun(P) -> ?CONN:set_owner(P, Self) end,
     fun(P) -> ?CONN:set_owner(P, Self, 250) end,
     fun(P) -> ?CONN:stop_async(P) end,
     fun(P) -> ?CONN:setopts(P, []) end,
     fun(P) -> ?CONN:peername(P) end,
     fun(P) -> ?CONN:sockname(P) end,
     fun(P) -> ?CONN:peercert(P) end,
     fun(P) -> ?CONN:send(P, <<"x">>) end,
     fun(P) -> ?CONN:recv(P, 100) end,
     fun(P) -> ?CONN:recv(P, 1, 100) end,
     fun(P) -> ?CONN:close(P) end,
     fun(P) -> ?CONN:response_headers(P) end,
     fun(P) -> ?CONN:release_to_pool(P) end,
     fun(P) -> ?CONN:upgrade_to_ssl(P, []) end,
     fun(P) -> ?CONN:upgrade_to_ssl(P, [], #{final => true}) end,
     fun(P) -> ?CONN:is_upgraded_ssl(P) end,
     fun(P) -> ?CONN:is_no_reuse(P) end,
     fun(P) -> ?CONN:checkin_info(P) end,
     fun(P) -> ?CONN:checkin_info(P, 250) end,
     fun(P) -> ?CONN:get_protocol(P) end].

%% Clauses: API-36, TRAP-4
api_36_requests_to_a_dead_process_answer_closed(_) ->
    Pid = dead(),
    [?assertEqual({error, closed}, Call(Pid)) || Call <- answering_calls()],
    hansom_case:no_message().

%% Clauses: API-36, TRAP-4
api_36_requests_to_a_killed_process_answer_closed(_) ->
    {Pid, _} = connected(serve([])),
    hansom_case:kill(Pid),
    [?assertEqual({error, closed}, Call(Pid)) || Call <- answering_calls()],
    hansom_case:no_message().

%% Clauses: API-36
api_36_other_calls_to_a_dead_process_exit(_) ->
    Pid = dead(),
    [?assertExit({noproc, {gen_statem, call, [Pid | _]}}, Call(Pid)) || Call <- exiting_calls()],
    hansom_case:no_message().

%% Clauses: API-20, API-21, API-36, TRAP-42
api_36_location_of_a_dead_process(_) ->
    Pid = dead(),
    ?assertEqual(undefined, ?CONN:get_location(Pid)),
    ?assertEqual({error, closed}, ?CONN:set_location(Pid, <<"http://a/">>)).

%% Clauses: API-36, TRAP-4
api_36_stop_during_a_call_answers_closed(_) ->
    Stops = [fun(P, _) -> gen_statem:cast(P, stop) end,
             fun(_, Owner) -> hansom_case:kill(Owner) end],
    [begin
         Owner = hansom_case:process(),
         {Pid, Peer} = connected(serve([request, wait]), #{owner => Owner}),
         Caller = hansom_case:async(fun() -> request(Pid) end),
         ok = hansom_script:arrived(Peer, 1),
         Stop(Pid, Owner),
         case hansom_case:is_hansom() of
             true -> ok;
             %% The other module may see the stop only when its read returns.
             false -> hansom_script:continue(Peer),
                      hansom_script:step(Peer, {send, response(<<"x">>)})
         end,
         Result = hansom_case:result(Caller),
         ?assert(lists:member(Result, [{ok, {error, closed}}])
                 orelse not hansom_case:is_hansom()),
         _ = hansom_case:is_gone(Pid)
     end
     || Stop <- Stops].

%% Clauses: API-36, ST-28
api_36_kill_during_a_call_is_an_exit(_) ->
    {Pid, Peer} = connected(serve([request, eof])),
    Caller = hansom_case:async(fun() -> request(Pid) end),
    ok = hansom_script:arrived(Peer, 1),
    hansom_case:kill(Pid),
    ?assertMatch({exit, {killed, _}}, hansom_case:result(Caller)),
    ok = hansom_script:await_script(Peer).

%% Clauses: API-38
api_38_upgrade_to_ssl_has_three_arguments(_) ->
    Pid = start(serve([]), #{}),
    ?assertEqual({error, invalid_state}, ?CONN:upgrade_to_ssl(Pid, [], #{pool_ssl => true})).

%% Clauses: API-39, POOL-9
api_39_checkin_info_in_every_state(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"x">>)}])),
    Info = #{upgraded_ssl => false, no_reuse => false, pool_ssl => false, protocol => http1,
             should_close => false, ready => true},
    ?assertEqual(Info, ?CONN:checkin_info(Pid)),
    ?assertEqual(Info, ?CONN:checkin_info(Pid, 250)),
    {ok, 200, _} = request(Pid),
    ?assertEqual(Info#{ready := false}, ?CONN:checkin_info(Pid)),
    {ok, <<"x">>} = ?CONN:body(Pid),
    ?assertEqual(Info, ?CONN:checkin_info(Pid)),
    ok = ?CONN:close(Pid),
    ?assertMatch(#{ready := false}, ?CONN:checkin_info(Pid)),
    ?assertMatch(#{ready := false}, ?CONN:checkin_info(start(serve([]), #{}))),
    ok = hansom_script:await_script(Peer).

%% Clauses: API-41, TRAP-44
api_41_stop_with_a_deadline(_) ->
    {Pid, _} = connected(serve([])),
    ?assertEqual(ok, ?CONN:stop(Pid, 1000)),
    ?assertNot(is_process_alive(Pid)),
    ?assertEqual(ok, ?CONN:stop(Pid, 1000)).

%% Clauses: API-41, API-44, EXIT-3, TRAP-44
api_41_stop_kills_a_connection_that_does_not_answer(_) ->
    {Pid, Peer} = connected(serve([])),
    unlink(Pid),
    Exit = hansom_case:monitor_exit(Pid),
    true = erlang:suspend_process(Pid),
    ?assertEqual(ok, ?CONN:stop(Pid, 50)),
    ?assertEqual(killed, hansom_case:await(Exit)),
    ?assertEqual(closed, hansom_script:await_closed(Peer)).

%% Clauses: API-42, TRAP-45, ST-30
api_42_probes_answer_while_a_body_is_read(_) ->
    Head = <<"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n">>,
    {Pid, Peer} = connected(serve([request, {send, [Head, "12345"]}, wait, {send, "67890"}])),
    {ok, 200, _} = request(Pid),
    Probes = fun() ->
                     [?assertEqual({ok, receiving}, ?CONN:get_state(Pid, 250)),
                      ?assertEqual({error, invalid_state}, ?CONN:is_ready(Pid, 250)),
                      ?assertEqual(ok, ?CONN:set_owner(Pid, self(), 250)),
                      ?assertMatch(#{ready := false}, ?CONN:checkin_info(Pid, 250))]
             end,
    Probes(),
    Reader = hansom_case:async(fun() -> ?CONN:body(Pid) end),
    case hansom_case:is_hansom() of
        true -> Probes();
        false -> ok
    end,
    hansom_script:continue(Peer),
    ?assertEqual({ok, {ok, <<"1234567890">>}}, hansom_case:result(Reader)).

%% Clauses: API-42
api_42_a_suspended_connection_times_out(_) ->
    {Pid, _} = connected(serve([])),
    ok = sys:suspend(Pid),
    [?assertExit({timeout, {gen_statem, call, _}}, Probe(Pid))
     || Probe <- [fun(P) -> ?CONN:get_state(P, 20) end,
                  fun(P) -> ?CONN:is_ready(P, 20) end,
                  fun(P) -> ?CONN:set_owner(P, self(), 20) end,
                  fun(P) -> ?CONN:checkin_info(P, 20) end]],
    ok = sys:resume(Pid),
    ?assertEqual({ok, connected}, ?CONN:get_state(Pid, 250)),
    hansom_case:no_message().

%% Messages without a function

%% Clauses: API-43
api_43_cast_stop_in_every_state(_) ->
    Server = serve([request, {send, response(<<"hello">>)}, wait]),
    Idle = start(Server, #{}),
    {Connected, _} = connected(Server),
    {Receiving, _} = connected(Server),
    {ok, 200, _} = request(Receiving),
    {Once, _} = connected(Server),
    {ok, Once} = ?CONN:request_async(Once, <<"GET">>, <<"/">>, [], <<>>, once),
    {status, 200, _} = hansom_case:payload(Once),
    {headers, _} = hansom_case:payload(Once),
    {Upload, _} = connected(Server),
    ok = ?CONN:send_request_headers(Upload, <<"POST">>, <<"/">>, []),
    {Closed, _} = connected(Server),
    ok = ?CONN:close(Closed),
    [begin
         Exit = hansom_case:monitor_exit(Pid),
         ok = gen_statem:cast(Pid, stop),
         ?assertEqual(normal, hansom_case:await(Exit))
     end
     || Pid <- [Idle, Connected, Receiving, Once, Upload, Closed]].

%% Clauses: API-44, EXIT-2
api_44_special_process(_) ->
    Server = serve([]),
    {Pid, _} = connected(Server),
    ok = sys:suspend(Pid),
    ok = sys:resume(Pid),
    ?assertMatch({status, Pid, _, _}, sys:get_status(Pid)),
    ?assertEqual(connected, state(Pid)),
    Exit = hansom_case:monitor_exit(Pid),
    ok = gen_statem:stop(Pid),
    ?assertEqual(normal, hansom_case:await(Exit)),
    Parent = hansom_case:process(),
    Options = hansom_case:options(Server, #{owner => self()}),
    {ok, Child} = hansom_case:run_in(Parent, fun() -> ?CONN:start_link(Options) end),
    ok = ?CONN:connect(Child),
    ChildExit = hansom_case:monitor_exit(Child),
    exit(Parent, shutdown),
    ?assertEqual(shutdown, hansom_case:await(ChildExit)).

%% Clauses: API-45, ASY-7
api_45_async_call_without_redirect_argument(_) ->
    Redirect = <<"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n">>,
    {Pid, _} = connected(serve([request, {send, Redirect}])),
    ?assertEqual({ok, Pid}, gen_statem:call(Pid, {request_async, <<"GET">>, <<"/">>, [], <<>>, true,
                                                  self()})),
    ?assertMatch([{status, 302, <<"Found">>}, {headers, _}, done], hansom_case:payloads(Pid)).

%% Clauses: API-46, ASY-2
api_46_both_pull_casts_work(_) ->
    {Pid, _} = connected(serve([request, {send, hansom_case:chunked(["one", "two"])}])),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
    {status, 200, _} = hansom_case:payload(Pid),
    {headers, _} = hansom_case:payload(Pid),
    gen_statem:cast(Pid, stream_next),
    ?assertEqual(<<"one">>, hansom_case:payload(Pid)),
    gen_statem:cast(Pid, {stream_next, self()}),
    ?assertEqual(<<"two">>, hansom_case:payload(Pid)),
    ?CONN:stream_next(Pid),
    ?assertEqual(done, hansom_case:payload(Pid)).

%% Clauses: API-48
api_48_exit_signals_of_strangers_are_swallowed(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"ok">>)}])),
    Stranger = hansom_case:process(),
    [true = hansom_case:run_in(Stranger, fun() -> exit(Pid, Reason) end)
     || Reason <- [shutdown, some_reason, normal]],
    ?assertEqual(connected, state(Pid)),
    Linked = hansom_case:process(),
    hansom_case:run_in(Linked, fun() -> link(Pid) end),
    hansom_case:kill(Linked),
    ?assertEqual({200, <<"ok">>}, exchange(Pid)).

%% Other nodes

%% Clauses: ST-29
st_29_pid_of_another_node(_) ->
    case hansom_case:other_node() of
        {ok, Node} ->
            {Pid, _} = connected(serve([{repeat, [request, {send, response(<<"x">>)}]}])),
            Self = self(),
            Call = fun(Function, Arguments) ->
                           rpc:call(Node, ?CONN, Function, [Pid | Arguments], hansom_case:deadline())
                   end,
            ?assertMatch({ok, 200, _}, Call(request, [<<"GET">>, <<"/">>, [], <<>>])),
            ?assertEqual({ok, receiving}, Call(get_state, [])),
            ?assertEqual({ok, <<"x">>}, Call(body, [])),
            ?assertEqual(ok, Call(send_request_headers, [<<"POST">>, <<"/">>, []])),
            ?assertEqual(ok, Call(send_body_chunk, [<<"body">>])),
            ?assertEqual(ok, Call(finish_send_body, [])),
            ?assertMatch({ok, 200, _, Pid}, Call(start_response, [])),
            ?assertEqual({ok, <<"x">>}, Call(stream_body, [])),
            ?assertEqual(done, Call(stream_body, [])),
            ?assertMatch({ok, {_, _}}, Call(peername, [])),
            ?assertEqual({ok, Pid}, Call(request_async, [<<"GET">>, <<"/">>, [], <<>>, once, Self])),
            {status, 200, _} = hansom_case:payload(Pid),
            {headers, _} = hansom_case:payload(Pid),
            ?assertEqual(ok, Call(stream_next, [])),
            ?assertEqual(<<"x">>, hansom_case:payload(Pid)),
            ?assertEqual(ok, Call(stop, [])),
            ?assertNot(is_process_alive(Pid));
        {error, Reason} ->
            {skip, {no_distribution, Reason}}
    end.

%% Clauses: ST-29, API-34
st_29_expired_wait_for_the_body(_) ->
    Head = <<"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n">>,
    {Pid, Peer} = connected(serve([request, {send, [Head, "ab"]}, wait, {send, "cd"}])),
    {ok, Node} = hansom_case:other_node(),
    {ok, 200, _} = request(Pid),
    %% By one process: with its death nothing would be left to give up.
    Result = erpc:call(Node, fun() ->
                                     ?assertExit({timeout, {gen_statem, call, _}}, ?CONN:body(Pid, 30)),
                                     hansom_script:continue(Peer),
                                     case hansom_case:is_hansom() of
                                         true -> ?CONN:body(Pid);
                                         %% The other module reads on and throws the body away.
                                         false -> {hansom_case:is_state(Pid, connected), <<"abcd">>}
                                     end
                             end),
    ?assertEqual({ok, <<"abcd">>}, Result).
