%% @doc Other Erlang nodes for tests: peers that are asked, and virtual machines whose end is
%% watched.
-module(hansom_node).

-export([start/1, start_distributed/1, stop/1, call/2, call/4, vm/2, await_vm/2]).

-define(DEADLINE, 30000).
-define(SLICE, 100).

%% @doc A node without distribution, controlled through its standard output: it needs neither
%% a name nor a port. It ends with the calling process.
-spec start([string()]) -> pid().
start(Arguments) ->
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, wait_boot => ?DEADLINE,
                                      args => code_path() ++ Arguments}),
    Peer.

%% @doc Nodes of one cluster. The calling node is none of them: they are controlled as those of
%% `start/1', so it needs no distribution. Addresses instead of host names: those need not resolve.
-spec start_distributed([atom()]) -> [{pid(), node()}].
start_distributed(Names) ->
    Unique = os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])),
    Nodes = [begin
                 Full = "hansom-" ++ atom_to_list(Name) ++ "-" ++ Unique,
                 {ok, Peer, Node} =
                     peer:start_link(#{connection => standard_io, wait_boot => ?DEADLINE,
                                       name => Full, host => "127.0.0.1", longnames => true,
                                       args => ["-setcookie", Unique, "-start_epmd", "false",
                                                "-epmd_module", "hansom_epmd" | code_path()]}),
                 {Peer, Node, Full, call(Peer, hansom_epmd, own_port, [])}
             end
             || Name <- Names],
    [ok = call(Peer, hansom_epmd, learn, [Full, Port]) || {Peer, _, _, _} <- Nodes, {_, _, Full, Port} <- Nodes],
    [true = call(Peer, net_kernel, connect_node, [Other])
     || {Peer, Node, _, _} <- Nodes, {_, Other, _, _} <- Nodes, Node < Other],
    [{Peer, Node} || {Peer, Node, _, _} <- Nodes].

%% @doc Ends a peer.
-spec stop(pid()) -> ok.
stop(Peer) ->
    ok = peer:stop(Peer).

%% @doc Runs a function in a new process of the peer. The module it was written in is on the
%% peer's code path.
-spec call(pid(), fun(() -> Result)) -> Result.
call(Peer, Fun) ->
    call(Peer, erlang, apply, [Fun, []]).

%% @doc The same for an exported function.
-spec call(pid(), module(), atom(), list()) -> term().
call(Peer, Module, Function, Arguments) ->
    peer:call(Peer, Module, Function, Arguments, ?DEADLINE).

%% What is not Erlang/OTP's own: a peer has then what the tests have, wherever the build tool put
%% suites and their support.
code_path() ->
    lists:append([["-pa", filename:absname(Path)]
                  || Path <- code:get_path(), not lists:prefix(code:lib_dir(), Path)]).

%% @doc A virtual machine that runs `hansom_load:vm/0' with these arguments.
-spec vm(term(), term()) -> #{port := port(), dump := file:filename()}.
vm(How, Target) ->
    Dump = filename:join(os:getenv("TMPDIR", "/tmp"),
                         "hansom-dump-" ++ os:getpid() ++ "-"
                         ++ integer_to_list(erlang:unique_integer([positive]))),
    Arguments = ["-noinput", "-noshell" | code_path()] ++ ["-s", "hansom_load", "vm", "-extra"]
        ++ [binary_to_list(base64:encode(term_to_binary(Term))) || Term <- [How, Target]],
    Port = open_port({spawn_executable, filename:join([code:root_dir(), "bin", "erl"])},
                     [{args, Arguments}, {env, [{"ERL_CRASH_DUMP", Dump}]}, exit_status,
                      stderr_to_stdout, binary]),
    #{port => Port, dump => Dump}.

%% @doc Waits for its end: the exit status, what it printed, and whether it left a crash dump.
%% One that does not end in time is made to write such a dump, which stays and is named instead of
%% the status.
-spec await_vm(#{port := port(), dump := file:filename()}, timeout()) ->
    {non_neg_integer() | {still_running, file:filename()}, Output :: binary(), CrashDump :: boolean()}.
await_vm(#{port := Port, dump := Dump}, Timeout) ->
    case await_exit(Port, Timeout div ?SLICE, <<>>) of
        {still_running, Output} ->
            {os_pid, Pid} = erlang:port_info(Port, os_pid),
            _ = os:cmd("kill -USR1 " ++ integer_to_list(Pid)),
            receive {Port, {exit_status, _}} -> ok
            after ?DEADLINE -> _ = os:cmd("kill -9 " ++ integer_to_list(Pid)), ok
            end,
            {{still_running, Dump}, Output, true};
        {Status, Output} ->
            {Status, Output, file:delete(Dump) =:= ok}
    end.

%% In slices of time, so that a machine that stands still for a while is not held against it.
await_exit(_Port, 0, Output) ->
    {still_running, Output};
await_exit(Port, Slices, Output) ->
    receive
        {Port, {data, Data}} -> await_exit(Port, Slices, <<Output/binary, Data/binary>>);
        {Port, {exit_status, Status}} -> {Status, Output}
    after ?SLICE ->
        await_exit(Port, Slices - 1, Output)
    end.
