%% @doc Who speaks TLS: the engine, or Erlang's `ssl' where only that can do what the options ask.
-module(hansom_tls_route_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_tls_case, [server/1, open/2, connect/2, dial/1, port/1, trust/1, der/2, key/2, with_origin/3]).
-import(hansom_case, [exchange/1]).

-define(CONN, hansom_conn).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_tls_case:init_suite(Config).

end_per_suite(Config) -> hansom_tls_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).

end_per_testcase(_Case, Config) ->
    application:set_env(hansom, tls, auto),
    hansom_case:end_case(Config).

%% A connection of Erlang's `ssl' has processes of its own.
by(Pid) ->
    {links, Links} = process_info(Pid, links),
    case [Linked || Linked <- Links, is_pid(Linked), Linked =/= self()] of
        [] -> rustls;
        [_, _] -> erlang
    end.

identity(Config) -> [{cert, der("server", Config)}, {key, key("server-key", Config)}].

%% Clauses: TLS-3, TLS-4
tls_03_options_route(Config) ->
    Pass = fun(_, {bad_cert, _} = Reason, _) -> {fail, Reason};
              (_, {extension, _}, State) -> {unknown, State};
              (_, _, State) -> {valid, State}
           end,
    [begin
         Pid = open(port(Config), [Option | trust(Config)]),
         ?assertEqual({Option, By}, {Option, by(Pid)}),
         ?assertMatch({200, _}, exchange(Pid))
     end || {Option, By} <- [{{verify_fun, {Pass, []}}, erlang}, {{partial_chain, fun(_) -> unknown_ca end}, erlang},
                             {{customize_hostname_check, [{fqdn_fun, fun(_) -> "localhost" end}]}, erlang},
                             {{signature_algs_cert, [ecdsa_secp256r1_sha256]}, erlang},
                             {{session_tickets, manual}, erlang}, {{tls, erlang}, erlang}, {{tls, rustls}, rustls},
                             {{supported_groups, [x448, x25519]}, rustls}, {{depth, 5}, rustls}]].

