%% @doc The functions of the connection: shapes of arguments, answers and errors.
-module(hansom_api_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [connected/1, connected/2, start/2, start_with/1, serve/1, request/1, exchange/1, state/1,
                      response/1, response/2]).

all() -> hansom_case:cases(?MODULE).

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{api_01_bad_start_option_is_named, "values of start options are checked"},
     {api_01_largest_values, "times beyond what a socket can wait, and limits"},
     {api_07_bad_arguments_leave_the_connection_usable, "bad arguments give an error tuple"},
     {api_15_unknown_mode_is_refused, "ASY-17: refused before anything is written"},
     {api_19_response_headers_is_a_list, "a plain list instead of an opaque object"},
     {api_33_recv_timeout_of_a_request_does_not_stick, "API-33 is marked wrong"},
     {api_34_a_wait_that_is_no_time, "an error before anything is asked for"},
     {api_35_recv_for_as_long_as_can_be, "5000 ms more than that are an error"},
     {api_40_bad_options_of_an_upload_are_named, "bad options give an error tuple"}].

%% Start

%% Clauses: API-1
api_01_start_makes_no_connection_and_ignores_unknown_keys(_) ->
    Server = serve([]),
    Pid = start(Server, #{no_such_key => 1, {any, term} => "x"}),
    ?assertEqual(idle, state(Pid)),
    ?assertEqual(0, hansom_script:connections(Server)).

%% Clauses: API-1
api_01_missing_host_fails_the_start(_) ->
    process_flag(trap_exit, true),
    {error, Reason} = ?CONN:start_link(#{port => 80}),
    case hansom_case:is_hansom() of
        true -> ?assertMatch({{badkey, host}, _}, Reason);
        %% A gen_statem that raises in its init/1 gives the stack only since OTP 26.
        false -> ?assert(lists:member({badkey, host}, [Reason, element(1, Reason)]))
    end,
    receive {'EXIT', _, Reason} -> ok after 0 -> ok end.

%% Clauses: API-1
api_01_bad_start_option_is_named(_) ->
    process_flag(trap_exit, true),
    Good = #{host => "127.0.0.1"},
    [begin
         ?assertEqual({error, {options, {Key, Value}}}, ?CONN:start_link(Good#{Key => Value})),
         receive {'EXIT', _, {options, {Key, Value}}} -> ok after 0 -> ok end
     end
     || {Key, Value} <- [{port, 65536}, {port, http}, {host, 42}, {transport, "tcp"},
                         {connect_timeout, -1}, {recv_timeout, soon}, {idle_timeout, 1.5},
                         {connect_options, none}, {ssl_options, #{}}, {pool_pid, self}, {owner, me},
                         {no_reuse, 1}, {inform_fun, fun() -> ok end}, {auto_decompress, yes},
                         {truncated_body, maybe}, {max_header_bytes, 0}, {max_headers, many},
                         {host, [16#d800]}, {recv_timeout, 1 bsl 64}, {max_headers, 1 bsl 64},
                         {push_allowance, 1 bsl 64}]].

%% Whatever the options allow can be counted.
%% Clauses: API-1, API-32
api_01_largest_values(_) ->
    Longest = 16#ffffffff,
    Most = (1 bsl 64) - 1,
    {Pid, _} = connected(serve([request, {send, response(<<"one">>)}, request, {send, response(<<"two">>)}]),
                         #{connect_timeout => Longest, recv_timeout => Longest, idle_timeout => Longest,
                           send_timeout => Longest, ping_interval => Longest, ping_timeout => Longest,
                           quic_idle_timeout => Longest, connect_options => [{send_timeout, Longest}],
                           max_header_bytes => Most, max_headers => Most, max_interim_responses => Most,
                           max_chunk_extension_bytes => Most, max_trailer_bytes => Most, max_body_bytes => Most,
                           max_decompressed_bytes => Most, max_decompress_ratio => Most, push_allowance => Most}),
    ?assertEqual({200, <<"one">>}, exchange(Pid)),
    Get = fun(Options) -> ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, infinity, Options) end,
    [?assertEqual({error, {options, {Key, Longest + 1}}}, Get([{Key, Longest + 1}]))
     || Key <- [recv_timeout, send_timeout]],
    {ok, 200, _} = Get([{recv_timeout, Longest}, {send_timeout, Longest}]),
    ?assertEqual({ok, <<"two">>}, ?CONN:body(Pid)).

%% Clauses: API-2
api_02_supervised_connection_belongs_to_the_supervisor(_) ->
    Server = serve([]),
    Supervisor = list_to_atom(atom_to_list(hansom_case:application()) ++ "_conn_sup"),
    User = hansom_case:process(),
    Options = hansom_case:options(Server, #{}),
    {ok, Pid} = hansom_case:run_in(User, fun() -> Supervisor:start_conn(Options) end),
    hansom_case:adopt(Pid),
    ok = hansom_case:run_in(User, fun() -> ?CONN:connect(Pid) end),
    hansom_case:kill(User),
    ?assertEqual(connected, state(Pid)),
    {ok, Spec} = supervisor:get_childspec(Supervisor, child_id(Supervisor, Pid)),
    ?assertMatch(#{restart := temporary, shutdown := 5000, type := worker}, Spec).

%% A child of a `simple_one_for_one' supervisor is named by its pid.
child_id(Supervisor, Pid) ->
    [Id] = [case Id of undefined -> Child; _ -> Id end
            || {Id, Child, _, _} <- supervisor:which_children(Supervisor), Child =:= Pid],
    Id.

%% Clauses: API-3, ST-22
api_03_dead_owner_stops_the_connection(_) ->
    Server = serve([]),
    Owner = spawn(fun() -> ok end),
    normal = case hansom_case:is_gone(Owner) of noproc -> normal; Other -> Other end,
    {ok, Pid} = ?CONN:start_link(hansom_case:options(Server, #{owner => Owner})),
    ?assert(lists:member(hansom_case:is_gone(Pid), [normal, noproc])).

%% Clauses: API-4, ST-27
api_04_stop_returns_when_the_process_is_dead(_) ->
    {Pid, Peer} = connected(serve([])),
    Exit = hansom_case:monitor_exit(Pid),
    ?assertEqual(ok, ?CONN:stop(Pid)),
    ?assertNot(is_process_alive(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)),
    ?assertEqual(closed, hansom_script:await_closed(Peer)),
    ?assertEqual(ok, ?CONN:stop(Pid)).

%% Clauses: API-5
api_05_connect_answers_ok(_) ->
    Server = serve([]),
    One = start(Server, #{}),
    ?assertEqual(ok, ?CONN:connect(One)),
    ?assertEqual(connected, state(One)),
    Two = start(Server, #{}),
    ?assertEqual(ok, ?CONN:connect(Two, 3000)).

%% Clauses: API-5, ST-22
api_05_failed_connect_stops_the_connection(_) ->
    Pid = start_with(#{host => "127.0.0.1", port => hansom_script:refused_port()}),
    Exit = hansom_case:monitor_exit(Pid),
    ?assertEqual({error, econnrefused}, ?CONN:connect(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: API-6
api_06_get_state_names_every_state(_) ->
    Body = binary:copy(<<"x">>, 10),
    {Pid, Peer} = connected(serve([request, {send, response(Body)},
                                   request, {send, response(Body)},
                                   request, {send, response(Body)}, request])),
    ?assertEqual({ok, connected}, ?CONN:get_state(Pid)),
    {ok, 200, _} = request(Pid),
    ?assertEqual({ok, receiving}, ?CONN:get_state(Pid)),
    {ok, Body} = ?CONN:body(Pid),
    ?assertEqual({ok, connected}, ?CONN:get_state(Pid)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
    {status, 200, _} = hansom_case:payload(Pid),
    {headers, _} = hansom_case:payload(Pid),
    ?assertEqual({ok, streaming_once}, ?CONN:get_state(Pid)),
    ok = ?CONN:stop_async(Pid),
    {ok, Body} = ?CONN:body(Pid),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
    ?assertEqual({ok, streaming_body}, ?CONN:get_state(Pid)),
    ok = ?CONN:close(Pid),
    ?assertEqual({ok, closed}, ?CONN:get_state(Pid)),
    ok = hansom_script:await_script(Peer),
    ?assertEqual({ok, idle}, ?CONN:get_state(start(serve([]), #{}))).

%% Requests

%% Clauses: API-7, API-9
api_07_request_returns_status_and_headers(_) ->
    {Pid, _} = connected(serve([{repeat, [request, {send, response(["X-A: b"], <<"hello">>)}]}])),
    Expected = {ok, 200, [{<<"X-A">>, <<"b">>}, {<<"Content-Length">>, <<"5">>}]},
    [begin
         ?assertEqual(Expected, Request()),
         ?assertEqual({ok, <<"hello">>}, ?CONN:body(Pid))
     end
     || Request <- [fun() -> ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>) end,
                    fun() -> ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, 5000) end,
                    fun() -> ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, infinity) end,
                    fun() -> ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, 5000, []) end]].

%% Clauses: API-7, REQ-2, REQ-3, REQ-9
api_07_bad_arguments_leave_the_connection_usable(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"ok">>)}])),
    [begin
         ?assertMatch({error, {badarg, _}}, ?CONN:request(Pid, <<"POST">>, <<"/">>, Headers, Body)),
         ?assertEqual(connected, state(Pid))
     end
     || {Headers, Body} <- [{[not_a_pair], <<>>}, {[{<<"A">>, <<"b">>, c}], <<>>},
                            {[{<<"A">>, #{}}], <<>>}, {none, <<>>}, {[], some_atom},
                            {[], [not_io]}, {[], 17}]],
    ?assertEqual({200, <<"ok">>}, exchange(Pid)),
    ?assertMatch([<<"GET / HTTP/1.1\r\n", _/binary>>], hansom_script:requests(Peer)).

%% Clauses: API-8
api_08_request_streaming_is_not_for_http1(_) ->
    {Pid, _} = connected(serve([])),
    ?assertEqual({error, invalid_state},
                 ?CONN:request_streaming(Pid, <<"GET">>, <<"/">>, [], <<>>)),
    ?assertEqual(connected, state(Pid)).

%% Clauses: API-9
api_09_body_with_a_timeout(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"hello">>)}])),
    {ok, 200, _} = request(Pid),
    ?assertEqual({ok, <<"hello">>}, ?CONN:body(Pid, 5000)).

%% Clauses: API-10
api_10_stream_body_ends_with_done(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"hello">>)}])),
    {ok, 200, _} = request(Pid),
    [done | Pieces] = lists:reverse(hansom_case:pieces(Pid)),
    ?assertEqual(<<"hello">>, iolist_to_binary(lists:reverse(Pieces))),
    ?assertEqual({error, invalid_state}, ?CONN:stream_body(Pid)).

%% Clauses: API-11, API-12, API-13, API-14, API-40, TRAP-2
api_11_streaming_upload(_) ->
    {Pid, Peer} = connected(serve([{repeat, [request, {send, response(<<"got it">>)}]}])),
    [begin
         ?assertEqual(ok, Send()),
         ?assertEqual(ok, ?CONN:send_body_chunk(Pid, <<"one">>)),
         ?assertEqual(ok, ?CONN:finish_send_body(Pid)),
         ?assertMatch({ok, 200, [{<<"Content-Length">>, <<"6">>}], Pid}, ?CONN:start_response(Pid)),
         ?assertEqual(receiving, state(Pid)),
         ?assertEqual({ok, <<"got it">>}, ?CONN:body(Pid))
     end
     || Send <- [fun() -> ?CONN:send_request_headers(Pid, <<"POST">>, <<"/up">>, []) end,
                 fun() -> ?CONN:send_request_headers(Pid, <<"POST">>, <<"/up">>, [],
                                                     [{send_timeout, 100}]) end]],
    ok = hansom_script:arrived(Peer, 2).

%% Clauses: API-40, API-11
api_40_bad_options_of_an_upload_are_named(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"x">>)}])),
    Begin = fun(Options) -> ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, [{"Host", "h"}], Options) end,
    [?assertEqual({error, {options, Bad}}, Begin(Options))
     || {Options, Bad} <- [{[{recv_timeout, 5} | x], [{recv_timeout, 5} | x]}, {#{recv_timeout => 5}, #{recv_timeout => 5}},
                           {[{send_timeout, never}], {send_timeout, never}},
                           {[x, {recv_timeout, -1}], {recv_timeout, -1}}]],
    ?assertEqual(ok, Begin([{recv_timeout, 30000}, {send_timeout, nonblock}, unknown, {other, 1}])),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual({ok, <<"x">>}, ?CONN:body(Pid)).

%% Clauses: API-14, TRAP-2
api_14_response_after_an_upload_can_be_streamed(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"got it">>)}])),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual([<<"got it">>, done], hansom_case:pieces(Pid)).

%% Clauses: API-15, ASY-1
api_15_request_async_gives_the_pid_as_reference(_) ->
    Server = serve([request, {send, response(<<"x">>)}]),
    Self = self(),
    [begin
         {Pid, _} = connected(Server),
         ?assertEqual({ok, Pid}, Request(Pid)),
         ?assertEqual([{status, 200, <<"OK">>}, {headers, [{<<"Content-Length">>, <<"1">>}]},
                       <<"x">>, done], hansom_case:payloads(Pid))
     end
     || Request <-
            [fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true) end,
             fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true, Self) end,
             fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true, Self, false) end,
             fun(P) -> ?CONN:request_async(P, <<"GET">>, <<"/">>, [], <<>>, true, Self, false,
                                           [{recv_timeout, 4000}]) end]].

%% Clauses: API-15, ASY-17
api_15_unknown_mode_is_refused(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"ok">>)}])),
    ?assertEqual({error, {badarg, {async, twice}}},
                 ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, twice)),
    ?assertEqual({200, <<"ok">>}, exchange(Pid)),
    ?assertEqual(1, length(hansom_script:requests(Peer))).

%% Clauses: API-16
api_16_flow_control_casts_always_answer_ok(_) ->
    Pid = start(serve([]), #{}),
    Casts = [stream_next, pause_stream, resume_stream],
    [?assertEqual(ok, ?CONN:Cast(Pid)) || Cast <- Casts],
    ?assertEqual(idle, state(Pid)),
    ok = ?CONN:stop(Pid),
    [?assertEqual(ok, ?CONN:Cast(Pid)) || Cast <- Casts].

%% Clauses: API-17, ASY-11
api_17_stop_async_hands_the_rest_to_body(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"hello">>)}])),
    ?assertEqual({error, invalid_state}, ?CONN:stop_async(Pid)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
    {status, 200, <<"OK">>} = hansom_case:payload(Pid),
    {headers, _} = hansom_case:payload(Pid),
    ?assertEqual(ok, ?CONN:stop_async(Pid)),
    ?assertEqual(receiving, state(Pid)),
    ?assertEqual({ok, <<"hello">>}, ?CONN:body(Pid)).

%% Clauses: API-19
api_19_response_headers_is_undefined_before_a_response(_) ->
    {Pid, _} = connected(serve([])),
    ?assertEqual(undefined, ?CONN:response_headers(Pid)).

%% Clauses: API-19
api_19_response_headers_is_a_list(_) ->
    {Pid, _} = connected(serve([request, {send, response(["Set-Cookie: a", "Set-Cookie: b"], <<>>)}])),
    {ok, 200, Headers} = request(Pid),
    ?assertEqual([{<<"Set-Cookie">>, <<"a">>}, {<<"Set-Cookie">>, <<"b">>},
                  {<<"Content-Length">>, <<"0">>}], Headers),
    ?assertEqual(Headers, ?CONN:response_headers(Pid)),
    {ok, <<>>} = ?CONN:body(Pid),
    ?assertEqual(Headers, ?CONN:response_headers(Pid)).

%% Clauses: API-20, API-21
api_20_location_is_kept_in_every_state(_) ->
    Pid = start(serve([]), #{}),
    ?assertEqual(undefined, ?CONN:get_location(Pid)),
    ?assertEqual(ok, ?CONN:set_location(Pid, <<"http://a/b">>)),
    ?assertEqual(<<"http://a/b">>, ?CONN:get_location(Pid)),
    ok = ?CONN:connect(Pid),
    ok = ?CONN:close(Pid),
    ?assertEqual(<<"http://a/b">>, ?CONN:get_location(Pid)).

%% Clauses: API-22
api_22_release_to_pool_is_for_connected(_) ->
    {Pid, _} = connected(serve([])),
    ?assertEqual(ok, ?CONN:release_to_pool(Pid)),
    ok = ?CONN:close(Pid),
    ?assertEqual({error, invalid_state}, ?CONN:release_to_pool(Pid)).

%% Clauses: API-23, LOW-7
api_23_verify_socket(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<>>)}, wait, close])),
    ?assertEqual(ok, ?CONN:verify_socket(Pid)),
    {200, <<>>} = exchange(Pid),
    ?assertEqual(ok, ?CONN:verify_socket(Pid)),
    hansom_script:continue(Peer),
    hansom_case:is_state(Pid, closed),
    ?assertEqual({error, invalid_state}, ?CONN:verify_socket(Pid)).

%% Clauses: API-24, LOW-7
api_24_is_ready(_) ->
    {Pid, _} = connected(serve([])),
    ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)),
    ?assertEqual(connected, state(Pid)),
    ok = ?CONN:close(Pid),
    ?assertEqual({error, invalid_state}, ?CONN:is_ready(Pid)),
    ?assertEqual({error, invalid_state}, ?CONN:is_ready(start(serve([]), #{}))).

%% Clauses: API-25
api_25_upgrade_to_ssl_outside_connected(_) ->
    Pid = start(serve([]), #{}),
    ?assertEqual({error, invalid_state}, ?CONN:upgrade_to_ssl(Pid, [])),
    ?assertEqual({error, invalid_state}, ?CONN:upgrade_to_ssl(Pid, [], #{final => true})).

%% Clauses: API-26
api_26_flags_of_reuse(_) ->
    Server = serve([]),
    Pid = start(Server, #{}),
    ?assertEqual({false, false}, {?CONN:is_upgraded_ssl(Pid), ?CONN:is_no_reuse(Pid)}),
    Tunnel = start(Server, #{no_reuse => true}),
    ?assertEqual({false, true}, {?CONN:is_upgraded_ssl(Tunnel), ?CONN:is_no_reuse(Tunnel)}),
    ok = ?CONN:connect(Tunnel),
    ?assertEqual(true, ?CONN:is_no_reuse(Tunnel)).

%% Clauses: API-27, API-28, API-42
api_27_set_owner(_) ->
    Server = serve([]),
    [begin
         {Pid, _} = connected(Server),
         Owner = hansom_case:process(),
         ?assertEqual(ok, SetOwner(Pid, Owner)),
         Exit = hansom_case:monitor_exit(Pid),
         hansom_case:kill(Owner),
         ?assertEqual(normal, hansom_case:await(Exit))
     end
     || SetOwner <- [fun(P, O) -> ?CONN:set_owner(P, O) end,
                     fun(P, O) -> ?CONN:set_owner(P, O, 1000) end,
                     fun(P, O) -> ?CONN:set_owner_async(P, O), connected = state(P), ok end]].

%% Clauses: API-29
api_29_get_protocol_is_http1(_) ->
    Pid = start(serve([]), #{}),
    ?assertEqual(http1, ?CONN:get_protocol(Pid)),
    ok = ?CONN:connect(Pid),
    ?assertEqual(http1, ?CONN:get_protocol(Pid)),
    ok = ?CONN:close(Pid),
    ?assertEqual(http1, ?CONN:get_protocol(Pid)).

%% Clauses: API-31, TRAP-40
api_31_request_line_is_checked_in_the_caller(_) ->
    {Live, Peer} = connected(serve([request, {send, response(<<"ok">>)}])),
    Dead = start(serve([]), #{}),
    ok = ?CONN:stop(Dead),
    Calls = [fun(P, M, T) -> ?CONN:request(P, M, T, [], <<>>) end,
             fun(P, M, T) -> ?CONN:request_streaming(P, M, T, [], <<>>) end,
             fun(P, M, T) -> ?CONN:send_request_headers(P, M, T, []) end,
             fun(P, M, T) -> ?CONN:request_async(P, M, T, [], <<>>, true) end],
    [begin
         ?assertEqual({error, {invalid_request_target, <<"/a", Bad/binary, "b">>}},
                      Call(Pid, <<"GET">>, <<"/a", Bad/binary, "b">>)),
         ?assertEqual({error, {invalid_request_target, <<"/a", Bad/binary, "b">>}},
                      Call(Pid, <<"GET">>, ["/a", Bad, "b"])),
         ?assertEqual({error, {invalid_method, <<"GE", Bad/binary>>}},
                      Call(Pid, <<"GE", Bad/binary>>, <<"/", Bad/binary>>))
     end
     || Pid <- [Live, Dead], Call <- Calls, Bad <- [<<"\r">>, <<"\n">>, <<0>>]],
    ?assertEqual({200, <<"ok">>}, exchange(Live)),
    ?assertEqual(1, length(hansom_script:requests(Peer))).

%% Clauses: API-32, ST-8
api_32_request_options(_) ->
    {Pid, _} = connected(serve([request])),
    ?assertEqual({error, timeout},
                 ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, infinity,
                               [{unknown, 1}, unknown, {recv_timeout, 30}])).

%% Clauses: API-33
api_33_recv_timeout_of_a_request_does_not_stick(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"a">>)},
                                   request, wait, {send, response(<<"b">>)}])),
    {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, infinity, [{recv_timeout, 100}]),
    {ok, <<"a">>} = ?CONN:body(Pid),
    Reader = hansom_case:async(fun() -> exchange(Pid) end),
    ok = hansom_script:arrived(Peer, 2),
    hansom_case:hold(200),
    hansom_script:continue(Peer),
    ?assertEqual({ok, {200, <<"b">>}}, hansom_case:result(Reader)).

%% Clauses: API-34, ST-26
api_34_expired_wait_is_an_exit_and_the_exchange_goes_on(_) ->
    {Pid, Peer} = connected(serve([request, wait, {send, response(<<"late">>)}])),
    ?assertExit({timeout, {gen_statem, call, _}},
                ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, 30)),
    hansom_script:continue(Peer),
    hansom_case:is_state(Pid, receiving),
    ?assertEqual({ok, <<"late">>}, ?CONN:body(Pid)).

%% Clauses: API-34, ST-26
api_34_expired_wait_for_the_body(_) ->
    Head = <<"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n">>,
    {Pid, Peer} = connected(serve([request, {send, [Head, "ab"]}, wait, {send, "cd"}])),
    {ok, 200, _} = request(Pid),
    ?assertExit({timeout, {gen_statem, call, _}}, ?CONN:body(Pid, 30)),
    hansom_script:continue(Peer),
    case hansom_case:is_hansom() of
        true -> ?assertEqual({ok, <<"abcd">>}, ?CONN:body(Pid));
        %% The other module reads on and throws the body away.
        false -> hansom_case:is_state(Pid, connected)
    end.

%% Clauses: API-34, API-5, API-9, API-18, API-41, API-42
api_34_a_wait_that_is_no_time(_) ->
    Server = serve([request, {send, response(<<"one">>)}, request, {send, response(<<"two">>)}]),
    Idle = start(Server, #{}),
    Refused = fun(Call) ->
                      [?assertError(timeout_value, Call(Wait)) || Wait <- [-1, 1.5, soon, 16#100000000, 1 bsl 70]]
              end,
    Refused(fun(Wait) -> ?CONN:connect(Idle, Wait) end),
    ?assertEqual(idle, state(Idle)),
    {Pid, Peer} = connected(Server),
    Refused(fun(Wait) -> ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, Wait) end),
    ?assertEqual(connected, state(Pid)),
    {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/1">>, [], <<>>, 16#ffffffff),
    Refused(fun(Wait) -> ?CONN:body(Pid, Wait) end),
    ?assertEqual({ok, <<"one">>}, ?CONN:body(Pid, 16#ffffffff)),
    {ok, 200, _} = request(Pid),
    ?assertEqual({ok, <<"two">>}, ?CONN:body(Pid)),
    ?assertMatch([<<"GET /1 ", _/binary>>, _], hansom_script:requests(Peer)),
    [Refused(fun(Wait) -> ?CONN:Function(Pid, Wait) end)
     || Function <- [recv, get_state, is_ready, checkin_info, stop]],
    Refused(fun(Wait) -> ?CONN:set_owner(Pid, self(), Wait) end),
    Refused(fun(Wait) -> hansom_h2_stream:recv(Pid, 1, Wait) end),
    hansom_case:no_message().

%% Clauses: API-35, LOW-5
api_35_recv_for_as_long_as_can_be(_) ->
    {Pid, _} = connected(serve([{send, "bytes"}])),
    ?assertEqual({ok, <<"bytes">>}, ?CONN:recv(Pid, 5, 16#ffffffff)).

%% Clauses: API-35, LOW-5
api_35_recv_with_an_endless_timeout(_) ->
    {Pid, _} = connected(serve([{send, "bytes"}])),
    ?assertEqual(ok, try ?CONN:recv(Pid, infinity) of
                         {ok, <<"bytes">>} -> ok
                     catch
                         error:badarith -> ok
                     end).
