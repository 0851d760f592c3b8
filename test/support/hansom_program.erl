%% @doc Programs that run beside the tests: started, watched and ended.
%%
%% A program outlives the process that starts it (Common Test starts servers in a process
%% that ends before the cases run), but not `stop/1' and not the node: every program ends
%% when its standard input closes.
-module(hansom_program).

-export([start/2, start/3, guarded/2, stop/1, await_lines/1, await_listening/2, free_ports/1, refuse_tcp/2, temporary_dir/1]).

-define(DEADLINE, 15000).

%% A shell that ends the program when standard input closes, as it does when the node dies
%% in whatever way.
-define(GUARD, "exec 3<&0; \"$@\" 3<&- </dev/null & child=$!; "
               "{ read -r _ <&3; kill \"$child\"; } 2>/dev/null & guard=$!; "
               "wait \"$child\"; status=$?; kill \"$guard\" 2>/dev/null; exit $status").

-type command() :: {Program :: file:filename(), Args :: [string()]}.

%% @doc A program that does not watch its standard input, under a shell that does.
-spec guarded(file:filename(), [string()]) -> command().
guarded(Program, Args) ->
    {"/bin/sh", ["-c", ?GUARD, "sh", Program | Args]}.

%% @doc Starts a program; the process it gives waits for one line of output matching each of
%% the patterns.
-spec start(command(), [Regex :: string()]) -> pid().
start(Command, Patterns) ->
    start(Command, Patterns, []).

%% @doc The same with variables of the environment.
-spec start(command(), [Regex :: string()], [{string(), string()}]) -> pid().
start({Program, Args}, Patterns, Environment) ->
    spawn(fun() ->
                  Port = open_port({spawn_executable, Program},
                                   [{args, Args}, {env, Environment}, {line, 4096}, binary, exit_status,
                                    stderr_to_stdout]),
                  watch(Port, Patterns, [], [])
          end).

%% @doc Tells a program to end and waits until it is told.
-spec stop(pid()) -> ok.
stop(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, _} -> ok
    after ?DEADLINE -> error({still_running, Pid})
    end.

watch(Port, [Pattern | Rest] = Patterns, Found, Output) ->
    receive
        {Port, {data, {_, Line}}} ->
            case re:run(Line, Pattern, [{capture, all_but_first, list}]) of
                {match, [Value]} -> watch(Port, Rest, [Value | Found], [Line | Output]);
                nomatch -> watch(Port, Patterns, Found, [Line | Output])
            end;
        {Port, {exit_status, Status}} ->
            exit({exit_status, Status, lists:reverse(Output)});
        stop ->
            port_close(Port)
    end;
watch(Port, [], Found, Output) ->
    receive
        {From, Ref, found} ->
            From ! {Ref, lists:reverse(Found)},
            watch(Port, [], Found, Output);
        {Port, {data, _}} ->
            watch(Port, [], Found, Output);
        {Port, {exit_status, Status}} ->
            exit({exit_status, Status, lists:reverse(Output)});
        stop ->
            port_close(Port)
    end.

%% @doc What the groups of the patterns matched, once all have been seen.
-spec await_lines(pid()) -> [string()].
await_lines(Pid) ->
    Ref = monitor(process, Pid),
    Pid ! {self(), Ref, found},
    receive
        {Ref, Found} -> demonitor(Ref, [flush]), Found;
        {'DOWN', Ref, process, Pid, Reason} -> error({server, Reason})
    after ?DEADLINE -> error(server_does_not_start)
    end.

%% @doc Waits until a program accepts connections on all of these ports of 127.0.0.1.
-spec await_listening(pid(), [inet:port_number()]) -> ok | {error, term()}.
await_listening(Pid, Ports) ->
    Monitor = monitor(process, Pid),
    End = erlang:monotonic_time(millisecond) + ?DEADLINE,
    Result = await_listening(Monitor, Ports, End),
    demonitor(Monitor, [flush]),
    Result.

await_listening(_, [], _) -> ok;
await_listening(Monitor, [Port | Rest] = Ports, End) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, [], 1000) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            await_listening(Monitor, Rest, End);
        {error, _} ->
            case erlang:monotonic_time(millisecond) < End of
                true ->
                    receive {'DOWN', Monitor, process, _, Reason} -> {error, Reason}
                    after 10 -> await_listening(Monitor, Ports, End)
                    end;
                false ->
                    {error, timeout}
            end
    end.

%% @doc Ports nobody listens on now: all are open together, so that none comes twice.
-spec free_ports(pos_integer()) -> [inet:port_number()].
free_ports(Count) ->
    Sockets = [begin {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]), Socket end
               || _ <- lists:seq(1, Count)],
    Ports = [begin {ok, Port} = inet:port(Socket), Port end || Socket <- Sockets],
    lists:foreach(fun gen_tcp:close/1, Sockets),
    Ports.

%% @doc Keeps others from a TCP port of 127.0.0.1, so that who connects to it is refused, as long as a process lives.
-spec refuse_tcp(inet:port_number(), While :: pid()) -> ok | {error, eaddrinuse}.
refuse_tcp(Port, While) ->
    Caller = self(),
    Ref = make_ref(),
    %% The socket closes with the process that opens it.
    _ = spawn(fun() ->
                      Monitor = monitor(process, While),
                      {ok, Socket} = socket:open(inet, stream, tcp),
                      %% Connections of the past do not matter.
                      ok = socket:setopt(Socket, {socket, reuseaddr}, true),
                      Bound = socket:bind(Socket, #{family => inet, addr => {127, 0, 0, 1}, port => Port}),
                      Caller ! {Ref, Bound},
                      receive {'DOWN', Monitor, process, While, _} -> ok end
              end),
    receive {Ref, Result} -> Result end.

%% @doc An empty folder of one's own.
-spec temporary_dir(string()) -> file:filename().
temporary_dir(Name) ->
    Base = os:getenv("TMPDIR", "/tmp"),
    Unique = Name ++ "-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])),
    Dir = filename:join(Base, "hansom-" ++ Unique),
    ok = filelib:ensure_path(Dir),
    Dir.
