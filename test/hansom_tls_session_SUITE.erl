%% @doc TLS over time: resumed sessions, the upgrade of a TCP connection, and ends in the middle
%% of a body.
-module(hansom_tls_session_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
%% A `connect_timeout' that is waited for.
-define(SHORT, 200).

-import(hansom_case, [serve/1, state/1, exchange/1, exchange/2, response/1]).
-import(hansom_tls_case, [port/1, der/2, key/2, trust/1, with_origin/3, server/1, server/2, session/1, open/2,
                          alert/2, seen/2]).
-import(hansom_server_case, [file/2]).

all() -> hansom_case:cases(?MODULE).
suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_tls_case:init_suite(Config).
end_per_suite(Config) -> hansom_tls_case:end_suite(Config).

%% Every case has a server of its own, so that no session of another case is at hand.
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{tls_11_resumed_by_default, "TLS-11: hackney resumes only without options of the user"},
     {tls_11_not_when_refused, "TLS-11: hackney resumes only without options of the user"},
     {tls_11_only_with_the_same_identity, "TLS-11: hackney resumes only without options of the user"},
     {tls_11_only_for_the_same_name, "TLS-11: hackney resumes only without options of the user"},
     {low_10_final_options, "API-38: without `verify' OTP decides, which before release 26 does not verify"},
     {low_10_options_refused_before_the_handshake, "8.2: how hansom treats options of ssl"},
     {tls_12_client_certificate_required, "TLS-12: after the handshake of TLS 1.3 only `closed' is told"},
     {tls_13_reset_in_a_body, "RSP-22: hackney takes part of a body for the whole"},
     {tls_13_cut_is_an_error_by_default, "RSP-22: hackney takes part of a body for the whole"},
     {trap_10_never_across_trust, "TLS-11: hackney resumes only without options of the user"}].

%% Resumption

%% How the next connection with these options begins.
handshake(Port, SslOptions) ->
    #{handshake := Handshake} = seen(Port, SslOptions),
    Handshake.

%% Clauses: TLS-11
tls_11_resumed_by_default(Config) ->
    [with_origin([], Config,
                 fun(Port) ->
                         Options = Versions ++ trust(Config),
                         ?assertEqual([<<"Full">>, <<"Resumed">>, <<"Resumed">>],
                                      [handshake(Port, Options) || _ <- [1, 2, 3]]),
                         %% The order of options and where roots come from are not what counts.
                         ?assertEqual(<<"Resumed">>,
                                      handshake(Port, [{cacertfile, file("ca", Config)} | Versions]))
                 end)
     || Versions <- [[], [{versions, ['tlsv1.2']}], [{versions, ['tlsv1.3']}], [{session_tickets, auto}],
                     [{reuse_sessions, true}], [{reuse_sessions, save}]]].

%% Clauses: TLS-11
tls_11_not_when_refused(Config) ->
    [with_origin([], Config,
                 fun(Port) ->
                         Options = [Option, {versions, [Version]} | trust(Config)],
                         ?assertEqual([<<"Full">>, <<"Full">>], [handshake(Port, Options) || _ <- [1, 2]])
                 end)
     || Option <- [{session_tickets, disabled}, {reuse_sessions, false}], Version <- ['tlsv1.2', 'tlsv1.3']].

%% Clauses: TRAP-10, TLS-11
trap_10_never_across_trust(Config) ->
    [with_origin(["--cert", "other-server"], Config,
                 fun(Port) ->
                         Versions = {versions, [Version]},
                         Trusting = [Versions, {cacertfile, file("other-ca", Config)}],
                         Careless = [Versions, {verify, verify_none}],
                         ?assertEqual([<<"Full">>, <<"Resumed">>], [handshake(Port, Careless) || _ <- [1, 2]]),
                         %% The session is there, but was made without looking at the certificate.
                         ?assertEqual(unknown_ca, alert(Port, [Versions | trust(Config)])),
                         ?assertEqual(unknown_ca, alert(Port, [Versions])),
                         ?assertEqual([<<"Full">>, <<"Resumed">>], [handshake(Port, Trusting) || _ <- [1, 2]]),
                         %% Neither does what one trusts count for another.
                         ?assertEqual(unknown_ca, alert(Port, [Versions | trust(Config)])),
                         ?assertEqual(<<"Full">>, handshake(Port, [{insecure, true}, {depth, 5}, Versions])),
                         ?assertEqual(<<"Resumed">>, handshake(Port, Careless))
                 end)
     || Version <- ['tlsv1.2', 'tlsv1.3']].

