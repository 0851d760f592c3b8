%% @doc What HTTP/3 has to itself: streams that are read piece by piece, errors, and the connection, which is QUIC's.
%% What it shares with HTTP/2 is in `hansom_streams_SUITE'.
-module(hansom_h3_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [start_with/1, state/1, is_state/2, async/1, result/1, process/0, run_in/2, kill/1,
                      payload/1, payloads/1, body_of/1, pieces/1, pulled/2, no_message/0, wait_for/1]).
-import(hansom_h3_case, [options/2, open/1, open/2, connect/1, with_origin/3, seen/1]).
-import(hansom_server_case, [port/2]).
-import(hansom_h2_case, [get/2, get/3, post/3]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h3_case:init_suite(Config).
end_per_suite(Config) -> hansom_h3_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{h3_09_resets, "synchronous callers wait for ever"},
     {h3_10_the_server_closes, "not everybody is told"},
     {h3_10_complete_response_not_yet_pulled, "it is lost"},
     {h3_10_goaway_lets_responses_finish, "the responses are lost"},
     {h3_10_stateless_reset, "not everybody is told"},
     {h3_11_trailers_of_a_streamed_response, "an error, or no end"},
     {h3_12_probes, "a probe closes the connection"},
     {h3_12_migration, "a function of hansom"}].

%% Streams that are read piece by piece

%% Clauses: H3-6, API-8, API-10
h3_06_streaming(Config) ->
    Pid = open(Config),
    {ok, 200, [_ | _]} = ?CONN:request_streaming(Pid, <<"GET">>, <<"/bytes/100000">>, [], <<>>),
    Pieces = pieces(Pid),
    ?assertEqual(done, lists:last(Pieces)),
    ?assert(lists:droplast(Pieces) =/= []),
    ?assert(lists:all(fun(Piece) -> Piece =/= <<>> end, Pieces)),
    ?assertEqual(100000, byte_size(body_of(Pieces))),
    ?assertEqual({error, no_stream}, ?CONN:stream_body(Pid)),
    {ok, 200, _} = ?CONN:request_streaming(Pid, <<"POST">>, <<"/echo">>, [], <<"back">>),
    ?assertEqual([<<"back">>, done], pieces(Pid)),
    {ok, 204, _} = ?CONN:request_streaming(Pid, <<"GET">>, <<"/status/204">>, [], <<>>),
    ?assertEqual(done, ?CONN:stream_body(Pid)),
    ?assertEqual(connected, state(Pid)).

%% Many processes, each with a response of its own that it reads; one of them does not.
%% Clauses: H3-6
h3_06_side_by_side(Config) ->
    Pid = open(Config),
    Slow = process(),
    {ok, 200, _} = run_in(Slow, fun() ->
                                        ?CONN:request_streaming(Pid, <<"GET">>, <<"/bytes/50000000">>, [], <<>>)
                                end),
    Readers = [async(fun() ->
                             {ok, 200, _} = ?CONN:request_streaming(Pid, <<"GET">>, <<"/bytes/1000000">>, [], <<>>),
                             byte_size(body_of(pieces(Pid)))
                     end) || _ <- lists:seq(1, 10)],
    ?assertEqual(lists:duplicate(10, {ok, 1000000}), [result(Reader) || Reader <- Readers]),
    %% Of what is not asked for little is taken in; the rest is held up by the stream's window.
    #{received := Received, buffered_in := Buffered} = hansom_nif:info(Pid),
    ?assert(Received < 11000000),
    ?assert(Buffered < 2 * 65536),
    kill(Slow),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: API-8, API-31
h3_06_bad_arguments(Config) ->
    Pid = open(Config),
    ?assertEqual({error, {invalid_request_target, <<"/\r\n">>}},
                 ?CONN:request_streaming(Pid, <<"GET">>, <<"/\r\n">>, [], <<>>)),
    ?assertMatch({error, {badarg, _}}, ?CONN:request_streaming(Pid, <<"GET">>, <<"/">>, [], bad)),
    ?assertMatch({error, {badarg, _}}, ?CONN:request_streaming(Pid, <<"GET">>, <<"/">>, [bad], <<>>)),
    %% Nothing could be sent after the head.
    [?assertEqual({error, not_supported}, apply(?CONN, Ask, [Pid, <<"POST">>, <<"/">>, [], stream]))
     || Ask <- [request, request_streaming]],
    ?assertEqual({error, not_supported}, ?CONN:request_async(Pid, <<"POST">>, <<"/">>, [], stream, true)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    ok = ?CONN:stop(Pid),
    ?assertEqual({error, closed}, ?CONN:request_streaming(Pid, <<"GET">>, <<"/">>, [], <<>>)).

%% Clauses: H3-11
h3_11_trailers_of_a_streamed_response(Config) ->
    Pid = open(Config),
    Te = [{<<"te">>, <<"trailers">>}],
    {ok, 200, _} = ?CONN:request_streaming(Pid, <<"GET">>, <<"/trailers">>, Te, <<>>),
    ?assertEqual([<<"a body with trailers\n">>, done], pieces(Pid)).

%% Errors

%% Clauses: H3-9
h3_09_resets(Config) ->
    Pid = open(Config),
    Code = 16#102,
    Path = fun(Phase) -> ["/reset", Phase, "?code=", integer_to_list(Code)] end,
    ?assertEqual({error, {stream_reset, Code}}, get(Pid, Path("/before-head"))),
    ?assertEqual({error, {stream_reset, Code}}, get(Pid, Path("/after/100"))),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, iolist_to_binary(Path("/before-head")), [], <<>>, true),
    ?assertEqual([{error, {stream_reset, Code}}], payloads(Pid)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, iolist_to_binary(Path("/after/100")), [], <<>>, true),
    ?assertEqual({error, {stream_reset, Code}}, lists:last(payloads(Pid))),
    ?assertEqual({error, {stream_reset, Code}},
                 ?CONN:request_streaming(Pid, <<"GET">>, iolist_to_binary(Path("/before-head")), [], <<>>)),
    {ok, 200, _} = ?CONN:request_streaming(Pid, <<"GET">>, iolist_to_binary(Path("/after/100")), [], <<>>),
    ?assertEqual({error, {stream_reset, Code}}, lists:last(pieces(Pid))),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Every user is told, whatever it waits for.
%% Clauses: H3-10
h3_10_the_server_closes(Config) ->
    Pid = open(Config),
    Sync = async(fun() -> get(Pid, "/stall", [{recv_timeout, infinity}]) end),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, true),
    {status, 200, _} = payload(Pid),
    {headers, _} = payload(Pid),
    Reader = process(),
    {ok, 200, _} = run_in(Reader, fun() -> ?CONN:request_streaming(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>) end),
    Sender = process(),
    ok = run_in(Sender, fun() -> ?CONN:send_request_headers(Pid, <<"POST">>, <<"/stall">>, []) end),
    wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 4 end),
    ?assertMatch({error, {transport_error, 16#102, _}}, get(Pid, "/goaway/close?code=258")),
    ?assertMatch({ok, {error, {transport_error, 16#102, _}}}, result(Sync)),
    ?assertMatch({error, {transport_error, 16#102, _}}, payload(Pid)),
    is_state(Pid, closed),
    %% Nobody read or sent anything just then.
    [?assertMatch({error, {transport_error, 16#102, _}}, run_in(User, fun() -> Step(Pid) end))
     || {User, Step} <- [{Reader, fun(Response) -> ?CONN:stream_body(Response) end},
                         {Sender, fun(Upload) -> ?CONN:send_body_chunk(Upload, <<"x">>) end}]],
    [?assertEqual({error, invalid_state}, run_in(User, fun() -> ?CONN:stream_body(Pid) end))
     || User <- [Reader, Sender]],
    %% It can be dialled again.
    ok = ?CONN:connect(Pid),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% A server that goes away serves what it has taken, and nothing is asked of it any more.
%% Clauses: H3-10, H2-8
h3_10_goaway_lets_responses_finish(Config) ->
    with_origin([], Config,
                fun(Port) ->
                        Pid = connect(options(#{port => Port}, Config)),
                        Waiting = async(fun() -> get(Pid, "/delay/500") end),
                        wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
                        {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/300000">>, [], <<>>, once),
                        {status, 200, _} = payload(Pid),
                        {headers, _} = payload(Pid),
                        ?assertMatch({ok, 200, _, _}, get(Pid, "/goaway")),
                        is_state(Pid, closed),
                        ?assertEqual({error, invalid_state}, get(Pid, "/hello")),
                        ?assertMatch({ok, {ok, 200, _, _}}, result(Waiting)),
                        ?assertEqual(300000, byte_size(body_of(pulled(Pid, Pid))))
                end).

%% A response that has come whole does not need its connection any more.
%% Clauses: H3-10, H2-10
h3_10_complete_response_not_yet_pulled(Config) ->
    [begin
         Pid = open(More, Config),
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/10000">>, [], <<>>, once),
         [{status, 200, <<>>}, {headers, _}] = [payload(Pid), payload(Pid)],
         wait_for(fun() -> maps:get(buffered_in, hansom_nif:info(Pid)) =:= 10000 end),
         %% What came of another request since shows that the end is here too.
         {ok, 200, _, _} = get(Pid, "/hello"),
         Lost = get(Pid, "/goaway/close?code=258"),
         ?assertMatch({error, {transport_error, 16#102, _}}, Lost),
         is_state(Pid, closed),
         case Unpulled of
             kept -> ?assertEqual(10000, byte_size(body_of(pulled(Pid, Pid))));
             dropped -> ?assertEqual(Lost, payload(Pid))
         end
     end || {More, Unpulled} <- [{#{}, kept}, {#{unpulled => drop}, dropped}]].

%% Clauses: H3-10, TRAP-27
h3_10_stateless_reset(Config) ->
    Pid = open(Config),
    ?assertEqual({error, {connection_closed, reset}}, get(Pid, "/disconnect/before-head")),
    is_state(Pid, closed).

%% A server that closes without an error ends the connection, and nothing crashes.
%% Clauses: H3-14, TRAP-36
h3_14_a_clean_close(Config) ->
    with_origin([], Config,
                fun(Port) ->
                        Pid = connect(options(#{port => Port}, Config)),
                        {ok, 200, _, _} = get(Pid, "/close"),
                        is_state(Pid, closed),
                        ok = ?CONN:stop(Pid)
                end),
    no_message().

%% The peer is told at once that a connection has ended, so its next packet is not needed to find out.
%% Clauses: H3-14, ST-27
h3_14_our_close(Config) ->
    [begin
         Pid = open(Config),
         {ok, 200, _, _} = get(Pid, "/hello"),
         {ok, {_, LocalPort}} = ?CONN:sockname(Pid),
         ok = End(Pid),
         %% The socket is gone when the call returns.
         {ok, Socket} = gen_udp:open(LocalPort, [{ip, {127, 0, 0, 1}}]),
         ok = gen_udp:close(Socket)
     end || End <- [fun(Pid) -> ?CONN:stop(Pid) end, fun(Pid) -> ?CONN:close(Pid) end]].

%% The connection

%% Clauses: H3-12, LOW-1, LOW-2, LOW-3, LOW-4, LOW-5
h3_12_the_socket(Config) ->
    Pid = open(Config),
    Port = port(http3, Config),
    ?assertEqual({ok, {{127, 0, 0, 1}, Port}}, ?CONN:peername(Pid)),
    {ok, {{127, 0, 0, 1}, LocalPort}} = ?CONN:sockname(Pid),
    #{peer := Peer} = seen(Pid),
    ?assertEqual(<<"127.0.0.1:", (integer_to_binary(LocalPort))/binary>>, Peer),
    {ok, Der} = ?CONN:peercert(Pid),
    {ok, Pem} = file:read_file(hansom_server_case:file("server", Config)),
    ?assertMatch([{'Certificate', Der, not_encrypted} | _], public_key:pem_decode(Pem)),
    ?assertEqual({error, not_supported}, ?CONN:setopts(Pid, [{nodelay, true}])),
    ?assertEqual({error, not_connected}, ?CONN:send(Pid, <<"x">>)),
    ?assertEqual({error, not_connected}, ?CONN:recv(Pid, 0, 100)),
    ?assertEqual(ok, ?CONN:upgrade_to_ssl(Pid, [])),
    ok = ?CONN:close(Pid),
    ?assertEqual({error, not_connected}, ?CONN:peername(Pid)),
    ?assertEqual({error, not_connected}, ?CONN:migrate(Pid)).

%% Clauses: H3-12, API-23, API-24, LOW-7
h3_12_probes(Config) ->
    with_origin([], Config,
                fun(Port) ->
                        Pid = connect(options(#{port => Port}, Config)),
                        Busy = async(fun() -> get(Pid, "/delay/300") end),
                        ?assertEqual(ok, ?CONN:verify_socket(Pid)),
                        ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)),
                        ?assertMatch({ok, {ok, 200, _, _}}, result(Busy)),
                        ?assertMatch(#{protocol := http3, ready := true},
                                     ?CONN:checkin_info(Pid)),
                        {error, _} = get(Pid, "/goaway/close?code=256"),
                        is_state(Pid, closed),
                        ?assertEqual({error, invalid_state}, ?CONN:is_ready(Pid)),
                        ?assertMatch(#{ready := false}, ?CONN:checkin_info(Pid))
                end).

%% Exchanges go on while the local address changes.
%% Clauses: H3-12
h3_12_migration(Config) ->
    Pid = open(Config),
    #{peer := Before} = seen(Pid),
    Download = async(fun() -> get(Pid, "/bytes/20000000") end),
    ok = ?CONN:migrate(Pid),
    {ok, {_, LocalPort}} = ?CONN:sockname(Pid),
    #{peer := After} = seen(Pid),
    ?assertEqual(<<"127.0.0.1:", (integer_to_binary(LocalPort))/binary>>, After),
    ?assertNotEqual(Before, After),
    {ok, {ok, 200, _, Body}} = result(Download),
    ?assertEqual(20000000, byte_size(Body)),
    Plain = start_with(#{host => "127.0.0.1", port => port(http, Config)}),
    ok = ?CONN:connect(Plain),
    ?assertEqual({error, not_supported}, ?CONN:migrate(Plain)).

%% Clauses: H3-13, ST-8
h3_13_silence_of_the_peer(Config) ->
    {Path, Port} = hansom_udp_path:open(port(http3, Config)),
    Pid = connect(options(#{port => Port, quic_idle_timeout => 500}, Config)),
    {ok, 200, _, _} = get(Pid, "/hello"),
    ok = hansom_udp_path:cut(Path),
    ?assertEqual({error, {connection_closed, timeout}}, get(Pid, "/hello", [{recv_timeout, infinity}])),
    is_state(Pid, closed).

%% Clauses: H3-13, ST-8
h3_13_receive_timeout(Config) ->
    Pid = open(Config),
    ?assertEqual({error, timeout}, get(Pid, "/stall", [{recv_timeout, 100}])),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% PINGs keep a connection that would be idle for too long.
%% Clauses: TRAP-27
trap_27_keep_alive(Config) ->
    Kept = open(#{quic_idle_timeout => 500, ping_interval => 100}, Config),
    Idle = open(#{quic_idle_timeout => 500}, Config),
    is_state(Idle, closed),
    hansom_case:hold(1000),
    ?assertMatch({ok, 200, _, _}, get(Kept, "/hello")).

%% The window slides, also over a path that loses packets.
%% Clauses: TRAP-27
trap_27_large_downloads(Config) ->
    Size = 30000000,
    Path = ["/bytes/", integer_to_list(Size)],
    Pid = open(#{stream_window => 100000}, Config),
    {ok, 200, _, Body} = get(Pid, Path),
    ?assertEqual(Size, byte_size(Body)),
    with_origin(["--loss", "2"], Config,
                fun(Port) ->
                        Lossy = connect(options(#{port => Port}, Config)),
                        {ok, 200, _, Lost} = get(Lossy, "/bytes/2000000", [{recv_timeout, infinity}]),
                        ?assertEqual(2000000, byte_size(Lost)),
                        {ok, 200, _, <<"bytes: 500000", _/binary>>} =
                            post(Lossy, "/upload", binary:copy(<<"z">>, 500000))
                end).

%% Clauses: RSP-25
rsp_25_alternative_services(Config) ->
    hansom_altsvc:with_cache(
      fun(Cached) ->
              Pid = open(Config),
              {ok, 200, _, _} = get(Pid, "/alt-svc?value=h3%3D%22:443%22"),
              wait_for(fun() -> Cached() =/= [] end),
              Port = port(http3, Config),
              [{"localhost", Port, Headers}] = Cached(),
              ?assertEqual(<<"h3=\":443\"">>, proplists:get_value(<<"alt-svc">>, Headers))
      end).

%% Clauses: API-29
api_29_figures(Config) ->
    Pid = open(Config),
    {ok, 200, _, _} = get(Pid, "/bytes/1000"),
    ?assertMatch(#{protocol := http3, tls := true, requests := 1, connects := 1, handshakes := 1, state := connected},
                 hansom:info(Pid)),
    #{received := Received, sent := Sent} = hansom:info(Pid),
    ?assert(Received >= 1000),
    ?assert(Sent > 0).
