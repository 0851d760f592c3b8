%% @doc Runs hackney's own EUnit suites twice, on hackney's connection and with hansom installed, and compares them
%% test by test. How to run it: docs/hackney.md.
%%
%% Every module is run in a virtual machine of its own, so that one that hangs or crashes is the only one to suffer.
%% What fails with hansom is run a second time before it counts: hackney's suites sleep and measure time.
-module(hansom_hackney_suite).

-export([main/0]).

%% hackney's suites expect httpbin here.
-define(HTTPBIN_PORT, 8000).
-define(MODULE_TIMEOUT, 300000).

-record(suite, {checkout :: file:filename(),
                path :: [file:filename()],
                output :: file:filename()}).

-type outcome() :: passed | skipped | {failed, Reason :: binary()}.
-type results() :: #{hansom_hackney_module:name() => outcome()}.

%% @doc Entry point of `make hackney-suite'; ends the VM.
-spec main() -> no_return().
main() ->
    try run() of
        Ok -> erlang:halt(case Ok of true -> 0; false -> 1 end)
    catch Class:Reason:Stack ->
            io:format(standard_error, "~p: ~p~n~p~n", [Class, Reason, Stack]),
            erlang:halt(1)
    end.

run() ->
    Suite = suite(),
    Httpbin = httpbin(Suite),
    Known = known(),
    Rows = [compare(Module, Suite, Known) || Module <- modules(Suite)],
    Httpbin =:= running orelse hansom_servers:stop(Httpbin),
    summary(Suite, Rows, Known).

suite() ->
    Checkout = case os:getenv("HACKNEY", "") of
        "" -> error("HACKNEY names the checkout of hackney");
        Dir -> filename:absname(Dir)
    end,
    Built = filename:join(Checkout, "_build/test/lib"),
    case filelib:wildcard(filename:join(Built, "*/ebin")) ++ [filename:join(Built, "hackney/test")] of
        [_] -> error("hackney and its tests are not built: run `rebar3 eunit' in " ++ Checkout);
        Path ->
            Output = filename:absname(filename:join("_build/hackney_suite", version(Built))),
            ok = filelib:ensure_path(Output),
            #suite{checkout = Checkout, path = Path, output = Output}
    end.

