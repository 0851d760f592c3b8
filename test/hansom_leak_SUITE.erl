%% @doc Many connections, opened and lost in each way there is, leave nothing: no descriptor, no
%% process, no connection in the engine, no message, no memory.
-module(hansom_leak_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_node, [call/2, call/4]).

%% In each case, over some processes at a time.
-define(CONNECTIONS, 1000).
-define(AT_A_TIME, 20).
%% What the allocators of the VM and of the C library may keep of such a case; a leak of as little
%% as 32 KiB a connection is above it.
-define(MEMORY, (32 bsl 20)).

all() ->
    [stopped, stopped_in_an_exchange, killed, killed_in_an_exchange, owner_dies, starter_exits, peer_resets,
     peer_closes, dial_refused, handshake_refused, handshake_abandoned, requests_abandoned,
     waits_expire, receivers_die, bodies_not_read, one_connection_many_exchanges, one_connection_many_streams,
     one_connection_many_h3_streams].

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) ->
    Origin = #{ports := #{http := Http, https := Https, http3 := Http3}, cacerts := Roots} = hansom_servers:origin(),
    {Silent, Port} = hansom_load:silent(),
    Target = #{http => Http, https => Https, http3 => Http3, silent => Port, cacerts => Roots},
    %% One node for all cases: what one leaves, the next one also sees. The servers' ends of the
    %% sockets are elsewhere.
    Peer = start_unlinked(),
    {ok, _} = call(Peer, application, ensure_all_started, [hansom]),
    ok = call(Peer, fun() ->
        [ok = hansom_conn:stop(hansom_load:open(Transport, Target)) || Transport <- [http, https]],
        hansom_case:wait_for(fun() -> #{connections := Left} = hansom:stats(), Left =:= #{} end)
    end),
    [{origin, Origin}, {silent, Silent}, {target, Target}, {peer, Peer} | Config].

%% The process that initialises a suite ends before its cases run.
start_unlinked() ->
    Peer = hansom_node:start(["-kernel", "logger_level", "none"]),
    unlink(Peer),
    Peer.

end_per_suite(Config) ->
    hansom_node:stop(proplists:get_value(peer, Config)),
    exit(proplists:get_value(silent, Config), kill),
    hansom_servers:stop(proplists:get_value(origin, Config)).

init_per_testcase(_, Config) ->
    case filelib:is_dir("/proc/self/fd") of
        true -> Config;
        false -> {skip, "counts descriptors and memory in /proc, which this system does not have"}
    end.

%% Runs `Lose' in the peer again and again: it opens a connection to a target and loses it.
leaves_nothing(Config, Lose) -> leaves_nothing(Config, ?CONNECTIONS, Lose).

leaves_nothing(Config, Count, Lose) ->
    Target = proplists:get_value(target, Config),
    Peer = proplists:get_value(peer, Config),
    {Grown, Left} = call(Peer, fun() ->
        Before = counts(),
        %% Caches and allocators fill up once.
        many(100, fun(_) -> Lose(Target) end),
        counts_are(Before),
        Memory = memory(),
        many(Count, fun(_) -> Lose(Target) end),
        counts_are(Before),
        {memory() - Memory, hansom_case:flush_to([])}
    end),
    ct:log("~b connections, ~b KiB", [Count, Grown div 1024]),
    ?assertEqual([], Left),
    ?assert(Grown < ?MEMORY).

%% By several processes, each of which counts what it does. None leaves a message, or the case fails.
many(Count, Work) ->
    Workers = [spawn_monitor(fun() ->
                                     process_flag(trap_exit, true),
                                     [begin Work(N), no_message() end || N <- lists:seq(1, Count div ?AT_A_TIME)]
                             end)
               || _ <- lists:seq(1, ?AT_A_TIME)],
    [receive {'DOWN', Monitor, process, _, Reason} -> normal = Reason end || {_, Monitor} <- Workers],
    ok.

%% Ends of linked connections aside.
no_message() ->
    receive {'EXIT', _, _} -> no_message()
    after 0 -> hansom_case:no_message()
    end.

%% What ends a connection may be told before its socket is closed.
counts_are(Before) ->
    hansom_case:wait_for(fun() -> Now = counts(), Now =:= Before orelse {Now, Before} end).

counts() ->
    {ok, Descriptors} = file:list_dir("/proc/self/fd"),
    #{processes => length(processes()), descriptors => length(Descriptors),
      connections => maps:get(connections, hansom:stats())}.

%% Resident memory: what the engine allocates is nowhere else to be seen.
memory() ->
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024.

open(Target) -> hansom_load:open(any_transport(), Target).

any_transport() -> lists:nth(rand:uniform(2), [http, https]).

gone(Pid) -> _ = hansom_case:is_gone(Pid), ok.

waiting(Pid) -> waiting(Pid, <<"/delay/3600000">>).

%% A process that waits for a response.
waiting(Pid, Path) ->
    Waiting = spawn_monitor(fun() -> exit({answer, catch hansom_conn:request(Pid, <<"GET">>, Path, [], <<>>)}) end),
    hansom_case:is_state(Pid, receiving),
    Waiting.

answer({Pid, Monitor}) ->
    receive {'DOWN', Monitor, process, Pid, {answer, Answer}} -> Answer
    after 20000 -> error(no_answer)
    end.

%% Clauses: VM-8, ST-27, ST-28
stopped(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        ok = hansom_load:exchange(sync, Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: VM-8, ST-27, ST-28
stopped_in_an_exchange(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        Waiting = waiting(Pid),
        ok = hansom_conn:stop(Pid),
        {error, closed} = answer(Waiting)
    end).

%% Clauses: VM-8, ST-28
killed(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        ok = hansom_load:exchange(sync, Pid),
        exit(Pid, kill),
        gone(Pid)
    end).

%% Clauses: VM-8, ST-28, API-36
killed_in_an_exchange(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        Waiting = waiting(Pid),
        exit(Pid, kill),
        {'EXIT', {killed, _}} = answer(Waiting)
    end).

%% Clauses: VM-8, ST-4, ST-28
owner_dies(Config) ->
    leaves_nothing(Config, fun(#{http := Port}) ->
        Owner = spawn(fun() -> receive after infinity -> ok end end),
        {ok, Pid} = hansom_conn:start_link(#{host => "127.0.0.1", port => Port, owner => Owner}),
        ok = hansom_conn:connect(Pid),
        exit(Owner, kill),
        gone(Pid)
    end).

%% Clauses: VM-8, API-48, ST-28
starter_exits(Config) ->
    leaves_nothing(Config, fun(Target) ->
        {_, Monitor} = spawn_monitor(fun() -> exit({opened, open(Target)}) end),
        receive {'DOWN', Monitor, process, _, {opened, Pid}} -> gone(Pid) end
    end).

%% Clauses: VM-8, ST-18, ST-28
peer_resets(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        {error, _} = hansom_conn:request(Pid, <<"GET">>, <<"/reset/before-head">>, [], <<>>),
        gone(Pid)
    end).

%% Clauses: VM-8, ST-19, ST-28
peer_closes(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        {ok, 200, _} = hansom_conn:request(Pid, <<"GET">>, <<"/cut/1000/100000">>, [], <<>>),
        {error, {closed, <<_:1000/binary>>}} = hansom_conn:body(Pid),
        gone(Pid)
    end).

%% Clauses: VM-8, ST-7, ST-28
dial_refused(Config) ->
    Refused = hansom_script:refused_port(),
    leaves_nothing(Config, fun(_) ->
        {ok, Pid} = hansom_conn:start_link(#{host => "127.0.0.1", port => Refused}),
        {error, econnrefused} = hansom_conn:connect(Pid),
        gone(Pid)
    end).

%% Clauses: VM-8, ST-12, ST-28
handshake_refused(Config) ->
    leaves_nothing(Config, fun(#{https := Port}) ->
        %% Mozilla's authorities do not know this server.
        {ok, Pid} = hansom_conn:start_link(#{host => "127.0.0.1", port => Port, transport => hackney_ssl}),
        {error, {tls_alert, {unknown_ca, _}}} = hansom_conn:connect(Pid),
        gone(Pid)
    end).

%% Clauses: VM-8, ST-12, ST-28
handshake_abandoned(Config) ->
    %% The silent peer keeps its ends, and closes none.
    leaves_nothing(Config, 400, fun(#{silent := Port}) ->
        {ok, Pid} = hansom_conn:start_link(#{host => "127.0.0.1", port => Port, transport => hackney_ssl,
                                             connect_timeout => 60000}),
        Dialler = spawn_monitor(fun() -> exit({answer, catch hansom_conn:connect(Pid, infinity)}) end),
        hansom_case:is_state(Pid, connecting),
        exit(Pid, kill),
        {'EXIT', {killed, _}} = answer(Dialler)
    end).

%% Clauses: VM-8, ST-26
requests_abandoned(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        {Caller, Monitor} = waiting(Pid),
        exit(Caller, kill),
        receive {'DOWN', Monitor, process, Caller, killed} -> ok end,
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: VM-8, API-34, ST-26
waits_expire(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        {'EXIT', {timeout, _}} =
            (catch hansom_conn:request(Pid, <<"GET">>, <<"/delay/3600000">>, [], <<>>, 1)),
        {'EXIT', {timeout, _}} = (catch hansom_conn:body(Pid, 1)),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: VM-8, ASY-10, ST-28
receivers_die(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        Receiver = spawn(fun() -> receive after infinity -> ok end end),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/stream/1000000?interval_ms=5">>, [], <<>>,
                                              true, Receiver),
        exit(Receiver, kill),
        gone(Pid)
    end).

%% Clauses: VM-8, ST-28
bodies_not_read(Config) ->
    leaves_nothing(Config, fun(Target) ->
        Pid = open(Target),
        {ok, 200, _} = hansom_conn:request(Pid, <<"GET">>, <<"/bytes/10000000">>, [], <<>>),
        {ok, _} = hansom_conn:stream_body(Pid),
        ok = hansom_conn:stop(Pid)
    end).

%% Clauses: VM-8, ST-24
one_connection_many_exchanges(Config) ->
    Key = ?FUNCTION_NAME,
    leaves_nothing(Config, 10000, fun(Target) ->
        Pid = case get(Key) of
                  undefined -> open(Target);
                  Old -> Old
              end,
        put(Key, Pid),
        ok = hansom_load:exchange(lists:nth(rand:uniform(3), [sync, async, once]), Pid)
    end).

%% Twenty thousand, or as many as the environment variable HANSOM_TEST_STREAMS says: a million take minutes. Whole
%% responses, messages, uploads and responses given up. What a few bytes for each would come to is drowned by what the
%% allocators keep; in the engine they are counted (native/hansom_engine/tests/memory).
%% Clauses: VM-8, H2-3
one_connection_many_streams(Config) ->
    #{https := Port} = proplists:get_value(target, Config),
    many_streams(http2, Port, Config).

%% Clauses: VM-8, H3-1
one_connection_many_h3_streams(Config) ->
    #{http3 := Port} = proplists:get_value(target, Config),
    many_streams(http3, Port, Config).

many_streams(Protocol, Port, Config) ->
    Count = list_to_integer(os:getenv("HANSOM_TEST_STREAMS", "20000")),
    ct:timetrap({seconds, 90 + Count div 200}),
    #{cacerts := Roots} = proplists:get_value(target, Config),
    Options = #{host => "localhost", port => Port, transport => hackney_ssl, ssl_options => [{cacerts, Roots}],
                connect_options => [{protocols, [Protocol]}]},
    Grown = peer:call(proplists:get_value(peer, Config), erlang, apply, [fun() ->
        {ok, Pid} = hansom_conn:start_link(Options),
        ok = hansom_conn:connect(Pid),
        Protocol = hansom_conn:get_protocol(Pid),
        Stream = fun(N) -> stream(N rem 4, Protocol, Pid) end,
        ok = many(max(5000, Count div 20), Stream),
        Memory = memory(),
        ok = many(Count, Stream),
        Grown = memory() - Memory,
        ok = hansom_conn:stop(Pid),
        Grown
    end, []], infinity),
    ct:pal("~b streams of one connection over ~s, grown by ~b KiB", [Count, Protocol, Grown div 1024]),
    ?assert(Grown < ?MEMORY).

stream(0, _, Pid) ->
    {ok, 200, _, <<_:100/binary>>} = hansom_conn:request(Pid, <<"GET">>, <<"/bytes/100">>, [], <<>>);
stream(1, _, Pid) ->
    {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/100">>, [], <<>>, true),
    done = lists:last(hansom_case:payloads(Pid));
stream(2, _, Pid) ->
    {ok, 200, _, <<"bytes: 100", _/binary>>} = hansom_conn:request(Pid, <<"POST">>, <<"/upload">>, [], <<0:800>>);
stream(3, http2, Pid) ->
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"GET">>, <<"/delay/3600000">>, []),
    ok = hansom_h2_stream:cancel(Pid, Id);
stream(3, http3, Pid) ->
    {Receiver, Monitor} = spawn_monitor(fun() -> receive after infinity -> ok end end),
    %% The origin notices that nobody wants a response when it sends the next piece.
    {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/stream/1000000?interval_ms=5">>, [], <<>>, true, Receiver),
    exit(Receiver, kill),
    receive {'DOWN', Monitor, process, Receiver, killed} -> ok end.
