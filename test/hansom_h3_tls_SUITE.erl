%% @doc TLS inside QUIC: which servers are trusted, what a refusal is called, names, client certificates, resumption.
-module(hansom_h3_tls_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_h3_case, [options/1, options/2, connect/1, with_origin/3,
                         with_both/3, seen/1]).
-import(hansom_h2_case, [get/2]).
-import(hansom_server_case, [port/2, roots/1, file/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h3_case:init_suite(Config).
end_per_suite(Config) -> hansom_h3_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{Case, "H3-3: only `insecure', `cacerts' and `cacertfile' count"}
     || Case <- [h3_03_alerts, h3_03_client_certificates, h3_03_versions]].

%% What `connect' gives, with these TLS options and nothing behind the TCP port.
dial(Port, SslOptions, Config) ->
    dial(#{port => Port, ssl_options => SslOptions}, Config).

dial(More, Config) ->
    hansom_tls_case:dial(hansom_case:start_with(options(More, Config))).

alert(Port, SslOptions, Config) ->
    {error, {tls_alert, {Alert, Text}}} = dial(Port, SslOptions, Config),
    true = io_lib:printable_unicode_list(Text),
    Alert.

%% Clauses: H3-3, TRAP-3, TRAP-5
trap_03_verified_by_default(Config) ->
    Port = port(http3, Config),
    ?assertEqual(unknown_ca, alert(Port, [], Config)),
    ?assertEqual(ok, dial(Port, [{cacerts, roots(Config)}], Config)),
    ?assertEqual(ok, dial(Port, [{cacertfile, file("ca", Config)}], Config)),
    ?assertEqual(unknown_ca, alert(Port, [{cacertfile, file("other-ca", Config)}], Config)),
    ?assertEqual(ok, dial(Port, [{verify, verify_none}], Config)),
    ?assertEqual(ok, dial(Port, [{insecure, true}], Config)).

%% Clauses: H3-3, TLS-2
h3_03_insecure_among_connect_options(Config) ->
    Insecure = [{protocols, [http3]}, {insecure, true}],
    Dial = fun(Port, SslOptions) ->
                   dial(#{port => Port, ssl_options => SslOptions, connect_options => Insecure}, Config)
           end,
    ?assertEqual(ok, Dial(port(http3, Config), [])),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, Dial(port(http3, Config), [{verify, verify_peer}])),
    %% It is about QUIC alone: where only TCP answers, it is verified.
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, Dial(port(https, Config), [])).

%% The alerts are those of TLS over TCP. A fallback verifies as well.
%% Clauses: H3-3, TLS-12
h3_03_alerts(Config) ->
    Trust = [{cacerts, roots(Config)}],
    Cases = [{"expired", certificate_expired}, {"not-yet-valid", certificate_expired},
             {"wrong-name", handshake_failure}, {"other-server", unknown_ca}, {"server-no-chain", unknown_ca},
             {"self-signed", bad_certificate}, {"ca-as-server", bad_certificate}, {"cn-only", handshake_failure},
             {"client-as-server", handshake_failure}],
    [with_both(["--cert", Name], Config,
                 fun(Port) ->
                         OverTcp = dial(#{port => Port, ssl_options => Trust,
                                          connect_options => [{protocols, [http1]}]}, Config),
                         ?assertMatch({Name, {error, {tls_alert, {Expected, _}}}}, {Name, OverTcp}),
                         %% The texts tell the time.
                         ?assertEqual({Name, Expected}, {Name, alert(Port, Trust, Config)})
                 end)
     || {Name, Expected} <- Cases],
    %% With QUIC alone it is QUIC's own.
    [with_origin(["--cert", Name], Config,
                 fun(Port) -> ?assertEqual({Name, Expected}, {Name, alert(Port, Trust, Config)}) end)
     || {Name, Expected} <- Cases],
    with_origin(["--cert", "server-chain"], Config, fun(Port) -> ?assertEqual(ok, dial(Port, Trust, Config)) end).

%% Clauses: H3-4, TLS-9, TRAP-11
h3_04_names(Config) ->
    Trust = [{cacerts, roots(Config)}],
    Seen = fun(More) ->
                   #{'server-name' := Name} = seen(connect(options(More, Config))),
                   Name
           end,
    ?assertEqual(<<"localhost">>, Seen(#{})),
    ?assertEqual(<<"none">>, Seen(#{host => "127.0.0.1"})),
    ?assertEqual(<<"none">>, Seen(#{ssl_options => [{server_name_indication, disable} | Trust]})),
    ?assertEqual(<<"localhost">>, Seen(#{host => "127.0.0.1",
                                         ssl_options => [{server_name_indication, "localhost"} | Trust]})),
    ?assertEqual(handshake_failure,
                 alert(port(http3, Config), [{server_name_indication, "other.example"} | Trust], Config)).

%% Clauses: H3-3
h3_03_client_certificates(Config) ->
    #{client := Client} = hansom_server_case:server(Config),
    Trust = [{cacerts, roots(Config)}],
    with_origin(["--client-ca", file("ca", Config), "required"], Config,
                fun(Port) ->
                        Pid = connect(options(#{port => Port, ssl_options => Client ++ Trust}, Config)),
                        ?assertMatch(#{'client-certificates' := <<"1">>}, seen(Pid)),
                        %% The server's refusal comes after the client's handshake is complete, so that a request meets it, or
                        %% comes too late.
                        Without = hansom_case:start_with(options(#{port => Port}, Config)),
                        Refused = case ?CONN:connect(Without) of
                                      ok -> get(Without, "/hello");
                                      Error -> Error
                                  end,
                        case Refused of
                            {error, {tls_alert, {certificate_required, _}}} -> ok;
                            {error, invalid_state} -> hansom_case:is_state(Without, closed)
                        end
                end).

%% QUIC is over TLS 1.3: without it, it is not tried.
%% Clauses: H3-3, NEG-3
h3_03_versions(Config) ->
    Trust = [{cacerts, roots(Config)}],
    with_both([], Config,
                fun(Port) ->
                        Spoken = fun(SslOptions) ->
                                         Pid = hansom_case:start_with(options(#{port => Port,
                                                                                ssl_options => SslOptions ++ Trust},
                                                                              Config)),
                                         ok = ?CONN:connect(Pid),
                                         ?CONN:get_protocol(Pid)
                                 end,
                        ?assertEqual(http3, Spoken([])),
                        ?assertEqual(http3, Spoken([{versions, ['tlsv1.2', 'tlsv1.3']}])),
                        ?assertEqual(http1, Spoken([{versions, ['tlsv1.2']}])),
                        ?assertEqual(http3, Spoken([{ciphers, ["TLS_AES_256_GCM_SHA384"]}]))
                end).

%% A connection with a session to resume and early data is ready before the server answers, so that the way there may be
%% cut to see who has one: nobody under other options than those it was made with.
%% Clauses: H3-4, H3-5, TLS-11, TRAP-6, TRAP-10
h3_04_resumption(Config) ->
    with_origin(["--early-data", "accept"], Config,
                fun(Port) ->
                        {Path, Near} = hansom_udp_path:open(Port),
                        Trust = [{cacerts, roots(Config)}],
                        Options = fun(SslOptions) ->
                                          options(#{host => "127.0.0.1", port => Near, ssl_options => SslOptions,
                                                    early_data => true}, Config)
                                  end,
                        Prime = fun(SslOptions) ->
                                        Pid = connect(Options(SslOptions)),
                                        {ok, 200, _, _} = get(Pid, "/hello"),
                                        ok = ?CONN:stop(Pid)
                                end,
                        Dial = fun(SslOptions) ->
                                       Pid = hansom_case:start_with((Options(SslOptions))#{connect_timeout => 300,
                                                                                             quic_idle_timeout => 500}),
                                       {Pid, ?CONN:connect(Pid)}
                               end,
                        Without = [{session_tickets, disabled} | Trust],
                        [Prime(SslOptions) || SslOptions <- [Trust, Without]],
                        ok = hansom_udp_path:cut(Path),
                        [?assertMatch({SslOptions, {_, {error, econnrefused}}}, {SslOptions, Dial(SslOptions)})
                         || SslOptions <- [Without, [{verify, verify_none} | Trust], [{depth, 5} | Trust]]],
                        {Pid, ok} = Dial(Trust),
                        ?assertMatch({error, {connection_closed, timeout}}, get(Pid, "/hello")),
                        %% A server that did not answer is not trusted to be there again.
                        ?assertMatch({_, {error, econnrefused}}, Dial(Trust)),
                        ok = hansom_udp_path:mend(Path),
                        Prime(Trust)
                end).
