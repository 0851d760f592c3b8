%% @doc Connections of another node: every function, every way of delivery, and what is left when
%% a process or node at either end is lost.
%%
%% The cases run in the node `user'; the connections are in the node `home'.
-module(hansom_remote_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_node, [call/2]).
-import(hansom_remote_case, [run/2, start/4, open/2, open/4, options/3, get/2, ended/1, reason/1, fun_of/1, receivers/1,
                             pull/2]).

-define(DEADLINE, 20000).

all() ->
    [st_29_every_function, st_29_interim_responses_are_told, st_29_bodies_made_by_functions,
     st_29_expired_wait, st_29_dead_process, st_29_caller_dies, st_29_info,
     asy_01_messages_reach_another_node, asy_02_once_on_another_node, asy_05_redirect_to_another_node,
     asy_08_failure_reaches_another_node, asy_10_receiver_of_another_node_is_the_owner,
     asy_11_stop_async_from_another_node, asy_12_pause_and_resume_from_another_node,
     asy_15_end_of_the_engine_reaches_another_node, rsp_22_truncated_body_at_another_node,
     pool_05_pool_of_another_node,
     st_04_owner_of_another_node, st_29_home_is_lost].

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_remote_case:init_suite(Config).
end_per_suite(Config) -> hansom_remote_case:end_suite(Config).
init_per_testcase(_, Config) -> hansom_remote_case:init_case(Config).
end_per_testcase(_, Config) -> hansom_remote_case:end_case(Config).

