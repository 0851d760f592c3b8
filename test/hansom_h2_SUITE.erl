%% @doc Exchanges over HTTP/2: negotiation, heads, bodies, uploads, messages, the process.
-module(hansom_h2_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [start_with/1, state/1, monitor_exit/1, await/1, async/1, result/1, process/0, run_in/2,
                      start_in/2, kill/1, payload/1, payloads/1, body_of/1, pieces/1, no_message/0]).
-import(hansom_h2_case, [options/1, options/2, open/1, open/2, connect/1, get/2, get/3, post/3, port/2, with_origin/3,
                         with_script/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h2_case:init_suite(Config).
end_per_suite(Config) -> hansom_h2_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{neg_02_prior_knowledge, "h2c is an option of hansom"},
     {h2_05_trailers_by_option, "an option of hansom"},
     {h2_05_request_trailers, "an option of hansom"},
     {h2_15_interim_by_option, "an option of hansom"},
     {h2_14_uploads_side_by_side, "one upload blocks the whole connection"}].

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

%% Requests and responses

%% Clauses: H2-1
h2_01_the_head(Config) ->
    Pid = open(Config),
    Port = integer_to_binary(port(https, Config)),
    {ok, 200, _, Body} = ?CONN:request(Pid, <<"POST">>, <<"/headers?a=b">>,
                                       [{<<"X-Upper">>, <<"Kept">>}, {<<"Host">>, <<"elsewhere.example">>},
                                        {x_atom, value}, {"x-list", "text"}, {<<"x-number">>, 7}], <<"body">>),
    [Line | Fields] = binary:split(Body, <<"\n">>, [global, trim]),
    ?assertEqual(<<"POST https://localhost:", Port/binary, "/headers?a=b HTTP/2.0">>, Line),
    ?assertEqual(lists:sort([<<"x-upper: Kept">>, <<"x_atom: value">>,
                             <<"x-list: text">>, <<"x-number: 7">>]),
                 lists:sort(Fields)).

%% Clauses: H2-2
h2_02_what_is_not_allowed(Config) ->
    Pid = open(Config),
    Refused = fun(Method, Path, Headers) ->
                      ?assertEqual({error, protocol_error}, ?CONN:request(Pid, Method, Path, Headers, <<>>))
              end,
    [Refused(<<"GET">>, <<"/hello">>, [Header])
     || Header <- [{<<"connection">>, <<"close">>}, {<<"Proxy-Connection">>, <<"x">>}, {<<"keep-alive">>, <<"1">>},
                   {<<"transfer-encoding">>, <<"chunked">>}, {<<"upgrade">>, <<"x">>}, {<<"te">>, <<"gzip">>},
                   {<<"bad name">>, <<"x">>}, {<<"x">>, <<"a\r\nb">>}, {<<"x">>, <<"a", 0>>}, {<<"x">>, <<" a">>},
                   {<<"x">>, <<"a ">>}]],
    Refused(<<"CONNECT">>, <<"/">>, []),
    Refused(<<"GET">>, <<"hello">>, []),
    Refused(<<"GET">>, <<"*">>, []),
    ?assertEqual({error, protocol_error}, ?CONN:request_async(Pid, <<"GET">>, <<"x">>, [], <<>>, true)),
    ?assertEqual({error, protocol_error}, ?CONN:send_request_headers(Pid, <<"GET">>, <<"x">>, [])),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello", [])),
    ?assertMatch({ok, 200, _, _}, ?CONN:request(Pid, <<"GET">>, <<"/hello">>, [{<<"te">>, <<"trailers">>}], <<>>)).

%% Clauses: H2-3, API-7
h2_03_whole_responses(Config) ->
    Pid = open(Config),
    {ok, 200, Headers, Body} = get(Pid, "/bytes/300000"),
    ?assertEqual(<<"300000">>, proplists:get_value(<<"content-length">>, Headers)),
    ?assert(Body =:= << <<(I rem 251)>> || I <- lists:seq(0, 299999) >>),
    ?assertMatch({ok, 200, _, <<>>}, ?CONN:request(Pid, <<"HEAD">>, <<"/bytes/10">>, [], <<>>)),
    ?assertMatch({ok, 204, _, <<>>}, get(Pid, "/status/204")),
    ?assertMatch({ok, 304, _, <<>>}, get(Pid, "/cache/304")),
    ?assertMatch({ok, 404, _, _}, get(Pid, "/nowhere")),
    {ok, 200, _, Echo} = post(Pid, "/echo", [<<"one">>, "two"]),
    ?assertEqual(<<"onetwo">>, Echo),
    ?assertMatch([_ | _], ?CONN:response_headers(Pid)),
    ?assertEqual(connected, state(Pid)).

%% Clauses: H2-3, H2-14
h2_03_many_at_once(Config) ->
    Pid = open(Config),
    Handles = [async(fun() ->
                             Size = integer_to_binary(N * 1000),
                             {ok, 200, _, Body} = get(Pid, ["/bytes/", Size]),
                             byte_size(Body)
                     end) || N <- lists:seq(1, 100)],
    ?assertEqual([{ok, N * 1000} || N <- lists:seq(1, 100)], [result(Handle) || Handle <- Handles]),
    ?assertEqual(connected, state(Pid)).

%% A slow response delays nobody.
%% Clauses: H2-3
h2_03_slow_beside_fast(Config) ->
    Pid = open(Config),
    Slow = async(fun() -> get(Pid, "/stall", [{recv_timeout, infinity}]) end),
    hansom_case:wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    ok = ?CONN:close(Pid),
    ?assertEqual({ok, {error, {closed, normal}}}, result(Slow)).

%% Clauses: H2-5, TRAP-14
h2_05_trailers_end_the_response(Config) ->
    Pid = open(Config),
    ?assertMatch({ok, 200, _, <<"a body with trailers\n">>},
                 ?CONN:request(Pid, <<"GET">>, <<"/trailers">>, [{<<"te">>, <<"trailers">>}], <<>>)),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/trailers">>, [{<<"te">>, <<"trailers">>}], <<>>, true),
    ?assertMatch([{status, 200, <<>>}, {headers, _}, <<"a body with trailers\n">>, done], payloads(Ref)).

%% Clauses: H2-5
h2_05_empty_trailers(_) ->
    with_script(["h2-preface", "expect-frame headers 1", "fields headers end_headers 1 \":status: 200\"",
                 "frame data 0 1 \"abc\"", "frame headers end_headers|end_stream 1 \"\"", "expect-eof"],
                fun(Options) -> ?assertMatch({ok, 200, _, <<"abc">>}, get(connect(Options), "/")) end).

%% Clauses: H2-5
h2_05_trailers_by_option(Config) ->
    Te = [{<<"te">>, <<"trailers">>}],
    Pid = open(Config),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/trailers">>, Te, <<>>, true, self(), false, [{trailers, true}]),
    ?assertMatch([{status, 200, <<>>}, {headers, _}, _, {trailers, [{_, _} | _]}, done], payloads(Ref)),
    Always = open(#{trailers => true}, Config),
    {ok, Ref2} = ?CONN:request_async(Always, <<"GET">>, <<"/trailers">>, Te, <<>>, true),
    ?assertMatch([{status, 200, <<>>}, {headers, _}, _, {trailers, [{_, _} | _]}, done], payloads(Ref2)).

%% Clauses: H2-5, H2-13
h2_05_request_trailers(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/upload">>, []),
    ok = ?CONN:send_body_chunk(Pid, <<"abc">>),
    ?assertMatch({error, {badarg, {header, _}}}, ?CONN:finish_send_body(Pid, [{trailers, [nonsense]}])),
    ok = ?CONN:finish_send_body(Pid, [{trailers, [{<<"X-Sum">>, 5}]}]),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, Body} = ?CONN:body(Pid),
    ?assertMatch({match, _}, re:run(Body, "bytes: ?3\\n")),
    ?assertMatch({match, _}, re:run(Body, "trailer x-sum: ?5")).

%% Messages

%% Clauses: H2-10, ASY-1, ASY-7, TRAP-31
h2_10_messages(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/100000">>, [], <<>>, true),
    [{status, 200, <<>>}, {headers, _} | Rest] = payloads(Pid),
    ?assertEqual(done, lists:last(Rest)),
    ?assertEqual(100000, byte_size(body_of(Rest))),
    ?assertEqual(connected, state(Pid)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/redirect/1">>, [], <<>>, true, self(), true),
    ?assertMatch([{status, 302, <<>>}, {headers, _} | _], payloads(Pid)).

%% Messages for others do not change the owner.
%% Clauses: H2-10, ASY-10
h2_10_receivers_do_not_own(Config) ->
    Pid = open(Config),
    Receiver = process(),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, true, Receiver),
    ?assertMatch({status, 200, <<>>}, run_in(Receiver, fun() -> payload(Pid) end)),
    kill(Receiver),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: H2-15, API-17, RSP-15, API-8
h2_15_what_has_no_effect(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, true),
    {status, 200, <<>>} = payload(Pid),
    {headers, _} = payload(Pid),
    ?assertEqual({error, invalid_state}, ?CONN:stop_async(Pid)),
    ok = ?CONN:pause_stream(Pid),
    ok = ?CONN:resume_stream(Pid),
    Tell = fun(_, _, _) -> error(not_to_be_called) end,
    ?assertMatch({ok, 200, _, _}, get(Pid, "/interim/103", [{inform_fun, Tell}])),
    {ok, 200, Headers, Body} = get(Pid, "/gzip", [{auto_decompress, true}]),
    ?assertEqual(<<"gzip">>, proplists:get_value(<<"content-encoding">>, Headers)),
    ?assertMatch(<<31, 139, _/binary>>, Body),
    ?assertEqual({error, invalid_state}, ?CONN:request_streaming(Pid, <<"GET">>, <<"/">>, [], <<>>)).

%% Clauses: H2-15
h2_15_interim_by_option(Config) ->
    Pid = open(Config),
    Self = self(),
    Tell = fun(Status, Reason, Headers) -> Self ! {informed, Status, Reason, Headers} end,
    {ok, 200, _, _} = get(Pid, "/interim/103?count=2", [{inform_fun, Tell}, {interim, true}]),
    [receive {informed, 103, <<>>, [_ | _]} -> ok after 5000 -> error(not_informed) end || _ <- [1, 2]],
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/interim/103">>, [], <<>>, true, self(), false,
                                    [{interim, true}]),
    ?assertMatch([{informational, 103, <<>>, _}, {status, 200, <<>>} | _], payloads(Ref)).

%% Uploads in pieces

%% Clauses: H2-13, TRAP-12, API-11, API-14
h2_13_upload(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
    ok = ?CONN:send_body_chunk(Pid, <<"one,">>),
    ok = ?CONN:send_body_chunk(Pid, ["two", $,]),
    ok = ?CONN:send_body_chunk(Pid, {fun(0) -> eof; (N) -> {ok, <<"x">>, N - 1} end, 3}),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual(connected, state(Pid)),
    Pieces = pieces(Pid),
    ?assertEqual(<<"one,two,xxx">>, iolist_to_binary([Piece || Piece <- Pieces, is_binary(Piece)])),
    ?assertEqual(done, lists:last(Pieces)),
    ?assertEqual({error, no_stream}, ?CONN:stream_body(Pid)).

%% Clauses: H2-13, API-9
h2_13_body_of_an_upload(Config) ->
    Pid = open(Config),
    ?assertEqual({error, no_stream}, ?CONN:body(Pid)),
    ?assertEqual({error, no_stream}, ?CONN:stream_body(Pid)),
    ?assertEqual({error, invalid_state}, ?CONN:start_response(Pid)),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
    ok = ?CONN:send_body_chunk(Pid, binary:copy(<<"x">>, 100000)),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual({ok, binary:copy(<<"x">>, 100000)}, ?CONN:body(Pid)).

%% Clauses: H2-13
h2_13_early_response(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/hello">>, []),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual({ok, <<"Hello, world!\n">>}, ?CONN:body(Pid)).

%% A function that fails ends its own stream only.
%% Clauses: H2-13, H2-14
h2_13_failing_producer(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
    ?assertEqual({error, disk}, ?CONN:send_body_chunk(Pid, fun() -> {error, disk} end)),
    ?assertEqual({error, no_stream}, ?CONN:start_response(Pid)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: H2-14
h2_14_uploads_side_by_side(Config) ->
    Pid = open(Config),
    Users = [process() || _ <- lists:seq(1, 5)],
    [ok = run_in(User, fun() -> ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []) end) || User <- Users],
    [ok = run_in(User, fun() -> ?CONN:send_body_chunk(Pid, pid_to_list(User)) end) || User <- Users],
    ?assertEqual(connected, state(Pid)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    [?assertEqual({ok, list_to_binary(pid_to_list(User))},
                  run_in(User, fun() ->
                                       ok = ?CONN:finish_send_body(Pid),
                                       {ok, 200, _, Pid} = ?CONN:start_response(Pid),
                                       ?CONN:body(Pid)
                               end)) || User <- Users].

%% The process

%% Clauses: ST-9
st_09_no_idle_end(Config) ->
    Pid = open(#{idle_timeout => 50}, Config),
    hansom_case:hold(200),
    ?assertEqual(connected, state(Pid)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: API-39, POOL-9
api_39_what_a_pool_is_told(Config) ->
    Pid = open(Config),
    ?assertMatch(#{protocol := http2, upgraded_ssl := false, ready := true}, ?CONN:checkin_info(Pid)).

%% Clauses: POOL-6, POOL-18
pool_06_never_back_to_a_pool(Config) ->
    Pool = process(),
    Pid = open(#{pool_pid => Pool, owner => self()}, Config),
    ok = start_in(Pool, fun() ->
                                receive {'$gen_call', From, {checkin_sync, Pid, ShouldClose}} ->
                                        put(told, ShouldClose),
                                        gen_server:reply(From, ok)
                                end
                        end),
    ?assertEqual(ok, ?CONN:release_to_pool(Pid)),
    ?assertEqual(true, run_in(Pool, fun() -> get(told) end)).

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
