%% @doc hansom as a guest of its virtual machine: start, stop, restart, the end of the machine,
%% code that is loaded again, processes of its own that are killed; most of it under load. Each
%% case has a node of its own, or several.
-module(hansom_lifecycle_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_node, [call/2, call/4]).

%% Of sched(7).
-define(SCHED_BATCH, 3).
-define(SCHED_IDLE, 5).
%% What ends, ends well before this.
-define(DEADLINE, 20000).
-define(LOAD, [sync, sync, tls, tls, async, once, upload, relay, dial, dial_tls]).
-define(ENDLESS, [wait, stream, handshake, idle]).

all() ->
    [not_started, stop_under_load, restart_repeatedly, stop_supervised_connections,
     runtime_killed, connection_supervisor_killed, halt_under_load, halt_without_flush_under_load,
     init_stop_under_load, erlang_code_reloaded_under_load, erlang_code_purged_under_idle_connections,
     library_loaded_again, library_code_deleted_and_purged, embedded_mode, threads_are_configured,
     threads_wait_for_their_turn, bad_thread_count, bad_shutdown_timeout, runtime_ignores_strangers, suspended_process,
     process_state_is_shown_and_replaced].

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) ->
    Origin = #{ports := #{http := Http, https := Https}, cacerts := Roots} = hansom_servers:origin(),
    {Silent, Port} = hansom_load:silent(),
    Target = #{http => Http, https => Https, silent => Port, cacerts => Roots},
    [{origin, Origin}, {silent, Silent}, {target, Target} | Config].

end_per_suite(Config) ->
    exit(proplists:get_value(silent, Config), kill),
    hansom_servers:stop(proplists:get_value(origin, Config)).

%% Start and stop

%% Clauses: API-1, VM-1
not_started(Config) ->
    Peer = hansom_node:start([]),
    Options = #{host => "127.0.0.1", port => maps:get(http, target(Config))},
    ?assertEqual({error, {not_started, hansom}}, call(Peer, hansom_conn, start_link, [Options])),
    ?assertEqual({error, {not_started, hansom}}, call(Peer, hansom_conn_sup, start_conn, [Options])),
    started(Peer),
    ok = call(Peer, fun() -> one_exchange(target(Config)) end),
    ok = call(Peer, application, stop, [hansom]),
    ?assertEqual({error, {not_started, hansom}}, call(Peer, hansom_conn, start_link, [Options])),
    hansom_node:stop(Peer).

%% Clauses: VM-1, ST-28, API-36, EXIT-1
stop_under_load(Config) ->
    Peer = peer_with_engine(),
    Before = resources(Peer),
    [begin
         started(Peer),
         under_load(Peer, Config, ?LOAD ++ ?ENDLESS, 3),
         Connections = call(Peer, hansom_load, connections, []),
         ok = call(Peer, application, stop, [hansom]),
         %% Sockets first: whoever holds one is not waited for.
         is_gone(Peer, Connections),
         told_of_the_end(call(Peer, hansom_load, ended, [?DEADLINE])),
         resources_are(Peer, Before)
     end
     || _ <- lists:seq(1, 5)],
    started(Peer),
    ok = call(Peer, fun() -> one_exchange(target(Config)) end),
    hansom_node:stop(Peer).

%% Clauses: VM-1, VM-5
restart_repeatedly(Config) ->
    Peer = peer_with_engine(),
    Before = resources(Peer),
    ok = call(Peer, fun() ->
                            [begin
                                 {ok, _} = application:ensure_all_started(hansom),
                                 ok = one_exchange(target(Config)),
                                 ok = application:stop(hansom)
                             end
                             || _ <- lists:seq(1, 50)],
                            ok
                    end),
    resources_are(Peer, Before),
    hansom_node:stop(Peer).