%% A session made with a client certificate is not for those who do not show it.
%% Clauses: TLS-11, TRAP-10
tls_11_only_with_the_same_identity(Config) ->
    with_origin(["--client-ca", file("ca", Config), "optional"], Config,
                fun(Port) ->
                        Known = [{certfile, file("client", Config)}, {keyfile, file("client-key", Config)}
                                | trust(Config)],
                        ?assertMatch(#{handshake := <<"Full">>, 'client-certificates' := <<"1">>}, seen(Port, Known)),
                        ?assertMatch(#{handshake := <<"Full">>, 'client-certificates' := <<"0">>},
                                     seen(Port, trust(Config))),
                        ?assertMatch(#{handshake := <<"Resumed">>, 'client-certificates' := <<"1">>},
                                     seen(Port, Known)),
                        ?assertMatch(#{handshake := <<"Resumed">>, 'client-certificates' := <<"0">>},
                                     seen(Port, trust(Config)))
                end).

%% Clauses: TLS-11, TLS-9
tls_11_only_for_the_same_name(Config) ->
    with_origin([], Config,
                fun(Port) ->
                        ?assertEqual(<<"Full">>, handshake(Port, trust(Config))),
                        ?assertEqual(handshake_failure,
                                     alert(Port, [{server_name_indication, "other.example"} | trust(Config)])),
                        ?assertEqual(<<"Full">>,
                                     handshake(Port, [{server_name_indication, "127.0.0.1"} | trust(Config)])),
                        ?assertEqual(<<"Resumed">>, handshake(Port, trust(Config)))
                end).

%% Upgrade

%% A TCP connection to a TLS port.
plain(Port, Options) ->
    Pid = hansom_case:start_with(maps:merge(#{host => "localhost", port => Port,
                                              connect_options => [{protocols, [http1]}]}, Options)),
    ok = ?CONN:connect(Pid),
    Pid.