%% The modules of hackney's test folder that hold tests, or those named in MODULES.
modules(#suite{path = Path}) ->
    Dir = lists:last(Path),
    All = lists:sort([list_to_atom(filename:basename(File, ".beam"))
                      || File <- filelib:wildcard(filename:join(Dir, "*.beam")), has_tests(File)]),
    case os:getenv("MODULES", "") of
        "" -> All;
        Names -> [Module || Module <- All, lists:member(atom_to_list(Module), string:lexemes(Names, " ,"))]
    end.

has_tests(File) ->
    {ok, {_, [{exports, Exports}]}} = beam_lib:chunks(File, [exports]),
    lists:member({test, 0}, Exports).

httpbin(#suite{checkout = Checkout}) ->
    case gen_tcp:connect({127, 0, 0, 1}, ?HTTPBIN_PORT, [], 1000) of
        {ok, Connection} ->
            ok = gen_tcp:close(Connection),
            running;
        {error, _} ->
            Socket = filename:join(Checkout, "httpbin.sock"),
            %% What a run left that was cut short.
            _ = file:delete(Socket),
            hansom_servers:httpbin(?HTTPBIN_PORT, Socket)
    end.

%% Tests that are allowed to fail: the first column of the tables of docs/hackney.md, as `module:test', which stands
%% for all tests that a generator of this name makes, or with what one of these says of itself.
known() ->
    {ok, Text} = file:read_file(filename:join(hansom_servers:root(), "docs/hackney.md")),
    case re:run(Text, "^\\| `([a-z0-9_]+:[a-z0-9_][^`]*)`", [global, multiline, {capture, all_but_first, binary}]) of
        {match, Names} -> lists:append(Names);
        nomatch -> []
    end.

%% One module, both ways

compare(Module, Suite, Known) ->
    Original = original(Module, Suite),
    First = results(Module, hansom, Suite),
    Hansom = case worse(Module, Original, First, Known) of
        [] -> First;
        Worse ->
            Second = results(Module, hansom, Suite),
            maps:merge(First, maps:with([Name || {Name, _} <- Worse], Second))
    end,
    Worse2 = worse(Module, Original, Hansom, Known),
    Better = [Name || {Name, passed} <- lists:sort(maps:to_list(Hansom)),
                      passed =/= maps:get(Name, Original, missing)],
    Allowed = [Name || {Name, passed} <- lists:sort(maps:to_list(Original)), passed =/= maps:get(Name, Hansom, missing),
                       is_known(Module, Name, Known)],
    io:format("~-52s ~9s ~9s~n", [Module, count(Original), count(Hansom)]),
    [io:format("    worse: ~ts~n      ~ts~n", [Name, reason(Outcome)]) || {Name, Outcome} <- Worse2],
    [io:format("    known: ~ts~n", [Name]) || Name <- Allowed],
    [io:format("    better: ~ts~n", [Name]) || Name <- Better],
    {Module, Original, Hansom, Worse2, Allowed}.

%% With REUSE=1, what the last run on the original gave.
original(Module, #suite{output = Output} = Suite) ->
    File = filename:join(Output, atom_to_list(Module) ++ "-original.results"),
    case os:getenv("REUSE") =/= false andalso file:consult(File) of
        {ok, Terms} -> maps:from_list(Terms);
        _ -> results(Module, original, Suite)
    end.

%% What passes on the original and not with hansom.
worse(Module, Original, Hansom, Known) ->
    [{Name, maps:get(Name, Hansom, {failed, <<"not run">>})}
     || {Name, passed} <- lists:sort(maps:to_list(Original)), passed =/= maps:get(Name, Hansom, missing),
        not is_known(Module, Name, Known)].

is_known(Module, Name, Known) ->
    [Function | _] = binary:split(Name, <<" ">>),
    lists:any(fun(Test) -> lists:member(<<(atom_to_binary(Module))/binary, ":", Test/binary>>, Known) end,
              [Function, Name]).

count(Results) ->
    Passed = length([passed || passed <- maps:values(Results)]),
    [integer_to_list(Passed), "/", integer_to_list(map_size(Results))].

reason({failed, Reason}) -> string:slice(Reason, 0, 600);
reason(Other) -> atom_to_binary(Other).

-spec results(module(), hansom_hackney_module:how(), #suite{}) -> results().
results(Module, How, #suite{checkout = Checkout, path = Path, output = Output}) ->
    Base = filename:join(Output, atom_to_list(Module) ++ "-" ++ atom_to_list(How)),
    File = Base ++ ".results",
    _ = file:delete(File),
    Own = [filename:absname(filename:dirname(code:which(M))) || M <- [hansom_hackney, ?MODULE]],
    Args = ["-noinput"] ++ lists:append([["-pa", Dir] || Dir <- Own ++ Path])
        ++ ["-s", "hansom_hackney_module", "main", "-extra", atom_to_list(Module), atom_to_list(How), File],
    Port = open_port({spawn_executable, filename:join([code:root_dir(), "bin", "erl"])},
                     [{args, Args}, {cd, Checkout}, exit_status, stderr_to_stdout, binary]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    Log = await(Port, OsPid, erlang:monotonic_time(millisecond) + ?MODULE_TIMEOUT, []),
    ok = file:write_file(Base ++ ".log", Log),
    case file:consult(File) of
        {ok, Terms} -> maps:from_list(Terms);
        {error, Reason} -> error({no_results, Module, How, Reason, Base ++ ".log"})
    end.

await(Port, OsPid, Deadline, Output) ->
    receive
        {Port, {data, Data}} -> await(Port, OsPid, Deadline, [Output, Data]);
        {Port, {exit_status, Status}} -> [Output, io_lib:format("~nexit status ~b~n", [Status])]
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        _ = os:cmd("kill -9 " ++ integer_to_list(OsPid)),
        [Output, "\nkilled: it took too long\n"]
    end.

%% The end

summary(#suite{output = Output}, Rows, Known) ->
    Sum = fun(Count) -> lists:sum([Count(Row) || Row <- Rows]) end,
    Passed = fun(Results) -> length([passed || passed <- maps:values(Results)]) end,
    Worse = Sum(fun({_, _, _, Names, _}) -> length(Names) end),
    Allowed = Sum(fun({_, _, _, _, Names}) -> length(Names) end),
    io:format("~nhackney ~ts: ~b tests pass on its own connection, ~b with hansom; "
              "~b named in docs/hackney.md fail, ~b others~n",
              [filename:basename(Output), Sum(fun({_, R, _, _, _}) -> Passed(R) end), Sum(fun({_, _, R, _, _}) -> Passed(R) end),
               Allowed, Worse]),
    Known =:= [] andalso io:format("docs/hackney.md names no tests~n"),
    Worse =:= 0 andalso Rows =/= [].

version(Built) ->
    {ok, [{application, hackney, Keys}]} = file:consult(filename:join(Built, "hackney/ebin/hackney.app")),
    proplists:get_value(vsn, Keys).
