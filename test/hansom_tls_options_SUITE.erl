%% @doc The client options of Erlang's `ssl', each by what the server sees or answers: who the
%% client is, what it offers, which name it tells; and those that are refused by name.
-module(hansom_tls_options_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
-define(X25519MLKEM768, 16#11EC).

-import(hansom_case, [serve/1, exchange/1]).
-import(hansom_tls_case, [port/1, der/2, key/2, trust/1, with_origin/3, server/1, open/2, connect/2,
                          dial/1, seen/1, seen/2]).
-import(hansom_server_case, [file/2]).

all() -> hansom_case:cases(?MODULE).
suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_tls_case:init_suite(Config).
end_per_suite(Config) -> hansom_tls_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{Case, "8.2: how hansom treats options of ssl"}
     || Case <- [tls_01_unusable_identities_are_named, tls_01_algorithms_the_engine_lacks, tls_01_refused_by_name,
                 tls_01_bad_values_are_named, tls_06_partial_chain, tls_07_verify_fun, tls_08_hostname_check,
                 tls_01_post_quantum_by_default, tls_01_secrets_in_a_file, tls_10_only_what_is_spoken,
                 tls_01_offered_groups, tls_01_offered_schemes, tls_01_offered_suites,
                 tls_01_ciphers_in_every_spelling, tls_01_first_usable_pair, tls_01_forms_of_identity,
                 tls_01_ignored, tls_10_alpn]]
        ++ [{tls_01_last_duplicate, "TLS-3: `verify_none' alone does not switch verification off"},
            {tls_09_name_on_the_wire, "API-1: hosts as addresses are hansom's own"},
            {tls_09_name_verified, "TLS-9: hackney compares addresses with the common name as well"},
            {trap_11_ipv6_literals, "TLS-9: hackney compares addresses with the common name as well"}].

%% Client certificates

%% Clauses: TLS-1
tls_01_forms_of_identity(Config) ->
    [Cert] = der("client", Config),
    {'PrivateKeyInfo', Info} = Key = key("client-key", Config),
    Sec1 = {'ECPrivateKey', public_key:der_encode('ECPrivateKey', public_key:der_decode('PrivateKeyInfo', Info))},
    CertFile = {certfile, file("client", Config)},
    Both = file("client-both", Config),
    ok = file:write_file(Both, [element(2, {ok, _} = file:read_file(file(Name, Config)))
                                || Name <- ["client", "client-key"]]),
    Encrypted = [{keyfile, encrypted(Kind, Config)} || Kind <- [pkcs8, traditional]],
    Forms = [[{cert, Cert}, {key, Key}], [{cert, [Cert]}, {key, Sec1}], [CertFile, {key, Key}],
             [CertFile, {keyfile, file("client-key", Config)}], [{certfile, Both}],
             [{certfile, list_to_binary(Both)}], [{certs_keys, [#{cert => Cert, key => Key}]}],
             [{certs_keys, [#{certfile => Both}]}]]
        ++ [[CertFile, File, {password, Password}]
            || File <- Encrypted, Password <- ["sesame", <<"sesame">>, fun() -> "sesame" end]]
        ++ [[{certs_keys, [maps:from_list([CertFile, File, {password, "sesame"}])]}] || File <- Encrypted],
    [with_origin(["--client-ca", file("ca", Config), "required", "--tls-versions", Version], Config,
                 fun(Port) ->
                         [?assertMatch({_, #{'client-certificates' := <<"1">>}},
                                       {Form, seen(Port, Form ++ trust(Config))}) || Form <- Forms]
                 end) || Version <- ["1.2", "1.3"]].

%% What openssl writes, which is not what public_key would.
encrypted(Kind, Config) ->
    File = file(["client-key-", atom_to_list(Kind)], Config),
    Command = case Kind of
                  pkcs8 -> "pkcs8 -topk8 -v2 aes-256-cbc";
                  traditional -> "ec -aes128"
              end,
    _ = os:cmd(lists:flatten(["openssl ", Command, " -in ", file("client-key", Config), " -out ", File,
                              " -passout pass:sesame"])),
    {ok, Text} = file:read_file(File),
    [{_, _, Cipher}] = public_key:pem_decode(Text),
    true = Cipher =/= not_encrypted,
    lists:flatten(File).

%% Clauses: TLS-1
tls_01_rsa_identity(Config) ->
    Ca = hansom_authority:issue(#{name => "clients", authority => true}),
    #{cert := Cert, key := Key} = hansom_authority:issue(#{name => "client", key => {rsa, 2048}, purpose => client}, Ca),
    [begin
         {Port, _} = server([{cert, der("server", Config)}, {key, key("server-key", Config)}, {verify, verify_peer},
                             {fail_if_no_peer_cert, true}, {cacerts, [maps:get(cert, Ca)]}]),
         ?assertEqual({200, <<"hello">>},
                      exchange(open(Port, [{cert, Cert}, {key, Key}, {versions, [Version]} | trust(Config)])))
     end || Version <- ['tlsv1.2', 'tlsv1.3']].

%% Of several pairs the first that can be used is.
%% Clauses: TLS-1
tls_01_first_usable_pair(Config) ->
    [Cert] = der("client", Config),
    [Other] = der("other-client", Config),
    Good = #{cert => Cert, key => key("client-key", Config)},
    Mismatched = #{cert => Other, key => key("client-key", Config)},
    with_origin(["--client-ca", file("ca", Config), "required"], Config,
                fun(Port) ->
                        [?assertMatch(#{'client-certificates' := <<"1">>},
                                      seen(Port, [{certs_keys, Pairs} | trust(Config)]))
                         || Pairs <- [[Good], [Mismatched, Good]]]
                end).

%% Clauses: TLS-1, TLS-12
tls_01_unusable_identities_are_named(Config) ->
    [Cert] = der("client", Config),
    CertFile = {certfile, file("client", Config)},
    Secret = encrypted(pkcs8, Config),
    Rows = [{key, [{cert, Cert}]},
            {key, [{cert, Cert}, {key, key("other-client-key", Config)}]},
            {key, [{cert, Cert}, {key, {'RSAPrivateKey', <<"no key">>}}]},
            {cert, [{cert, [not_der]}, {key, key("client-key", Config)}]},
            {certfile, [{certfile, file("no-such-file", Config)}]},
            {certfile, [CertFile]},
            {keyfile, [CertFile, {keyfile, file("no-such-file", Config)}]},
            {keyfile, [CertFile, {keyfile, Secret}]},
            {keyfile, [CertFile, {keyfile, Secret}, {password, "wrong"}]},
            {certs_keys, [{certs_keys, [#{}]}]}],
    [begin
         {error, {options, Reason}} = connect(port(Config), Options ++ trust(Config)),
         ?assertEqual({Named, Options}, {element(1, Reason), Options}),
         %% A password is nobody's business.
         ?assertEqual(nomatch, string:find(io_lib:format("~p", [Reason]), "wrong\""))
     end || {Named, Options} <- Rows].

%% Versions, suites, groups, signatures

%% Clauses: TLS-1
tls_01_versions(Config) ->
    [?assertMatch({Versions, #{tls := Seen}}, {Versions, seen(port(Config), [{versions, Versions} | trust(Config)])})
     || {Versions, Seen} <- [{['tlsv1.2'], <<"TLSv1_2">>}, {['tlsv1.3'], <<"TLSv1_3">>},
                             {['tlsv1.2', 'tlsv1.3'], <<"TLSv1_3">>}, {['tlsv1.2', 'tlsv1.1', tlsv1], <<"TLSv1_2">>}]].

%% Clauses: TLS-1
tls_01_ciphers_in_every_spelling(Config) ->
    Rows = [{"TLS_AES_128_GCM_SHA256", 'tlsv1.3', <<"TLS13_AES_128_GCM_SHA256">>},
            {"TLS_CHACHA20_POLY1305_SHA256", 'tlsv1.3', <<"TLS13_CHACHA20_POLY1305_SHA256">>},
            {"ECDHE-ECDSA-AES128-GCM-SHA256", 'tlsv1.2', <<"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256">>},
            {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 'tlsv1.2', <<"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384">>}],
    [begin
         Map = #{key_exchange := Exchange, cipher := Cipher, mac := Mac, prf := Prf} = ssl:str_to_suite(Name),
         [?assertMatch({Ciphers, #{suite := Suite}},
                       {Ciphers, seen(port(Config), [{ciphers, Ciphers}, {versions, [Version]} | trust(Config)])})
          || Ciphers <- [Name, [Name], [list_to_binary(Name)], [Map], [{Exchange, Cipher, Mac, Prf}],
                         "RC4-SHA:" ++ Name, [Map#{cipher := rc4_128}, Map]]]
     end || {Name, Version, Suite} <- Rows],
    %% Suites of one version leave the other without any.
    ?assertMatch(#{tls := <<"TLSv1_2">>},
                 seen(port(Config), [{ciphers, ["ECDHE-ECDSA-AES128-GCM-SHA256"]} | trust(Config)])),
    ?assertMatch(#{}, seen(port(Config), [{ciphers, ssl:cipher_suites(default, 'tlsv1.3')} | trust(Config)])).

hello(SslOptions) -> hello("127.0.0.1", SslOptions).

hello(Host, SslOptions) ->
    hello(Host, [{protocols, [http1]}], SslOptions).

hello(Host, ConnectOptions, SslOptions) ->
    Options = hansom_tls_case:options(0, SslOptions),
    hansom_client_hello:of_options(
      maps:remove(port, Options#{host := Host, connect_options := ConnectOptions})).

%% Clauses: TLS-1
tls_01_offered_suites(_) ->
    %% 255 says that renegotiation is safe (RFC 5746).
    #{cipher_suites := Suites} =
        hello([{ciphers, ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]}]),
    ?assertEqual([16#1303, 16#1301, 16#C02F], Suites -- [16#00FF]).

%% Clauses: TLS-1
tls_01_post_quantum_by_default(_) ->
    #{groups := [First | Groups], key_shares := [Share | _]} = hello([]),
    ?assertEqual({?X25519MLKEM768, ?X25519MLKEM768}, {First, Share}),
    %% Classic groups are offered too, for servers without.
    ?assert(lists:member(29, Groups)),
    ?assert(lists:member(23, Groups)).

%% Clauses: TLS-1
tls_01_offered_groups(_) ->
    [?assertMatch({Option, #{groups := Expected}}, {Option, hello([Option])})
     || {Option, Expected} <- [{{supported_groups, [x25519, secp256r1]}, [29, 23]},
                               {{supported_groups, [secp384r1, x448, x25519]}, [24, 29]},
                               {{supported_groups, [x25519mlkem768, x25519]}, [?X25519MLKEM768, 29]},
                               {{eccs, [secp256r1]}, [23]}]].

%% Clauses: TLS-1
tls_01_groups_in_use(Config) ->
    Identity = [{cert, der("server", Config)}, {key, key("server-key", Config)}],
    [begin
         {Port, _} = server([{supported_groups, [Group]}, {versions, ['tlsv1.3']} | Identity]),
         ?assertEqual({200, <<"hello">>}, exchange(open(Port, [{supported_groups, [Group]} | trust(Config)])))
     end || Group <- [x25519, secp256r1, secp384r1]].

%% Clauses: TLS-1
tls_01_offered_schemes(Config) ->
    [?assertMatch({Schemes, #{signature_schemes := Expected}}, {Schemes, hello([{signature_algs, Schemes}])})
     || {Schemes, Expected} <- [{[ecdsa_secp256r1_sha256], [16#0403]},
                                {[rsa_pss_rsae_sha512, {sha256, rsa}, rsa_pkcs1_sha1], [16#0806, 16#0401]},
                                {[{sha384, ecdsa}, eddsa_ed25519], [16#0503, 16#0807]}]],
    %% They bind: a server with another key finds nothing to sign with.
    Rsa = [{signature_algs, [rsa_pss_rsae_sha256, rsa_pkcs1_sha256]} | trust(Config)],
    ?assertMatch({error, {tls_alert, {handshake_failure, _}}}, connect(port(Config), Rsa)),
    ?assertEqual(ok, connect(port(Config), [{signature_algs, [ecdsa_secp256r1_sha256]} | trust(Config)])).

%% Clauses: TLS-1, TLS-12
tls_01_algorithms_the_engine_lacks(Config) ->
    [?assertEqual({Option, {error, {options, {unsupported, element(1, Option)}}}},
                  {Option, connect(port(Config), [Option, {tls, rustls} | trust(Config)])})
     || Option <- [{versions, ['tlsv1.1']}, {versions, [tlsv1, 'tlsv1.1']}, {versions, []},
                   {ciphers, ["AES128-SHA"]}, {ciphers, "RC4-SHA:AES256-SHA"}, {supported_groups, []},
                   {supported_groups, [x448, ffdhe2048]}, {signature_algs, []},
                   {signature_algs, [{sha, rsa}, rsa_pkcs1_sha1]}]],
    ?assertEqual({error, {options, {unsupported, ciphers}}},
                 connect(port(Config), [{versions, ['tlsv1.3']}, {ciphers, ["ECDHE-RSA-AES128-GCM-SHA256"]}, {tls, rustls}])).

%% The name told, and the name verified

%% Clauses: TLS-9, TRAP-11
tls_09_name_on_the_wire(_) ->
    Names = fun(Host, Options) -> maps:get(server_name, hello(Host, Options), none) end,
    ?assertEqual(<<"localhost">>, Names("localhost", [])),
    ?assertEqual(none, Names("127.0.0.1", [])),
    ?assertEqual(none, Names({127, 0, 0, 1}, [])),
    ?assertEqual(none, Names("localhost", [{server_name_indication, disable}])),
    [?assertEqual({Given, Seen}, {Given, Names("127.0.0.1", [{server_name_indication, Given}])})
     || {Given, Seen} <- [{"a.example", <<"a.example">>}, {<<"a.example">>, <<"a.example">>},
                          {"a.example.", <<"a.example">>}, {"10.0.0.1", none}, {"::1", none}, {"[::1]", none},
                          {undefined, none}]].

%% Clauses: TLS-9, TRAP-11
trap_11_ipv6_literals(Config) ->
    case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, Probe} ->
            ok = gen_tcp:close(Probe),
            with_origin(["--https", "[::1]:0"], Config,
                        fun(Port) ->
                                [begin
                                     Options = hansom_tls_case:options(Port, trust(Config)),
                                     Pid = hansom_case:start_with(Options#{host := Host}),
                                     ok = ?CONN:connect(Pid),
                                     ?assertMatch(#{'server-name' := <<"none">>}, seen(Pid))
                                 end || Host <- ["::1", "[::1]", {0, 0, 0, 0, 0, 0, 0, 1}]]
                        end);
        {error, _} ->
            {skip, "no IPv6 here"}
    end.

%% Clauses: TLS-9, TRAP-11
tls_09_name_verified(Config) ->
    Port = port(Config),
    Dial = fun(Host, Options) ->
                   Start = hansom_tls_case:options(Port, Options ++ trust(Config)),
                   dial(hansom_case:start_with(Start#{host := Host}))
           end,
    Wrong = fun(Result) -> ?assertMatch({error, {tls_alert, {handshake_failure, _}}}, Result) end,
    ?assertEqual(ok, Dial("127.0.0.1", [])),
    ?assertEqual(ok, Dial("127.0.0.1", [{server_name_indication, disable}])),
    ?assertEqual(ok, Dial("127.0.0.1", [{server_name_indication, "localhost"}])),
    Wrong(Dial("localhost", [{server_name_indication, "elsewhere.example"}])),
    %% Not telling the name is not a way around the check.
    with_origin(["--cert", "wrong-name"], Config,
                fun(Other) ->
                        Wrong(connect(Other, [{server_name_indication, disable} | trust(Config)])),
                        ?assertMatch(#{'server-name' := <<"wrong.example">>},
                                     seen(Other, [{server_name_indication, "wrong.example"} | trust(Config)]))
                end),
    [?assertMatch({error, {options, {server_name_indication, _}}}, Dial("localhost", [{server_name_indication, Bad}]))
     || Bad <- [5, "", "a b"]].

%% Functions

%% Clauses: TLS-8
tls_08_hostname_check(Config) ->
    Known = public_key:pkix_verify_hostname_match_fun(https),
    Check = fun(Value) -> connect(port(Config), [{customize_hostname_check, Value}, {tls, rustls} | trust(Config)]) end,
    ?assertEqual(ok, Check([{match_fun, Known}])),
    ?assertEqual(ok, Check([])),
    [?assertEqual({error, {options, {unsupported, customize_hostname_check}}}, Check(Value))
     || Value <- [[{match_fun, fun(_, _) -> true end}], [{fqdn_fun, fun(_) -> "localhost" end}],
                  [{match_fun, Known}, {fqdn_fun, fun(_) -> "localhost" end}], nonsense]],
    %% Recognised does not mean disregarded.
    with_origin(["--cert", "wrong-name"], Config,
                fun(Port) ->
                        ?assertMatch({error, {tls_alert, {handshake_failure, _}}},
                                     connect(Port, [{customize_hostname_check, [{match_fun, Known}]} | trust(Config)]))
                end).

%% Clauses: TLS-6
tls_06_partial_chain(Config) ->
    Known = fun hackney_ssl:partial_chain/1,
    ?assertEqual(ok, connect(port(Config), [{partial_chain, Known} | trust(Config)])),
    ?assertEqual({error, {options, {unsupported, partial_chain}}},
                 connect(port(Config), [{partial_chain, fun(_) -> unknown_ca end}, {tls, rustls} | trust(Config)])),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, connect(port(Config), [{partial_chain, Known}])),
    %% Its effect: an intermediate authority among the roots is enough.
    [Intermediate | _] = der("intermediate-ca", Config),
    with_origin(["--cert", "server-no-chain"], Config,
                fun(Port) -> ?assertEqual(ok, connect(Port, [{cacerts, [Intermediate]}, {partial_chain, Known}])) end).

%% Clauses: TLS-7
tls_07_verify_fun(Config) ->
    Known = fun ssl_verify_hostname:verify_fun/3,
    Check = fun(Value) -> connect(port(Config), [{verify_fun, Value}, {tls, rustls} | trust(Config)]) end,
    [?assertEqual(ok, Check({Known, State})) || State <- [[{check_hostname, "localhost"}], []]],
    [?assertEqual({error, {options, {unsupported, verify_fun}}}, Check(Value))
     || Value <- [{fun(_, _, State) -> {valid, State} end, []}, {Known, [{check_hostname, "elsewhere.example"}]},
                  {fun(_, _, _, State) -> {valid, State} end, []}, nonsense]],
    with_origin(["--cert", "wrong-name"], Config,
                fun(Port) ->
                        ?assertMatch({error, {tls_alert, {handshake_failure, _}}},
                                     connect(Port, [{verify_fun, {Known, []}} | trust(Config)]))
                end).

%% Protocols

%% Clauses: TLS-10, TLS-1, NEG-2
tls_10_alpn(_) ->
    Offered = fun(Connect, Ssl) -> maps:get(alpn, hello("127.0.0.1", Connect, Ssl), none) end,
    Http1 = [<<"http/1.1">>],
    ?assertEqual(Http1, Offered([{protocols, [http1]}], [])),
    ?assertEqual(Http1, Offered([{protocols, [http11]}], [])),
    ?assertEqual(none, Offered([{protocols, []}], [])),
    ?assertEqual(none, Offered([{protocols, [http3]}], [])),
    ?assertEqual(Http1, Offered([{protocols, [http1]}], [{alpn_advertised_protocols, [<<"x/1">>]}])),
    ?assertEqual([<<"x/1">>, <<"y/2">>],
                 Offered([{protocols, []}], [{alpn_advertised_protocols, [<<"x/1">>, <<"y/2">>]}])).

%% In the order of preference; HTTP/3 is nothing a TCP connection could turn into.
%% Clauses: TLS-10, NEG-1, NEG-2
tls_10_order_of_protocols(_) ->
    Offered = fun(Connect) -> maps:get(alpn, hello("127.0.0.1", Connect, []), none) end,
    H2 = <<"h2">>,
    H1 = <<"http/1.1">>,
    [?assertEqual(Names, Offered([{protocols, Protocols}]))
     || {Protocols, Names} <- [{[http2, http1], [H2, H1]}, {[http1, http2], [H1, H2]}, {[http2], [H2]},
                               {[http3, http2], [H2]}, {[http11, http2, http1], [H1, H2]}]],
    ?assertEqual([H2, H1], Offered([])).

%% Clauses: TLS-10, NEG-2
tls_10_server_without_protocols(Config) ->
    ?assertMatch(#{alpn := <<"http/1.1">>}, seen(port(Config), trust(Config))),
    with_origin(["--alpn", "none"], Config,
                fun(Port) -> ?assertMatch(#{alpn := <<"none">>}, seen(Port, trust(Config))) end).

%% Secrets

%% The file is named in the environment of the node.
%% Clauses: TLS-1
tls_01_secrets_in_a_file(Config) ->
    Port = port(Config),
    [begin
         Log = file(["secrets-", atom_to_list(Kept)], Config),
         Options = [{keep_secrets, Kept}, {versions, ['tlsv1.3']} | trust(Config)],
         ok = hansom_tls_case:in_node([{"SSLKEYLOGFILE", Log}], fun exchange_alone/2, [Port, Options]),
         case Kept of
             true ->
                 {ok, Text} = file:read_file(Log),
                 [?assertMatch({match, _}, re:run(Text, ["(?m)^", Label, " [0-9a-f]{64} [0-9a-f]+$"]))
                  || Label <- ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                               "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"]];
             false ->
                 ?assertEqual({error, enoent}, file:read_file(Log))
         end
     end || Kept <- [true, false]].

exchange_alone(Port, SslOptions) ->
    {ok, Pid} = hansom_conn:start_link(hansom_tls_case:options(Port, SslOptions)),
    ok = hansom_conn:connect(Pid),
    {ok, 200, _} = hansom_conn:request(Pid, <<"GET">>, <<"/">>, [], <<>>),
    hansom_conn:stop(Pid).

%% The rest

%% Clauses: TLS-1, TLS-12
tls_01_refused_by_name(_) ->
    Server = serve([]),
    Fun = fun(_, _, State) -> {valid, State} end,
    Options = [{handshake, hello}, {crl_check, true}, {crl_check, peer}, {crl_check, best_effort},
               {crl_cache, {ssl_crl_cache, {internal, []}}}, {stapling, staple}, {ocsp_stapling, true},
               {ocsp_nonce, true}, {ocsp_responder_certs, [<<>>]}, {psk_identity, "me"},
               {srp_identity, {"me", "secret"}},
               {user_lookup_fun, {Fun, state}}, {session_tickets, manual}, {use_ticket, [<<"ticket">>]},
               {early_data, <<"GET">>}, {max_fragment_length, 512}, {use_srtp, #{protection_profiles => [<<1, 2>>]}},
               {client_renegotiation, true}, {signature_algs_cert, [ed25519]}, {verify_fun, {Fun, []}},
               {partial_chain, fun(_) -> unknown_ca end},
               {customize_hostname_check, [{match_fun, fun(_, _) -> true end}]},
               {dh, <<1>>}, {dhfile, "dh.pem"}, {fallback, true}, {erl_dist, true}, {no_such_option, 1}],
    [[?assertEqual({Option, {error, {options, {unsupported, element(1, Option)}}}},
                   {Option, connect(hansom_script:port(Server), [Option, {tls, rustls} | More])})
      %% Not verifying is no reason: the option may pin a certificate.
      || More <- [[], [{verify, verify_none}], [{insecure, true}]]] || Option <- Options],
    Engine = #{algorithm => rsa, engine => engine, key_id => "1"},
    ?assertEqual({error, {options, {unsupported, key}}},
                 connect(hansom_script:port(Server), [{cert, <<"der">>}, {key, Engine}, {tls, rustls}])),
    %% None of them got as far as the server.
    ?assertEqual(0, hansom_script:connections(Server)).

%% Clauses: TLS-1, TLS-12
tls_01_bad_values_are_named(_) ->
    Server = serve([]),
    [?assertMatch({Option, {error, {options, {Key, _}}}} when Key =:= element(1, Option),
                  {Option, connect(hansom_script:port(Server), [Option])})
     || Option <- [{verify, maybe}, {versions, ['tlsv1.4']}, {versions, tls}, {ciphers, ["nonsense"]},
                   {ciphers, [nonsense]}, {supported_groups, [nonsense]}, {signature_algs, [nonsense]}, {depth, -1},
                   {depth, many}, {keep_secrets, 1}, {session_tickets, 1}, {reuse_sessions, 1}, {cacerts, [1]},
                   {cacertfile, 1}, {alpn_advertised_protocols, ["text"]}, {alpn_advertised_protocols, [<<>>]},
                   {alpn_advertised_protocols, [binary:copy(<<"x">>, 256)]}, {protocols, [http9]}]],
    [?assertMatch({error, {options, _}}, connect(hansom_script:port(Server), [Option]))
     || Option <- [verify, {verify, verify_none, 1}, {"verify", verify_none}]],
    ?assertEqual(0, hansom_script:connections(Server)).

%% Clauses: TLS-1
tls_01_ignored(Config) ->
    [?assertEqual({Option, ok}, {Option, connect(port(Config), [Option | trust(Config)])})
     || Option <- [{log_level, none}, {log_alert, false}, {hibernate_after, 1000}, {receiver_spawn_opts, []},
                   {sender_spawn_opts, []}, {honor_cipher_order, true}, {mode, binary}, {active, false}, {packet, raw},
                   {handshake, full}, {crl_check, false}, {user_lookup_fun, undefined}, {erl_dist, false},
                   {verify_fun, undefined}, {partial_chain, undefined}, {depth, 100}]].

%% The last of several values counts.
%% Clauses: TLS-1
tls_01_last_duplicate(Config) ->
    ?assertEqual(ok, connect(port(Config), [{verify, verify_peer}, {verify, verify_none}])),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}},
                 connect(port(Config), [{verify, verify_none}, {verify, verify_peer}])).