%% Clauses: TLS-3, API-1
tls_03_who_decides(Config) ->
    Start = fun(Options) ->
                    Pid = hansom_case:start_with(maps:merge(hansom_tls_case:options(port(Config), trust(Config)), Options)),
                    ok = ?CONN:connect(Pid),
                    by(Pid)
            end,
    ?assertEqual(rustls, Start(#{})),
    ?assertEqual(erlang, Start(#{tls => erlang})),
    application:set_env(hansom, tls, erlang),
    ?assertEqual(erlang, Start(#{})),
    ?assertEqual(rustls, Start(#{tls => rustls})),
    ?assertEqual({error, {options, {tls, openssl}}}, ?CONN:start_link(#{host => "h", tls => openssl})).

%% Clauses: API-5, TLS-3
api_05_one_dial_at_a_time(Config) ->
    Pid = hansom_case:start_with(hansom_tls_case:options(port(Config), [{tls, erlang} | trust(Config)])),
    Dial = fun() -> ?CONN:connect(Pid, infinity) end,
    ?assertEqual([{ok, ok}, {ok, {error, invalid_state}}], hansom_case:at_once(Pid, [Dial, Dial])),
    ?assertEqual(erlang, by(Pid)),
    ?assertMatch({200, _}, exchange(Pid)).

%% Whoever comes second finds the connection encrypted. Clauses: API-25, TLS-3
api_25_one_upgrade_at_a_time(Config) ->
    [begin
         Start = maps:without([transport, ssl_options], hansom_tls_case:options(port(Config), [])),
         Pid = hansom_case:start_with(Start),
         ok = ?CONN:connect(Pid),
         Upgrades = [fun() -> ?CONN:upgrade_to_ssl(Pid, [{tls, By} | trust(Config)]) end || By <- Order],
         ?assertEqual([{ok, ok}, {ok, ok}], hansom_case:at_once(Pid, Upgrades)),
         ?assertEqual(hd(Order), by(Pid)),
         ?assertMatch({200, _}, exchange(Pid))
     end || Order <- [[erlang, erlang], [rustls, erlang], [erlang, rustls]]].

%% What was to speak TLS has its options, with keys, and is gone when it cannot come to it.
%% Clauses: ST-6, TLS-3
st_06_failed_dial_leaves_no_process(Config) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Listen),
    Pid = hansom_case:start_with(hansom_tls_case:options(Port, [{tls, erlang} | trust(Config)])),
    ok = ?CONN:close(Pid),
    ?assertEqual(closed, hansom_case:state(Pid)),
    ok = gen_tcp:close(Listen),
    ?assertEqual({error, econnrefused}, ?CONN:connect(Pid)),
    ?assertEqual(closed, hansom_case:state(Pid)),
    hansom_case:wait_for(fun() -> rustls =:= by(Pid) end).

%% A refusal of the engine is not the beginning of another try. Clauses: TLS-3
tls_03_never_after_a_failed_verification(Config) ->
    #{cert := Cert, key := Key} = hansom_authority:issue(#{name => "localhost", dns => ["localhost"]}),
    {Port, Server} = server([{cert, Cert}, {key, Key}]),
    ?assertMatch({error, {tls_alert, _}}, connect(Port, [])),
    ?assertMatch({error, _}, hansom_tls_case:session(Server)),
    %% Nobody else is there to answer.
    ?assertMatch({error, {tls_alert, _}}, connect(port(Config), [])).

%% Clauses: TLS-3, TLS-4, TLS-9, TLS-12
tls_09_erlang_verifies_as_much(Config) ->
    Dial = fun(Host, Options) ->
                   Start = hansom_tls_case:options(port(Config), [{tls, erlang} | Options]),
                   dial(hansom_case:start_with(Start#{host := Host}))
           end,
    Trust = trust(Config),
    Unknown = fun(Result) -> ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, Result) end,
    Wrong = fun(Result) -> ?assertMatch({error, {tls_alert, {handshake_failure, _}}}, Result) end,
    Unknown(Dial("localhost", [])),
    Unknown(Dial("localhost", [{cacerts, mozilla}])),
    ?assertEqual(ok, Dial("localhost", [{insecure, true}])),
    ?assertEqual(ok, Dial("localhost", [{verify, verify_none}])),
    ?assertEqual(ok, Dial("localhost", Trust)),
    ?assertEqual(ok, Dial("127.0.0.1", Trust)),
    ?assertEqual(ok, Dial("localhost", [{server_name_indication, disable} | Trust])),
    ?assertEqual(ok, Dial("127.0.0.1", [{server_name_indication, "localhost"} | Trust])),
    Wrong(Dial("localhost", [{server_name_indication, "elsewhere.example"} | Trust])),
    Wrong(Dial("localhost", [{server_name_indication, "10.0.0.1"} | Trust])),
    with_origin(["--cert", "wrong-name"], Config,
                fun(Port) ->
                        [Wrong(connect(Port, [{tls, erlang} | Options ++ Trust]))
                         || Options <- [[], [{server_name_indication, disable}],
                                        [{server_name_indication, disable},
                                         {verify_fun, {fun(_, {bad_cert, _} = R, _) -> {fail, R};
                                                          (_, {extension, _}, S) -> {unknown, S};
                                                          (_, _, S) -> {valid, S} end, []}}]]],
                        %% The function may overrule the check, as with `ssl'.
                        ?assertEqual(ok, connect(Port, [{verify_fun, {fun(_, {extension, _}, S) -> {unknown, S};
                                                                        (_, _, S) -> {valid, S} end, []}} | Trust]))
                end).

%% Clauses: TLS-7
tls_07_functions_are_asked(Config) ->
    Self = self(),
    Pin = fun(_, {extension, _}, S) -> {unknown, S};
             (_, Event, S) -> Self ! {asked, Event}, {valid, S}
          end,
    ?assertEqual(ok, connect(port(Config), [{verify_fun, {Pin, []}}])),
    ?assertEqual({bad_cert, unknown_ca}, receive {asked, {bad_cert, _} = Reason} -> Reason after 10000 -> none end),
    _ = hansom_case:flush_to([]),
    ?assertEqual(ok, connect(port(Config), [{verify_fun, {Pin, []}} | trust(Config)])),
    ?assertEqual(valid_peer, valid_peer()),
    Refuse = fun(_, _, _) -> {fail, pinned} end,
    ?assertMatch({error, {tls_alert, _}}, connect(port(Config), [{verify_fun, {Refuse, []}} | trust(Config)])),
    ?assertMatch({error, {tls_alert, _}},
                 connect(port(Config), [{verify_fun, {Refuse, []}}, {server_name_indication, disable} | trust(Config)])).

valid_peer() ->
    receive
        {asked, valid_peer} -> _ = hansom_case:flush_to([]), valid_peer;
        {asked, _} -> valid_peer()
    after 10000 -> none
    end.

%% Clauses: TLS-10, H2-3
tls_10_http2_over_erlang(Config) ->
    Pid = hansom_case:start_with((hansom_tls_case:options(port(Config), trust(Config)))
                                 #{tls => erlang, connect_options => [{protocols, [http2, http1]}]}),
    ok = ?CONN:connect(Pid),
    ?assertEqual(http2, ?CONN:get_protocol(Pid)),
    Body = binary:copy(<<"b">>, 1 bsl 20),
    Waiting = [hansom_case:async(fun() -> hansom_h2_case:post(Pid, "/echo", Body) end) || _ <- "1234"],
    [begin
         {ok, {ok, 200, _, Echo}} = hansom_case:result(Handle, 30000),
         ?assert(Echo =:= Body)
     end || Handle <- Waiting].

%% Clauses: LOW-10, API-25, API-38, TRAP-38
low_10_upgrade_to_erlang(Config) ->
    Plain = fun(Port, Options) ->
                    Pid = hansom_case:start_with(Options#{host => "localhost", port => Port}),
                    ok = ?CONN:connect(Pid),
                    Pid
            end,
    Pass = {verify_fun, {fun(_, {bad_cert, _} = Reason, _) -> {fail, Reason};
                            (_, {extension, _}, S) -> {unknown, S};
                            (_, _, S) -> {valid, S} end, []}},
    Pid = Plain(port(Config), #{}),
    ok = ?CONN:upgrade_to_ssl(Pid, [Pass | trust(Config)], #{pool_ssl => true}),
    ?assertEqual({erlang, http2, true}, {by(Pid), ?CONN:get_protocol(Pid), ?CONN:is_upgraded_ssl(Pid)}),
    ?assertMatch(#{pool_ssl := true, ready := true}, ?CONN:checkin_info(Pid)),
    ?assertMatch({ok, 200, _, _}, hansom_h2_case:get(Pid, "/")),
    Final = Plain(port(Config), #{}),
    ok = ?CONN:upgrade_to_ssl(Final, [Pass, {alpn_advertised_protocols, [<<"http/1.1">>]} | trust(Config)],
                              #{final => true}),
    ?assertMatch({erlang, {200, _}}, {by(Final), exchange(Final)}),
    Failed = Plain(port(Config), #{}),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, ?CONN:upgrade_to_ssl(Failed, [Pass])),
    ?assertMatch({error, _}, exchange(Failed)),
    %% Bounded, and nothing is left.
    Silent = Plain(hansom_script:port(hansom_case:serve([eof])), #{connect_timeout => 200}),
    ?assertEqual({error, timeout}, ?CONN:upgrade_to_ssl(Silent, [Pass])),
    hansom_case:wait_for(fun() -> length(hansom_nif:lent()) =:= 2 end),
    [ok = ?CONN:stop(Each) || Each <- [Pid, Final]],
    ?assertEqual([], hansom_nif:lent()).

%% Nothing is left of connections that end in any way, nor of a keeper of descriptors that does.
%% Clauses: ST-28, TLS-3
st_28_descriptors_come_back(Config) ->
    Before = hansom_case:descriptors(),
    Open = fun() -> open(port(Config), [{tls, erlang} | trust(Config)]) end,
    Killed = Open(),
    hansom_case:kill(Killed),
    hansom_case:wait_for(fun() -> [] =:= hansom_nif:lent() end),
    Kept = Open(),
    Gone = Open(),
    ?assertEqual(2, length(hansom_nif:lent())),
    Keeper = whereis(hansom_descriptors),
    exit(Keeper, kill),
    hansom_case:wait_for(fun() -> not lists:member(whereis(hansom_descriptors), [undefined, Keeper]) end),
    ok = ?CONN:stop(Gone),
    ?assertEqual(1, length(hansom_nif:lent())),
    ?assertMatch({200, _}, exchange(Kept)),
    ok = ?CONN:stop(Kept),
    ?assertEqual([], hansom_nif:lent()),
    hansom_case:wait_for(fun() -> hansom_case:descriptors() =< Before end).

%% Clauses: TLS-12
tls_12_versions_and_suites_of_old(Config) ->
    [begin
         {Port, _} = server([{versions, [Version]} | identity(Config)]),
         Pid = open(Port, [Option | trust(Config)]),
         ?assertEqual({erlang, {200, <<"hello">>}}, {by(Pid), exchange(Pid)})
     end || {Version, Option} <- [{'tlsv1.2', {ciphers, ["ECDHE-ECDSA-AES128-SHA256"]}},
                                  {'tlsv1.2', {ciphers, <<"ECDHE-ECDSA-AES256-SHA384">>}}]].

%% Clauses: TLS-12
tls_12_what_ssl_refuses(Config) ->
    [?assertMatch({Option, {error, _}}, {Option, connect(port(Config), [Option | trust(Config)])})
     || Option <- [{versions, []}, {customize_hostname_check, nonsense}, {psk_identity, 5}]],
    [?assertEqual({Key, {error, {options, {unsupported, Key}}}}, {Key, connect(port(Config), [{tls, erlang}, Option])})
     || {Key, _} = Option <- [{handshake, hello}, {erl_dist, true}, {no_such_option, 1}, {cb_info, x}, {protocol, dtls}]],
    [?assertEqual({Key, {error, {options, {unsupported, Key}}}}, {Key, connect(port(Config), [Option])})
     || {Key, _} = Option <- [{handshake, hello}, {no_such_option, 1}]].

%% Certificates that only OTP accepts: the table of docs/options.md. Clauses: TLS-12
tls_12_certificates_by_route(_) ->
    Ca = hansom_authority:issue(#{name => "authority", authority => true}),
    Good = #{name => "localhost", dns => ["localhost"], purpose => server},
    Rows = [{common_name_only, maps:remove(dns, Good)},
            {partial_wildcard, Good#{dns => ["local*.example"], host => "localhost.example"}},
            {authority, Good#{authority => true}},
            {version_1, Good#{version => 1}},
            {small_rsa, Good#{key => {rsa, 1024}}},
            {sha1, Good#{digest => sha}}],
    [begin
         #{cert := Cert, key := Key} = hansom_authority:issue(maps:remove(host, Spec), Ca),
         Accepted = [begin
                         {Port, _} = server([{cert, Cert}, {key, Key}, {versions, ['tlsv1.2']},
                                             {signature_algs, [{sha256, rsa}, {sha256, ecdsa}, {sha, rsa}, {sha, ecdsa}]}]),
                         Name = [{server_name_indication, Host} || {ok, Host} <- [maps:find(host, Spec)]],
                         {Tls, connect(Port, Name ++ Old ++ [{tls, Tls}, {cacerts, [maps:get(cert, Ca)]}]) =:= ok}
                     end || {Tls, Old} <- [{auto, []}, {rustls, []}, {erlang, accept(What)}]],
         ?assertEqual({What, [{auto, false}, {rustls, false}, {erlang, true}]}, {What, Accepted})
     end || {What, Spec} <- Rows].

%% OTP too asks to be told that SHA-1 will do.
accept(sha1) -> [{versions, ['tlsv1.2']}, {signature_algs, [{sha256, ecdsa}, {sha, ecdsa}]}];
accept(_) -> [].
