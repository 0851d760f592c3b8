%% @doc Where HTTP/3 is spoken: the order of protocols, UDP that leads nowhere, one deadline for all that is tried,
%% addresses, Retry, packet loss, and requests ahead of the handshake.
-module(hansom_h3_dial_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
%% Longer than a dial takes that does not wait for QUIC, shorter than the head start QUIC has in these cases.
-define(AT_ONCE, 1500).

-import(hansom_case, [start_with/1, async/1, result/1]).
-import(hansom_h3_case, [options/1, options/2, open/1, open/2, connect/1, trying/2, mute/1, tcp_only/2, with_origin/3,
                         with_both/3]).
-import(hansom_h2_case, [get/2]).
-import(hansom_server_case, [port/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h3_case:init_suite(Config).
end_per_suite(Config) -> hansom_h3_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{neg_03_race, "an option of hansom"},
     {h3_02_one_deadline, "two timeouts in a row"},
     {h3_02_silent_udp, "two timeouts in a row"},
     {h3_05_early_data, "an option of hansom"},
     {h3_05_early_data_rejected, "an option of hansom"}].

%% The protocol that `connect' leads to, and how long that took.
spoken(Options) ->
    Pid = start_with(Options),
    Begin = erlang:monotonic_time(millisecond),
    ok = ?CONN:connect(Pid),
    Took = erlang:monotonic_time(millisecond) - Begin,
    Status = case ?CONN:request(Pid, <<"GET">>, <<"/hello">>, [], <<>>) of
                 {ok, Code, _} -> Code;
                 {ok, Code, _, _} -> Code
             end,
    ?assertEqual(200, Status),
    {?CONN:get_protocol(Pid), Took}.

%% Clauses: NEG-1, NEG-2, NEG-3, POOL-19
neg_03_order_of_protocols(Config) ->
    with_both([], Config,
              fun(Port) ->
                        [begin
                             {Spoken, _} = spoken((trying(Port, Config))#{connect_options => [{protocols, Protocols}]}),
                             ?assertEqual({Protocols, Protocol}, {Protocols, Spoken})
                         end
                         || {Protocols, Protocol} <- [{[http3, http2, http1], http3}, {[http3], http3},
                                                      {[http1, http3], http3}, {[http2, http1], http2},
                                                      {[http1], http1}, {[], http1}]],
                        ?assertMatch({http2, _}, spoken(maps:remove(connect_options, trying(Port, Config))))
                end).

%% Clauses: NEG-1, NEG-3
neg_03_default_of_the_application(Config) ->
    Application = hansom_case:application(),
    {ok, Before} = application:get_env(Application, default_protocols),
    ok = application:set_env(Application, default_protocols, [http3, http1]),
    try ?assertMatch({http3, _}, spoken(maps:remove(connect_options, options(Config))))
    after ok = application:set_env(Application, default_protocols, Before)
    end.

%% Clauses: NEG-3
neg_03_not_over_plain_tcp(Config) ->
    ?assertMatch({http1, _}, spoken(#{host => "127.0.0.1", port => port(http, Config),
                                      connect_options => [{protocols, [http3, http2, http1]}]})).

%% Nobody has the UDP port: the system says so, and nothing is waited for.
%% Clauses: NEG-3, H3-2
neg_03_unreachable_udp(Config) ->
    {Protocol, Took} = spoken(trying(port(https, Config), Config)),
    ?assertEqual(http2, Protocol),
    ?assert(Took < ?AT_ONCE),
    {Only, _} = spoken((trying(port(https, Config), Config))#{connect_options => [{protocols, [http3]}]}),
    ?assertEqual(http1, Only).

%% Half of the time is for QUIC, if that is less than two seconds.
%% Clauses: H3-2, ST-12
h3_02_silent_udp(Config) ->
    tcp_only(Config,
             fun(Port) ->
                     Options = trying(Port, Config),
                     {Protocol, Took} = spoken(Options#{connect_timeout => 1000}),
                     ?assertEqual(http2, Protocol),
                     ?assert(Took >= 500),
                     {Patient, Longer} = spoken(Options#{connect_timeout => infinity}),
                     ?assertEqual(http2, Patient),
                     ?assert(Longer >= 2000)
             end).

%% Clauses: H3-2, NEG-3
neg_03_race(Config) ->
    tcp_only(Config,
             fun(Port) ->
                     {Protocol, Took} = spoken((trying(Port, Config))#{http3 => race}),
                     ?assertEqual(http2, Protocol),
                     ?assert(Took < ?AT_ONCE)
             end),
    %% Where TCP is refused only QUIC can win.
    ?assertMatch({http3, _}, spoken(options(#{http3 => race}, Config))),
    with_both([], Config,
              fun(Port) ->
                        {Either, _} = spoken((trying(Port, Config))#{http3 => race}),
                        ?assert(lists:member(Either, [http3, http2]))
                end),
    ?assertEqual({error, {options, {http3, last}}}, ?CONN:start_link(#{host => "h.example", http3 => last})).

%% Whatever is tried, it is over in time, and the error is the caller's to see.
%% Clauses: H3-2, ST-12, API-5
h3_02_one_deadline(Config) ->
    {_, TcpPort, Release} = hansom_case:full_listener(),
    try
        {ok, Udp} = gen_udp:open(TcpPort, [{ip, {127, 0, 0, 1}}, {active, false}]),
        [begin
             Pid = start_with((trying(TcpPort, Config))#{connect_timeout => 600, http3 => Mode}),
             Exit = hansom_case:monitor_exit(Pid),
             Begin = erlang:monotonic_time(millisecond),
             ?assertEqual({error, timeout}, ?CONN:connect(Pid, 5000)),
             Took = erlang:monotonic_time(millisecond) - Begin,
             ?assert(Took >= 600),
             ?assert(Took < 3000),
             ?assertEqual(normal, hansom_case:await(Exit))
         end || Mode <- [first, race]],
        ok = gen_udp:close(Udp)
    after
        Release()
    end.

%% Clauses: NEG-3, API-5
neg_03_nobody_there(Config) ->
    mute(fun(Port) ->
                 Pid = start_with((trying(Port, Config))#{connect_timeout => 400}),
                 %% QUIC hears nothing until the end, and has nothing to say of it.
                 ?assertEqual({error, econnrefused}, ?CONN:connect(Pid))
         end),
    [Port] = [Free || {ok, Socket} <- [gen_udp:open(0, [{ip, {127, 0, 0, 1}}])], {ok, Free} <- [inet:port(Socket)],
                      ok <- [gen_udp:close(Socket)]],
    Pid = start_with(trying(Port, Config)),
    ?assertEqual({error, econnrefused}, ?CONN:connect(Pid)).

%% What is wrong with the server is told, although QUIC only knows that time is up.
%% Clauses: H3-2, NEG-3, API-5
neg_03_distrusted_behind_silent_udp(Config) ->
    tcp_only(Config,
             fun(Port) ->
                     [begin
                          Pid = start_with((trying(Port, Config))#{connect_timeout => 3000, http3 => Mode,
                                                                   ssl_options => []}),
                          ?assertMatch({error, {tls_alert, {unknown_ca, _}}}, ?CONN:connect(Pid))
                      end || Mode <- [first, race]]
             end).

%% Clauses: H3-4, TRAP-6
trap_06_addresses(Config) ->
    [with_origin(["--http3", Address], Config,
                 fun(Port) ->
                         [?assertMatch({http3, _}, spoken(options(#{host => Host, port => Port}, Config)))
                          || Host <- Hosts]
                 end)
     || {Address, Hosts} <- [{"127.0.0.1:0", ["127.0.0.1", "localhost", {127, 0, 0, 1}]},
                             {"[::1]:0", ["::1", "[::1]", "localhost", {0, 0, 0, 0, 0, 0, 0, 1}]}]],
    Of = fun(Family) ->
                 Pid = start_with(options(#{connect_options => [{protocols, [http3]} | Family]}, Config)),
                 ?CONN:connect(Pid)
         end,
    [?assertEqual(ok, Of(Family)) || Family <- [[inet], [{family, inet}]]],
    [?assertEqual({error, econnrefused}, Of(Family)) || Family <- [[inet6], [{family, inet6}]]].

%% Clauses: H3-4, LOW-11
h3_04_socket_options(Config) ->
    {ok, Socket} = gen_udp:open(0, [{ip, {127, 0, 0, 1}}]),
    {ok, LocalPort} = inet:port(Socket),
    ok = gen_udp:close(Socket),
    Pid = open(#{connect_options => [{protocols, [http3]}, {ip, {127, 0, 0, 1}}, {port, LocalPort}, {sndbuf, 100000},
                                     {recbuf, 100000}, {tos, 16#48}, {nodelay, true}, {keepalive, true},
                                     {session_ticket, <<"opaque">>}]}, Config),
    ?assertEqual({ok, {{127, 0, 0, 1}, LocalPort}}, ?CONN:sockname(Pid)),
    {ok, 200, _, Body} = get(Pid, "/bytes/1000000"),
    ?assertEqual(1000000, byte_size(Body)),
    Bad = start_with(options(#{connect_options => [{protocols, [http3]}, {netns, "none"}]}, Config)),
    ?assertEqual({error, {options, {unsupported, {netns, "none"}}}}, ?CONN:connect(Bad)),
    Odd = start_with(options(#{connect_options => [{protocols, [http4]}]}, Config)),
    ?assertEqual({error, {options, {protocols, [http4]}}}, ?CONN:connect(Odd)).

%% Clauses: H3-2
h3_02_retry_loss_and_delay(Config) ->
    [with_origin(Options, Config,
                 fun(Port) -> ?assertMatch({http3, _}, spoken(options(#{port => Port}, Config))) end)
     || Options <- [["--retry"], ["--loss", "5"], ["--delay-ms", "50"]]].

%% A second connection sends its request along with its first packet.
%% Clauses: H3-5, TLS-11
h3_05_early_data(Config) ->
    with_origin(["--early-data", "accept"], Config,
                fun(Port) ->
                        Options = options(#{port => Port, early_data => true}, Config),
                        prime(Options),
                        Pid = connect(Options),
                        ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
                        %% What is not safe to be repeated waits for the handshake.
                        Posting = connect(Options),
                        ?assertMatch({ok, 200, _, <<"body">>}, hansom_h2_case:post(Posting, "/echo", <<"body">>))
                end),
    ?assertEqual({error, {options, {early_data, 1}}}, ?CONN:start_link(#{host => "h.example", early_data => 1})).

%% A connection under these options that gets tickets for the next one.
prime(Options) ->
    Pid = connect(Options),
    {ok, 200, _, _} = get(Pid, "/hello"),
    ok = ?CONN:stop(Pid).

%% Clauses: H3-5
h3_05_early_data_rejected(Config) ->
    with_origin(["--early-data", "reject"], Config,
                fun(Port) ->
                        Options = options(#{port => Port, early_data => true}, Config),
                        prime(Options),
                        Pid = connect(Options),
                        [?assertMatch({ok, 200, _, _}, get(Pid, "/hello")) || _ <- [sent_again, sent_late]]
                end).

%% Dials at the same time, of which many have to fall back.
%% Clauses: NEG-3
neg_03_many_at_once(Config) ->
    Here = options(Config),
    Elsewhere = trying(port(https, Config), Config),
    Dials = [async(fun() ->
                           {ok, Pid} = ?CONN:start_link(Options),
                           ok = ?CONN:connect(Pid),
                           Protocol = ?CONN:get_protocol(Pid),
                           ok = ?CONN:stop(Pid),
                           Protocol
                   end) || _ <- lists:seq(1, 20), Options <- [Here, Elsewhere]],
    Spoken = [result(Dial) || Dial <- Dials],
    ?assertEqual(20, length([ok || {ok, http3} <- Spoken])),
    ?assertEqual(20, length([ok || {ok, http2} <- Spoken])).