%% Clauses: LOW-10, API-25, API-26
low_10_upgrade(Config) ->
    Pid = plain(port(Config), #{}),
    ?assertNot(?CONN:is_upgraded_ssl(Pid)),
    ?assertEqual({error, not_ssl}, ?CONN:peercert(Pid)),
    ?assertEqual(ok, ?CONN:upgrade_to_ssl(Pid, trust(Config))),
    ?assert(?CONN:is_upgraded_ssl(Pid)),
    ?assertEqual({ok, hd(der("server", Config))}, ?CONN:peercert(Pid)),
    ?assertEqual(connected, state(Pid)),
    ?assertMatch(#{tls := <<"TLSv1_3">>, 'server-name' := <<"localhost">>, alpn := <<"http/1.1">>,
                   request := <<"1">>}, hansom_tls_case:seen(Pid)),
    %% Once more changes nothing, whatever the options.
    ?assertEqual(ok, ?CONN:upgrade_to_ssl(Pid, [{verify, nonsense}])),
    ?assertMatch(#{request := <<"2">>}, hansom_tls_case:seen(Pid)).

%% Clauses: LOW-10, API-25
low_10_nothing_to_upgrade(Config) ->
    Secure = open(port(Config), trust(Config)),
    ?assertEqual(ok, ?CONN:upgrade_to_ssl(Secure, [])),
    ?assertNot(?CONN:is_upgraded_ssl(Secure)),
    Idle = hansom_tls_case:start(port(Config), trust(Config)),
    ?assertEqual({error, invalid_state}, ?CONN:upgrade_to_ssl(Idle, trust(Config))),
    ok = ?CONN:close(Secure),
    ?assertEqual({error, invalid_state}, ?CONN:upgrade_to_ssl(Secure, trust(Config))).

%% Clauses: LOW-10, API-25, TLS-12
low_10_failed_upgrade(Config) ->
    [begin
         Pid = plain(port(Config), #{}),
         ?assertMatch({error, {tls_alert, {Alert, _}}}, ?CONN:upgrade_to_ssl(Pid, Options)),
         ?assertNot(?CONN:is_upgraded_ssl(Pid)),
         %% The socket is dead: no request can go out over it in plain text.
         ?assertMatch({error, _}, exchange(Pid))
     end || {Alert, Options} <- [{unknown_ca, []},
                                 {handshake_failure, [{server_name_indication, "other.example"} | trust(Config)]}]].

%% A server that agrees to HTTP/2 and then says nothing, or not what was agreed on.
%% Clauses: LOW-10, API-25, ST-12
low_10_upgrade_without_settings(Config) ->
    [begin
         {Port, Server} = server([{cert, der("server", Config)}, {key, key("server-key", Config)},
                                  {alpn_preferred_protocols, [<<"h2">>]}],
                                 fun(Socket) ->
                                         [ok = ssl:send(Socket, Sent) || Sent =/= <<>>],
                                         preface(Socket, <<>>)
                                 end),
         Pid = plain(Port, #{connect_options => [], connect_timeout => Timeout}),
         ?assertEqual(Expected, ?CONN:upgrade_to_ssl(Pid, trust(Config))),
         ?assertEqual(<<"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n">>, session(Server)),
         ?assertNot(?CONN:is_upgraded_ssl(Pid)),
         %% Nothing can go out over it in any protocol.
         ?assertMatch({error, _}, exchange(Pid))
     end || {Sent, Timeout, Expected} <- [{<<>>, ?SHORT, {error, timeout}},
                                          {<<"HTTP/1.1 200 OK\r\n\r\n">>, 10000, {error, {closed, frame_size_error}}}]].

%% The first bytes of a connection, once it is closed.
preface(Socket, Read) ->
    case ssl:recv(Socket, 0, hansom_case:deadline()) of
        {ok, Bytes} -> preface(Socket, <<Read/binary, Bytes/binary>>);
        {error, closed} -> binary:part(Read, 0, 24)
    end.

%% Clauses: LOW-10, TLS-12
low_10_options_refused_before_the_handshake(Config) ->
    Pid = plain(port(Config), #{}),
    Refused = {error, {options, {unsupported, crl_check}}},
    ?assertEqual(Refused, ?CONN:upgrade_to_ssl(Pid, [{crl_check, true}], #{tls => rustls})),
    ?assertEqual(Refused, ?CONN:upgrade_to_ssl(Pid, [{crl_check, true}, {tls, rustls}])),
    ?assertEqual({error, {options, {tls, openssl}}}, ?CONN:upgrade_to_ssl(Pid, [], #{tls => openssl})),
    ?assertEqual(connected, state(Pid)),
    ?assertEqual(ok, ?CONN:upgrade_to_ssl(Pid, trust(Config))).

%% Clauses: API-38, TLS-1, TLS-2
low_10_final_options(Config) ->
    Final = #{final => true},
    Upgrade = fun(Options, How) -> ?CONN:upgrade_to_ssl(plain(port(Config), #{}), Options, How) end,
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, Upgrade([{insecure, true}], Final)),
    ?assertEqual(ok, Upgrade([{insecure, true}], #{final => false})),
    %% The first of several counts, as in `ssl'.
    ?assertEqual(ok, Upgrade([{verify, verify_none}, {verify, verify_peer}], Final)),
    ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, Upgrade([{verify, verify_peer}, {verify, verify_none}], Final)),
    Pid = plain(port(Config), #{}),
    ok = ?CONN:upgrade_to_ssl(Pid, [{server_name_indication, "localhost"} | trust(Config)], Final),
    ?assertMatch(#{'server-name' := <<"localhost">>}, hansom_tls_case:seen(Pid)).

%% Clauses: TRAP-9, API-38
trap_09_poolable_after_an_upgrade(Config) ->
    [begin
         Pid = plain(port(Config), #{}),
         ok = ?CONN:upgrade_to_ssl(Pid, trust(Config), How),
         ?assertMatch(#{upgraded_ssl := true, pool_ssl := PoolSsl, protocol := http1, ready := true},
                      ?CONN:checkin_info(Pid))
     end || {How, PoolSsl} <- [{#{}, false}, {#{pool_ssl => false}, false}, {#{pool_ssl => true}, true}]].

%% Clauses: TRAP-38, LOW-10
trap_38_upgrade_without_an_answer(Config) ->
    Server = serve([{read, 5}]),
    Pid = plain(hansom_script:port(Server), #{connect_timeout => ?SHORT}),
    {Took, Result} = timer:tc(fun() -> ?CONN:upgrade_to_ssl(Pid, trust(Config)) end),
    ?assertEqual({error, timeout}, Result),
    ?assert(Took div 1000 >= ?SHORT - 20),
    ?assertMatch({error, _}, exchange(Pid)),
    ?assert(lists:member(hansom_script:await_closed(hansom_script:accept(Server)), [closed, econnreset])).

%% Clauses: LOW-10, TLS-12
low_10_upgrade_to_what_is_not_tls(Config) ->
    Text = serve([{read, 5}, {send, response(<<"plain">>)}, eof]),
    ?assertMatch({error, {tls_alert, {unexpected_message, _}}},
                 ?CONN:upgrade_to_ssl(plain(hansom_script:port(Text), #{}), trust(Config))),
    End = serve([{read, 5}, half_close, eof]),
    ?assertEqual({error, closed}, ?CONN:upgrade_to_ssl(plain(hansom_script:port(End), #{}), trust(Config))).

%% Ends

%% Sends the head of a longer body and a part of it, then ends as told.
cut_server(Head, End, Config) ->
    Identity = [{cert, der("server", Config)}, {key, key("server-key", Config)}],
    {Port, Server} = server(Identity,
                            fun(Socket) ->
                                    {ok, _} = ssl:recv(Socket, 0, hansom_case:deadline()),
                                    ok = ssl:send(Socket, ["HTTP/1.1 200 OK\r\n", Head, "\r\n"]),
                                    End(Socket)
                            end),
    {Port, Server}.

%% A connection to which a body that ends early is no error, as to hackney.
lenient(Port, Config) ->
    Options = hansom_tls_case:options(Port, trust(Config)),
    Pid = hansom_case:start_with(Options#{truncated_body => ok}),
    ok = ?CONN:connect(Pid),
    Pid.

%% Clauses: TLS-13, RSP-22
tls_13_close_notify_in_a_body(Config) ->
    Close = fun(Part) -> fun(Socket) -> ok = ssl:send(Socket, Part), ssl:close(Socket) end end,
    [begin
         {Port, Server} = cut_server(Head, Close(Part), Config),
         ?assertEqual({Head, {200, <<"part">>}}, {Head, exchange(lenient(Port, Config))}),
         ?assertEqual(ok, session(Server))
     end || {Head, Part} <- [{"Content-Length: 100\r\n", "part"}, {"", "part"},
                             {"Transfer-Encoding: chunked\r\n", "4\r\npart\r\n"}]].

%% Clauses: TLS-13, RSP-22
tls_13_cut_in_a_body(Config) ->
    ?assertEqual({200, <<0, 1, 2, 3>>}, exchange(lenient(port(Config), Config), <<"/cut/4/100">>)),
    %% Pushed to a process it ends like any other.
    Pid = lenient(port(Config), Config),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/cut/4/100">>, [], <<>>, true),
    [{status, 200, _}, {headers, _} | Rest] = hansom_case:payloads(Ref),
    ?assertEqual({<<0, 1, 2, 3>>, done}, {hansom_case:body_of(Rest), lists:last(Rest)}).

%% Clauses: TLS-13, RSP-22
tls_13_cut_is_an_error_by_default(Config) ->
    ?assertEqual({error, {closed, <<0, 1, 2, 3>>}},
                 exchange(open(port(Config), trust(Config)), <<"/cut/4/100">>)),
    {Port, _} = cut_server("Content-Length: 100\r\n", fun(Socket) -> ssl:send(Socket, "part"), ssl:close(Socket) end,
                           Config),
    ?assertEqual({error, {closed, <<"part">>}}, exchange(open(Port, trust(Config)))).

%% Clauses: TLS-13
tls_13_reset_in_a_body(Config) ->
    Pid = open(port(Config), trust(Config)),
    {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/reset">>, [], <<>>),
    ?assertMatch({error, _}, ?CONN:body(Pid)).

%% Clauses: RSP-28, TLS-13
tls_13_close_notify_while_idle(Config) ->
    Identity = [{cert, der("server", Config)}, {key, key("server-key", Config)}],
    {Port, Server} = server(Identity,
                            fun(Socket) ->
                                    {ok, _} = ssl:recv(Socket, 0, hansom_case:deadline()),
                                    ok = ssl:send(Socket, response(<<"hello">>)),
                                    receive close -> ssl:close(Socket)
                                    after hansom_case:deadline() -> {error, timeout}
                                    end
                            end),
    Pid = open(Port, trust(Config)),
    ?assertEqual({200, <<"hello">>}, exchange(Pid)),
    ?assertEqual(connected, state(Pid)),
    Server ! close,
    ?assertEqual(ok, session(Server)),
    hansom_case:is_state(Pid, closed).

%% The client says goodbye as well.
%% Clauses: LOW-6
low_06_close_is_announced(Config) ->
    Identity = [{cert, der("server", Config)}, {key, key("server-key", Config)}],
    {Port, Server} = server(Identity, fun(Socket) -> ssl:recv(Socket, 0, hansom_case:deadline()) end),
    Pid = open(Port, trust(Config)),
    ok = ?CONN:close(Pid),
    ?assertEqual({error, closed}, session(Server)).

%% An alert in the middle of a response is told as it is.
%% Clauses: TLS-12
tls_12_client_certificate_required(Config) ->
    Ask = ["--client-ca", file("ca", Config), "required"],
    Stranger = [{cert, der("other-client", Config)}, {key, key("other-client-key", Config)} | trust(Config)],
    with_origin(["--tls-versions", "1.2" | Ask], Config,
                fun(Port) ->
                        ?assertEqual(certificate_required, alert(Port, trust(Config))),
                        ?assertEqual(unknown_ca, alert(Port, Stranger))
                end),
    %% In TLS 1.3 the client is done before the server has looked at its certificate.
    with_origin(["--tls-versions", "1.3" | Ask], Config,
                fun(Port) ->
                        [begin
                             Pid = open(Port, Options),
                             ?assertMatch({error, {tls_alert, {Alert, _}}}, exchange(Pid))
                         end || {Alert, Options} <- [{certificate_required, trust(Config)}, {unknown_ca, Stranger}]]
                end).
