%% @doc Which servers are trusted: roots, chains, names and validity, what a refusal is called,
%% and what a server may do wrong besides.
-module(hansom_tls_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
%% A `connect_timeout' that is waited for.
-define(SHORT, 200).

-import(hansom_case, [serve/1]).
-import(hansom_tls_case, [port/1, der/2, key/2, trust/1, with_origin/3, server/1, server/2,
                          start/2, open/2, connect/2, dial/1, alert/2, text/2, seen/1, seen/2]).
-import(hansom_server_case, [roots/1, file/2]).

all() -> hansom_case:cases(?MODULE).
suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_tls_case:init_suite(Config).
end_per_suite(Config) -> hansom_tls_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    %% hackney sets a `verify_fun' that refuses what `verify_none' would let pass.
    [{Case, "TLS-3: `verify_none' alone does not switch verification off"}
     || Case <- [low_03_peercert, tls_02_insecure_inside_ssl_options, tls_03_anything_goes_without_verification,
                 tls_03_verified_by_default]] ++
    [{tls_04_unusable_roots_are_named, "TLS-4: roots that cannot be parsed are left out"},
     {tls_07_names_in_certificates, "TLS-9: a trailing dot is sent"},
     {tls_12_alerts_of_signatures_and_extensions, "TLS-12: another alert for an issuer that is no authority"},
     {tls_04_forms_of_roots, "TLS-4: the names of root lists are hansom's own"},
     {tls_04_roots_of_the_system, "TLS-4: the names of root lists are hansom's own"},
     {tls_12_certificates_only_otp_accepts, "8.2: known gaps"},
     {tls_12_name_in_the_text, "TLS-12: the text is hansom's own"}].

%% Trust

%% Clauses: TLS-3, TLS-4
tls_03_verified_by_default(Config) ->
    ?assertEqual(unknown_ca, alert(port(Config), [])),
    ?assertEqual(unknown_ca, alert(port(Config), [{verify, verify_peer}])),
    ?assertEqual(ok, connect(port(Config), trust(Config))),
    ?assertEqual(ok, connect(port(Config), [{verify, verify_none}])).

%% Without verification not even the name counts, but the server must still hold the key of its certificate.
%% Clauses: TLS-3
tls_03_anything_goes_without_verification(Config) ->
    [with_origin(["--cert", Name], Config,
                 fun(Port) -> ?assertMatch(#{handshake := <<"Full">>}, seen(Port, [{verify, verify_none}])) end)
     || Name <- ["expired", "wrong-name", "cn-only", "ca-as-server", "self-signed"]].

%% Clauses: TLS-2
tls_02_insecure_inside_ssl_options(Config) ->
    Port = port(Config),
    ?assertEqual(ok, connect(Port, [{insecure, true}])),
    ?assertEqual(unknown_ca, alert(Port, [{insecure, false}])),
    ?assertEqual(unknown_ca, alert(Port, [{insecure, true}, {verify, verify_peer}])),
    %% Anywhere else it means nothing.
    Options = #{connect_options := Connect} = hansom_tls_case:options(Port, []),
    [begin
         Pid = hansom_case:start_with(Outside),
         ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, dial(Pid))
     end || Outside <- [Options#{insecure => true}, Options#{connect_options := [{insecure, true} | Connect]}]].

%% Clauses: TLS-4, TLS-1
tls_04_forms_of_roots(Config) ->
    [Root] = roots(Config),
    Decoded = {cert, Root, public_key:pkix_decode_cert(Root, otp)},
    [Other] = der("other-ca", Config),
    File = file("ca", Config),
    [?assertMatch(#{tls := <<"TLSv1_3">>}, seen(port(Config), Options))
     || Options <- [[{cacerts, [Root]}], [{cacerts, [Decoded]}], [{cacerts, [Other, Decoded, Root]}],
                    [{cacertfile, File}], [{cacertfile, list_to_binary(File)}],
                    %% A file replaces a list, wherever it stands.
                    [{cacerts, [Other]}, {cacertfile, File}], [{cacertfile, File}, {cacerts, [Other]}]]],
    [?assertEqual(unknown_ca, alert(port(Config), Options))
     || Options <- [[{cacerts, [Other]}], [{cacertfile, file("other-ca", Config)}], [{cacerts, []}],
                    [{cacerts, mozilla}], [{cacerts, [Root]}, {cacertfile, file("other-ca", Config)}]]].

%% What OTP gives for its own list of the system's roots.
%% Clauses: TLS-4
tls_04_records_of_public_key(Config) ->
    ok = public_key:cacerts_load(file("ca", Config)),
    try
        Roots = public_key:cacerts_get(),
        ?assertMatch([{cert, _, _}], Roots),
        ?assertEqual(ok, connect(port(Config), [{cacerts, Roots}]))
    after
        public_key:cacerts_clear()
    end.

%% The environment of this node cannot be changed as the system sees it, so it takes another node.
%% Clauses: TLS-4
tls_04_roots_of_the_system(Config) ->
    Port = port(Config),
    Connect = fun(Roots) ->
                      Environment = [{"SSL_CERT_FILE", Roots}, {"SSL_CERT_DIR", file("no-such-folder", Config)}],
                      hansom_tls_case:in_node(Environment, fun connect_alone/2, [Port, [{cacerts, system}]])
              end,
    ?assertEqual(ok, Connect(file("ca", Config))),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, Connect(file("other-ca", Config))),
    ?assertMatch({error, {options, _}}, Connect(file("no-such-file", Config))).

connect_alone(Port, SslOptions) ->
    {ok, Pid} = hansom_conn:start_link(hansom_tls_case:options(Port, SslOptions)),
    Result = hansom_conn:connect(Pid),
    ok = hansom_conn:stop(Pid),
    Result.

%% Clauses: TLS-4, TLS-12
tls_04_unusable_roots_are_named(Config) ->
    Missing = file("no-such-file", Config),
    Key = file("server-key", Config),
    [begin
         {error, {options, Reason}} = connect(port(Config), [Option]),
         ?assertEqual({Option, element(1, Option)}, {Option, element(1, Reason)})
     end
     || Option <- [{cacertfile, Missing}, {cacertfile, Key}, {cacerts, [<<"no certificate">>]}]].

%% Clauses: TLS-5
tls_05_depth(Config) ->
    Root = hansom_authority:issue(#{name => "root", authority => true}),
    Upper = hansom_authority:issue(#{name => "upper", authority => true}, Root),
    Lower = hansom_authority:issue(#{name => "lower", authority => true}, Upper),
    #{cert := Leaf, key := Key} = hansom_authority:issue(#{name => "leaf", dns => ["localhost"]}, Lower),
    Chain = [Leaf | [Cert || #{cert := Cert} <- [Lower, Upper]]],
    Check = fun(Options) ->
                    {Port, _} = server([{certs_keys, [#{cert => Chain, key => Key}]}]),
                    connect(Port, [{cacerts, [maps:get(cert, Root)]} | Options])
            end,
    [?assertEqual({Options, ok}, {Options, Check(Options)}) || Options <- [[], [{depth, 100}], [{depth, 2}]]],
    [?assertMatch({error, {tls_alert, {handshake_failure, _}}}, Check([{depth, Depth}])) || Depth <- [0, 1]],
    with_origin(["--cert", "server-chain"], Config,
                fun(Port) ->
                        ?assertEqual(ok, connect(Port, [{depth, 1} | trust(Config)])),
                        ?assertEqual(handshake_failure, alert(Port, [{depth, 0} | trust(Config)]))
                end).

%% Clauses: TRAP-7, TLS-6, TLS-7
trap_07_expired_cross_signed_root(_) ->
    %% The new root is known. The server sends its twin too, signed by an old root that has expired.
    Old = hansom_authority:issue(#{name => "old root", authority => true, valid => {-700, -10}}),
    New = hansom_authority:issue(#{name => "new root", authority => true}),
    Twin = hansom_authority:issue(#{name => "new root", authority => true, key => {same, New}, valid => {-700, -10}},
                                  Old),
    Connect = fun(Valid, Roots) ->
                      Leaf = hansom_authority:issue(#{name => "leaf", dns => ["localhost"], valid => Valid}, New),
                      {Port, _} = server([{cert, [Cert || #{cert := Cert} <- [Leaf, Twin, Old]]},
                                          {key, maps:get(key, Leaf)}]),
                      connect(Port, [{cacerts, [Cert || #{cert := Cert} <- Roots]}])
              end,
    ?assertEqual(ok, Connect({-1, 10}, [New])),
    ?assertEqual(ok, Connect({-1, 10}, [Old, New])),
    %% No mercy for the server's own certificate.
    ?assertMatch({error, {tls_alert, {certificate_expired, _}}}, Connect({-100, -1}, [New])).

%% Names

%% Clauses: TLS-7, TLS-9
tls_07_names_in_certificates(_) ->
    Ca = hansom_authority:issue(#{name => "names", authority => true}),
    Spec = #{name => "not.counted", dns => ["a.example", "*.wild.example"], ips => [<<127, 0, 0, 1>>]},
    #{cert := Leaf, key := Key} = hansom_authority:issue(Spec, Ca),
    Check = fun(Host, Options) ->
                    {Port, _} = server([{cert, Leaf}, {key, Key}]),
                    Start = hansom_tls_case:options(Port, [{cacerts, [maps:get(cert, Ca)]} | Options]),
                    case dial(hansom_case:start_with(Start#{host := Host})) of
                        ok -> ok;
                        {error, {tls_alert, {Alert, _}}} -> Alert
                    end
            end,
    Rows = [{"a.example", ok}, {"A.Example", ok}, {"a.example.", ok}, {"x.wild.example", ok},
            {"wild.example", handshake_failure}, {"x.y.wild.example", handshake_failure},
            {"b.example", handshake_failure}, {"not.counted", handshake_failure},
            {"127.0.0.2", handshake_failure}],
    [?assertEqual({Name, Expected}, {Name, Check("127.0.0.1", [{server_name_indication, Name}])})
     || {Name, Expected} <- Rows],
    %% Without a name of the user, the host of the connection is the one.
    ?assertEqual(ok, Check("127.0.0.1", [])),
    ?assertEqual(ok, Check({127, 0, 0, 1}, [])),
    ?assertEqual(handshake_failure, Check("localhost", [])).

%% Clauses: TLS-12
tls_12_name_in_the_text(Config) ->
    Text = with_origin(["--cert", "wrong-name"], Config, fun(Port) -> text(Port, trust(Config)) end),
    [?assertNotEqual(nomatch, string:find(Text, Part)) || Part <- ["Handshake Failure", "localhost", "wrong.example"]].

%% What certificates are refused for

%% Clauses: TLS-12, TLS-7
tls_12_alerts_of_certificates(Config) ->
    [?assertEqual({Name, Alert},
                  {Name, with_origin(["--cert", Name], Config, fun(Port) -> alert(Port, trust(Config)) end)})
     || {Name, Alert} <- [{"expired", certificate_expired}, {"not-yet-valid", certificate_expired},
                          {"wrong-name", handshake_failure}, {"client-as-server", handshake_failure},
                          {"self-signed", bad_certificate}, {"other-server", unknown_ca},
                          {"server-no-chain", unknown_ca}]],
    [with_origin(["--cert", Name], Config, fun(Port) -> ?assertEqual(ok, connect(Port, trust(Config))) end)
     || Name <- ["server-rsa", "server-chain"]].

%% Clauses: TLS-12
tls_12_alerts_of_signatures_and_extensions(_) ->
    Ca = hansom_authority:issue(#{name => "authority", authority => true}),
    Namesake = hansom_authority:issue(#{name => "authority", authority => true}),
    Spec = #{name => "leaf", dns => ["localhost"], purpose => server},
    ?assertEqual(unknown_ca, alert_of(Spec, Namesake, Ca)),
    ?assertEqual(unsupported_certificate, alert_of(Spec#{unknown_critical => true}, Ca, Ca)),
    %% An end entity is no authority.
    Leaf = hansom_authority:issue(Spec, Ca),
    ?assert(lists:member(alert_of(Spec, Leaf, Ca), [unknown_ca, bad_certificate])).

alert_of(Spec, Signer, Trusted) ->
    {Alert, _} = refusal(Spec, Signer, Trusted),
    Alert.

refusal(Spec, #{cert := SignerCert} = Signer, #{cert := Root}) ->
    #{cert := Cert, key := Key} = hansom_authority:issue(Spec, Signer),
    {Port, _} = server([{cert, [Cert, SignerCert]}, {key, Key}]),
    {error, {tls_alert, {Alert, Text}}} = connect(Port, [{cacerts, [Root]}]),
    {Alert, Text}.

%% Where hansom is stricter than OTP, the text says what is wrong.
%% Clauses: TLS-12
tls_12_certificates_only_otp_accepts(_) ->
    Ca = hansom_authority:issue(#{name => "authority", authority => true}),
    Good = #{name => "localhost", dns => ["localhost"], purpose => server},
    Rows = [{maps:remove(dns, Good), handshake_failure, "not valid for any names"},
            {Good#{dns => ["local*"]}, handshake_failure, "not valid for name"},
            {Good#{authority => true}, bad_certificate, "belongs to an authority"},
            {Good#{version => 1}, bad_certificate, "version 3"},
            {Good#{signature_parameters => true}, bad_certificate, "signature algorithm"},
            {Good#{key => {rsa, 1024}}, bad_certificate, "2048 bits"}],
    [begin
         {Alert, Text} = refusal(Spec, Ca, Ca),
         ?assertEqual({Spec, Expected}, {Spec, Alert}),
         ?assertNotEqual({Text, nomatch}, {Text, string:find(Text, Part)}),
         %% Unverified they will do, unless the key itself is of no use.
         #{cert := Cert, key := Key} = hansom_authority:issue(Spec, Ca),
         {Port, _} = server([{cert, Cert}, {key, Key}]),
         ?assertEqual({Spec, maps:get(key, Spec, ec) =:= ec},
                      {Spec, connect(Port, [{verify, verify_none}]) =:= ok})
     end || {Spec, Expected, Part} <- Rows].

%% Servers that will not agree

%% Clauses: TLS-12
tls_12_no_version_in_common(Config) ->
    [with_origin(["--tls-versions", Served], Config,
                 fun(Port) ->
                         ?assertEqual(protocol_version, alert(Port, [{versions, [Offered]} | trust(Config)]))
                 end) || {Served, Offered} <- [{"1.2", 'tlsv1.3'}, {"1.3", 'tlsv1.2'}]].

%% Clauses: TLS-12, NEG-2
tls_12_no_protocol_in_common(Config) ->
    with_origin(["--alpn", "x/1"], Config,
                fun(Port) ->
                        ?assertEqual(no_application_protocol, alert(Port, trust(Config)))
                end).

%% Clauses: TLS-12
tls_12_nothing_in_common(Config) ->
    [Cert] = der("server", Config),
    Server = [{cert, Cert}, {key, key("server-key", Config)}],
    {Suites, _} = server([{ciphers, ["TLS_AES_256_GCM_SHA384"]} | Server]),
    %% Which of the two it is depends on the server's release.
    Alerts = [handshake_failure, insufficient_security],
    ?assert(lists:member(alert(Suites, [{ciphers, ["TLS_AES_128_GCM_SHA256"]} | trust(Config)]), Alerts)),
    {Groups, _} = server([{supported_groups, [x25519]} | Server]),
    ?assert(lists:member(alert(Groups, [{supported_groups, [secp384r1]} | trust(Config)]), Alerts)).

%% Clauses: TLS-12
tls_12_name_the_server_does_not_know(Config) ->
    %% Erlang's server has no such alert to send, so it comes as bytes: fatal (2), unrecognized_name (112).
    Server = serve([{read, 5}, {send, <<21, 3, 3, 0, 2, 2, 112>>}, eof]),
    ?assertEqual(unrecognized_name, alert(hansom_script:port(Server), trust(Config))).

%% Any alert a server sends has the name OTP gives it.
%% Clauses: TLS-12
tls_12_names_of_alerts(Config) ->
    Rows = [{10, unexpected_message}, {20, bad_record_mac}, {22, record_overflow}, {40, handshake_failure},
            {42, bad_certificate}, {43, unsupported_certificate}, {44, certificate_revoked},
            {45, certificate_expired}, {46, certificate_unknown}, {47, illegal_parameter}, {48, unknown_ca},
            {49, access_denied}, {50, decode_error}, {51, decrypt_error}, {70, protocol_version},
            {71, insufficient_security}, {80, internal_error}, {86, inappropriate_fallback},
            {109, missing_extension}, {110, unsupported_extension}, {115, unknown_psk_identity},
            {116, certificate_required}, {120, no_application_protocol}],
    [begin
         Server = serve([{read, 5}, {send, <<21, 3, 3, 0, 2, 2, Number>>}, eof]),
         ?assertEqual({Number, Name}, {Number, alert(hansom_script:port(Server), trust(Config))})
     end || {Number, Name} <- Rows].

%% Servers that do not speak TLS, or stop to

%% Clauses: TLS-12
tls_12_not_tls(Config) ->
    [begin
         Server = serve([{read, 5}, {send, Bytes}, eof]),
         ?assertEqual(unexpected_message, alert(hansom_script:port(Server), trust(Config))),
         %% The server is not left hanging.
         ?assertEqual(done, hansom_script:outcome(hansom_script:accept(Server)))
     end || Bytes <- [<<"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n">>, <<"SSH-2.0-OpenSSH_9.2\r\n">>,
                      binary:copy(<<255>>, 64)]].

%% Clauses: TLS-12
tls_12_plain_port_of_a_real_server(Config) ->
    Plain = hansom_server_case:port(http, Config),
    ?assertMatch({error, {tls_alert, {unexpected_message, _}}}, connect(Plain, trust(Config))).

%% Clauses: TLS-12
tls_12_end_in_the_handshake(Config) ->
    [begin
         Server = serve([{read, 5}, End]),
         {error, Reason} = connect(hansom_script:port(Server), trust(Config)),
         ?assert(lists:member(Reason, Expected))
     end || {End, Expected} <- [{half_close, [closed]}, {close, [closed, econnreset]},
                                {reset, [closed, econnreset]}]].

%% Clauses: TLS-12, ST-7
tls_12_handshake_without_an_answer(Config) ->
    [begin
         Server = serve([{read, 5} | Says]),
         Options = hansom_tls_case:options(hansom_script:port(Server), trust(Config)),
         Pid = hansom_case:start_with(Options#{connect_timeout => ?SHORT}),
         {Took, Result} = timer:tc(fun() -> dial(Pid) end),
         ?assertEqual({error, timeout}, Result),
         ?assert(Took div 1000 >= ?SHORT - 20),
         %% The socket does not outlive the attempt.
         ?assert(lists:member(hansom_script:await_closed(hansom_script:accept(Server)), [closed, econnreset]))
     end || Says <- [[], [{send, <<22, 3, 3, 0, 122>>}]]].

%% The server's certificate

%% Clauses: LOW-3
low_03_peercert(Config) ->
    [Leaf | _] = der("server", Config),
    Pid = open(port(Config), trust(Config)),
    ?assertEqual({ok, Leaf}, ?CONN:peercert(Pid)),
    ?assertMatch(#{}, seen(Pid)),
    ?assertEqual({ok, Leaf}, ?CONN:peercert(Pid)),
    ok = ?CONN:close(Pid),
    ?assertEqual({error, not_connected}, ?CONN:peercert(Pid)),
    %% Also of one that is not verified, and of a resumed session.
    [begin
         Unverified = open(port(Config), [{verify, verify_none}]),
         ?assertMatch(#{handshake := Handshake}, seen(Unverified)),
         ?assertEqual({ok, Leaf}, ?CONN:peercert(Unverified))
     end || Handshake <- [<<"Full">>, <<"Resumed">>]],
    ?assertEqual({error, not_connected}, ?CONN:peercert(start(port(Config), trust(Config)))),
    {Plain, _} = hansom_case:connected(serve([])),
    ?assertEqual({error, not_ssl}, ?CONN:peercert(Plain)).
