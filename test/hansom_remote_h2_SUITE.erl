%% @doc Connections of another node over HTTP/2, and what is left when a process that uses one, or its
%% node, is lost. See hansom_remote_SUITE.
-module(hansom_remote_h2_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_node, [call/2, call/4]).
-import(hansom_remote_case, [run/2, open/2, open/4, options/3, get/2, ended/1, reason/1, fun_of/1, receivers/1, pull/2,
                             is_taken/1, is_free/1]).

-define(DEADLINE, 5000).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_remote_case:init_suite(Config).
end_per_suite(Config) -> hansom_remote_case:end_suite(Config).
init_per_testcase(_, Config) -> hansom_remote_case:init_case(Config).
end_per_testcase(_, Config) -> hansom_remote_case:end_case(Config).

%% The receiver is not the owner, and cannot know that the connection ends.
%% Clauses: ST-29, ASY-15, H2-17
asy_15_end_of_the_owner_reaches_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        [begin
             Owner = spawn(fun() -> receive after infinity -> ok end end),
             Pid = open(Home, http, Target, More#{owner => Owner}),
             {{ok, Pid}, _} = Ask(Pid, [<<"GET">>, <<"/stream/1000000?interval_ms=5">>, [], <<>>, once]),
             {status, 200, _} = hansom_case:payload(Pid),
             {headers, _} = hansom_case:payload(Pid),
             %% Over HTTP/1.1 a receiver that is not the caller is the owner.
             ok = set_owner(Pid, Owner, More),
             exit(Owner, kill),
             {error, Reason} = hansom_case:payload(Pid),
             true = lists:member(Reason, [closed, {closed, normal}]),
             ended(Pid)
         end
         || Ask <- lists:sublist(receivers(Home), 1), More <- [#{}, #{h2c => true}]]
    end).

set_owner(Pid, Owner, #{h2c := true}) -> hansom_conn:set_owner(Pid, Owner);
set_owner(_, _, _) -> ok.

%% Nothing is read any more for a receiver that is dead; the connection is left to the others.
%% Clauses: ST-29, ASY-10, H2-10
asy_10_death_of_a_receiver_of_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, single, Target, #{}),
        [begin
             Receiver = spawn(fun() -> receive after infinity -> ok end end),
             {ok, Pid} = Request(Pid, [<<"GET">>, <<"/stream/1000000?interval_ms=5">>, [], <<>>, Mode, Receiver]),
             is_taken(Pid),
             exit(Receiver, kill),
             is_free(Pid)
         end
         || Mode <- [true, once],
            Request <- [fun(Conn, Arguments) -> apply(hansom_conn, request_async, [Conn | Arguments]) end,
                        fun(Conn, Arguments) -> erpc:call(Home, hansom_conn, request_async, [Conn | Arguments]) end]],
        ok = hansom_conn:stop(Pid),
        %% Over HTTP/1.1 there is one exchange, which its receiver asked for.
        Plain = open(Home, Target),
        Asker = spawn(fun() ->
                              {ok, _} = hansom_conn:request_async(Plain, <<"GET">>, <<"/stall/head">>, [], <<>>, true),
                              receive after infinity -> ok end
                      end),
        hansom_case:is_state(Plain, streaming),
        exit(Asker, kill),
        ended(Plain)
    end).

%% Clauses: ST-29, ASY-10, H2-10
asy_10_loss_of_a_receivers_node(Config) ->
    Home = proplists:get_value(home, Config),
    Target = proplists:get_value(target, Config),
    {ok, Pid} = call(Home, hansom_conn_sup, start_conn, [options(single, Target, #{})]),
    ok = call(Home, hansom_conn, connect, [Pid]),
    ok = call(proplists:get_value(user, Config), fun() ->
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, true),
        is_taken(Pid)
    end),
    ok = hansom_node:stop(proplists:get_value(user, Config)),
    ok = call(Home, fun() -> is_free(Pid) end).

%% Clauses: ST-29, ST-26
st_26_killed_callers_of_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, single, Target, #{}),
        [begin
             #{requests := Before} = hansom:info(Pid),
             {Caller, _} = Monitored = spawn_monitor(Ask),
             hansom_case:wait_for(fun() -> maps:get(requests, hansom:info(Pid)) > Before end),
             is_taken(Pid),
             exit(Caller, kill),
             killed = reason(Monitored),
             is_free(Pid)
         end
         || Ask <- [fun() -> get(Pid, <<"/stall">>) end,
                    fun() ->
                            ok = hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/stall">>, []),
                            receive after infinity -> ok end
                    end,
                    fun() ->
                            ok = hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/stall">>, []),
                            hansom_conn:start_response(Pid)
                    end]],
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-29, H2-10, ASY-1, ASY-2
h2_10_messages_reach_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, http, Target, #{h2c => true}),
        [begin
             {{ok, Pid}, _} = Ask(Pid, [<<"GET">>, <<"/bytes/200000">>, [], <<>>, true]),
             [{status, 200, <<>>}, {headers, _} | Rest] = hansom_case:payloads(Pid),
             done = lists:last(Rest),
             200000 = byte_size(hansom_case:body_of(Rest))
         end
         || Ask <- receivers(Home)],
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/100000">>, [], <<>>, once),
        {status, 200, <<>>} = hansom_case:payload(Pid),
        {headers, _} = hansom_case:payload(Pid),
        done = pull(Pid, 100000),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/reset/before-head?code=8">>, [], <<>>, true),
        [{error, {stream_error, cancel}}] = hansom_case:payloads(Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-29, H2-11, H2-13
h2_11_uploads_of_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, http, Target, #{h2c => true}),
        Large = binary:copy(<<"x">>, 300000),
        {ok, 200, _, Large} = hansom_conn:request(Pid, <<"POST">>, <<"/echo">>, [], Large),
        ok = hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
        ok = hansom_conn:send_body_chunk(Pid, Large),
        ok = hansom_conn:send_body_chunk(Pid, fun_of([<<"1">>, <<"2">>])),
        ok = hansom_conn:finish_send_body(Pid),
        {ok, 200, _, Pid} = hansom_conn:start_response(Pid),
        Whole = <<Large/binary, "12">>,
        {ok, Whole} = hansom_conn:body(Pid),
        {error, no_stream} = hansom_conn:stream_body(Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: ST-29, H2-17
h2_17_owner_of_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Owner = spawn(fun() -> receive after infinity -> ok end end),
        Pid = open(Home, http, Target, #{h2c => true, owner => Owner}),
        Waiting = hansom_case:async(fun() -> get(Pid, <<"/stall">>) end),
        hansom_case:wait_for(fun() -> maps:get(requests, hansom:info(Pid)) =:= 1 end),
        exit(Owner, kill),
        {ok, {error, closed}} = hansom_case:result(Waiting),
        ended(Pid)
    end).

%% Clauses: ST-29, API-37
api_37_handler_of_another_node(Config) ->
    run(Config, fun(Target, Home) ->
        Pid = open(Home, single, Target, #{}),
        Handler = spawn(fun() -> receive after infinity -> ok end end),
        {ok, Pid, _} = hansom_conn:open_h2_stream(Pid, <<"POST">>, <<"/stall">>, [], Handler, #{}),
        is_taken(Pid),
        exit(Handler, kill),
        is_free(Pid),
        {ok, Pid, Id} = hansom_conn:open_h2_stream(Pid, <<"POST">>, <<"/stall/head">>, [], self(), #{}),
        {response, Id, 200, _} = hansom_h2_stream:recv(Pid, Id, ?DEADLINE),
        ok = hansom_h2_stream:cancel(Pid, Id),
        is_free(Pid),
        ok = hansom_conn:stop(Pid)
    end).
