%% @doc Start, socket and TLS options: what they become, and how a bad one is named.
-module(hansom_options_tests).

-include_lib("eunit/include/eunit.hrl").

setup() ->
    case application:load(hansom) of
        ok -> ok;
        {error, {already_loaded, hansom}} -> ok
    end.

start(Options) ->
    hansom_options:start(Options, self()).

config(Options) ->
    {ok, #{config := Config}} = start(Options),
    Config.

dial(Options) ->
    {ok, #{target := Target}} = start(maps:merge(#{host => "h.example"}, Options)),
    hansom_options:dial(Target).

tls(Options) -> tls(Options, #{}).

tls(SslOptions, Options) ->
    case dial(Options#{transport => hackney_ssl, ssl_options => SslOptions}) of
        {ok, #{tls := Tls}} -> Tls;
        Error -> Error
    end.

in_application(Tests) -> {setup, fun setup/0, Tests}.

%% Start options. Clauses: API-1

start_test_() ->
    in_application(
      [?_assertMatch({error, {{badkey, host}, [_ | _]}}, start(#{port => 80})),
       ?_assertEqual({error, {options, []}}, start([])),
       ?_assertMatch({ok, _}, start(#{host => "h", {any, key} => 1, no_such => 2})),
       ?_assertEqual({error, {options, {socket, self()}}}, start(#{host => "h", socket => self()})),
       ?_assertMatch({ok, #{owner := Owner, pool := undefined}} when Owner =:= self(),
                     start(#{host => "h"}))]).

bad_start_values_are_named_test_() ->
    Bad = [{host, ""}, {host, 42}, {host, "a\r\nb"}, {host, <<0>>}, {host, "a" ++ b}, {port, -1},
           {port, 65536}, {transport, "tcp"}, {connect_timeout, -1}, {recv_timeout, soon},
           {idle_timeout, 1.5}, {send_timeout, never}, {connect_options, none},
           {connect_options, [a | b]}, {ssl_options, #{}}, {pool_pid, self}, {owner, undefined},
           {no_reuse, 1}, {inform_fun, fun() -> ok end}, {auto_decompress, yes},
           {truncated_body, maybe}, {unpulled, true}, {max_header_bytes, 0}, {max_headers, many},
           {push_allowance, infinity}, {push_queue_limit, -1}, {http3, true}, {early_data, 1},
           {quic_idle_timeout, 0}, {host, [$h, 16#d800]}]
        ++ [{Key, 16#100000000} || Key <- times()] ++ [{Key, 1 bsl 64} || Key <- counts()],
    in_application(
      [{atom_to_list(Key),
        ?_assertEqual({error, {options, {Key, Value}}},
                      start(maps:merge(#{host => "h"}, #{Key => Value})))}
       || {Key, Value} <- Bad]).

times() ->
    [connect_timeout, recv_timeout, idle_timeout, send_timeout, ping_interval, ping_timeout, quic_idle_timeout].

counts() ->
    [max_header_bytes, max_headers, max_interim_responses, max_chunk_extension_bytes, max_trailer_bytes,
     max_body_bytes, max_decompressed_bytes, max_decompress_ratio, push_allowance, push_queue_limit].

largest_start_values_test_() ->
    in_application([{atom_to_list(Key), ?_assertMatch({ok, _}, start(#{host => "h", Key => Value}))}
                    || {Key, Value} <- [{Key, 16#ffffffff} || Key <- times()]
                                           ++ [{Key, (1 bsl 64) - 1} || Key <- counts()]]).

defaults_of_the_application_test_() ->
    in_application(
      fun() ->
              ?assertNot(maps:get(truncated_body_ok, config(#{host => "h"}))),
              ok = application:set_env(hansom, truncated_body, ok),
              ok = application:set_env(hansom, max_headers, 7),
              try
                  #{truncated_body_ok := true, limits := #{max_headers := 7}} = config(#{host => "h"}),
                  ?assertNot(maps:get(truncated_body_ok,
                                      config(#{host => "h", truncated_body => error})))
              after
                  application:set_env(hansom, truncated_body, error),
                  application:set_env(hansom, max_headers, 10000)
              end
      end).

%% Clauses: REQ-6, REQ-8
host_header_test_() ->
    Rows = [{#{host => "a.example"}, <<"a.example">>},
            {#{host => <<"a.example">>, port => 8080}, <<"a.example:8080">>},
            {#{host => "a.example", port => 443}, <<"a.example:443">>},
            {#{host => "a.example", port => 443, transport => hackney_ssl}, <<"a.example">>},
            {#{host => "a.example", port => 80, transport => ssl}, <<"a.example:80">>},
            {#{host => "::1", port => 8080}, <<"[::1]:8080">>},
            {#{host => "[::1]"}, <<"[::1]">>},
            {#{host => {0, 0, 0, 0, 0, 0, 0, 1}}, <<"[::1]">>},
            {#{host => {127, 0, 0, 1}, port => 81}, <<"127.0.0.1:81">>},
            {#{host => "/run/x.sock", port => 0, transport => hackney_local_tcp}, <<"/run/x.sock:0">>},
            {#{host => "a.example", port => 80, transport => my_transport}, <<"a.example:80">>}],
    in_application([?_assertEqual(Header, maps:get(host_header, config(Options)))
                    || {Options, Header} <- Rows]).

%% Clauses: REQ-6
user_agent_is_name_and_version_test_() ->
    in_application(
      fun() ->
              {ok, Vsn} = application:get_key(hansom, vsn),
              [Version | _] = string:split(Vsn, "-"),
              ?assertEqual(iolist_to_binary(["hansom/", Version]),
                           maps:get(user_agent, config(#{host => "h"})))
      end).

%% Clauses: LOW-9
transports_test_() ->
    in_application(
      [?_assertMatch({ok, #{transport := Kind}}, dial(#{transport => Module}))
       || {Module, Kind} <- [{hackney_tcp, tcp}, {gen_tcp, tcp}, {tcp, tcp}, {hackney_ssl, tls},
                             {ssl, tls}, {tls, tls}, {hackney_local_tcp, unix}, {local, unix},
                             {unix, unix}]]
      ++ [?_assertEqual({error, {unsupported_transport, my_transport}},
                        dial(#{transport => my_transport}))]).

%% Socket options. Clauses: LOW-11

socket_options_test_() ->
    Rows = [{inet, [{family, inet}]}, {inet6, [{family, inet6}]}, {{family, inet6}, [{family, inet6}]},
            {{ip, {127, 0, 0, 1}}, [{ip, {127, 0, 0, 1}}]},
            {{ifaddr, {0, 0, 0, 0, 0, 0, 0, 1}}, [{ip, {0, 0, 0, 0, 0, 0, 0, 1}}]},
            {{ifaddr, #{family => inet, addr => {10, 0, 0, 1}, port => 9}},
             [{ip, {10, 0, 0, 1}}, {port, 9}]},
            {{port, 4000}, [{port, 4000}]}, {{nodelay, true}, [{nodelay, true}]},
            {{keepalive, false}, [{keepalive, false}]}, {{linger, {true, 5}}, [{linger, {true, 5}}]},
            {{sndbuf, 4096}, [{sndbuf, 4096}]}, {{recbuf, 4096}, [{recbuf, 4096}]},
            {{tos, 16}, [{tos, 16}]}, {{tclass, 3}, [{tclass, 3}]}, {{priority, 6}, [{priority, 6}]},
            {{reuseaddr, true}, [{reuseaddr, true}]}, {{bind_to_device, "lo"}, [{bind_to_device, <<"lo">>}]},
            {{buffer, 1024}, []}, {{send_timeout, 100}, []}, {{send_timeout_close, true}, []},
            {binary, []}, {{active, false}, []}, {{packet, raw}, []}, {{delay_send, true}, []},
            {{protocols, [http2]}, []}, {{insecure, true}, []}, {{session_ticket, x}, []}],
    [?_assertEqual({ok, Normal}, hansom_socket_options:connect([Option])) || {Option, Normal} <- Rows].

bad_socket_options_are_named_test_() ->
    Malformed = [{nodelay, maybe}, {ip, localhost}, {ip, {1, 2, 3}}, {port, 70000}, {linger, 5},
                 {sndbuf, 0}, {tos, 300}, {bind_to_device, ""}, {bind_to_device, lo}, {family, local},
                 {send_timeout, -1}, no_such_option, {no_such, option}, 42],
    Unsupported = [{netns, "/run/netns/a"}, {raw, 6, 1, <<1>>}, {fd, 3}, {ttl, 3}, {packet, 4},
                   {active, true}, list, {reuseport, true}],
    [?_assertEqual({error, {options, Option}}, hansom_socket_options:connect([inet, Option]))
     || Option <- Malformed]
        ++ [?_assertEqual({error, {options, {unsupported, Option}}},
                          hansom_socket_options:connect([Option, inet]))
            || Option <- Unsupported]
        ++ [in_application(?_assertEqual({error, {options, {ttl, x}}}, unsupported_as_given()))].

unsupported_as_given() ->
    {error, {options, {unsupported, Option}}} = dial(#{connect_options => [{ttl, x}]}),
    {error, {options, Option}}.

%% Options of routing and binding cannot be changed once the socket is open.
options_of_an_open_socket_test_() ->
    [?_assertEqual({ok, [{nodelay, true}]}, hansom_socket_options:set([{nodelay, true}, {active, false}])),
     ?_assertEqual({error, {options, {unsupported, {ip, {127, 0, 0, 1}}}}},
                   hansom_socket_options:set([{ip, {127, 0, 0, 1}}])),
     ?_assertEqual({error, {options, {unsupported, {send_timeout, 5}}}},
                   hansom_socket_options:set([{send_timeout, 5}])),
     ?_assertEqual({error, {options, nothing}}, hansom_socket_options:set(nothing))].

%% Clauses: ST-13
send_timeout_of_the_socket_test_() ->
    in_application(
      [?_assertEqual(250, maps:get(send_timeout, config(#{host => "h", connect_options =>
                                                              [{send_timeout, 250}]}))),
       ?_assertEqual(infinity, maps:get(send_timeout, config(#{host => "h", send_timeout => 5})))]).

%% TLS. Clauses: TLS-1 to TLS-11

tls_defaults_test_() ->
    in_application(
      [?_assertEqual(#{verify => true, roots => mozilla, identity => [],
                       versions => ['tlsv1.3', 'tlsv1.2'], cipher_suites => default,
                       groups => default, signature_schemes => default, sni => true,
                       alpn => [<<"h2">>, <<"http/1.1">>], depth => infinity, resumption => true,
                       key_log => false}, tls([])),
       ?_assertMatch({ok, #{tls := undefined}}, dial(#{ssl_options => [{verify, verify_none}]})),
       ?_assertMatch({ok, #{server_name := <<"h.example">>}}, dial(#{transport => ssl, host => "h.example."})),
       ?_assertMatch({ok, #{server_name := <<"::1">>}}, dial(#{transport => ssl, host => "[::1]"}))]).

tls_mapped_test_() ->
    Rows = [{[{verify, verify_none}], verify, false},
            {[{insecure, true}], verify, false},
            {[{insecure, true}, {verify, verify_peer}], verify, true},
            {[{insecure, false}], verify, true},
            {[{verify, verify_none}, {verify, verify_peer}], verify, true},
            {[{cacerts, [<<"a">>, {cert, <<"b">>, decoded}]}], roots, {der, [<<"a">>, <<"b">>]}},
            {[{cacerts, []}], roots, {der, []}},
            {[{cacerts, system}], roots, system},
            {[{versions, ['tlsv1.2', 'tlsv1.1']}], versions, ['tlsv1.2']},
            {[{depth, 3}], depth, 3},
            {[{server_name_indication, disable}], sni, false},
            {[{session_tickets, disabled}], resumption, false},
            {[{session_tickets, auto}], resumption, true},
            {[{reuse_sessions, false}], resumption, false},
            {[{reuse_sessions, save}], resumption, true},
            {[{keep_secrets, true}], key_log, true},
            {[{supported_groups, [x25519, secp256r1, x448]}], groups, [29, 23, 30]},
            {[{supported_groups, [x25519mlkem768]}], groups, [16#11EC]},
            {[{eccs, [secp384r1]}], groups, [24]},
            {[{signature_algs, [{sha256, rsa}, ecdsa_secp256r1_sha256, rsa_pss_rsae_sha512]}],
             signature_schemes, [16#0401, 16#0403, 16#0806]},
            {[{ciphers, ["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_256_GCM_SHA384"]}],
             cipher_suites, [16#C02F, 16#1302]},
            {[{ciphers, "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-SHA384"}],
             cipher_suites, [16#CCA9]},
            {[{ciphers, [<<"TLS_CHACHA20_POLY1305_SHA256">>]}], cipher_suites, [16#1303]},
            {[{ciphers, [#{key_exchange => ecdhe_ecdsa, cipher => aes_256_gcm, mac => aead,
                           prf => sha384}]}], cipher_suites, [16#C02C]},
            {[{ciphers, [{ecdhe_rsa, aes_256_gcm, null, sha384}, {ecdhe_rsa, aes_128_cbc, sha}]}],
             cipher_suites, [16#C030]},
            {[{ciphers, ssl:cipher_suites(default, 'tlsv1.3')}], cipher_suites, all}],
    in_application(
      [{lists:flatten(io_lib:format("~0p", [Options])),
        fun() ->
                Value = maps:get(Key, tls(Options)),
                case Expected of
                    all -> ?assertMatch([16#1302, 16#1301, 16#1303 | _], Value);
                    _ -> ?assertEqual(Expected, Value)
                end
        end}
       || {Options, Key, Expected} <- Rows]).

tls_ignored_test_() ->
    in_application(
      [?_assertEqual(tls([]), tls([{Key, Value}]))
       || {Key, Value} <- [{log_level, none}, {log_alert, false}, {hibernate_after, 5},
                           {receiver_spawn_opts, []}, {sender_spawn_opts, []}, {honor_ecc_order, true},
                           {mode, binary}, {active, false}, {packet, raw}, {handshake, full},
                           {user_lookup_fun, undefined}, {crl_check, false}, {verify_fun, undefined}]]).

tls_refused_test_() ->
    Rows = [{handshake, hello}, {crl_check, true}, {crl_cache, x}, {stapling, staple},
            {ocsp_stapling, true}, {psk_identity, "a"}, {srp_identity, {"a", "b"}},
            {user_lookup_fun, {fun(_, _, _) -> error end, x}}, {session_tickets, manual},
            {use_ticket, [x]}, {early_data, <<"x">>}, {max_fragment_length, 512}, {use_srtp, #{}},
            {client_renegotiation, true}, {signature_algs_cert, [ed25519]}, {no_such_option, 1},
            {verify_fun, {fun(_, _, S) -> {valid, S} end, []}}, {partial_chain, fun(_) -> unknown_ca end},
            {customize_hostname_check, [{match_fun, fun(_, _) -> true end}]},
            {versions, ['tlsv1.1', tlsv1]}, {ciphers, ["AES128-SHA"]}],
    in_application(
      [{atom_to_list(Key), ?_assertEqual({error, {options, {unsupported, Key}}}, tls([{Key, Value}, {tls, rustls}]))}
       || {Key, Value} <- Rows]
      %% Not even where nothing is verified: a function may pin certificates.
      ++ [?_assertEqual({error, {options, {unsupported, verify_fun}}},
                        tls([{verify, verify_none}, {verify_fun, {fun(_, _, S) -> {valid, S} end, []}},
                             {tls, rustls}]))]).

tls_malformed_test_() ->
    Rows = [{{verify, maybe}, {verify, maybe}}, {{versions, ['tlsv9']}, {versions, 'tlsv9'}},
            {{ciphers, ["no-such-suite"]}, {ciphers, "no-such-suite"}}, {{ciphers, [{suite}]}, {ciphers, {suite}}},
            {{supported_groups, [nope]}, {supported_groups, nope}},
            {{signature_algs, [nope]}, {signature_algs, nope}}, {{depth, -1}, {depth, -1}},
            {{keep_secrets, 1}, {keep_secrets, 1}}, {{server_name_indication, 5}, {server_name_indication, 5}},
            {{cacerts, [not_der]}, {cacerts, not_der}}, {{cacertfile, "/no/such"}, {cacertfile, "/no/such", enoent}},
            {{alpn_advertised_protocols, [<<>>]}, {alpn_advertised_protocols, <<>>}},
            {{protocols, [http9]}, {protocols, [http9]}}, {single, single}, {{a, b, c}, {a, b, c}},
            {{cert, <<"x">>}, {key, missing}}, {{certs_keys, [#{}]}, {certs_keys, incomplete}}],
    in_application(
      [{lists:flatten(io_lib:format("~0p", [Option])),
        ?_assertEqual({error, {options, Named}}, tls([Option]))}
       || {Option, Named} <- Rows]).

%% Recognised functions do what the engine does. Clauses: TLS-6, TLS-7, TLS-8

known_functions_test_() ->
    Verify = fun ssl_verify_hostname:verify_fun/3,
    in_application(
      [?_assertMatch(#{verify := true},
                     tls([{customize_hostname_check,
                           [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]}])),
       ?_assertMatch(#{verify := true}, tls([{verify_fun, {Verify, [{check_hostname, "H.example."}]}}])),
       ?_assertMatch(#{verify := true}, tls([{verify_fun, {Verify, []}}])),
       ?_assertMatch(#{verify := true}, tls([{partial_chain, fun hackney_ssl:partial_chain/1}])),
       %% Two names to check are one too many.
       ?_assertEqual({error, {options, {unsupported, verify_fun}}},
                     tls([{verify_fun, {Verify, [{check_hostname, "other.example"}]}}, {tls, rustls}])),
       ?_assertMatch(#{verify := true},
                     tls([{verify_fun, {Verify, [{check_hostname, "other.example"}]}},
                          {server_name_indication, "other.example"}]))]).

%% Clauses: NEG-1, NEG-2, TLS-1
alpn_test_() ->
    H1 = [<<"http/1.1">>],
    H2 = [<<"h2">>],
    Rows = [{[], [], H2 ++ H1}, {[], [{protocols, [http1, http2]}], H1 ++ H2}, {[], [{protocols, [http2]}], H2},
            {[], [{protocols, []}], []}, {[], [{protocols, [http3]}], []},
            {[{protocols, [http11]}], [{protocols, [http2]}], H1},
            {[{protocols, []}], [{protocols, [http1]}], H1},
            {[{alpn_advertised_protocols, [<<"x">>]}], [], H2 ++ H1},
            {[{alpn_advertised_protocols, [<<"h2">>, <<"x">>]}], [{protocols, []}], [<<"h2">>, <<"x">>]}],
    in_application(
      [?_assertMatch(#{alpn := Alpn}, tls(Ssl, #{connect_options => Connect})) || {Ssl, Connect, Alpn} <- Rows]).

%% Whether QUIC is tried, and under which options. Clauses: NEG-3, H3-3, H3-4
quic_test_() ->
    Http3 = [{protocols, [http3, http2]}],
    Quic = fun(Options) ->
                   {ok, Dial} = tuple_at_most(2, dial(Options)),
                   maps:with([quic, quic_tls], Dial)
           end,
    Tls = fun(ConnectOptions, SslOptions) ->
                  Quic(#{transport => ssl, connect_options => ConnectOptions, ssl_options => SslOptions})
          end,
    Same = fun(How) -> #{quic => How, quic_tls => undefined} end,
    in_application(
      [?_assertEqual(Same(first), Tls(Http3, [])),
       ?_assertEqual(Same(race), Quic(#{transport => ssl, connect_options => Http3, http3 => race})),
       ?_assertEqual(Same(never), Tls([], [])),
       %% Not what TLS over TCP may offer, but what is to be tried.
       ?_assertEqual(Same(never), Tls([], Http3)),
       ?_assertEqual(Same(never), Quic(#{connect_options => Http3})),
       ?_assertEqual(Same(first), Tls([{insecure, false} | Http3], [])),
       ?_assertMatch(#{quic := first, quic_tls := #{verify := false}}, Tls([{insecure, true} | Http3], [])),
       ?_assertEqual(Same(first), Tls([{insecure, true} | Http3], [{verify, verify_peer}])),
       ?_assertEqual(Same(first), Tls([{insecure, true} | Http3], [{insecure, true}])),
       %% What only Erlang's `ssl' can honour is never left out over QUIC.
       ?_assertEqual(Same(never), Tls(Http3, [{verify_fun, {fun(_, _, State) -> {valid, State} end, []}}])),
       ?_assertEqual(Same(never), Tls(Http3, [{tls, erlang}]))]).

tuple_at_most(Size, Tuple) -> list_to_tuple(lists:sublist(tuple_to_list(Tuple), Size)).

%% Clauses: API-38
final_upgrade_test_() ->
    Upgrade = fun(Options, Final) ->
                      {ok, #{target := Target}} = start(#{host => "h.example"}),
                      hansom_options:upgrade(Target, Options, #{final => Final})
              end,
    Alpn = {alpn_advertised_protocols, [<<"h2">>, <<"http/1.1">>]},
    in_application(
      [?_assertMatch({ok, {rustls, #{verify := false}}, <<"h.example">>}, Upgrade([{insecure, true}], false)),
       ?_assertMatch({ok, {rustls, #{verify := true}}, _}, Upgrade([{insecure, true}], true)),
       ?_assertMatch({ok, {rustls, #{alpn := [<<"h2">>, <<"http/1.1">>]}}, <<"s.example">>},
                     Upgrade([Alpn, {server_name_indication, "s.example"}, {verify, verify_peer}], true)),
       ?_assertMatch({ok, {rustls, #{verify := true}}, _},
                     Upgrade([{verify, verify_peer}, {verify, verify_none}], true))]).

%% Certificates and keys

identity_test_() ->
    {setup,
     fun() ->
             setup(),
             Name = "hansom_options_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])),
             Folder = filename:join(filename:basedir(user_cache, "hansom_tests"), Name),
             ok = filelib:ensure_dir(filename:join(Folder, "x")),
             Folder
     end,
     fun(Folder) -> ok = file:del_dir_r(Folder) end,
     fun(Folder) -> {timeout, 30, fun() -> identities(Folder) end} end}.

identities(Folder) ->
    Rsa = public_key:generate_key({rsa, 2048, 65537}),
    Ec = public_key:generate_key({namedCurve, secp256r1}),
    #{cert := Cert} = public_key:pkix_test_root_cert("hansom", [{key, Ec}]),
    RsaDer = public_key:der_encode('RSAPrivateKey', Rsa),
    EcDer = public_key:der_encode('ECPrivateKey', Ec),
    Info = public_key:der_encode('PrivateKeyInfo', Ec),
    Write = fun(Name, Entries) ->
                    File = filename:join(Folder, Name),
                    ok = file:write_file(File, public_key:pem_encode(Entries)),
                    File
            end,
    CertEntry = {'Certificate', Cert, not_encrypted},
    Certs = Write("certs.pem", [CertEntry, CertEntry]),
    Both = Write("both.pem", [CertEntry, {'PrivateKeyInfo', Info, not_encrypted}]),
    Secret = Write("secret.pem", [public_key:pem_entry_encode(
                                    'RSAPrivateKey', Rsa,
                                    {{"AES-128-CBC", crypto:strong_rand_bytes(16)}, "sesame"})]),
    Identity = fun(Options) -> maps:get(identity, tls(Options)) end,
    Pkcs8 = public_key:der_encode('PrivateKeyInfo', Rsa),
    ?assertEqual([{[Cert], {sec1, EcDer}}], Identity([{cert, Cert}, {key, {'ECPrivateKey', EcDer}}])),
    ?assertEqual([{[Cert, Cert], {pkcs1, RsaDer}}],
                 Identity([{cert, [Cert, Cert]}, {key, {'RSAPrivateKey', RsaDer}}])),
    ?assertEqual([{[Cert], {pkcs8, Info}}], Identity([{certfile, Both}])),
    ?assertEqual([{[Cert], {pkcs8, Info}}], Identity([{certfile, list_to_binary(Both)}])),
    [?assertEqual([{[Cert, Cert], {pkcs8, Pkcs8}}],
                  Identity([{certfile, Certs}, {keyfile, Secret}, {password, Password}]))
     || Password <- ["sesame", <<"sesame">>, fun() -> "sesame" end]],
    ?assertEqual([{[Cert], {pkcs8, Info}}, {[Cert], {sec1, EcDer}}],
                 Identity([{certs_keys, [#{certfile => Both}, #{cert => Cert, key => {'ECPrivateKey', EcDer}}]}])),
    ?assertMatch(#{roots := {der, [Cert, Cert]}}, tls([{cacertfile, Certs}])),
    ?assertMatch(#{roots := {der, [Cert, Cert]}}, tls([{cacerts, [<<"x">>]}, {cacertfile, Certs}])),
    ?assertEqual({error, {options, {keyfile, Secret, wrong_password}}},
                 tls([{certfile, Certs}, {keyfile, Secret}, {password, "open"}])),
    ?assertEqual({error, {options, {certfile, Certs, no_private_key}}}, tls([{certfile, Certs}])),
    ?assertEqual({error, {options, {cacertfile, Secret, no_certificate}}}, tls([{cacertfile, Secret}])),
    ?assertEqual({error, {options, {unsupported, key}}},
                 tls([{cert, Cert}, {key, #{algorithm => rsa, engine => e, key_id => 1}}, {tls, rustls}])),
    ?assertEqual({error, {options, {unsupported, key}}},
                 tls([{cert, Cert}, {key, {'DSAPrivateKey', <<>>}}, {tls, rustls}])).
