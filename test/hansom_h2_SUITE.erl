%% @doc What HTTP/2 has to itself: how it is negotiated, and the socket below it. What it shares with HTTP/3 is in
%% `hansom_streams_SUITE'.
-module(hansom_h2_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [start_with/1, monitor_exit/1, await/1, async/1, result/1, process/0, kill/1, payloads/1,
                      body_of/1]).
-import(hansom_h2_case, [options/1, options/2, open/1, open/2, connect/1, get/2, get/3, with_origin/3, with_script/2]).
-import(hansom_server_case, [port/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h2_case:init_suite(Config).
end_per_suite(Config) -> hansom_h2_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{neg_02_prior_knowledge, "h2c is an option of hansom"}].

%% Negotiation

%% Clauses: NEG-1, NEG-2, API-29
neg_01_order_of_protocols(Config) ->
    Spoken = fun(ConnectOptions) ->
                     Pid = start_with(options(#{connect_options => ConnectOptions}, Config)),
                     ?assertEqual(http1, ?CONN:get_protocol(Pid)),
                     ok = ?CONN:connect(Pid),
                     ?CONN:get_protocol(Pid)
             end,
    ?assertEqual(http2, Spoken([])),
    ?assertEqual(http2, Spoken([{protocols, [http2, http1]}])),
    ?assertEqual(http2, Spoken([{protocols, [http2]}])),
    ?assertEqual(http1, Spoken([{protocols, [http1]}])),
    ?assertEqual(http1, Spoken([{protocols, []}])).

%% Clauses: NEG-1
neg_01_default_of_the_application(Config) ->
    Application = hansom_case:application(),
    {ok, Before} = application:get_env(Application, default_protocols),
    ok = application:set_env(Application, default_protocols, [http1]),
    try
        Pid = start_with(options(Config)),
        ok = ?CONN:connect(Pid),
        ?assertEqual(http1, ?CONN:get_protocol(Pid))
    after
        ok = application:set_env(Application, default_protocols, Before)
    end.

%% A server that does not speak it is spoken to in HTTP/1.1, also when only HTTP/2 was offered.
%% Clauses: NEG-2
neg_02_server_without_http_2(Config) ->
    [with_origin(["--alpn", Alpn], Config,
                 fun(Options) ->
                         Pid = start_with(Options#{connect_options => [{protocols, Protocols}]}),
                         ok = ?CONN:connect(Pid),
                         ?assertEqual(http1, ?CONN:get_protocol(Pid)),
                         ?assertMatch({200, _}, hansom_case:exchange(Pid, <<"/hello">>))
                 end)
     || {Alpn, Protocols} <- [{"none", [http2]}, {"http/1.1", [http2, http1]}]].

%% Clauses: NEG-2
neg_02_plain_tcp(Config) ->
    Pid = start_with(#{host => "127.0.0.1", port => port(http, Config)}),
    ok = ?CONN:connect(Pid),
    ?assertEqual(http1, ?CONN:get_protocol(Pid)).

%% Clauses: NEG-2
neg_02_prior_knowledge(Config) ->
    Pid = connect(#{host => "127.0.0.1", port => port(http, Config), h2c => true}),
    ?assertMatch({ok, 200, _, <<"Hello, world!\n">>}, get(Pid, "/hello")),
    ?assertEqual({error, {options, {h2c, 1}}}, ?CONN:start_link(#{host => "h.example", h2c => 1})).

%% Clauses: NEG-2, LOW-10
neg_02_upgrade(Config) ->
    #{ssl_options := Trust} = options(Config),
    Upgraded = fun(SslOptions) ->
                       Pid = start_with(#{host => "localhost", port => port(https, Config)}),
                       ok = ?CONN:connect(Pid),
                       ok = ?CONN:upgrade_to_ssl(Pid, SslOptions ++ Trust),
                       {Pid, ?CONN:get_protocol(Pid)}
               end,
    {Pid, http2} = Upgraded([]),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    ?assert(?CONN:is_upgraded_ssl(Pid)),
    ?assertMatch({_, http1}, Upgraded([{protocols, [http1]}])).

%% Clauses: NEG-4, TRAP-19
neg_04_resumed_sessions(Config) ->
    Resumed = [begin
                   Pid = open(Config),
                   {ok, 200, _, Body} = get(Pid, "/connection"),
                   ok = ?CONN:stop(Pid),
                   Body
               end || _ <- lists:seq(1, 3)],
    [?assertMatch({match, _}, re:run(Body, "alpn: h2")) || Body <- Resumed],
    ?assertMatch({match, _}, re:run(lists:last(Resumed), "handshake: Resumed")).

%% The connection

%% Clauses: H2-5
h2_05_empty_trailers(_) ->
    with_script(["h2-preface", "expect-frame headers 1", "fields headers end_headers 1 \":status: 200\"",
                 "frame data 0 1 \"abc\"", "frame headers end_headers|end_stream 1 \"\"", "expect-eof"],
                fun(Options) -> ?assertMatch({ok, 200, _, <<"abc">>}, get(connect(Options), "/")) end).

%% Clauses: H2-17, API-36
h2_17_death_of_the_owner(Config) ->
    Owner = process(),
    Pid = open(#{owner => Owner}, Config),
    unlink(Pid),
    Waiting = async(fun() -> get(Pid, "/stall", [{recv_timeout, infinity}]) end),
    hansom_case:wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
    End = monitor_exit(Pid),
    kill(Owner),
    ?assertEqual({ok, {error, closed}}, result(Waiting)),
    ?assertEqual(normal, await(End)).

%% Clauses: H2-18
h2_18_the_socket(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/drip?bytes=20&interval_ms=5">>, [], <<>>, true),
    Port = port(https, Config),
    ?assertMatch({ok, {_, Port}}, ?CONN:peername(Pid)),
    ?assertMatch({ok, {_, _}}, ?CONN:sockname(Pid)),
    ?assertMatch({ok, <<_/binary>>}, ?CONN:peercert(Pid)),
    ?assertEqual(ok, ?CONN:setopts(Pid, [{nodelay, true}])),
    ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)),
    ?assertEqual(ok, ?CONN:verify_socket(Pid)),
    Payloads = payloads(Pid),
    ?assertEqual(20, byte_size(body_of(Payloads))),
    ?assertEqual(done, lists:last(Payloads)).
