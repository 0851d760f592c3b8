%% @doc hansom against what hackney answered: every scenario of the modules `hansom_scenarios_*'.
%%
%% The answers of hackney are recorded. With the environment variable `HACKNEY_LIBS' (folders with
%% its code and that of its dependencies, between colons) the recording itself is checked against a
%% hackney of the version it names.
-module(hansom_differential_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [every_scenario_is_recorded, every_deviation_is_documented, hansom_answers_as_expected,
     hansom_answers_the_same_in_any_order, hackney_answers_as_recorded].

suite() -> [{timetrap, {minutes, 10}}].

init_per_suite(Config) ->
    case hansom_servers:find(origin) of
        missing ->
            hansom_servers:missing(origin);
        {ok, _} ->
            #{level := Level} = logger:get_primary_config(),
            {ok, _} = application:ensure_all_started(hansom),
            %% Some scenarios have functions that fail.
            ok = logger:set_primary_config(level, none),
            [{origin, hansom_differential:origin()}, {level, Level} | Config]
    end.

end_per_suite(Config) ->
    ok = hansom_servers:stop(proplists:get_value(origin, Config)),
    ok = logger:set_primary_config(level, proplists:get_value(level, Config)).

every_scenario_is_recorded(_) ->
    Ids = lists:sort([Id || #{id := Id} <- hansom_differential:scenarios()]),
    ?assertEqual([], Ids -- lists:usort(Ids)),
    ?assertEqual(Ids, lists:sort(maps:keys(hansom_differential:recorded()))),
    ?assertEqual(Ids, lists:sort(maps:keys(hansom_differential:expected()))).

%% An allowed difference names its reason, and is one.
every_deviation_is_documented(_) ->
    {ok, Document} = file:read_file(filename:join(hansom_servers:root(), "docs/deviations.md")),
    Recorded = hansom_differential:recorded(),
    Expected = hansom_differential:expected(),
    [begin
         {Deviation, Trace} = maps:get(Id, Expected),
         ?assertEqual({Id, maps:get(differs, Scenario, none)}, {Id, Deviation}),
         ?assert(Deviation =:= none orelse Trace =/= maps:get(Id, Recorded), {no_difference, Id}),
         ?assert(Deviation =:= none orelse binary:match(Document, atom_to_binary(Deviation)) =/= nomatch,
                 {not_documented, Deviation})
     end
     || #{id := Id} = Scenario <- hansom_differential:scenarios()],
    ok.

%% Clauses: API-4, API-5, API-7, API-9, API-10, API-15, API-31, API-36, ST-2, ST-3, ST-8, ST-14, ST-15, ST-16,
%% Clauses: ST-17, ST-18, ST-19, REQ-1, REQ-4, REQ-5, REQ-6, REQ-9, REQ-10, REQ-11, RSP-1, RSP-3, RSP-11,
%% Clauses: RSP-12, RSP-21, RSP-22, RSP-27, RSP-30, ASY-1, ASY-2, ASY-3, ASY-5, ASY-6, ASY-7, ASY-8, ASY-9, ASY-11,
%% Clauses: H2-10, H2-11, H3-1, H3-6, H3-8, H3-12,
%% Clauses: NEG-2, H2-2, H2-3, H2-6, H2-8, H2-9, H2-13, LOW-10, TLS-12, TLS-13, POOL-4, POOL-5, POOL-6, POOL-9, POOL-11
hansom_answers_as_expected(Config) ->
    agree(Config, hansom_differential:scenarios()).

%% With every processor busy, in an order of its own each time.
hansom_answers_the_same_in_any_order(Config) ->
    Seed = rand:export_seed_s(rand:seed(exsss)),
    ct:pal("order: ~p", [Seed]),
    Busy = [spawn_link(fun spin/0) || _ <- lists:seq(1, erlang:system_info(schedulers_online))],
    Scenarios = [Scenario || {_, Scenario} <- lists:sort([{rand:uniform(), Each}
                                                          || Each <- hansom_differential:scenarios(),
                                                             rand:uniform(4) =:= 1])],
    try agree(Config, Scenarios)
    after [begin unlink(Pid), exit(Pid, kill) end || Pid <- Busy]
    end.

spin() -> spin().

agree(Config, Scenarios) ->
    Expected = maps:map(fun(_, {_, Trace}) -> Trace end, hansom_differential:expected()),
    Traces = hansom_differential:run(hansom_conn, proplists:get_value(origin, Config), Scenarios),
    ?assertEqual([], hansom_differential:differences(Expected, Traces, Scenarios)).

%% In a node of its own: others may have put modules of the same names in place.
hackney_answers_as_recorded(Config) ->
    case os:getenv("HACKNEY_LIBS", "") of
        "" ->
            {skip, "HACKNEY_LIBS does not name the folders of a hackney"};
        _ ->
            {ok, Peer, _} = peer:start_link(#{connection => standard_io, args => ["-pa" | code:get_path()]}),
            try peer:call(Peer, ?MODULE, compare_hackney, [proplists:get_value(origin, Config)], infinity)
            after peer:stop(Peer)
            end
    end.

compare_hackney(Origin) ->
    ok = logger:set_primary_config(level, none),
    ok = hansom_differential:load_hackney(),
    ?assertEqual(hansom_differential:version(), hansom_differential:live_version()),
    Scenarios = hansom_differential:scenarios(),
    Traces = hansom_differential:run(hackney_conn, Origin, Scenarios),
    ?assertEqual([], hansom_differential:differences(hansom_differential:recorded(), Traces, Scenarios)).