%% Clauses: VM-1, EXIT-2, API-2, ST-28
stop_supervised_connections(Config) ->
    Peer = peer_with_engine(),
    Before = resources(Peer),
    started(Peer),
    #{http := Port} = target(Config),
    Reasons = call(Peer, fun() ->
        Monitors = [begin
                        {ok, Pid} = hansom_conn_sup:start_conn(#{host => "127.0.0.1", port => Port}),
                        ok = hansom_conn:connect(Pid),
                        spawn(fun() -> hansom_conn:request(Pid, <<"GET">>, <<"/delay/3600000">>, [], <<>>) end),
                        hansom_case:is_state(Pid, receiving),
                        monitor(process, Pid)
                    end
                    || _ <- lists:seq(1, 20)],
        ok = application:stop(hansom),
        [receive {'DOWN', Monitor, process, _, Reason} -> Reason end || Monitor <- Monitors]
    end),
    ?assertEqual([shutdown], lists:usort(Reasons)),
    resources_are(Peer, Before),
    hansom_node:stop(Peer).

%% Clauses: VM-6, ST-28, API-36
runtime_killed(Config) ->
    Peer = peer_with_engine(),
    Before = resources(Peer),
    started(Peer),
    [begin
         under_load(Peer, Config, ?LOAD -- [dial, dial_tls] ++ ?ENDLESS, 2),
         Connections = call(Peer, hansom_load, connections, []),
         New = call(Peer, fun() -> kill_registered(hansom_runtime) end),
         is_gone(Peer, Connections),
         told_of_the_end(call(Peer, hansom_load, ended, [?DEADLINE])),
         ok = call(Peer, fun() -> one_exchange(target(Config)) end),
         ?assertEqual(New, call(Peer, erlang, whereis, [hansom_runtime]))
     end
     || _ <- lists:seq(1, 3)],
    ok = call(Peer, application, stop, [hansom]),
    resources_are(Peer, Before),
    hansom_node:stop(Peer).

%% Clauses: VM-6, ST-28
connection_supervisor_killed(Config) ->
    Peer = peer_with_engine(),
    started(Peer),
    ok = call(Peer, fun() ->
        #{http := Port} = target(Config),
        Options = #{host => "127.0.0.1", port => Port},
        {ok, Supervised} = hansom_conn_sup:start_conn(Options),
        ok = hansom_conn:connect(Supervised),
        Own = hansom_load:open(http, target(Config)),
        Monitor = monitor(process, Supervised),
        _ = kill_registered(hansom_conn_sup),
        receive {'DOWN', Monitor, process, Supervised, _} -> ok end,
        %% Connections of others have nothing to do with it.
        ok = hansom_load:exchange(sync, Own),
        {ok, Next} = hansom_conn_sup:start_conn(Options),
        ok = hansom_conn:connect(Next),
        ok = hansom_conn:stop(Next),
        hansom_conn:stop(Own)
    end),
    hansom_node:stop(Peer).

%% The end of the machine

%% Clauses: VM-2
halt_under_load(Config) -> machines_end(halt, Config).

%% Clauses: VM-2
halt_without_flush_under_load(Config) -> machines_end(halt_without_flush, Config).

%% Clauses: VM-2
init_stop_under_load(Config) -> machines_end(init_stop, Config).

machines_end(How, Config) ->
    %% Together, so that they also get in each other's way.
    Machines = [hansom_node:vm(How, target(Config)) || _ <- lists:seq(1, 4)],
    Ends = [hansom_node:await_vm(Machine, 40000) || Machine <- Machines],
    [?assertMatch({0, _, false}, End) || End <- Ends],
    %% What is printed tells of trouble: of a crash, or of a stop that took too long.
    [?assertEqual("", binary_to_list(Output)) || {_, Output, _} <- Ends].

%% Code

%% Clauses: VM-3
erlang_code_reloaded_under_load(Config) ->
    Peer = peer_with_engine(),
    started(Peer),
    under_load(Peer, Config, ?LOAD, 1),
    Connections = call(Peer, hansom_load, connections, []),
    [begin
         ok = call(Peer, fun() -> reload(Module, fun code:soft_purge/1) end),
         ok = call(Peer, hansom_load, busy, [1])
     end
     || _ <- "twice", Module <- erlang_modules(Peer)],
    %% The same connections as before, but for those of workers that dial again and again.
    Now = call(Peer, hansom_load, connections, []),
    ?assertEqual(length(?LOAD) - 2, length([Pid || Pid <- Connections, lists:member(Pid, Now)])),
    ?assertEqual([stopped], lists:usort([End || {_, End} <- call(Peer, hansom_load, stop, [?DEADLINE])])),
    hansom_node:stop(Peer).

%% A purge kills processes that run old code: connections never do while they wait.
%%
%% Clauses: VM-3
erlang_code_purged_under_idle_connections(Config) ->
    Peer = peer_with_engine(),
    started(Peer),
    ok = call(Peer, fun() ->
        #{http := Port} = Target = target(Config),
        Connected = hansom_load:open(http, Target),
        Secure = hansom_load:open(https, Target),
        Receiving = hansom_load:open(http, Target),
        {ok, 200, _} = hansom_conn:request(Receiving, <<"GET">>, <<"/bytes/100000">>, [], <<>>),
        Streaming = hansom_load:open(http, Target),
        {ok, Streaming} = hansom_conn:request_async(Streaming, <<"GET">>, <<"/bytes/5">>, [], <<>>, once),
        {ok, Supervised} = hansom_conn_sup:start_conn(#{host => "127.0.0.1", port => Port}),
        ok = hansom_conn:connect(Supervised),
        Processes = [whereis(Name) || Name <- [hansom_runtime, hansom_sup, hansom_conn_sup]],
        [ok = reload(Module, fun code:purge/1) || _ <- "twice", Module <- modules(), Module =/= hansom_nif],
        {ok, <<_:100000/binary>>} = hansom_conn:body(Receiving),
        {status, 200, _} = hansom_case:payload(Streaming),
        {headers, _} = hansom_case:payload(Streaming),
        ok = hansom_conn:stream_next(Streaming),
        <<_:5/binary>> = hansom_case:payload(Streaming),
        ok = hansom_conn:stop(Streaming),
        {200, _} = hansom_case:exchange(Supervised, <<"/bytes/5">>),
        [ok = hansom_load:exchange(sync, Pid) || Pid <- [Connected, Secure]],
        Processes = [whereis(Name) || Name <- [hansom_runtime, hansom_sup, hansom_conn_sup]],
        ok
    end),
    hansom_node:stop(Peer).

%% A library in use cannot be replaced. That is said, and nothing else happens.
%%
%% Clauses: VM-4
library_loaded_again(Config) ->
    Peer = peer_with_engine(),
    started(Peer),
    under_load(Peer, Config, ?LOAD, 1),
    [begin
         ?assertMatch({error, on_load_failure}, call(Peer, code, load_file, [hansom_nif])),
         ok = call(Peer, hansom_load, busy, [1])
     end
     || _ <- "thrice"],
    ?assertEqual([stopped], lists:usort([End || {_, End} <- call(Peer, hansom_load, stop, [?DEADLINE])])),
    hansom_node:stop(Peer).

%% The library stays where it is, for its threads run in it; its code loads again at the next call.
%%
%% Clauses: VM-4
library_code_deleted_and_purged(Config) ->
    Peer = peer_with_engine(),
    started(Peer),
    under_load(Peer, Config, ?LOAD -- [dial, dial_tls] ++ ?ENDLESS, 1),
    [begin
         _ = call(Peer, fun() -> {code:delete(hansom_nif), code:purge(hansom_nif)} end),
         ?assertEqual({module, hansom_nif}, call(Peer, code, ensure_loaded, [hansom_nif])),
         ok = call(Peer, hansom_load, busy, [1])
     end
     || _ <- "thrice"],
    Connections = call(Peer, hansom_load, connections, []),
    %% Connections of before, the engine of before: both can still be stopped.
    ok = call(Peer, application, stop, [hansom]),
    is_gone(Peer, Connections),
    told_of_the_end(call(Peer, hansom_load, ended, [?DEADLINE])),
    started(Peer),
    ok = call(Peer, fun() -> one_exchange(target(Config)) end),
    hansom_node:stop(Peer).

%% Clauses: VM-1
embedded_mode(Config) ->
    Dir = proplists:get_value(priv_dir, Config),
    Applications = [kernel, stdlib, crypto, asn1, public_key, ssl, hansom],
    Versions = [begin
                    _ = application:load(Name),
                    {ok, Version} = application:get_key(Name, vsn),
                    {Name, Version}
                end
                || Name <- Applications],
    Release = {release, {"hansom_test", "1"}, {erts, erlang:system_info(version)}, Versions},
    Name = filename:join(Dir, "embedded"),
    ok = file:write_file(Name ++ ".rel", io_lib:format("~p.~n", [Release])),
    ok = systools:make_script(Name, [local, no_warn_sasl, {outdir, Dir},
                                     {path, [filename:dirname(code:which(hansom))]}]),
    Peer = hansom_node:start(["-mode", "embedded", "-boot", Name]),
    ?assertEqual(embedded, call(Peer, code, get_mode, [])),
    #{http := Port} = target(Config),
    {ok, Pid} = call(Peer, hansom_conn_sup, start_conn, [#{host => "127.0.0.1", port => Port}]),
    ok = call(Peer, hansom_conn, connect, [Pid]),
    {ok, 200, _} = call(Peer, hansom_conn, request, [Pid, <<"GET">>, <<"/bytes/5">>, [], <<>>]),
    {ok, <<_:5/binary>>} = call(Peer, hansom_conn, body, [Pid]),
    hansom_node:stop(Peer).

%% The engine

%% Clauses: VM-5
threads_are_configured(_) ->
    [begin
         Peer = hansom_node:start(Arguments ++ ["+S", "3"]),
         ?assertEqual([], threads(Peer)),
         started(Peer),
         ?assertMatch(#{threads := Count}, call(Peer, hansom, stats, [])),
         Names = ["hansom-" ++ integer_to_list(N) || N <- lists:seq(1, Count)],
         %% The reaper serves all runtimes there will be.
         threads_are(Peer, lists:sort(["hansom-reaper" | Names])),
         ok = call(Peer, application, stop, [hansom]),
         threads_are(Peer, ["hansom-reaper"]),
         hansom_node:stop(Peer)
     end
     || {Count, Arguments} <- [{1, []}, {1, ["-hansom", "threads", "1"]}, {4, ["-hansom", "threads", "4"]}]].

%% A thread of the engine that wakes does not take the processor from another, which on Linux is the class
%% SCHED_BATCH; unless somebody chose a class for the VM.
threads_wait_for_their_turn(_) ->
    case filelib:is_dir("/proc/self/task") of
        true -> [wait_for_their_turn(Chosen, Class) || {Chosen, Class} <- [{none, ?SCHED_BATCH}, {idle, ?SCHED_IDLE}]];
        false -> {skip, "classes of threads are Linux's"}
    end.

wait_for_their_turn(Chosen, Class) ->
    Peer = hansom_node:start([]),
    choose_class(Peer, Chosen),
    started(Peer),
    ?assertEqual([Class], call(Peer, fun() -> classes("hansom-1\n") end)),
    hansom_node:stop(Peer).

choose_class(_, none) -> ok;
choose_class(Peer, idle) ->
    "" = call(Peer, fun() -> os:cmd("chrt --idle --all-tasks --pid 0 " ++ os:getpid()) end).

%% Clauses: VM-5
bad_thread_count(_) ->
    [is_refused(threads, Value, 2) || Value <- ["0", "many"]].

%% There is an end to every stop.
%% Clauses: VM-1
bad_shutdown_timeout(_) ->
    [is_refused(shutdown_timeout, Value, 100) || Value <- ["infinity", "4294967295", "soon"]].

%% A bad setting of the application is named, a good one lets it start.
is_refused(Key, Value, Good) ->
    Peer = hansom_node:start(["-kernel", "logger_level", "none", "-hansom", atom_to_list(Key), Value]),
    {error, {hansom, Reason}} = call(Peer, application, ensure_all_started, [hansom]),
    ?assertMatch({match, _}, re:run(io_lib:format("~0p", [Reason]), io_lib:format("{options,{~p,~s}}", [Key, Value]))),
    ok = call(Peer, application, set_env, [hansom, Key, Good]),
    started(Peer),
    hansom_node:stop(Peer).

%% Clauses: VM-6
runtime_ignores_strangers(_) ->
    Peer = peer_with_engine(),
    started(Peer),
    ok = call(Peer, fun() ->
        Runtime = whereis(hansom_runtime),
        {error, invalid_call} = gen_server:call(hansom_runtime, hello),
        ok = gen_server:cast(hansom_runtime, hello),
        hansom_runtime ! hello,
        {error, already_started} = hansom_nif:runtime_start(1),
        {error, invalid_call} = gen_server:call(hansom_runtime, hello),
        Runtime = whereis(hansom_runtime),
        ok
    end),
    hansom_node:stop(Peer).

%% System messages

%% Clauses: API-44, API-42
suspended_process(Config) ->
    Peer = peer_with_engine(),
    started(Peer),
    ok = call(Peer, fun() ->
        Pid = hansom_load:open(http, target(Config)),
        ok = sys:suspend(Pid),
        %% Requests go past the process.
        {ok, 200, _} = hansom_conn:request(Pid, <<"GET">>, <<"/bytes/5">>, [], <<>>),
        {ok, <<_:5/binary>>} = hansom_conn:body(Pid),
        ?assertExit({timeout, {gen_statem, call, _}}, hansom_conn:get_state(Pid, 50)),
        {Prober, Monitor} = spawn_monitor(fun() -> exit(hansom_conn:get_state(Pid)) end),
        ok = sys:resume(Pid),
        receive {'DOWN', Monitor, process, Prober, Answer} -> {ok, connected} = Answer end,
        ok = hansom_load:exchange(async, Pid),
        hansom_conn:stop(Pid)
    end),
    hansom_node:stop(Peer).

%% Clauses: API-44
process_state_is_shown_and_replaced(Config) ->
    Peer = peer_with_engine(),
    started(Peer),
    ok = call(Peer, hansom_load, start, [target(Config), [tls, once, upload, relay]]),
    ok = call(Peer, hansom_load, busy, [1]),
    [begin
         ok = call(Peer, fun() ->
             [begin
                  {status, Pid, {module, gen_statem}, _} = sys:get_status(Pid),
                  {open, _} = sys:get_state(Pid),
                  {open, _} = sys:replace_state(Pid, fun(State) -> State end),
                  ok = sys:suspend(Pid),
                  ok = sys:change_code(Pid, hansom_conn_process, undefined, []),
                  ok = sys:resume(Pid)
              end
              || Pid <- hansom_load:connections()],
             ok
         end),
         ok = call(Peer, hansom_load, busy, [2])
     end
     || _ <- "thrice"],
    ?assertEqual([stopped], lists:usort([End || {_, End} <- call(Peer, hansom_load, stop, [?DEADLINE])])),
    %% Keys and passwords are not shown.
    Status = call(Peer, fun() ->
        {ok, Pid} = hansom_conn:start_link(#{host => "localhost", ssl_options => [{password, "sesame"}]}),
        Shown = lists:flatten(io_lib:format("~p", [sys:get_status(Pid)])),
        ok = hansom_conn:stop(Pid),
        Shown
    end),
    ?assertEqual(nomatch, string:find(Status, "sesame")),
    hansom_node:stop(Peer).

%% In the peer

one_exchange(Target) ->
    [begin
         Pid = hansom_load:open(Transport, Target),
         ok = hansom_load:exchange(Kind, Pid),
         ok = hansom_conn:stop(Pid)
     end
     || {Transport, Kind} <- [{http, sync}, {https, async}]],
    ok.

%% Kills a supervised process and waits for its successor.
kill_registered(Name) ->
    Pid = whereis(Name),
    exit(Pid, kill),
    hansom_case:wait_for(fun() -> not lists:member(whereis(Name), [undefined, Pid]) end),
    %% The supervisor is done with all it restarts.
    _ = supervisor:which_children(hansom_sup),
    whereis(Name).

modules() ->
    {ok, Modules} = application:get_key(hansom, modules),
    Modules.

reload(Module, Purge) ->
    hansom_case:wait_for(fun() -> _ = Purge(Module), not erlang:check_old_code(Module) end),
    {module, Module} = code:load_file(Module),
    ok.

%% Peers

target(Config) -> proplists:get_value(target, Config).

peer_with_engine() ->
    hansom_node:start(["-kernel", "logger_level", "none"]).

started(Peer) ->
    {ok, _} = call(Peer, application, ensure_all_started, [hansom]).

under_load(Peer, Config, Kinds, Count) ->
    ok = call(Peer, hansom_load, start, [target(Config), Kinds]),
    ok = call(Peer, hansom_load, busy, [Count]).

erlang_modules(Peer) ->
    call(Peer, fun modules/0) -- [hansom_nif].

is_gone(Peer, Pids) ->
    ok = call(Peer, fun() -> [_ = hansom_case:is_gone(Pid) || Pid <- Pids], ok end).

%% Everybody was told in a way the documentation names, and of nothing else.
told_of_the_end(Outcomes) ->
    ?assertEqual([], [Outcome || {_, Ending} = Outcome <- Outcomes, not is_documented(Ending)]).

is_documented({error, closed}) -> true;
is_documented({error, {not_started, hansom}}) -> true;
is_documented({exit, Normal}) when Normal =:= normal; Normal =:= noproc -> true;
is_documented({exit, {Reason, {gen_statem, call, _}}}) -> lists:member(Reason, [normal, noproc]);
is_documented(_) -> false.

%% What an application that has been stopped must have given back.
resources(Peer) ->
    call(Peer, fun() ->
        %% Start once: some things stay from then on, by design.
        {ok, _} = application:ensure_all_started(hansom),
        ok = application:stop(hansom),
        counts()
    end).

resources_are(Peer, Before) ->
    ok = call(Peer, fun() -> hansom_case:wait_for(fun() -> Now = counts(), Now =:= Before orelse {Now, Before} end) end).

%% Of processes, descriptors, connections, threads of the engine.
counts() ->
    #{processes => length(processes()), descriptors => length(descriptors()), threads => length(own_threads()),
      connections => maps:get(connections, hansom_nif:stats())}.

descriptors() ->
    case file:list_dir("/proc/self/fd") of
        {ok, Names} -> Names;
        %% Not Linux: the other counts have to do.
        {error, _} -> []
    end.

threads_are(Peer, Names) ->
    ok = call(Peer, fun() ->
        hansom_case:wait_for(fun() -> Now = own_threads(), Now =:= Names orelse {Now, Names} end)
    end).

threads(Peer) -> call(Peer, fun own_threads/0).

own_threads() ->
    Names = [file:read_file(Path) || Path <- filelib:wildcard("/proc/self/task/*/comm")],
    lists:sort([string:trim(binary_to_list(Name)) || {ok, <<"hansom-", _/binary>> = Name} <- Names]).

%% The scheduling classes of the threads of this name: the 41st field of proc(5)'s `stat', the second of which is the name.
classes(Name) ->
    [begin
         {ok, Stat} = file:read_file(filename:join(filename:dirname(Path), "stat")),
         [_, Fields] = string:split(Stat, ") ", trailing),
         binary_to_integer(lists:nth(39, string:lexemes(Fields, " ")))
     end
     || Path <- filelib:wildcard("/proc/self/task/*/comm"), {ok, list_to_binary(Name)} =:= file:read_file(Path)].
