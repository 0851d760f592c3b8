%% @doc hackney on hansom: installing, going back, and all that may be in the way. A stand-in takes hackney's place, with
%% its interface, its messages and its pool protocol, so that nothing of hackney is needed; the suite with the real one is
%% {@link hansom_hackney_real_SUITE}.
%%
%% What is installed is so for a whole node: every case has one of its own.
-module(hansom_hackney_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_case, [serve/1, response/1, wait_for/1]).
-import(hansom_node, [call/2, call/4]).
-import(hansom_stand_in, [node_with/1, echo/0, to/1, open/2, get/2, is_hansoms/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    hansom_case:init_suite([{hackney, hansom_stand_in:make("hackney-4.7.4", "4.7.4", Config)} | Config]).

end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

installed(Peer) -> hansom_stand_in:state(Peer).

%% Clauses: HKN-1, API-2
hkn_01_installed_and_uninstalled(Config) ->
    Server = echo(),
    Peer = node_with(proplists:get_value(hackney, Config)),
    ?assertMatch(#{state := not_installed, hackney := "4.7.4"}, call(Peer, hansom_hackney, status, [])),
    Md5 = call(Peer, hackney_conn, module_info, [md5]),
    ?assertEqual(ok, call(Peer, hansom_hackney, install, [])),
    ?assertEqual(installed, installed(Peer)),
    One = open(Peer, Server),
    ?assertEqual(<<"x">>, get(Peer, One)),
    ?assert(is_hansoms(Peer, One)),
    ?assertEqual(ok, call(Peer, hansom_hackney, install, [])),
    ?assertEqual(ok, call(Peer, hansom_hackney, uninstall, [])),
    ?assertEqual(not_installed, installed(Peer)),
    %% It is the very same module again, and nothing of the other is left.
    ?assertEqual(Md5, call(Peer, hackney_conn, module_info, [md5])),
    ?assertNot(call(Peer, erlang, check_old_code, [hackney_conn])),
    Two = open(Peer, Server),
    ?assertEqual(<<"x">>, get(Peer, Two)),
    ?assertNot(is_hansoms(Peer, Two)),
    ok = hansom_node:stop(Peer).

%% Every connection goes on with the code it began with, in the middle of an exchange too.
%% Clauses: HKN-2, API-45
hkn_02_open_connections_are_finished(Config) ->
    Server = echo(),
    Peer = node_with(proplists:get_value(hackney, Config)),
    Old = open(Peer, Server),
    {ok, 200, _} = call(Peer, hackney_conn, request, [Old, <<"GET">>, <<"/">>, [], <<>>]),
    ok = call(Peer, hansom_hackney, install, []),
    ?assertEqual({ok, <<"x">>}, call(Peer, hackney_conn, body, [Old])),
    ?assertEqual(<<"x">>, get(Peer, Old)),
    ?assertEqual({ok, connected}, call(Peer, hackney_conn, get_state, [Old])),
    New = open(Peer, Server),
    {ok, 200, _} = call(Peer, hackney_conn, request, [New, <<"GET">>, <<"/">>, [], <<>>]),
    ok = call(Peer, hansom_hackney, uninstall, []),
    %% hackney's own functions send messages, and hansom understands them.
    ?assertEqual({ok, receiving}, call(Peer, hackney_conn, get_state, [New])),
    ?assertEqual({ok, <<"x">>}, call(Peer, hackney_conn, body, [New])),
    ?assert(is_hansoms(Peer, New)),
    ?assertEqual(<<"x">>, get(Peer, New)),
    ?assertEqual(<<"x">>, get(Peer, Old)),
    ok = hansom_node:stop(Peer).

%% After going back, hackney's functions reach hansom's connections by messages alone.
%% Clauses: HKN-2, API-37, API-45, API-46, ST-29
hkn_02_messages_of_hackneys_module(Config) ->
    Server = serve([{repeat, [request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-A: b\r\n\r\nx"}]}]),
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    {One, Two} = {open(Peer, Server), open(Peer, Server)},
    ok = call(Peer, hansom_hackney, uninstall, []),
    ?assertEqual([{status, 200, <<"OK">>}, {headers, [{<<"Content-Length">>, <<"1">>}, {<<"X-A">>, <<"b">>}]},
                  <<"x">>, done],
                 call(Peer, fun() -> pulled(One) end)),
    Conn = hackney_conn,
    ?assertEqual([ok, ok, ok, {ok, 200}, {ok, <<"x">>}],
                 call(Peer, fun() ->
                                    [Conn:send_request_headers(Two, <<"POST">>, <<"/">>, []),
                                     Conn:send_body_chunk(Two, <<"piece">>), Conn:finish_send_body(Two),
                                     begin {ok, Status, _, Two} = Conn:start_response(Two), {ok, Status} end,
                                     Conn:body(Two)]
                            end)),
    Calls = [{response_headers, [], [{<<"Content-Length">>, <<"1">>}, {<<"X-A">>, <<"b">>}]},
             {set_location, [<<"/there">>], ok}, {get_location, [], <<"/there">>},
             {set_owner, [call(Peer, erlang, whereis, [hackney_pool])], ok},
             {is_ready, [], {ok, connected}}, {get_protocol, [], http1},
             {open_h2_stream, [<<"GET">>, <<"/">>, [], self(), #{}], {error, invalid_state}},
             {stop_async, [], {error, invalid_state}}, {close, [], ok}, {get_state, [], {ok, closed}}, {stop, [], ok}],
    [?assertEqual({Name, Expected}, {Name, call(Peer, Conn, Name, [Two | Arguments])})
     || {Name, Arguments, Expected} <- Calls],
    ok = hansom_node:stop(Peer).

%% Messages of a response that is pulled, with the functions of hackney's module.
pulled(Pid) ->
    Conn = hackney_conn,
    {ok, Pid} = Conn:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
    [begin
         Number =< 2 orelse Conn:stream_next(Pid),
         receive {hackney_response, Pid, Event} -> Event after 10000 -> timeout end
     end || Number <- lists:seq(1, 4)].

%% A process that is busy in the original's old code would be killed by loading it again: that waits for it, but new
%% connections do not.
%% Clauses: HKN-2, ST-26
hkn_03_going_back_waits_for_who_is_busy(Config) ->
    Server = serve([request, wait, {send, response(<<"x">>)}]),
    Peer = node_with(proplists:get_value(hackney, Config)),
    Busy = open(Peer, Server),
    Caller = hansom_case:async(fun() -> get(Peer, Busy) end),
    Side = hansom_script:accept(Server),
    ok = hansom_script:arrived(Side, 1),
    ok = call(Peer, hansom_hackney, install, []),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ?assertEqual(leaving, installed(Peer)),
    Other = open(Peer, echo()),
    ?assertNot(is_hansoms(Peer, Other)),
    ?assertEqual(<<"x">>, get(Peer, Other)),
    %% Back and forth in between is no more than a change of mind.
    ok = call(Peer, hansom_hackney, install, []),
    ?assertEqual(installed, installed(Peer)),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ok = hansom_script:continue(Side),
    ?assertEqual({ok, <<"x">>}, hansom_case:result(Caller)),
    wait_for(fun() -> installed(Peer) =:= not_installed end),
    ?assertEqual(<<"x">>, get(Peer, Other)),
    ok = hansom_node:stop(Peer).

%% Refusals change nothing, and say why.
%% Clauses: HKN-3
hkn_04_refused_versions(Config) ->
    [begin
         Peer = node_with(hansom_stand_in:make("version-" ++ Version, Version, Config)),
         ?assertEqual({Version, Expected}, {Version, call(Peer, hansom_hackney, install, [])}),
         ok = hansom_node:stop(Peer)
     end
     || {Version, Expected} <- [{"3.2.1", {error, {hackney_version, "3.2.1"}}},
                                {"4.0.0", {error, {hackney_version, "4.0.0"}}},
                                {"4.0.1", ok},
                                {"4.12.0-rc.1", ok},
                                {"5.0.0", {error, {hackney_version, "5.0.0"}}},
                                {"git", {error, {hackney_version, "git"}}}]].

%% Clauses: HKN-3
hkn_04_refused_for_functions_unheard_of(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "later/ebin"),
    ok = hansom_stand_in:make(Dir, [hackney_later | hansom_stand_in:modules()], "4.9.0", Config),
    Peer = node_with(Dir),
    ?assertEqual({error, {missing, [{levitate, 2}]}}, call(Peer, hansom_hackney, install, [])),
    ?assertMatch(#{state := not_installed}, call(Peer, hansom_hackney, status, [])),
    ok = hansom_node:stop(Peer),
    %% The setting must not keep a system from starting.
    Set = hansom_node:start(["-pa", Dir, "-hansom", "hackney", "true", "-kernel", "logger_level", "none"]),
    {ok, _} = call(Set, application, ensure_all_started, [hackney]),
    {ok, _} = call(Set, application, ensure_all_started, [hansom]),
    ?assertMatch(#{state := not_installed, refused := {missing, [{levitate, 2}]}},
                 call(Set, hansom_hackney, status, [])),
    ok = hansom_node:stop(Set).

%% Clauses: HKN-3
hkn_04_refused_without_what_is_needed(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    ?assertEqual({error, {options, {truncated_body, maybe}}},
                 call(Peer, hansom_hackney, install, [#{truncated_body => maybe}])),
    %% What hackney says of every connection would never have an effect, and nor would a slip of the pen.
    [?assertEqual({error, {options, Option}}, call(Peer, hansom_hackney, install, [[Option]]))
     || Option <- [{recv_timeout, 1}, {connect_timeout, 1}, {connect_options, []}, {ssl_options, [{cacertfile, "roots"}]},
                   {host, "localhost"}, {port, 80}, {transport, hackney_tcp}, {pool_pid, undefined}, {owner, self()},
                   {socket, undefined}, {trucated_body, error}]],
    ?assertMatch(#{state := not_installed}, call(Peer, hansom_hackney, status, [])),
    %% A module that somebody changed at run time would be lost.
    {ok, hackney_conn, Beam} = compile:file(hansom_stand_in:source(hackney_conn, Config),
                                            [binary, {parse_transform, ?MODULE}]),
    {module, _} = call(Peer, code, load_binary, [hackney_conn, "patched", Beam]),
    ?assertEqual({error, {modified, hackney_conn}}, call(Peer, hansom_hackney, install, [])),
    ok = hansom_node:stop(Peer),
    Without = hansom_node:start([]),
    {ok, _} = call(Without, application, ensure_all_started, [hansom]),
    ?assertEqual({error, {not_found, hackney_conn}}, call(Without, hansom_hackney, install, [])),
    ?assertMatch(#{state := not_installed, hackney := undefined}, call(Without, hansom_hackney, status, [])),
    ?assertEqual(ok, call(Without, hansom_hackney, uninstall, [])),
    ok = hansom_node:stop(Without).

parse_transform(Forms, _Options) ->
    hansom_stand_in:with_patch(Forms).

%% The setting, with hackney there before, after, and long after hansom.
%% Clauses: HKN-4
hkn_05_by_setting(Config) ->
    Dir = proplists:get_value(hackney, Config),
    Server = echo(),
    Before = hansom_node:start(["-pa", Dir, "-hansom", "hackney", "true"]),
    {ok, _} = call(Before, application, ensure_all_started, [hackney]),
    {ok, _} = call(Before, application, ensure_all_started, [hansom]),
    ?assert(is_hansoms(Before, open(Before, Server))),
    ok = hansom_node:stop(Before),
    After = hansom_node:start(["-pa", Dir, "-hansom", "hackney", "[{truncated_body,error}]"]),
    {ok, _} = call(After, application, ensure_all_started, [hansom]),
    {ok, _} = call(After, application, ensure_all_started, [hackney]),
    ?assertMatch(#{state := installed, options := #{truncated_body := error, user_agent := <<"hackney/4.7.4">>}},
                 call(After, hansom_hackney, status, [])),
    ?assert(is_hansoms(After, open(After, Server))),
    ok = hansom_node:stop(After),
    LongAfter = hansom_node:start(["-hansom", "hackney", "true"]),
    {ok, _} = call(LongAfter, application, ensure_all_started, [hansom]),
    ?assertEqual(waiting, installed(LongAfter)),
    true = call(LongAfter, code, add_patha, [Dir]),
    {ok, _} = call(LongAfter, application, ensure_all_started, [hackney]),
    wait_for(fun() -> installed(LongAfter) =:= installed end),
    ?assert(is_hansoms(LongAfter, open(LongAfter, Server))),
    ok = hansom_node:stop(LongAfter).

%% In a release all code is loaded at boot and none later, and may be protected.
%% Clauses: HKN-5
hkn_06_embedded_and_sticky(Config) ->
    Dir = proplists:get_value(hackney, Config),
    Peer = hansom_node:start(["-mode", "embedded", "-pa", Dir, "-hansom", "hackney", "true"]),
    Applications = [asn1, crypto, public_key, ssl],
    [true = call(Peer, code, add_patha, [code:lib_dir(Application, ebin)]) || Application <- Applications],
    [{module, _} = call(Peer, code, load_file, [Module])
     || Module <- hansom_stand_in:modules() ++ lists:append([modules(Application) || Application <- [hansom | Applications]])],
    true = call(Peer, code, stick_mod, [hackney_conn]),
    [ok = call(Peer, application, start, [Application]) || Application <- Applications ++ [hackney, hansom]],
    ?assertEqual(embedded, call(Peer, code, get_mode, [])),
    ?assertEqual(installed, installed(Peer)),
    Pid = open(Peer, echo()),
    ?assert(is_hansoms(Peer, Pid)),
    ?assertEqual(<<"x">>, get(Peer, Pid)),
    ?assert(call(Peer, code, is_sticky, [hackney_conn])),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ?assertEqual(not_installed, installed(Peer)),
    ?assert(call(Peer, code, is_sticky, [hackney_conn])),
    ok = hansom_node:stop(Peer).

modules(Application) ->
    _ = application:load(Application),
    {ok, Modules} = application:get_key(Application, modules),
    Modules.

%% Clauses: HKN-5
hkn_07_compiled_for_coverage(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    {ok, hackney_conn} = call(Peer, cover, compile_beam, [hackney_conn]),
    Server = echo(),
    Old = open(Peer, Server),
    ?assertEqual(<<"x">>, get(Peer, Old)),
    {ok, Functions} = call(Peer, cover, analyse, [hackney_conn, calls, function]),
    ?assertMatch({_, 1}, lists:keyfind({hackney_conn, request, 7}, 1, Functions)),
    ok = call(Peer, hansom_hackney, install, []),
    New = open(Peer, Server),
    ?assert(is_hansoms(Peer, New)),
    ?assertEqual({<<"x">>, <<"x">>}, {get(Peer, Old), get(Peer, New)}),
    ok = call(Peer, hansom_hackney, uninstall, []),
    ?assertEqual({<<"x">>, <<"x">>}, {get(Peer, Old), get(Peer, New)}),
    %% What comes back is the module on disk, of which `cover' knows nothing.
    ?assertEqual({error, {not_cover_compiled, hackney_conn}}, call(Peer, cover, analyse, [hackney_conn, calls, function])),
    ok = hansom_node:stop(Peer).

%% Without hansom hackney goes on with connections of its own.
%% Clauses: HKN-6
hkn_08_the_application_stops(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    Server = echo(),
    Pid = open(Peer, Server),
    ok = call(Peer, application, stop, [hansom]),
    ?assertEqual(not_installed, installed(Peer)),
    ?assertNot(call(Peer, erlang, is_process_alive, [Pid])),
    ?assertEqual(<<"x">>, get(Peer, open(Peer, Server))),
    %% Installing starts what it needs.
    ok = call(Peer, hansom_hackney, install, []),
    ?assert(is_hansoms(Peer, open(Peer, Server))),
    %% The engine's end takes its connections with it, and nothing of hackney.
    [Runtime, Switch] = [call(Peer, erlang, whereis, [Name]) || Name <- [hansom_runtime, hansom_hackney_switch]],
    true = call(Peer, erlang, exit, [Runtime, kill]),
    wait_for(fun() -> not lists:member(call(Peer, erlang, whereis, [hansom_hackney_switch]), [undefined, Switch]) end),
    wait_for(fun() -> is_hansoms(Peer, open(Peer, Server)) end),
    ?assertEqual(installed, installed(Peer)),
    ok = hansom_node:stop(Peer).

%% Clauses: HKN-6
hkn_08_replaced_by_somebody_else(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    _ = call(Peer, code, purge, [hackney_conn]),
    {module, hackney_conn} = call(Peer, code, load_file, [hackney_conn]),
    ?assertEqual(replaced, installed(Peer)),
    ok = call(Peer, hansom_hackney, install, []),
    ?assertEqual(installed, installed(Peer)),
    ok = hansom_node:stop(Peer).

%% What hackney's connections do unless they are told otherwise.
%% Clauses: HKN-7, REQ-6, RSP-22, RSP-25, NEG-1
hkn_09_defaults_are_hackneys(Config) ->
    Server = hansom_case:serve_each(
               [[request, {send, ["HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":1\"\r\nContent-Length: 9\r\n\r\nhalf"]}, close]]),
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    ?assertMatch(#{options := #{truncated_body := ok, unpulled := drop}}, call(Peer, hansom_hackney, status, [])),
    Pid = open(Peer, Server),
    ?assertEqual(<<"half">>, get(Peer, Pid)),
    [Request | _] = hansom_script:requests(hansom_script:accept(Server)),
    ?assertMatch({match, _}, re:run(Request, "User-Agent: hackney/4\\.7\\.4\r\n")),
    ?assertMatch([{"127.0.0.1", _, [_ | _]}], call(Peer, hackney_altsvc, cached, [])),
    %% Other options than these are hackney's affair.
    ok = call(Peer, hansom_hackney, install, [#{truncated_body => error}]),
    Strict = open(Peer, serve([request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"}, close])),
    {ok, 200, _} = call(Peer, hackney_conn, request, [Strict, <<"GET">>, <<"/">>, [], <<>>]),
    ?assertEqual({error, {closed, <<"half">>}}, call(Peer, hackney_conn, body, [Strict])),
    ok = hansom_node:stop(Peer).

%% What hansom's settings say of connections can also be said for hackney's alone.
%% Clauses: HKN-7
hkn_09_every_setting_is_a_default(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    Others = [threads, shutdown_timeout, hackney, default_protocols, included_applications],
    Settings = [Setting || {Key, _} = Setting <- call(Peer, application, get_all_env, [hansom]), not lists:member(Key, Others)],
    ?assert(length(Settings) > 20),
    ?assertEqual(ok, call(Peer, hansom_hackney, install, [Settings])),
    #{options := Options} = call(Peer, hansom_hackney, status, []),
    ?assertEqual(lists:sort(Settings), lists:sort(maps:to_list(maps:remove(user_agent, Options)))),
    ok = hansom_node:stop(Peer).

%% hackney asks for HTTP/3 alone and gives up on it when it gets something else, so TCP must not win by being faster.
%% Clauses: HKN-7, NEG-3, POOL-19
hkn_09_no_race_for_http3_alone(_) ->
    Start = fun(Defaults, ConnectOptions) ->
                    hansom_hackney_options:start(Defaults, #{host => "h.example", connect_options => ConnectOptions})
            end,
    [?assertMatch({Defaults, #{http3 := first}}, {Defaults, Start(Defaults, [{family, inet}, {protocols, [http3]}])})
     || Defaults <- [#{}, #{http3 => race}]],
    ?assertMatch(#{http3 := race}, Start(#{http3 => race}, [{protocols, [http3, http2]}])).

%% Roots are those of certifi, as hackney's, and protocols those of hackney's setting.
%% Clauses: HKN-7, TLS-4, NEG-1
hkn_09_roots_and_protocols(Config) ->
    #{cacerts := Roots, ports := #{https := Port}} = Origin = hansom_servers:origin(),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certified/ebin"),
    ok = hansom_stand_in:make(Dir, [certifi | hansom_stand_in:modules()], "4.7.4", Config),
    Peer = node_with(Dir),
    ok = call(Peer, persistent_term, put, [certifi, Roots]),
    ok = call(Peer, hansom_hackney, install, []),
    Options = #{host => "localhost", port => Port, transport => hackney_ssl},
    %% hackney's default is its own, whatever hansom's is.
    ok = call(Peer, application, set_env, [hansom, default_protocols, [http1]]),
    {ok, Two} = call(Peer, hackney, open, [Options]),
    ?assertEqual(http2, call(Peer, hackney_conn, get_protocol, [Two])),
    ok = call(Peer, application, set_env, [hackney, default_protocols, [http1]]),
    {ok, One} = call(Peer, hackney, open, [Options]),
    ?assertEqual(http1, call(Peer, hackney_conn, get_protocol, [One])),
    ok = call(Peer, persistent_term, put, [certifi, []]),
    {ok, None} = call(Peer, hackney_conn_sup, start_conn, [Options]),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, call(Peer, hackney_conn, connect, [None, 8000])),
    ok = hansom_servers:stop(Origin),
    ok = hansom_node:stop(Peer).

%% A function that hackney itself does not call is that of its module.
%% Clauses: HKN-1
hkn_10_functions_beside_the_interface(Config) ->
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    ?assertMatch({_, 7}, call(Peer, hackney_conn, own_affair, [7])),
    ?assertEqual(undef, call(Peer, fun() ->
                                           Conn = hackney_conn,
                                           try Conn:no_affair(7) catch error:Reason -> Reason end
                                   end)),
    ok = hansom_node:stop(Peer).

%% Many short-lived users of a pool: their end, right after the body, never ends a connection that is the pool's again,
%% and hardly a connection is opened beyond those in use at a time.
%% Clauses: POOL-4, POOL-5, POOL-13, POOL-14, POOL-15
hkn_11_short_lived_users_of_the_pool(Config) ->
    Server = echo(),
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    Options = to(Server),
    Results = call(Peer, fun() -> hansom_hackney_SUITE:users(Options, 8, 100) end),
    ?assertEqual([{200, <<"x">>}], lists:usort(Results)),
    Idle = call(Peer, hackney_pool, idle, []),
    ?assert(length(Idle) >= 1),
    %% One for each user at a time; none had to be opened for one that died.
    ?assert(length(Idle) =< 8),
    [?assertEqual({ok, connected}, call(Peer, hackney_conn, get_state, [Pid])) || Pid <- Idle],
    ok = hansom_node:stop(Peer).

%% `Rounds' users one after the other, in so many rows side by side; each is a process that ends with its answer.
users(Options, Rows, Rounds) ->
    Row = fun() -> exit([user(Options) || _ <- lists:seq(1, Rounds)]) end,
    Monitors = [spawn_monitor(Row) || _ <- lists:seq(1, Rows)],
    lists:append([receive {'DOWN', Monitor, process, _, Answers} -> Answers end || {_, Monitor} <- Monitors]).

user(Options) ->
    {_, Monitor} = spawn_monitor(fun() ->
                                         {ok, Status, _, Body} = hackney:pooled_get(Options, <<"/">>),
                                         exit({Status, Body})
                                 end),
    receive {'DOWN', Monitor, process, _, Answer} -> Answer end.

%% Dialled without TLS by the pool and upgraded by its user, a connection is the pool's again if it is to be. One that then
%% speaks HTTP/2 is not given back, and serves on.
%% Clauses: POOL-9, POOL-17, TRAP-9
hkn_11_encrypted_connections_of_the_pool(Config) ->
    #{cacerts := Roots, ports := #{https := Port}} = Origin = hansom_servers:origin(),
    Peer = node_with(proplists:get_value(hackney, Config)),
    ok = call(Peer, hansom_hackney, install, []),
    {To, Trust} = {#{host => "localhost", port => Port}, [{cacerts, Roots}]},
    Gets = fun(Count, Upgrade) ->
                   call(Peer, fun() ->
                                      [hackney:secure_pooled_get(To, [{protocols, [http1]} | Trust], Upgrade, <<"/hello">>)
                                       || _ <- lists:seq(1, Count)]
                              end)
           end,
    [{Pid, http1, _} | _] = Kept = Gets(3, #{pool_ssl => true}),
    [?assertMatch({Pid, http1, {ok, 200, _, <<"Hello, world!\n">>}}, Row) || Row <- Kept],
    wait_for(fun() -> [Pid] =:= call(Peer, hackney_pool, idle, []) end),
    ?assert(is_hansoms(Peer, Pid)),
    ok = call(Peer, hackney_conn, stop, [Pid]),
    wait_for(fun() -> [] =:= call(Peer, hackney_pool, idle, []) end),
    [{Once, http1, {ok, 200, _, _}}] = Gets(1, #{}),
    wait_for(fun() -> not call(Peer, erlang, is_process_alive, [Once]) end),
    ?assertEqual([], call(Peer, hackney_pool, idle, [])),
    {Idle, Answers} =
        call(Peer, fun() ->
                           {Conn, http2, First} = hackney:secure_pooled_get(To, [{protocols, [http2]} | Trust], #{}, <<"/hello">>),
                           {hackney_pool:idle(), [First, hackney:get(Conn, <<"/hello">>)]}
                   end),
    ?assertEqual([], Idle),
    [?assertMatch({ok, 200, _, <<"Hello, world!\n">>}, Answer) || Answer <- Answers],
    ok = hansom_node:stop(Peer),
    ok = hansom_servers:stop(Origin).

%% The table of atoms in the form of OTP 28 as well, which this OTP may not write.
%% Clauses: HKN-5
hkn_12_names_in_object_code(_) ->
    Old = <<2:32, 3, "old", 5, "other">>,
    ?assertEqual(<<2:32, 13, "a_longer_name", 5, "other">>, hansom_hackney_beam:rename_atom(Old, a_longer_name)),
    Short = <<-2:32, 3:4, 0:4, "old", 5:4, 0:4, "other">>,
    ?assertEqual(<<-2:32, 3:4, 0:4, "new", 5:4, 0:4, "other">>, hansom_hackney_beam:rename_atom(Short, new)),
    Long = hansom_hackney_beam:rename_atom(Short, a_name_of_twenty_one_),
    ?assertEqual(<<-2:32, 0:3, 2#01000:5, 21, "a_name_of_twenty_one_", 5:4, 0:4, "other">>, Long),
    ?assertEqual(Short, hansom_hackney_beam:rename_atom(Long, old)),
    ?assertEqual(error, hansom_hackney_beam:rename_atom(<<0:32>>, new)),
    {ok, Renamed} = hansom_hackney_beam:rename(element(2, code:get_object_code(lists)), other_lists),
    {module, other_lists} = code:load_binary(other_lists, "other_lists", Renamed),
    Other = other_lists,
    ?assertEqual([1, 2, 3], Other:sort([3, 2, 1])),
    ?assertEqual(error, hansom_hackney_beam:rename(<<"no code">>, other_lists)).
