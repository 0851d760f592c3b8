%% @doc hackney on hansom: what was decided outlives who carries it out, and what is still in the way gets out of it. As in
%% {@link hansom_hackney_SUITE} something stands in for hackney, and every case has a node of its own.
-module(hansom_hackney_switch_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_case, [serve/1, response/1, wait_for/1]).
-import(hansom_node, [call/2, call/4]).
-import(hansom_stand_in, [node_with/1, node_with/2, state/1, echo/0, open/2, get/2, is_hansoms/2]).

-define(BY_SETTING, ["-hansom", "hackney", "true"]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    hansom_case:init_suite([{hackney, hansom_stand_in:make("hackney-4.7.4", "4.7.4", Config)} | Config]).

end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

%% A caller that is busy in hackney's own module, and the server's side that keeps it waiting.
busy(Peer) ->
    Server = serve([request, wait, {send, response(<<"x">>)}]),
    Pid = open(Peer, Server),
    Caller = hansom_case:async(fun() -> get(Peer, Pid) end),
    Side = hansom_script:accept(Server),
    ok = hansom_script:arrived(Side, 1),
    {Caller, Side}.

let_go({Caller, Side}) ->
    ok = hansom_script:continue(Side),
    ?assertEqual({ok, <<"x">>}, hansom_case:result(Caller)).

%% The end of the engine, and with it of the process that carries out decisions, until there is another.
lose_engine(Peer) ->
    Switch = call(Peer, erlang, whereis, [hansom_hackney_switch]),
    true = call(Peer, erlang, exit, [call(Peer, erlang, whereis, [hansom_runtime]), kill]),
    wait_for(fun() -> not lists:member(call(Peer, erlang, whereis, [hansom_hackney_switch]), [undefined, Switch]) end).

%% Clauses: HKN-1, HKN-6
hkn_13_going_back_outlives_the_engine(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    Busy = busy(Peer),
    ok = call(Peer, hansom_hackney, install, []),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ok = lose_engine(Peer),
    ?assertEqual(leaving, state(Peer)),
    let_go(Busy),
    wait_for(fun() -> state(Peer) =:= not_installed end),
    ok = hansom_node:stop(Peer).

%% Clauses: HKN-1, HKN-6
hkn_13_going_back_outlives_the_application(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    Busy = busy(Peer),
    ok = call(Peer, hansom_hackney, install, []),
    ok = call(Peer, application, stop, [hansom]),
    ?assertEqual(leaving, state(Peer)),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ?assertEqual(leaving, state(Peer)),
    ok = call(Peer, application, start, [hansom]),
    ?assertEqual(leaving, state(Peer)),
    let_go(Busy),
    wait_for(fun() -> state(Peer) =:= not_installed end),
    %% Without the application it is done on request.
    More = busy(Peer),
    ok = call(Peer, hansom_hackney, install, []),
    ok = call(Peer, application, stop, [hansom]),
    let_go(More),
    ?assertEqual(leaving, state(Peer)),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ?assertEqual(not_installed, state(Peer)),
    ok = hansom_node:stop(Peer).

%% The setting counts until somebody says otherwise, and again from the next start of the application.
%% Clauses: HKN-4, HKN-6
hkn_14_decisions_outlive_the_engine(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config), ?BY_SETTING),
    ?assertEqual(installed, state(Peer)),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ok = lose_engine(Peer),
    ?assertEqual(not_installed, state(Peer)),
    ok = call(Peer, hansom_hackney, install, [#{truncated_body => error}]),
    ok = lose_engine(Peer),
    ?assertMatch(#{state := installed, options := #{truncated_body := error}}, call(Peer, hansom_hackney, status, [])),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ok = call(Peer, application, stop, [hansom]),
    ok = call(Peer, application, start, [hansom]),
    ?assertMatch(#{state := installed, options := #{truncated_body := ok}}, call(Peer, hansom_hackney, status, [])),
    ok = hansom_node:stop(Peer).

%% A refusal leaves what was decided before.
%% Clauses: HKN-3, HKN-6
hkn_14_refusals_decide_nothing(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config), ?BY_SETTING),
    ok = call(Peer, hansom_hackney, uninstall, []),
    Beam = element(2, call(Peer, code, get_object_code, [hackney_conn])),
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(Beam, [abstract_code]),
    {ok, hackney_conn, Patched} = compile:forms(hansom_stand_in:with_patch(Forms)),
    {module, _} = call(Peer, code, load_binary, [hackney_conn, "patched", Patched]),
    ?assertEqual({error, {modified, hackney_conn}}, call(Peer, hansom_hackney, install, [])),
    ok = lose_engine(Peer),
    ?assertEqual(not_installed, state(Peer)),
    ?assertNot(is_map_key(refused, call(Peer, hansom_hackney, status, []))),
    ok = hansom_node:stop(Peer).

%% While the supervisor starts the process again there is nobody to ask.
%% Clauses: HKN-3, HKN-6
hkn_14_nobody_to_decide(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config), ?BY_SETTING),
    ok = call(Peer, supervisor, terminate_child, [hansom_sup, hansom_hackney_switch]),
    ?assertEqual({error, {not_started, hansom}}, call(Peer, hansom_hackney, install, [])),
    ?assertEqual(installed, state(Peer)),
    ?assertEqual(ok, call(Peer, hansom_hackney, uninstall, [])),
    ?assertEqual(not_installed, state(Peer)),
    {ok, _} = call(Peer, supervisor, restart_child, [hansom_sup, hansom_hackney_switch]),
    ?assertEqual(not_installed, state(Peer)),
    ?assertEqual(ok, call(Peer, hansom_hackney, install, [])),
    ?assertEqual(installed, state(Peer)),
    ok = hansom_node:stop(Peer).

%% Every process is looked at once, and from then on those that are in the way.
%% Clauses: HKN-2
hkn_15_looking_for_who_is_busy(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    Busy = busy(Peer),
    ok = call(Peer, hansom_hackney, install, []),
    Count = call(Peer, fun() -> hansom_hackney_switch_SUITE:scans(5) end),
    ?assertEqual(leaving, state(Peer)),
    ?assertEqual(1, Count),
    let_go(Busy),
    wait_for(fun() -> state(Peer) =:= not_installed end),
    ok = hansom_node:stop(Peer).

%% How often all processes are searched from going back on, until the switch has looked again so many times.
scans(Times) ->
    1 = erlang:trace(whereis(hansom_hackney_switch), true, [call, 'receive']),
    1 = erlang:trace_pattern({code, soft_purge, 1}, true, []),
    ok = hansom_hackney:uninstall(),
    scans(Times, 0).

scans(0, Count) ->
    Count;
scans(Times, Count) ->
    receive
        {trace, _, call, {code, soft_purge, _}} -> scans(Times, Count + 1);
        {trace, _, 'receive', look_again} -> scans(Times - 1, Count)
    after hansom_case:deadline() -> error({never_looked, Times})
    end.

%% The code that serves new connections is that of the release that is there when they are installed.
%% Clauses: HKN-1
hkn_16_another_release_of_hansom(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    Pid = open(Peer, echo()),
    Md5 = call(Peer, hackney_conn, module_info, [md5]),
    ok = call(Peer, hansom_hackney, install, []),
    ?assertEqual(Md5, call(Peer, hackney_conn, module_info, [md5])),
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(hansom_hackney_conn), [abstract_code]),
    {ok, hansom_hackney_conn, Beam} = compile:forms(hansom_stand_in:with_patch(Forms)),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "later/ebin"),
    ok = filelib:ensure_path(Dir),
    ok = file:write_file(filename:join(Dir, "hansom_hackney_conn.beam"), Beam),
    true = call(Peer, code, add_patha, [Dir]),
    ?assertEqual(ok, call(Peer, hansom_hackney, install, [])),
    ?assert(call(Peer, hackney_conn, patched, [])),
    ?assertEqual(installed, state(Peer)),
    ?assertEqual(<<"x">>, get(Peer, Pid)),
    ?assert(is_hansoms(Peer, open(Peer, echo()))),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ?assertEqual(not_installed, state(Peer)),
    ?assertNot(call(Peer, erlang, function_exported, [hackney_conn, patched, 0])),
    ok = hansom_node:stop(Peer).
