%% @doc Interim responses, body delivery and decompression, timeouts, limits, and the
%% watched idle connection.
-module(hansom_body_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [connected/1, connected/2, serve/1, request/1, exchange/1, state/1,
                      response/1, response/2, chunked/1, pieces/1, payload/1, payloads/1]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{rsp_07_limits_of_what_a_peer_may_send, "limits are an addition"},
     {rsp_18_trailers_by_option, "an option of hansom"},
     {rsp_21_brotli_and_zstandard, "more codings are decompressed"},
     {rsp_21_bombs_are_refused, "a cap on decompressed size is an addition"},
     {rsp_22_truncated_body_is_an_error, "a truncated body is an error by default"},
     {rsp_29_bytes_while_idle_close, "RSP-29: 4.7.4 keeps them for the next response"}].

request_with(Pid, Options) ->
    ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, infinity, Options).

%% Trailers

%% Between the last piece and `done', with the same pull as `done'. Sections without a field, and those cut short, are
%% none; nobody is told who did not ask, or reads the response.
%%
%% Clauses: RSP-18, ASY-1, ASY-2
rsp_18_trailers_by_option(_) ->
    Head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    Fields = [{<<"A">>, <<"1">>}, {<<"b">>, <<"2">>}, {<<"A">>, <<"3">>}],
    Section = "A: 1\r\nb:2 \r\nA: 3\r\n\r\n",
    Async = fun(Play, StartOptions, Options, Mode) ->
                    {Pid, _} = connected(serve([request | Play]), StartOptions),
                    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, Mode, self(), false, Options),
                    {status, 200, _} = payload(Pid),
                    {headers, _} = payload(Pid),
                    Pid
            end,
    [?assertEqual([<<"abc">>, {trailers, Fields}, done], payloads(Async(Play, Start, Options, true)))
     || Play <- [[{send, [Head, Section]}], [{drip, [Head, Section]}]],
        {Start, Options} <- [{#{}, [{trailers, true}]}, {#{trailers => true}, []}]],
    [?assertEqual([<<"abc">>, done], payloads(Async([{send, [Head, Rest]} | End], #{}, Options, true)))
     || {Rest, End, Options} <- [{Section, [], []}, {"\r\n", [], [{trailers, true}]},
                                 {"A: 1\r\nb", [close], [{trailers, true}]}]],
    Pulled = Async([{send, [Head, Section]}], #{}, [{trailers, true}], once),
    ok = ?CONN:stream_next(Pulled),
    ?assertEqual(<<"abc">>, payload(Pulled)),
    ok = ?CONN:stream_next(Pulled),
    ?assertEqual([{trailers, Fields}, done], payloads(Pulled)),
    {Sync, _} = connected(serve([request, {send, [Head, Section]}]), #{trailers => true}),
    ?assertEqual({200, <<"abc">>}, exchange(Sync)).

%% Interim responses

interim() ->
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\nLink: b\r\n\r\n"
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".

%% Clauses: RSP-12
rsp_12_interim_responses_are_consumed(_) ->
    Many = lists:duplicate(20, "HTTP/1.1 199 Wait\r\n\r\n"),
    {Pid, _} = connected(serve([request, {send, [interim(), response(<<"a">>)]},
                                request, {drip, [interim(), response(<<"b">>)]},
                                request, {send, [Many, response(<<"c">>)]}])),
    [?assertEqual({200, Body}, exchange(Pid)) || Body <- [<<"a">>, <<"b">>, <<"c">>]].

%% Clauses: RSP-13, ST-32
rsp_13_inform_fun_of_a_request(_) ->
    {Pid, _} = connected(serve([{repeat, [request, {send, [interim(), response(<<"a">>)]}]}])),
    Self = self(),
    Inform = fun(Status, Reason, Headers) -> Self ! {inform, self(), Status, Reason, Headers} end,
    {ok, 200, _} = request_with(Pid, [{inform_fun, Inform}]),
    %% They come before the answer.
    Told = [receive {inform, Pid, S, R, H} -> {S, R, H} after 0 -> none end || _ <- [1, 2, 3]],
    ?assertEqual([{100, <<"Continue">>, []},
                  {103, <<"Early Hints">>, [{<<"Link">>, <<"a">>}, {<<"Link">>, <<"b">>}]},
                  {101, <<"Switching Protocols">>, [{<<"Upgrade">>, <<"x">>}]}], Told),
    {ok, <<"a">>} = ?CONN:body(Pid),
    %% It was for that request only.
    ?assertEqual({200, <<"a">>}, exchange(Pid)),
    hansom_case:no_message().

%% Clauses: RSP-13, ST-32, API-14
rsp_13_inform_fun_of_the_connection(_) ->
    Self = self(),
    Inform = fun(Status, _, _) -> Self ! {inform, self(), Status} end,
    {Pid, _} = connected(serve([request, {send, [interim(), response(<<"a">>)]}]),
                         #{inform_fun => Inform}),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, [{<<"Host">>, <<"x">>}]),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual([100, 103, 101],
                 [receive {inform, Pid, Status} -> Status after 0 -> none end || _ <- [1, 2, 3]]),
    {ok, <<"a">>} = ?CONN:body(Pid).

%% Clauses: RSP-13, ST-32, EXIT-4
rsp_13_exception_of_an_inform_fun(_) ->
    {Pid, Peer} = connected(serve([request, {send, [interim(), response(<<"a">>)]}])),
    unlink(Pid),
    ?assertMatch({exit, {_, {gen_statem, call, _}}},
                 try request_with(Pid, [{inform_fun, fun(_, _, _) -> error(oops) end}])
                 catch Class:Reason -> {Class, Reason}
                 end),
    _ = hansom_case:is_gone(Pid),
    ok = hansom_script:await_script(Peer).

%% Whoever catches the exit finds nothing more in its mailbox.
%% Clauses: RSP-13, ST-32, API-14
rsp_13_exception_of_an_inform_fun_of_an_upload(_) ->
    {Pid, _} = connected(serve([request, {send, interim()}, eof]), #{inform_fun => fun(_, _, _) -> error(oops) end}),
    unlink(Pid),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, [{<<"Host">>, <<"x">>}]),
    ok = ?CONN:finish_send_body(Pid),
    ?assertExit({{oops, _}, {gen_statem, call, _}}, ?CONN:start_response(Pid)),
    _ = hansom_case:is_gone(Pid),
    %% The message would be sent by the thread that takes connections apart, which also answers this.
    hansom_case:wait_for(fun() -> noproc =:= hansom_nif:state(Pid) end),
    ?assertEqual(none, receive Message -> Message after 500 -> none end).

%% Clauses: RSP-14, ASY-4
rsp_14_interim_responses_of_an_async_request(_) ->
    {Pid, _} = connected(serve([request, {send, [interim(), response(<<"a">>)]}])),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
    ?assertMatch([{informational, 100, <<"Continue">>, []},
                  {informational, 103, <<"Early Hints">>, [{<<"Link">>, <<"a">>}, {<<"Link">>, <<"b">>}]},
                  {informational, 101, <<"Switching Protocols">>, [{<<"Upgrade">>, <<"x">>}]},
                  {status, 200, <<"OK">>}, {headers, _}, <<"a">>, done], hansom_case:payloads(Pid)).

%% Delivery

%% Clauses: RSP-20, API-10
rsp_20_pieces_that_are_apart_in_time_stay_apart(_) ->
    Head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
    {Pid, Peer} = connected(serve([request, {send, [Head, "one"]}, wait, {send, "two"}])),
    {ok, 200, _} = request(Pid),
    ?assertEqual({ok, <<"one">>}, ?CONN:stream_body(Pid)),
    hansom_script:continue(Peer),
    ?assertEqual({ok, <<"two">>}, ?CONN:stream_body(Pid)),
    ?assertEqual(done, ?CONN:stream_body(Pid)),
    ?assertEqual(connected, state(Pid)).

%% Clauses: RSP-20, API-10
rsp_20_one_piece_for_a_chunk(_) ->
    {Pid, _} = connected(serve([request, {send, chunked(["one", "two", "three"])}])),
    {ok, 200, _} = request(Pid),
    ?assertEqual([<<"one">>, <<"two">>, <<"three">>, done], pieces(Pid)).

%% Clauses: RSP-20, API-9
rsp_20_body_after_some_pieces_gives_the_rest(_) ->
    {Pid, _} = connected(serve([request, {send, chunked(["one", "two", "three"])}])),
    {ok, 200, _} = request(Pid),
    {ok, <<"one">>} = ?CONN:stream_body(Pid),
    ?assertEqual({ok, <<"twothree">>}, ?CONN:body(Pid)).

%% Clauses: RSP-20
rsp_20_large_bodies(_) ->
    Part = crypto:strong_rand_bytes(1 bsl 16),
    Size = 64 bsl 16,
    Length = ["HTTP/1.1 200 OK\r\nContent-Length: ", integer_to_list(Size), "\r\n\r\n"],
    Chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    Steps = [request, {send, Length}, {flood, Part, 64},
             request, {send, Chunked}, {flood, ["10000\r\n", Part, "\r\n"], 64}, {send, "0\r\n\r\n"}],
    {Pid, _} = connected(serve([{repeat, Steps}])),
    Whole = binary:copy(Part, 64),
    [?assertEqual({200, Whole}, exchange(Pid)) || _ <- [length, chunked]],
    [begin
         {ok, 200, _} = request(Pid),
         [done | Pieces] = lists:reverse(pieces(Pid)),
         ?assertEqual(Whole, iolist_to_binary(lists:reverse(Pieces)))
     end || _ <- [length, chunked]].

%% Decompression

coded(Coding, Body) -> response(["Content-Encoding: " ++ Coding], Body).

%% Clauses: RSP-21
rsp_21_auto_decompress(_) ->
    Text = binary:copy(<<"hello, world ">>, 1000),
    {Front, Back} = split_binary(Text, 5000),
    Cases = [{"gzip", zlib:gzip(Text)}, {"X-GZIP", zlib:gzip(Text)}, {"deflate", zlib:compress(Text)},
             {"gzip", [zlib:gzip(Front), zlib:gzip(Back)]}],
    [begin
         {Pid, _} = connected(serve([{repeat, [request, {send, coded(Coding, Body)}]}])),
         {ok, 200, Headers} = request_with(Pid, [{auto_decompress, true}]),
         ?assertEqual({<<"Content-Encoding">>, list_to_binary(Coding)},
                      lists:keyfind(<<"Content-Encoding">>, 1, Headers)),
         ?assertEqual({ok, Text}, ?CONN:body(Pid)),
         %% Off by default, also after a request that asked for it.
         ?assertEqual({200, iolist_to_binary(Body)}, exchange(Pid))
     end
     || {Coding, Body} <- Cases].

%% Clauses: RSP-21
rsp_21_other_codings_are_left_alone(_) ->
    [begin
         {Pid, _} = connected(serve([request, {send, coded(Coding, <<"as it is">>)}])),
         {ok, 200, _} = request_with(Pid, [{auto_decompress, true}]),
         ?assertEqual({ok, <<"as it is">>}, ?CONN:body(Pid))
     end
     || Coding <- ["identity", "compress", "gzippy"]].

%% Clauses: RSP-21
rsp_21_decompress_errors(_) ->
    [begin
         {Pid, _} = connected(serve([request, {send, coded(Coding, <<"not compressed at all">>)}])),
         {ok, 200, _} = request_with(Pid, [{auto_decompress, true}]),
         ?assertMatch({error, {decompress_error, Tag, _}}, ?CONN:body(Pid))
     end
     || {Coding, Tag} <- [{"gzip", gzip}, {"x-gzip", gzip}, {"deflate", deflate}]].

%% Clauses: RSP-21
rsp_21_not_for_pieces_async_and_head(_) ->
    Body = zlib:gzip(<<"hello">>),
    {Pid, _} = connected(serve([request, {send, coded("gzip", Body)},
                                request, {send, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                                          "Content-Length: 9\r\n\r\n"},
                                request, {send, coded("gzip", Body)}])),
    {ok, 200, _} = request_with(Pid, [{auto_decompress, true}]),
    [done | Pieces] = lists:reverse(pieces(Pid)),
    ?assertEqual(Body, iolist_to_binary(lists:reverse(Pieces))),
    {ok, 200, _} = ?CONN:request(Pid, <<"HEAD">>, <<"/">>, [], <<>>, infinity,
                                 [{auto_decompress, true}]),
    ?assertEqual({ok, <<>>}, ?CONN:body(Pid)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true, self(), false,
                                    [{auto_decompress, true}]),
    ?assertEqual(Body, hansom_case:body_of(hansom_case:payloads(Pid))).

%% Clauses: RSP-21
rsp_21_brotli_and_zstandard(_) ->
    Text = <<"hello hello hello hello\n">>,
    [begin
         {Pid, _} = connected(serve([request, {send, coded(Coding, base64:decode(Body))}])),
         {ok, 200, _} = request_with(Pid, [{auto_decompress, true}]),
         ?assertEqual({ok, Text}, ?CONN:body(Pid))
     end
     || {Coding, Body} <- [{"br", <<"GxcA+I2Ubt5EVYbWCiBsb0oReeKArhY=">>},
                           {"zstd", <<"KLUv/QRYbQAAOGhlbGxvIAoBAJlLEah8Lqg=">>}]].

%% Clauses: RSP-21
rsp_21_bombs_are_refused(_) ->
    %% 64 MiB of zeros.
    Zeros = binary:copy(<<0>>, 1 bsl 20),
    Brotli = base64:decode(<<"y///P/gnAOKxQCD3/o///3/wTwDEYRGA7v0f////4J8AiMMCAN37P/7//8E/ARCHBQC693/8"
                             "//+DfwIgDgsAdO//+P//B/8EQBwWAOje//H//w/+CYA4LADQvf/j//8f/BMAcVgAoHv/Nw==">>),
    [begin
         {Pid, _} = connected(serve([request, {send, coded(Coding, Body)}])),
         {ok, 200, _} = request_with(Pid, [{auto_decompress, true}]),
         ?assertMatch({error, {decompress_error, Tag, too_large}}, ?CONN:body(Pid))
     end
     || {Coding, Tag, Body} <- [{"gzip", gzip, deflated(16 + 15, Zeros, 64)},
                                {"deflate", deflate, deflated(15, Zeros, 64)},
                                {"br", br, Brotli}]].

deflated(WindowBits, Data, Count) ->
    Z = zlib:open(),
    ok = zlib:deflateInit(Z, best_compression, deflated, WindowBits, 8, default),
    Bytes = [zlib:deflate(Z, Data) || _ <- lists:seq(1, Count)],
    Last = zlib:deflate(Z, <<>>, finish),
    ok = zlib:close(Z),
    [Bytes, Last].

%% Ends

%% Clauses: RSP-22, ST-15
rsp_22_truncated_body_may_be_complete(_) ->
    [begin
         Server = serve([request, {send, ["HTTP/1.1 200 OK\r\n", Bytes]}, half_close, eof]),
         {Pid, _} = connected(Server, #{truncated_body => ok}),
         {ok, 200, _} = request(Pid),
         Exit = hansom_case:monitor_exit(Pid),
         ?assertEqual({ok, <<"hello">>}, ?CONN:body(Pid)),
         ?assertEqual(normal, hansom_case:await(Exit)),
         {Streamed, _} = connected(Server, #{truncated_body => ok}),
         {ok, 200, _} = request(Streamed),
         ?assertEqual([<<"hello">>, done], pieces(Streamed)),
         {Async, _} = connected(Server, #{truncated_body => ok}),
         {ok, Async} = ?CONN:request_async(Async, <<"GET">>, <<"/">>, [], <<>>, true),
         ?assertMatch([{status, 200, _}, {headers, _}, <<"hello">>, done], hansom_case:payloads(Async))
     end
     || Bytes <- ["Content-Length: 10\r\n\r\nhello",
                  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]].

%% A part of a compressed body is none that could be whole.
%% Clauses: RSP-22, RSP-21
rsp_22_truncated_body_may_not_be_part_of_a_coding(_) ->
    Part = binary:part(zlib:gzip(binary:copy(<<"hello ">>, 50)), 0, 20),
    Server = serve([request, {send, ["HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n", Part]},
                    half_close, eof]),
    {Pid, _} = connected(Server, #{truncated_body => ok}),
    {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, infinity, [{auto_decompress, true}]),
    ?assertEqual({error, {decompress_error, gzip, data_error}}, ?CONN:body(Pid)).

%% Clauses: RSP-22, ST-19, TRAP-41
rsp_22_truncated_body_is_an_error(_) ->
    [begin
         Server = serve([request, {send, ["HTTP/1.1 200 OK\r\n", Bytes]}, half_close, eof]),
         {Pid, _} = connected(Server),
         {ok, 200, _} = request(Pid),
         Exit = hansom_case:monitor_exit(Pid),
         ?assertEqual({error, {closed, <<"hello">>}}, ?CONN:body(Pid)),
         ?assertEqual(normal, hansom_case:await(Exit)),
         {Streamed, _} = connected(Server),
         {ok, 200, _} = request(Streamed),
         ?assertEqual([<<"hello">>, {error, closed}], pieces(Streamed)),
         {Async, _} = connected(Server),
         {ok, Async} = ?CONN:request_async(Async, <<"GET">>, <<"/">>, [], <<>>, true),
         ?assertMatch([{status, 200, _}, {headers, _}, <<"hello">>, {error, closed}],
                      hansom_case:payloads(Async))
     end
     || Bytes <- ["Content-Length: 10\r\n\r\nhello",
                  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]].

%% Clauses: RSP-11, ST-8, ST-18
rsp_11_timeout_before_the_headers_end(_) ->
    [begin
         {Pid, Peer} = connected(serve([request, {send, Bytes}, eof]), #{recv_timeout => 40}),
         ?assertEqual({error, timeout}, request(Pid)),
         ?assertEqual(closed, state(Pid)),
         ok = hansom_script:await_script(Peer)
     end
     || Bytes <- [<<>>, <<"HTTP/1.1 2">>, <<"HTTP/1.1 200 OK\r\nA: b">>]].

%% Clauses: RSP-23, ST-8, ST-19, TRAP-41
rsp_23_timeout_inside_the_body(_) ->
    Server = serve([request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"}, eof]),
    {Pid, Peer} = connected(Server, #{recv_timeout => 40}),
    {ok, 200, _} = request(Pid),
    Exit = hansom_case:monitor_exit(Pid),
    ?assertEqual({error, timeout}, ?CONN:body(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)),
    ok = hansom_script:await_script(Peer),
    {Streamed, _} = connected(Server, #{recv_timeout => 40}),
    {ok, 200, _} = request(Streamed),
    ?assertEqual([<<"hello">>, {error, timeout}], pieces(Streamed)).

%% Clauses: ST-8
rsp_23_timeout_is_for_each_read(_) ->
    %% Six reads, each well within the timeout, together beyond it.
    Pause = fun(Byte) -> [wait, {send, [Byte]}] end,
    Steps = lists:flatmap(Pause, "56789"),
    {Pid, Peer} = connected(serve([request, {send, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n4"}
                                   | Steps]), #{recv_timeout => 2000}),
    {ok, 200, _} = request(Pid),
    Reader = hansom_case:async(fun() -> ?CONN:body(Pid) end),
    [begin hansom_case:hold(450), hansom_script:continue(Peer) end || _ <- "56789"],
    ?assertEqual({ok, {ok, <<"456789">>}}, hansom_case:result(Reader)).

%% Clauses: RSP-7
rsp_07_limits_of_what_a_peer_may_send(_) ->
    Status = "HTTP/1.1 200 OK\r\n",
    Chunked = [Status, "Transfer-Encoding: chunked\r\n\r\n"],
    Long = binary:copy(<<"x">>, 2000),
    Cases = [{max_header_bytes, 1000, [Status, "A: ", Long, "\r\n\r\n"]},
             {max_header_bytes, 1000, [Status, "A: ", Long]},
             {max_headers, 10, [Status, lists:duplicate(11, "A: b\r\n"), "\r\n"]},
             {max_interim_responses, 3, [lists:duplicate(4, "HTTP/1.1 100 Continue\r\n\r\n"),
                                         response(<<>>)]},
             {max_chunk_extension_bytes, 1000, [Chunked, "1;a=", Long, "\r\nx\r\n0\r\n\r\n"]},
             {max_trailer_bytes, 1000, [Chunked, "0\r\nA: ", Long, "\r\n\r\n"]}],
    [begin
         {Pid, _} = connected(serve([request, {send, Bytes}, eof]), #{Limit => Value}),
         ?assertEqual({error, {limit_exceeded, Limit}}, exchange(Pid))
     end
     || {Limit, Value, Bytes} <- Cases].

%% The idle connection

%% Clauses: RSP-28, ST-23
rsp_28_close_while_idle_is_noticed(_) ->
    [begin
         {Pid, Peer} = connected(serve([request, {send, response(<<"a">>)}])),
         {200, <<"a">>} = exchange(Pid),
         ok = hansom_script:step(Peer, How),
         hansom_case:is_state(Pid, closed),
         ?assertEqual({error, invalid_state}, request(Pid))
     end
     || How <- [close, half_close, reset]].

%% Clauses: RSP-28
rsp_28_early_bytes_belong_to_the_first_response(_) ->
    {Pid, Peer} = connected(serve([])),
    ok = hansom_script:step(Peer, {send, response(<<"early">>)}),
    ?assertEqual(connected, state(Pid)),
    ?assertEqual({200, <<"early">>}, exchange(Pid)).

%% Clauses: RSP-29, POOL-12, TRAP-18
rsp_29_bytes_while_idle_close(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"a">>)}])),
    {200, <<"a">>} = exchange(Pid),
    ok = hansom_script:step(Peer, {send, response(<<"unsolicited">>)}),
    hansom_case:is_state(Pid, closed),
    ?assertEqual({error, invalid_state}, request(Pid)),
    ?assertEqual(closed, hansom_script:await_closed(Peer)).

%% Clauses: RSP-30, RSP-28
rsp_30_request_after_the_peer_closed(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"a">>)}])),
    {200, <<"a">>} = exchange(Pid),
    {ok, connected} = ?CONN:is_ready(Pid),
    ok = hansom_script:step(Peer, close),
    {error, Reason} = request(Pid),
    ?assert(lists:member(Reason, [closed, econnreset, epipe, enotconn])),
    ?assertEqual(closed, state(Pid)).

%% Clauses: RSP-30
rsp_30_peer_closes_instead_of_answering(_) ->
    [begin
         {Pid, _} = connected(serve([request, How])),
         {error, Reason} = request(Pid),
         ?assert(lists:member(Reason, [closed, econnreset])),
         ?assertEqual(closed, state(Pid))
     end
     || How <- [close, half_close, reset]].

%% Clauses: RSP-27, TRAP-21, POOL-9
rsp_27_close_asked_for_by_the_request(_) ->
    [begin
         {Pid, _} = connected(serve([request, {send, response(<<"a">>)}, eof])),
         Exit = hansom_case:monitor_exit(Pid),
         {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/">>, Headers, <<>>),
         ?assertMatch(#{should_close := true}, ?CONN:checkin_info(Pid)),
         {ok, <<"a">>} = ?CONN:body(Pid),
         ?assertEqual(normal, hansom_case:await(Exit))
     end
     || Headers <- [[{<<"Connection">>, <<"close">>}], [{<<"connection">>, <<"x, CLOSE">>}],
                    [{<<"Connection">>, <<"x">>}, {<<"Connection">>, <<"close">>}]]].

%% Clauses: RSP-27, API-26, ST-14, TRAP-29
rsp_27_no_reuse_closes(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"a">>)}, eof]), #{no_reuse => true}),
    Exit = hansom_case:monitor_exit(Pid),
    ?assertEqual({200, <<"a">>}, exchange(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)),
    ok = hansom_script:await_script(Peer).

%% Clauses: RSP-25
rsp_25_alternative_services_are_reported_to_the_cache(_) ->
    Interim = "HTTP/1.1 103 Early Hints\r\nAlt-Svc: h3=\":1\"\r\n\r\n",
    Server = serve([{repeat, [request, {send, [Interim, response(["Alt-Svc: h3=\":4433\""], <<"a">>)]}]}]),
    Port = hansom_script:port(Server),
    Report = fun(Told) ->
                     {Pid, _} = connected(Server, #{pool_pid => hansom_case:process()}),
                     {200, <<"a">>} = exchange(Pid),
                     hansom_case:wait_for(fun() -> Told(1) end),
                     {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
                     _ = hansom_case:payloads(Pid),
                     hansom_case:wait_for(fun() -> Told(2) end)
             end,
    case hansom_case:is_hansom() of
        true ->
            hansom_altsvc:with_cache(
              fun(Reports) ->
                      Report(fun(Count) -> length(Reports()) >= Count end),
                      %% Each names this connection and has the field of a final response.
                      ?assertMatch([{"127.0.0.1", Port, [{<<"Alt-Svc">>, <<"h3=\":4433\"">>} | _]},
                                    {"127.0.0.1", Port, [{<<"Alt-Svc">>, <<"h3=\":4433\"">>} | _]}],
                                   Reports())
              end);
        false ->
            Report(fun(_) -> hackney_altsvc:lookup(<<"127.0.0.1">>, Port) =:= {ok, h3, 4433} end)
    end.
