%% @doc What stands in for hackney in tests, so that nothing of hackney is needed: its interface, its messages and its
%% pool protocol. The sources are in `hansom_hackney_SUITE_data'.
-module(hansom_stand_in).

-export([modules/0, make/4, make/3, source/2]).
-export([node_with/1, node_with/2, node_without/1, state/1, echo/0, to/1, open/2, get/2, is_hansoms/2]).
-export([with_patch/1]).

-import(hansom_node, [call/2, call/4]).

modules() -> [hackney, hackney_conn, hackney_conn_sup, hackney_pool, hackney_altsvc].

%% @doc The usual one, in a folder of the suite's, which is returned.
make(Name, Version, Config) ->
    Dir = filename:join([proplists:get_value(priv_dir, Config), Name, "ebin"]),
    ok = make(Dir, modules(), Version, Config),
    Dir.

%% @doc Compiled into a folder as an application of this version.
make(Dir, Modules, Version, Config) ->
    ok = filelib:ensure_path(Dir),
    [{ok, _} = compile:file(source(Module, Config), [debug_info, {outdir, Dir}]) || Module <- Modules],
    Keys = [{vsn, Version}, {modules, Modules}, {registered, []}, {applications, [kernel, stdlib]},
            {mod, {hackney, []}}],
    file:write_file(filename:join(Dir, "hackney.app"), io_lib:format("~p.~n", [{application, hackney, Keys}])).

%% @doc The source of a module of the stand-in. What is called `*.erl' below test/ a build tool compiles for all suites,
%% and then hackney is nowhere absent.
source(Module, Config) ->
    Name = atom_to_list(Module) ++ ".erl",
    Source = filename:join(proplists:get_value(priv_dir, Config), Name),
    Data = filename:join(hansom_servers:root(), "test/hansom_hackney_SUITE_data"),
    {ok, _} = file:copy(filename:join(Data, Name ++ ".in"), Source),
    Source.

%% @doc A node with hansom and this hackney on its code path; both are started.
node_with(Dir) -> node_with(Dir, []).

node_with(Dir, Arguments) ->
    Peer = hansom_node:start(["-pa", Dir | Arguments]),
    {ok, _} = call(Peer, application, ensure_all_started, [hackney]),
    {ok, _} = call(Peer, application, ensure_all_started, [hansom]),
    Peer.

%% @doc Nothing is started.
node_without(Dir) ->
    hansom_node:start(["-pa", Dir]).

state(Peer) ->
    #{state := State} = call(Peer, hansom_hackney, status, []),
    State.

echo() -> hansom_case:serve([{repeat, [request, {send, hansom_case:response(<<"x">>)}]}]).

%% @doc The options of a connection to the server.
to(Server) -> #{host => "127.0.0.1", port => hansom_script:port(Server)}.

open(Peer, Server) ->
    {ok, Pid} = call(Peer, hackney, open, [to(Server)]),
    Pid.

get(Peer, Pid) ->
    case call(Peer, hackney, get, [Pid, <<"/">>]) of
        {ok, 200, _, Body} -> Body;
        Other -> Other
    end.

is_hansoms(Peer, Pid) -> is_map(call(Peer, hansom, info, [Pid])).

%% @doc Makes of a module, by its forms, one that can do more: `patched/0'.
with_patch(Forms) ->
    {Attributes, [First | _] = Functions} = lists:splitwith(fun(Form) -> element(1, Form) =/= function end, Forms),
    Line = element(2, First),
    Patch = {function, Line, patched, 0, [{clause, Line, [], [], [{atom, Line, true}]}]},
    Attributes ++ [{attribute, Line, export, [{patched, 0}]}, Patch | Functions].
