%% @doc Compares hansom with what hackney answered.
%%
%% The scenarios are in the modules `hansom_scenarios_*'. What `hackney_conn' answered to each is
%% recorded in `hackney_answers.eterm', so that a comparison needs no hackney: terms
%%
%% <ul>
%% <li>`{hackney, Version}'</li>
%% <li>`{both, Trace, [Id]}': what hackney and hansom do</li>
%% <li>`{hackney, Trace, [Id]}': what hackney does in scenarios with a deviation</li>
%% <li>`{hansom, Deviation, Trace, [Id]}': what hansom does instead</li>
%% </ul>
%%
%% `main/0' makes it anew from a live hackney: `HACKNEY_LIBS=dir:dir make hackney-answers'.
-module(hansom_differential).

-export([scenarios/0, scenarios/1, families/0, origin/0, run/3, differences/3]).
-export([recorded/0, expected/0, version/0, main/0, load_hackney/0, live_version/0]).

-define(SOURCES, [hansom_scenarios_response, hansom_scenarios_state, hansom_scenarios_request,
                  hansom_scenarios_async, hansom_scenarios_life, hansom_scenarios_tls,
                  hansom_scenarios_http2, hansom_scenarios_http3]).
-define(WORKERS, 12).
%% How often hackney has to give the same answers for them to be recorded.
-define(RUNS, 3).

%% @doc All scenarios; no two have the same id.
-spec scenarios() -> [hansom_scenario:scenario()].
scenarios() ->
    lists:append([Source:scenarios() || Source <- ?SOURCES]).