%% In the node `user'

five_bytes(Pid) ->
    {ok, 200, _} = get(Pid, <<"/bytes/5">>),
    {ok, <<0, 1, 2, 3, 4>>} = hansom_conn:body(Pid),
    ok.

%% Clauses: ST-29
st_29_every_function(Config) ->
    run(Config, fun(Target, Home) ->
        Called = lists:append([calls(Kind, Target, Home) || Kind <- [life, exchanges, upload, async, http2, socket, pool, tls]]),
        %% start_link/1 starts one here.
        Exported = hansom_conn:module_info(exports)
            -- [{start_link, 1}, {module_info, 0}, {module_info, 1}],
        [] = lists:usort(Exported) -- Called
    end).

%% What it called.
calls(Kind, Target, Home) ->
    put(called, []),
    run_calls(Kind, Target, Home),
    erase(called).

-define(IS(Pattern, Function, Arguments), ?assertMatch(Pattern, apply_noted(Function, Arguments))).

apply_noted(Function, Arguments) ->
    put(called, [{Function, length(Arguments)} | get(called)]),
    apply(hansom_conn, Function, Arguments).

run_calls(life, Target, Home) ->
    Pid = start(Home, http, Target, #{}),
    ?IS({ok, idle}, get_state, [Pid]),
    ?IS({ok, idle}, get_state, [Pid, 1000]),
    ?IS(ok, connect, [Pid]),
    ?IS({error, invalid_state}, connect, [Pid, 1000]),
    ?IS({ok, connected}, get_state, [Pid]),
    ?IS(http1, get_protocol, [Pid]),
    ?IS(undefined, get_location, [Pid]),
    ?IS(ok, set_location, [Pid, <<"/there">>]),
    ?IS(<<"/there">>, get_location, [Pid]),
    ?IS(ok, close, [Pid]),
    ?IS({ok, closed}, get_state, [Pid]),
    ?IS(ok, connect, [Pid, 1000]),
    ?IS(ok, stop, [Pid]),
    ?IS(ok, stop, [start(Home, http, Target, #{}), 1000]);
run_calls(exchanges, Target, Home) ->
    Pid = open(Home, Target),
    Get = [Pid, <<"GET">>, <<"/bytes/5">>, [], <<>>],
    ?IS(undefined, response_headers, [Pid]),
    ?IS({ok, 200, [_ | _]}, request, Get),
    ?IS([_ | _], response_headers, [Pid]),
    ?IS({ok, <<_:5/binary>>}, body, [Pid]),
    ?IS({ok, 200, _}, request, Get ++ [1000]),
    ?IS({ok, <<_:5/binary>>}, body, [Pid, 1000]),
    ?IS({ok, 200, _}, request, Get ++ [1000, [{recv_timeout, 1000}]]),
    ?IS({ok, <<_:5/binary>>}, stream_body, [Pid]),
    ?IS(done, stream_body, [Pid]),
    ?IS({error, invalid_state}, request_streaming, Get),
    %% A head that is read on a dirty scheduler.
    Many = [{"x-" ++ integer_to_list(N), N} || N <- lists:seq(1, 1000)],
    ?IS({ok, 431, _}, request, [Pid, <<"GET">>, <<"/">>, Many, <<>>]),
    ok = hansom_conn:stop(Pid);
run_calls(upload, Target, Home) ->
    Pid = open(Home, Target),
    ?IS(ok, send_request_headers, [Pid, <<"POST">>, <<"/upload">>, [{"Host", "origin"}]]),
    ?IS(ok, send_body_chunk, [Pid, <<"one">>]),
    ?IS(ok, send_body_chunk, [Pid, ["two", [$3]]]),
    ?IS(ok, finish_send_body, [Pid]),
    ?IS({ok, 200, _, Pid}, start_response, [Pid]),
    ?IS({ok, <<"bytes: 7", _/binary>>}, body, [Pid]),
    ?IS(ok, send_request_headers, [Pid, <<"POST">>, <<"/upload">>, [{"Host", "origin"}], []]),
    ok = hansom_conn:stop(Pid);
run_calls(async, Target, Home) ->
    [begin
         Pid = open(Home, Target),
         ?IS({ok, Pid}, request_async, [Pid, <<"GET">>, <<"/bytes/5">>, [], <<>>, once | More]),
         {status, 200, _} = hansom_case:payload(Pid),
         {headers, _} = hansom_case:payload(Pid),
         ?IS(ok, stream_next, [Pid]),
         <<_:5/binary>> = hansom_case:payload(Pid),
         ?IS(ok, pause_stream, [Pid]),
         ?IS(ok, resume_stream, [Pid]),
         done = hansom_case:payload(Pid),
         ended(Pid),
         ?assertExit({noproc, _}, hansom_conn:stop_async(Pid))
     end
     || More <- [[], [self()], [self(), false], [self(), false, []]]],
    Pid = open(Home, Target),
    ?IS({error, invalid_state}, stop_async, [Pid]),
    ok = hansom_conn:stop(Pid);
run_calls(http2, Target, Home) ->
    Pid = open(Home, http, Target, #{h2c => true}),
    ?IS(http2, get_protocol, [Pid]),
    ?IS({ok, 200, _, <<_:5/binary>>}, request, [Pid, <<"GET">>, <<"/bytes/5">>, [], <<>>]),
    %% Each of two processes of this node has an upload of its own.
    Echo = fun(Text) ->
                   ?IS(ok, send_request_headers, [Pid, <<"POST">>, <<"/echo">>, []]),
                   ?IS(ok, send_body_chunk, [Pid, fun_of([Text])]),
                   fun() ->
                           ok = hansom_conn:finish_send_body(Pid, [{trailers, [{"x", 1}]}]),
                           {ok, 200, _, Pid} = hansom_conn:start_response(Pid),
                           hansom_conn:body(Pid)
                   end
           end,
    Mine = Echo(<<"mine">>),
    Other = hansom_case:async(fun() -> put(called, []), (Echo(<<"other">>))() end),
    {ok, {ok, <<"other">>}} = hansom_case:result(Other),
    {ok, <<"mine">>} = Mine(),
    put(called, [{finish_send_body, 2} | get(called)]),
    ?IS({ok, Pid}, request_async, [Pid, <<"GET">>, <<"/bytes/5">>, [], <<>>, once]),
    {status, 200, _} = hansom_case:payload(Pid),
    {headers, _} = hansom_case:payload(Pid),
    ?IS(ok, stream_next, [Pid]),
    <<_:5/binary>> = hansom_case:payload(Pid),
    {ok, Pid, Id} = apply_noted(open_h2_stream, [Pid, <<"POST">>, <<"/echo">>, [], self(), #{}]),
    ok = hansom_h2_stream:send(Pid, Id, <<"x">>, fin),
    {response, Id, 200, _} = hansom_h2_stream:recv(Pid, Id, ?DEADLINE),
    {data, Id, <<"x">>, _} = hansom_h2_stream:recv(Pid, Id, ?DEADLINE),
    ok = hansom_h2_stream:consume(Pid, Id, 1),
    ok = hansom_h2_stream:cancel(Pid, Id),
    ok = hansom_conn:stop(Pid),
    _ = hansom_case:flush_to([]);
run_calls(socket, #{http := Port} = Target, Home) ->
    Pid = open(Home, Target),
    ?IS(ok, setopts, [Pid, [{nodelay, true}]]),
    ?IS({ok, {{127, 0, 0, 1}, Port}}, peername, [Pid]),
    ?IS({error, not_supported}, migrate, [Pid]),
    ?IS({ok, {{127, 0, 0, 1}, _}}, sockname, [Pid]),
    ?IS({error, not_ssl}, peercert, [Pid]),
    ?IS(ok, send, [Pid, ["GET /bytes/1 HTTP/1.1\r\nHost: origin\r\n\r\n"]]),
    ?IS({ok, <<"HTTP/1.1 200">>}, recv, [Pid, 12, 1000]),
    ?IS({ok, _}, recv, [Pid, 1000]),
    ok = hansom_conn:stop(Pid);
run_calls(pool, Target, Home) ->
    Pid = open(Home, Target),
    ?IS({ok, connected}, is_ready, [Pid]),
    ?IS({ok, connected}, is_ready, [Pid, 1000]),
    ?IS(ok, verify_socket, [Pid]),
    ?IS(false, is_no_reuse, [Pid]),
    ?IS(false, is_upgraded_ssl, [Pid]),
    ?IS(#{ready := true}, checkin_info, [Pid]),
    ?IS(#{ready := true}, checkin_info, [Pid, 1000]),
    ?IS(ok, release_to_pool, [Pid]),
    ?IS(ok, set_owner, [Pid, self()]),
    ?IS(ok, set_owner, [Pid, whereis_at(Home, hansom_conn_sup), 1000]),
    ?IS(ok, set_owner_async, [Pid, self()]),
    ok = five_bytes(Pid),
    ok = hansom_conn:stop(Pid);
run_calls(tls, #{https := Port, cacerts := Roots} = Target, Home) ->
    [begin
         Pid = open(Home, http, Target, #{port => Port}),
         ?IS(ok, upgrade_to_ssl, [Pid, [{protocols, [http1]}, {cacerts, Roots}] | More]),
         true = hansom_conn:is_upgraded_ssl(Pid),
         {ok, _} = hansom_conn:peercert(Pid),
         ok = five_bytes(Pid),
         ok = hansom_conn:stop(Pid)
     end
     || More <- [[], [#{pool_ssl => true}]]].

whereis_at(Node, Name) -> erpc:call(Node, erlang, whereis, [Name]).

%% Clauses: ST-29, ST-32, RSP-13
st_29_interim_responses_are_told(Config) ->
    run(Config, fun(Target, Home) ->
        Self = self(),
        Pid = open(Home, Target),
        Inform = fun(Status, _, _) -> Self ! {informed, Status, self()} end,
        {ok, 200, _} = hansom_conn:request(Pid, <<"GET">>, <<"/interim/103?count=2">>, [], <<>>, 1000,
                                           [{inform_fun, Inform}]),
        [receive {informed, 103, Pid} -> ok after ?DEADLINE -> error(not_informed) end || _ <- "12"],
        {ok, _} = hansom_conn:body(Pid),
        ok = hansom_conn:stop(Pid),
        %% The function of the start options, during an upload.
        Second = open(Home, http, Target, #{inform_fun => Inform}),
        ok = hansom_conn:send_request_headers(Second, <<"POST">>, <<"/interim/103">>, [{"Host", "origin"}]),
        ok = hansom_conn:finish_send_body(Second),
        {ok, 200, _, Second} = hansom_conn:start_response(Second),
        receive {informed, 103, Second} -> ok after ?DEADLINE -> error(not_informed) end,
        ok = hansom_conn:stop(Second)
    end).

%% Clauses: ST-29, ST-32, REQ-11
st_29_bodies_made_by_functions(Config) ->
    run(Config, fun(Target, Home) ->
        %% It has the pieces, and gives one to each who asks.
        Store = spawn(fun() ->
                              [receive {next, Asker} -> Asker ! {product, Product} end
                               || Product <- [{ok, "3"}, {ok, [<<"21">>]}, eof]]
                      end),
        [begin
             Pid = open(Home, Target),
             ok = hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/echo">>, [{"Host", "origin"}]),
             ok = hansom_conn:send_body_chunk(Pid, Producer),
             ok = hansom_conn:finish_send_body(Pid),
             {ok, 200, _, Pid} = hansom_conn:start_response(Pid),
             {ok, <<"321">>} = hansom_conn:body(Pid),
             ok = hansom_conn:stop(Pid)
         end
         || Producer <- [{fun(0) -> eof; (N) -> {ok, integer_to_binary(N), N - 1} end, 3},
                         fun() ->
                                 Store ! {next, self()},
                                 receive {product, Product} -> Product end
                         end]],
        ok
    end).

%% Clauses: ST-29, API-34
st_29_expired_wait(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, Target),
        ?assertExit({timeout, {gen_statem, call, _}},
                    hansom_conn:request(Pid, <<"GET">>, <<"/delay/300">>, [], <<>>, 50)),
        %% The exchange goes on, and its answer comes to nobody.
        hansom_case:is_state(Pid, receiving),
        {ok, _} = hansom_conn:body(Pid),
        ok = five_bytes(Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-29, API-36, API-16
st_29_dead_process(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = start(Home, http, Target, #{}),
        ok = hansom_conn:stop(Pid),
        {error, closed} = get(Pid, <<"/">>),
        {error, closed} = hansom_conn:body(Pid),
        {error, closed} = hansom_conn:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
        {error, closed} = hansom_conn:start_response(Pid),
        undefined = hansom_conn:get_location(Pid),
        ?assertExit({noproc, {gen_statem, call, _}}, hansom_conn:peername(Pid)),
        ?assertExit({noproc, {gen_statem, call, _}}, hansom_conn:get_state(Pid)),
        ok = hansom_conn:stream_next(Pid),
        ok = hansom_conn:pause_stream(Pid),
        ok = hansom_conn:resume_stream(Pid),
        ok = hansom_conn:stop(Pid),
        undefined = hansom:info(Pid),
        Killed = open(Home, Target),
        Caller = spawn_monitor(fun() -> get(Killed, <<"/delay/3600000">>) end),
        hansom_case:is_state(Killed, receiving),
        exit(Killed, kill),
        {killed, {gen_statem, call, _}} = reason(Caller)
    end).

%% Clauses: ST-26, ST-29
st_29_caller_dies(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, Target),
        {Caller, _} = Monitored = spawn_monitor(fun() -> get(Pid, <<"/delay/200">>) end),
        hansom_case:is_state(Pid, receiving),
        exit(Caller, kill),
        killed = reason(Monitored),
        {ok, _} = hansom_conn:body(Pid),
        ok = five_bytes(Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-29
st_29_info(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, Target),
        ok = five_bytes(Pid),
        #{state := connected, requests := 1} = hansom:info(Pid),
        ok = hansom_conn:stop(Pid),
        undefined = hansom:info(Pid)
    end).

%% Clauses: ST-29, ASY-1, ASY-9
asy_01_messages_reach_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        [begin
             Pid = open(Home, Transport, Target, #{}),
             {{ok, Pid}, _} = Ask(Pid, [<<"GET">>, <<"/bytes/1000000">>, [], <<>>, true]),
             [{status, 200, _}, {headers, _} | Rest] = hansom_case:payloads(Pid),
             done = lists:last(Rest),
             1000000 = byte_size(hansom_case:body_of(Rest)),
             ended(Pid)
         end
         || Ask <- receivers(Home), Transport <- [http, https], _ <- lists:seq(1, 10)]
    end).

%% Clauses: ST-29, ASY-2
asy_02_once_on_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        [begin
             Pid = open(Home, Target),
             {{ok, Pid}, _} = Ask(Pid, [<<"GET">>, <<"/chunks/3/10">>, [], <<>>, once]),
             {status, 200, _} = hansom_case:payload(Pid),
             {headers, _} = hansom_case:payload(Pid),
             {ok, streaming_once} = hansom_conn:get_state(Pid),
             hansom_case:no_message(),
             done = pull(Pid, 30),
             ended(Pid)
         end
         || Ask <- receivers(Home)]
    end).

%% Clauses: ST-29, ASY-5
asy_05_redirect_to_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, Target),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/redirect/1">>, [], <<>>, true, self(), true),
        {redirect, <<_, _/binary>>, _} = hansom_case:payload(Pid),
        ok = five_bytes(Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-29, ASY-8, ASY-15
asy_08_failure_reaches_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        [begin
             Pid = open(Home, Target),
             {{ok, Pid}, _} = Ask(Pid, [<<"GET">>, Path, [], <<>>, true]),
             {error, _} = lists:last(hansom_case:payloads(Pid)),
             ok = hansom_conn:stop(Pid)
         end
         || Ask <- receivers(Home), Path <- [<<"/reset/before-head">>, <<"/cut/before-head">>, <<"/cut/10/100">>]]
    end).

%% Clauses: ST-29, ASY-10
asy_10_receiver_of_another_node_is_the_owner(Config) ->
    run(Config, fun(Target, Home) ->
        [begin
             Pid = open(Home, Target),
             Receiver = spawn(fun() -> receive after infinity -> ok end end),
             {ok, Pid} = Request(Pid, [<<"GET">>, <<"/stream/1000000?interval_ms=5">>, [], <<>>, true, Receiver]),
             {ok, streaming} = hansom_conn:get_state(Pid),
             exit(Receiver, kill),
             ended(Pid)
         end
         || Request <- [fun(Pid, Arguments) -> apply(hansom_conn, request_async, [Pid | Arguments]) end,
                        fun(Pid, Arguments) -> erpc:call(Home, hansom_conn, request_async, [Pid | Arguments]) end]]
    end).

%% Clauses: ST-29, ASY-11
asy_11_stop_async_from_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, Target),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/5">>, [], <<>>, once),
        {status, 200, _} = hansom_case:payload(Pid),
        {headers, _} = hansom_case:payload(Pid),
        ok = hansom_conn:stop_async(Pid),
        {ok, <<_:5/binary>>} = hansom_conn:body(Pid),
        ok = five_bytes(Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-29, ASY-12
asy_12_pause_and_resume_from_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, Target),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/stream/400?interval_ms=1">>, [], <<>>, true),
        {status, 200, _} = hansom_case:payload(Pid),
        {headers, _} = hansom_case:payload(Pid),
        <<_, _/binary>> = hansom_case:payload(Pid),
        ok = hansom_conn:pause_stream(Pid),
        %% Messages between nodes keep their order: what was sent before the pause is here.
        {ok, streaming_once} = hansom_conn:get_state(Pid),
        _ = hansom_case:flush_to([]),
        ok = hansom_conn:stream_next(Pid),
        <<_, _/binary>> = hansom_case:payload(Pid),
        ok = hansom_conn:resume_stream(Pid),
        done = lists:last(hansom_case:payloads(Pid)),
        ended(Pid)
    end).

%% Clauses: ST-29, ASY-15
asy_15_end_of_the_engine_reaches_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Self = self(),
        %% Not below the supervisor, which stops before the engine does.
        spawn(Home, fun() ->
            {ok, Pid} = hansom_conn:start_link(options(http, Target, #{})),
            Self ! {started, Pid},
            receive after infinity -> ok end
        end),
        Pid = receive {started, Started} -> Started after ?DEADLINE -> error(not_started) end,
        ok = hansom_conn:connect(Pid),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/stream/1000000?interval_ms=5">>, [], <<>>, true),
        {status, 200, _} = hansom_case:payload(Pid),
        ok = erpc:call(Home, application, stop, [hansom]),
        {error, closed} = lists:last(hansom_case:payloads(Pid)),
        ended(Pid)
    end).

%% Clauses: ST-29, RSP-22
rsp_22_truncated_body_at_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        [begin
             Read = fun(Body) ->
                            Pid = open(Home, http, Target, #{truncated_body => Truncated}),
                            {ok, 200, _} = get(Pid, <<"/cut/5/10">>),
                            Answer = Body(Pid),
                            ended(Pid),
                            Answer
                    end,
             Whole = Read(fun hansom_conn:body/1),
             End = Read(fun(Pid) -> {ok, <<0, 1, 2, 3, 4>>} = hansom_conn:stream_body(Pid), hansom_conn:stream_body(Pid) end),
             Pid = open(Home, http, Target, #{truncated_body => Truncated}),
             {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/cut/5/10">>, [], <<>>, true),
             Last = lists:last(hansom_case:payloads(Pid)),
             ok = hansom_conn:stop(Pid)
         end
         || {Truncated, Whole, End, Last}
                <- [{error, {error, {closed, <<0, 1, 2, 3, 4>>}}, {error, closed}, {error, closed}},
                    {ok, {ok, <<0, 1, 2, 3, 4>>}, done, done}]],
        ok
    end).

%% Clauses: ST-29, POOL-5, POOL-4
pool_05_pool_of_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, http, Target, #{pool_pid => self()}),
        ok = five_bytes(Pid),
        receive {'$gen_cast', {checkin, nil, Pid}} -> ok after ?DEADLINE -> error(not_checked_in) end,
        Releaser = spawn_monitor(fun() -> exit(hansom_conn:release_to_pool(Pid)) end),
        receive {'$gen_call', From, {checkin_sync, Pid, false}} -> gen_server:reply(From, ok)
        after ?DEADLINE -> error(not_checked_in)
        end,
        ok = reason(Releaser),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-4, ST-29
st_04_owner_of_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Owner = spawn(fun() -> receive after infinity -> ok end end),
        Pid = open(Home, http, Target, #{owner => Owner}),
        ok = five_bytes(Pid),
        exit(Owner, kill),
        ended(Pid)
    end).

%% Clauses: ST-29, API-36
st_29_home_is_lost(Config) ->
    [Home, User, Node, Target] = [proplists:get_value(Key, Config) || Key <- [home, user, home_node, target]],
    ok = call(User, fun() ->
        Pid = open(Node, Target),
        register(caller, spawn(fun() ->
            Result = try get(Pid, <<"/delay/3600000">>) catch exit:Reason -> {exit, Reason} end,
            Receiver = receive {tell, From} -> From end,
            Receiver ! {told, Result}
        end)),
        hansom_case:is_state(Pid, receiving)
    end),
    ok = hansom_node:stop(Home),
    {exit, {{nodedown, Node}, {gen_statem, call, _}}} = call(User, fun() ->
        caller ! {tell, self()},
        receive {told, Result} -> Result after ?DEADLINE -> error(still_waiting) end
    end).