%% @doc Those of a family, which is the first element of the id.
scenarios(Family) ->
    [Scenario || #{id := Id} = Scenario <- scenarios(), element(1, Id) =:= Family].

families() ->
    lists:usort([element(1, Id) || #{id := Id} <- scenarios()]).

%% @doc The traces of scenarios, run side by side in this order, by id.
-spec run(module(), hansom_servers:server(), [hansom_scenario:scenario()]) -> #{tuple() => [term()]}.
run(hackney_conn, Origin, Scenarios) ->
    %% hackney has a table of its HTTP/3 connections that ends with the first of them, and all the others fail.
    Hackney = hackney_conn,
    {ok, First} = Hackney:start_link(hansom_scenario:http3(Origin)),
    ok = Hackney:connect(First),
    Traces = run_all(Hackney, Origin, Scenarios),
    ok = Hackney:stop(First),
    Traces;
run(Conn, Origin, Scenarios) ->
    run_all(Conn, Origin, Scenarios).

run_all(Conn, Origin, Scenarios) ->
    Self = self(),
    Ref = make_ref(),
    Workers = [spawn_link(fun() -> work(Self, Ref, Conn, Origin) end) || _ <- lists:seq(1, ?WORKERS)],
    Traces = hand_out(Ref, Scenarios, length(Workers), #{}),
    maps:map(fun(Id, {'EXIT', Reason}) -> error({Id, Reason}); (_, Trace) -> Trace end, Traces).

work(Parent, Ref, Conn, Origin) ->
    Parent ! {Ref, self(), ready},
    receive
        {Ref, #{id := Id} = Scenario} ->
            Parent ! {Ref, Id, {trace, catch hansom_scenario:run(Conn, Origin, Scenario)}},
            work(Parent, Ref, Conn, Origin);
        {Ref, over} ->
            ok
    end.

hand_out(_, [], 0, Traces) ->
    Traces;
hand_out(Ref, Scenarios, Workers, Traces) ->
    receive
        {Ref, Worker, ready} when Scenarios =:= [] ->
            Worker ! {Ref, over},
            hand_out(Ref, [], Workers - 1, Traces);
        {Ref, Worker, ready} ->
            Worker ! {Ref, hd(Scenarios)},
            hand_out(Ref, tl(Scenarios), Workers, Traces);
        {Ref, Id, {trace, Trace}} ->
            hand_out(Ref, Scenarios, Workers, Traces#{Id => Trace})
    end.

%% @doc Where the traces of these scenarios are not as expected.
-spec differences(#{tuple() => [term()]}, #{tuple() => [term()]}, [hansom_scenario:scenario()]) ->
          [{tuple(), {expected, term()}, {got, term()}}].
differences(Expected, Traces, Scenarios) ->
    [{Id, {expected, maps:get(Id, Expected, not_recorded)}, {got, maps:get(Id, Traces)}}
     || #{id := Id} <- Scenarios, maps:get(Id, Expected, not_recorded) =/= maps:get(Id, Traces)].

%% @doc The server of the scenarios, without what hackney's HTTP/3 does not understand.
-spec origin() -> hansom_servers:server().
origin() ->
    hansom_servers:origin(["--no-grease"]).

%% The recording

path() ->
    filename:join(hansom_servers:root(), "test/support/hackney_answers.eterm").

terms() ->
    {ok, Terms} = file:consult(path()),
    Terms.

%% @doc What hackney answered, by id.
-spec recorded() -> #{tuple() => [term()]}.
recorded() ->
    maps:from_list([{Id, Trace} || {Kind, Trace, Ids} <- terms(), Kind =:= both orelse Kind =:= hackney,
                                   Id <- Ids]).

%% @doc What hansom is expected to answer, by id, and the deviation or `none'.
-spec expected() -> #{tuple() => {atom(), [term()]}}.
expected() ->
    maps:from_list([{Id, {none, Trace}} || {both, Trace, Ids} <- terms(), Id <- Ids]
                   ++ [{Id, {Deviation, Trace}} || {hansom, Deviation, Trace, Ids} <- terms(), Id <- Ids]).

%% @doc The version of the hackney that was recorded.
-spec version() -> string().
version() ->
    [Version] = [Version || {hackney, Version} <- terms()],
    Version.

%% @doc Puts the hackney named by the environment variable `HACKNEY_LIBS' on the code path, before any
%% other, and starts it.
-spec load_hackney() -> ok | none.
load_hackney() ->
    case os:getenv("HACKNEY_LIBS", "") of
        "" ->
            none;
        Libs ->
            ok = code:add_pathsa(string:lexemes(Libs, ":")),
            {ok, _} = application:ensure_all_started(hackney),
            ok
    end.

-spec live_version() -> string().
live_version() ->
    {ok, Version} = application:get_key(hackney, vsn),
    Version.

%% @doc Records hackney, and hansom where a scenario names a deviation. Refuses if hackney does not
%% always do the same, or if the two differ where they must not or do not where they should.
-spec main() -> no_return().
main() ->
    case load_hackney() =:= ok andalso record() of
        ok -> halt(0);
        false -> io:format("HACKNEY_LIBS has to name the folders of a hackney~n"), halt(1);
        {error, Reason} -> io:format("~120p~n", [Reason]), halt(1)
    end.

record() ->
    {ok, _} = application:ensure_all_started(hansom),
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    Origin = origin(),
    Scenarios = scenarios(),
    [Hackney | Again] = [run(hackney_conn, Origin, Scenarios) || _ <- lists:seq(1, ?RUNS)],
    Hansom = run(hansom_conn, Origin, Scenarios),
    ok = hansom_servers:stop(Origin),
    ok = logger:set_primary_config(level, Level),
    Unsteady = lists:append([differences(Hackney, Other, Scenarios) || Other <- Again]),
    Unexplained = [Difference || #{id := Id} = Scenario <- Scenarios, not is_map_key(differs, Scenario),
                                 Difference <- differences(Hackney, Hansom, [#{id => Id}])],
    Vanished = [Id || #{id := Id, differs := _} <- Scenarios,
                      maps:get(Id, Hackney) =:= maps:get(Id, Hansom)],
    case {Unsteady, Unexplained, Vanished} of
        {[], [], []} -> file:write_file(path(), text(Scenarios, Hackney, Hansom));
        _ -> {error, #{unsteady => Unsteady, unexplained => Unexplained, vanished => Vanished}}
    end.

text(Scenarios, Hackney, Hansom) ->
    Rows = group([{{both, maps:get(Id, Hackney)}, Id}
                  || #{id := Id} = Scenario <- Scenarios, not is_map_key(differs, Scenario)]
                 ++ [Row || #{id := Id, differs := Deviation} <- Scenarios,
                            Row <- [{{hackney, maps:get(Id, Hackney)}, Id},
                                    {{hansom, Deviation, maps:get(Id, Hansom)}, Id}]]),
    unicode:characters_to_binary(
      ["%% Written by hansom_differential:main/0; see there.\n",
       [io_lib:format("~0tp.~n", [Term]) || Term <- [{hackney, live_version()} | Rows]]]).

group(Pairs) ->
    Groups = lists:foldl(fun({Key, Id}, Known) ->
                                 maps:update_with(Key, fun(Ids) -> [Id | Ids] end, [Id], Known)
                         end, #{}, Pairs),
    [list_to_tuple(tuple_to_list(Key) ++ [lists:sort(Ids)]) || {Key, Ids} <- lists:sort(maps:to_list(Groups))].
