%% @doc Responses as messages.
-module(hansom_async_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [connected/1, connected/2, serve/1, exchange/1, state/1, response/1,
                      chunked/1, payload/1, payloads/1]).

all() -> hansom_case:cases(?MODULE).

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{asy_09_pooled_exchange_is_checked_in, "ASY-9: no check-in is marked wrong"},
     {asy_09_pooled_body_ended_by_close, "ASY-9: connected without a socket is marked wrong"},
     {asy_10_death_of_the_receiver_ends_the_transfer, "ASY-10: stopping is welcome, hackney goes on"},
     {asy_12_state_behind_a_cast, "ASY-12: a stalled resume is marked wrong"},
     {asy_12_resume_delivers, "ASY-12: a stalled resume is marked wrong"},
     {asy_13_push_waits_for_a_receiver_that_lags, "hackney has no cap on the receiver's queue"},
     {asy_15_reset_while_waiting_for_a_pull, "hackney reads nothing until pulled"}].

async(Pid, Mode) -> async(Pid, <<"GET">>, Mode, false).

async(Pid, Method, Mode, FollowRedirect) ->
    {ok, Pid} = ?CONN:request_async(Pid, Method, <<"/">>, [], <<>>, Mode, self(), FollowRedirect).

%% Takes the two messages that come first.
head(Pid) ->
    {status, Status, _} = payload(Pid),
    {headers, _} = payload(Pid),
    Status.

%% Clauses: ASY-1
asy_01_pushed_in_order(_) ->
    {Pid, _} = connected(serve([request, {send, chunked(["one", "two"])}])),
    async(Pid, true),
    ?assertEqual([{status, 200, <<"OK">>}, {headers, [{<<"Transfer-Encoding">>, <<"chunked">>}]},
                  <<"one">>, <<"two">>, done], payloads(Pid)).

%% Clauses: ASY-1, ST-2
asy_01_answer_comes_before_the_messages(_) ->
    [begin
         {Pid, _} = connected(serve([request, {send, response(<<"x">>)}])),
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, Mode),
         head(Pid),
         ?CONN:stream_next(Pid),
         ?assertEqual(<<"x">>, payload(Pid)),
         ?CONN:stream_next(Pid),
         ?assertEqual(done, payload(Pid))
     end
     || Mode <- [true, once], _ <- lists:seq(1, 20)].

%% Clauses: ASY-1
asy_01_reason_phrase(_) ->
    [begin
         {Pid, _} = connected(serve([request, {send, [Line, "\r\nContent-Length: 0\r\n\r\n"]}])),
         async(Pid, true),
         ?assertMatch([{status, 200, Reason}, {headers, _}, done], payloads(Pid))
     end
     || {Line, Reason} <- [{"HTTP/1.1 200 OK", <<"OK">>}, {"HTTP/1.1 200 All is  well", <<"All is  well">>},
                           {"HTTP/1.1 200 ", <<>>}, {"HTTP/1.1 200", <<>>}]].

%% Clauses: ASY-2, ASY-13
asy_02_once_gives_one_message_for_a_pull(_) ->
    {Pid, _} = connected(serve([request, {send, chunked(["one", "two"])}])),
    async(Pid, once),
    200 = head(Pid),
    ?assertEqual(streaming_once, state(Pid)),
    hansom_case:no_message(),
    ?CONN:stream_next(Pid),
    ?assertEqual(<<"one">>, payload(Pid)),
    ?assertEqual(streaming_once, state(Pid)),
    hansom_case:no_message(),
    ?CONN:stream_next(Pid),
    ?assertEqual(<<"two">>, payload(Pid)),
    ?assertEqual(streaming_once, state(Pid)),
    hansom_case:no_message(),
    ?CONN:stream_next(Pid),
    ?assertEqual(done, payload(Pid)).

%% Clauses: ASY-2, ST-2
asy_02_pull_before_the_headers_is_not_lost(_) ->
    {Pid, Peer} = connected(serve([request, wait, {send, response(<<"x">>)}])),
    async(Pid, once),
    ?CONN:stream_next(Pid),
    hansom_script:continue(Peer),
    200 = head(Pid),
    ?assertEqual(<<"x">>, payload(Pid)).

%% Clauses: ASY-2
asy_02_several_pulls_give_several_messages(_) ->
    {Pid, _} = connected(serve([request, {send, chunked(["one", "two", "three"])}])),
    async(Pid, once),
    [?CONN:stream_next(Pid) || _ <- "1234"],
    ?assertMatch([{status, 200, _}, {headers, _}, <<"one">>, <<"two">>, <<"three">>, done],
                 payloads(Pid)).

%% Clauses: ASY-3, ST-17, ASY-9
asy_03_responses_without_a_body(_) ->
    [begin
         {Pid, Peer} = connected(serve([request, {send, Bytes}, request, {send, response(<<"next">>)}])),
         async(Pid, Method, Mode, false),
         ?assertMatch([{status, Status, _}, {headers, _}, done], payloads(Pid)),
         ?assertEqual(connected, state(Pid)),
         ?assertEqual({200, <<"next">>}, exchange(Pid)),
         2 = length(hansom_script:requests(Peer))
     end
     || Mode <- [true, once],
        {Method, Status, Bytes} <-
            [{<<"HEAD">>, 200, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
             {<<"GET">>, 204, "HTTP/1.1 204 No Content\r\n\r\n"},
             {<<"GET">>, 304, "HTTP/1.1 304 Not Modified\r\n\r\n"}]].

redirect(Status, Lines) ->
    ["HTTP/1.1 ", integer_to_list(Status), " X\r\n", Lines, "Content-Length: 0\r\n\r\n"].

%% Clauses: ASY-5, POOL-4
asy_05_redirects(_) ->
    [begin
         {Pid, _} = connected(serve([request, {send, redirect(Status, "location: /b\r\n")},
                                     request, {send, response(<<"b">>)}])),
         async(Pid, Method, Mode, true),
         ?assertEqual([{redirect, <<"/b">>, [{<<"location">>, <<"/b">>}, {<<"Content-Length">>, <<"0">>}]}],
                      payloads(Pid)),
         ?assertEqual({200, <<"b">>}, exchange(Pid))
     end
     || Status <- [301, 302, 307, 308], Method <- [<<"GET">>, <<"POST">>], Mode <- [true, once]].

%% Clauses: ASY-5
asy_05_redirect_with_a_body_leaves_nothing_behind(_) ->
    Head = "HTTP/1.1 302 Found\r\nLocation: /b\r\nTransfer-Encoding: chunked\r\n\r\n",
    {Pid, _} = connected(serve([request, {pieces, [Head, "5\r\nhel", "lo\r\n0\r\n\r\n"]},
                                request, {send, response(<<"b">>)}])),
    async(Pid, <<"GET">>, true, true),
    ?assertMatch([{redirect, <<"/b">>, _}], payloads(Pid)),
    ?assertEqual({200, <<"b">>}, exchange(Pid)).

%% Clauses: ASY-6
asy_06_see_other(_) ->
    {Pid, _} = connected(serve([request, {send, redirect(303, "Location: /b\r\n")},
                                request, {send, response(<<"b">>)}])),
    async(Pid, <<"POST">>, true, true),
    ?assertMatch([{see_other, <<"/b">>, [_, _]}], payloads(Pid)),
    ?assertEqual({200, <<"b">>}, exchange(Pid)).

%% Clauses: ASY-7
asy_07_other_responses_are_ordinary(_) ->
    Location = "Location: /b\r\n",
    [begin
         {Pid, _} = connected(serve([request, {send, redirect(Status, Lines)}])),
         async(Pid, Method, true, Follow),
         ?assertMatch([{status, Status, _}, {headers, _}, done], payloads(Pid))
     end
     || {Method, Status, Lines, Follow} <-
            [{<<"GET">>, 302, "", true}, {<<"GET">>, 303, Location, true},
             {<<"PUT">>, 303, Location, true}, {<<"GET">>, 300, Location, true},
             {<<"GET">>, 200, Location, true}, {<<"GET">>, 302, Location, false}]].

%% Clauses: ASY-8, ST-18, ASY-15
asy_08_failure_before_the_headers(_) ->
    [begin
         {Pid, _} = connected(serve([request | Steps]), #{recv_timeout => 60}),
         async(Pid, Mode),
         ?assertEqual([{error, Reason}], payloads(Pid)),
         hansom_case:is_state(Pid, closed)
     end
     || Mode <- [true, once],
        {Steps, Reason} <- [{[half_close, eof], closed},
                            {[{send, "HTTP/1.1 200 OK\r\nA"}, half_close, eof], closed},
                            {[eof], timeout},
                            {[{send, "HTTP/x\r\n\r\n"}, eof], bad_request},
                            {[{send, "SMTP"}, eof], {bad_response, not_http}}]].

%% Clauses: ASY-8, API-15
asy_08_error_of_the_call_is_followed_by_no_message(_) ->
    {Pid, _} = connected(serve([])),
    {error, {invalid_request_target, _}} =
        ?CONN:request_async(Pid, <<"GET">>, <<"/\n">>, [], <<>>, true),
    ok = ?CONN:close(Pid),
    {error, invalid_state} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
    hansom_case:no_message().

%% Clauses: ASY-9, EXIT-1
asy_09_not_pooled_stops_after_done(_) ->
    [begin
         {Pid, Peer} = connected(serve([request, {send, response(<<"x">>)}, eof])),
         Exit = hansom_case:monitor_exit(Pid),
         async(Pid, Mode),
         200 = head(Pid),
         [?CONN:stream_next(Pid) || _ <- "12"],
         ?assertEqual([<<"x">>, done], payloads(Pid)),
         ?assertEqual(normal, hansom_case:await(Exit)),
         ok = hansom_script:await_script(Peer)
     end
     || Mode <- [true, once]].

%% Clauses: ASY-9
asy_09_pooled_and_reusable_is_connected_again(_) ->
    Pool = hansom_case:process(),
    {Pid, _} = connected(serve([{repeat, [request, {send, response(<<"x">>)}]}]),
                         #{pool_pid => Pool}),
    [begin
         async(Pid, true),
         ?assertMatch([{status, 200, _}, {headers, _}, <<"x">>, done], payloads(Pid)),
         hansom_case:is_state(Pid, connected)
     end
     || _ <- "123"].

%% Clauses: ASY-9, RSP-27, TRAP-21
asy_09_pooled_but_not_reusable_stops(_) ->
    Pool = hansom_case:process(),
    {Pid, _} = connected(serve([request, {send, hansom_case:response(["Connection: close"], <<"x">>)}]),
                         #{pool_pid => Pool}),
    Exit = hansom_case:monitor_exit(Pid),
    async(Pid, true),
    ?assertMatch([{status, 200, _}, {headers, _}, <<"x">>, done], payloads(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: ASY-9, POOL-4, POOL-5
asy_09_pooled_exchange_is_checked_in(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"x">>)}]), #{pool_pid => self()}),
    async(Pid, true),
    ?assertMatch([{status, 200, _}, {headers, _}, <<"x">>, done], payloads(Pid)),
    receive {'$gen_cast', {checkin, nil, Pid}} -> ok
    after hansom_case:deadline() -> error(no_checkin)
    end.

%% Clauses: ASY-9, ST-11, ST-15
asy_09_pooled_body_ended_by_close(_) ->
    Pool = hansom_case:process(),
    {Pid, _} = connected(serve([request, {send, "HTTP/1.1 200 OK\r\n\r\nhello"}, half_close, eof]),
                         #{pool_pid => Pool}),
    Exit = hansom_case:monitor_exit(Pid),
    async(Pid, true),
    ?assertMatch([{status, 200, _}, {headers, _}, <<"hello">>, done], payloads(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: ASY-10
asy_10_receiver_that_is_not_the_caller_becomes_the_owner(_) ->
    Receiver = hansom_case:process(),
    Caller = hansom_case:process(),
    Server = serve([request, {send, chunked(["one", "two"])}]),
    {Pid, _} = connected(Server),
    {ok, Pid} = hansom_case:run_in(Caller, fun() ->
        ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once, Receiver) end),
    hansom_case:kill(Caller),
    ?assertEqual(200, hansom_case:run_in(Receiver, fun() -> head(Pid) end)),
    ?CONN:stream_next(Pid),
    ?assertEqual(<<"one">>, hansom_case:run_in(Receiver, fun() -> payload(Pid) end)),
    Exit = hansom_case:monitor_exit(Pid),
    hansom_case:kill(Receiver),
    ?assertEqual(normal, hansom_case:await(Exit)),
    hansom_case:no_message().

%% Clauses: ASY-10
asy_10_receiver_that_is_the_caller_leaves_the_owner(_) ->
    Owner = hansom_case:process(),
    {Pid, _} = connected(serve([request, {send, chunked(["one"])}]), #{owner => Owner}),
    async(Pid, once),
    200 = head(Pid),
    Exit = hansom_case:monitor_exit(Pid),
    hansom_case:kill(Owner),
    ?assertEqual(normal, hansom_case:await(Exit)),
    told_of_the_end(Pid).

%% The receiver, which is not the owner, could not know. The other module does not tell it.
told_of_the_end(Pid) ->
    [?assertEqual({error, closed}, payload(Pid)) || hansom_case:is_hansom()].

%% Clauses: ASY-10
asy_10_death_of_the_receiver_ends_the_transfer(_) ->
    Receiver = hansom_case:process(),
    {Pid, Peer} = connected(serve([request, {send, "HTTP/1.1 200 OK\r\n\r\n"},
                                   {repeat, [{send, binary:copy(<<"x">>, 65536)}]}])),
    {ok, Pid} = hansom_case:run_in(Receiver, fun() ->
        ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true) end),
    200 = hansom_case:run_in(Receiver, fun() -> head(Pid) end),
    hansom_case:kill(Receiver),
    %% The endless response ends when its reader is gone.
    ?assertMatch({{send, _}, _}, hansom_script:outcome(Peer)).

%% Clauses: ASY-11, ST-25
asy_11_stop_async(_) ->
    {Pid, Peer} = connected(serve([request, {send, chunked(["one", "two", "three"])},
                                   request, {send, response(<<"next">>)}])),
    async(Pid, once),
    200 = head(Pid),
    ?CONN:stream_next(Pid),
    ok = ?CONN:stop_async(Pid),
    %% The pull was cast first, so its message is there when stop_async answers.
    receive {hackney_response, Pid, <<"one">>} -> ok after 0 -> error(pull_lost) end,
    ?assertEqual(receiving, state(Pid)),
    ?CONN:stream_next(Pid),
    ?assertEqual({ok, <<"two">>}, ?CONN:stream_body(Pid)),
    ?assertEqual({ok, <<"three">>}, ?CONN:body(Pid)),
    hansom_case:no_message(),
    ?assertEqual({200, <<"next">>}, exchange(Pid)),
    2 = length(hansom_script:requests(Peer)).

%% Clauses: ASY-11
asy_11_stop_async_while_pushed(_) ->
    {Pid, Peer} = connected(serve([request, {send, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                                   "3\r\none\r\n"},
                                   wait, {send, "3\r\ntwo\r\n0\r\n\r\n"}])),
    async(Pid, true),
    200 = head(Pid),
    <<"one">> = payload(Pid),
    case hansom_case:is_hansom() of
        true ->
            ok = ?CONN:stop_async(Pid),
            hansom_script:continue(Peer),
            ?assertEqual({ok, <<"two">>}, ?CONN:body(Pid)),
            hansom_case:no_message();
        false ->
            %% The other module takes the call between two reads, so one more may come.
            hansom_script:continue(Peer),
            <<"two">> = payload(Pid),
            done = payload(Pid)
    end.

%% Clauses: ASY-12
asy_12_pause_then_pull(_) ->
    {Pid, Peer} = connected(serve([request, {send, chunk_head()}, {send, chunk("0")}, wait,
                                   {send, [chunk([C]) || C <- "123456789"]},
                                   {send, "0\r\n\r\n"}])),
    async(Pid, true),
    200 = head(Pid),
    ?assertEqual(<<"0">>, payload(Pid)),
    ?CONN:pause_stream(Pid),
    hansom_script:continue(Peer),
    ok = hansom_script:await_script(Peer),
    hansom_case:is_state(Pid, streaming_once),
    %% At most one more was pushed.
    Pushed = case process_info(self(), messages) of
                 {messages, []} -> 0;
                 {messages, [{hackney_response, Pid, <<"1">>}]} -> <<"1">> = payload(Pid), 1
             end,
    [begin
         ?CONN:stream_next(Pid),
         ?assertEqual(integer_to_binary(N), payload(Pid))
     end
     || N <- lists:seq(Pushed + 1, 9)],
    ?CONN:stream_next(Pid),
    ?assertEqual(done, payload(Pid)).

%% hackney's own messages, as another node or its code may still send them.
%% Clauses: ASY-12, ST-1
asy_12_state_behind_a_cast(_) ->
    {Pid, Peer} = connected(serve([request, {send, chunk_head()}]
                                  ++ [{send, chunk("0")} || _ <- lists:seq(1, 1000)] ++ [wait, {send, "0\r\n\r\n"}])),
    async(Pid, true),
    200 = head(Pid),
    [begin
         ok = gen_statem:cast(Pid, pause_stream),
         ?assertEqual({ok, streaming_once}, ?CONN:get_state(Pid)),
         ok = gen_statem:cast(Pid, resume_stream),
         ok = gen_statem:cast(Pid, pause_stream),
         ?assertEqual({ok, streaming_once}, ?CONN:get_state(Pid)),
         ok = gen_statem:cast(Pid, resume_stream),
         ?assertEqual({ok, streaming}, ?CONN:get_state(Pid))
     end
     || _ <- lists:seq(1, 200)],
    hansom_script:continue(Peer),
    done = lists:last(payloads(Pid)).

chunk_head() -> "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".

chunk(Data) -> [integer_to_list(iolist_size(Data), 16), "\r\n", Data, "\r\n"].

%% Clauses: ASY-12
asy_12_resume_delivers(_) ->
    {Pid, Peer} = connected(serve([request, {send, chunk_head()}, {send, chunk("0")}, wait,
                                   {send, [chunk([C]) || C <- "123"]}, {send, "0\r\n\r\n"}])),
    async(Pid, true),
    200 = head(Pid),
    <<"0">> = payload(Pid),
    ?CONN:pause_stream(Pid),
    hansom_case:is_state(Pid, streaming_once),
    hansom_script:continue(Peer),
    ok = hansom_script:await_script(Peer),
    ?CONN:resume_stream(Pid),
    ?assertEqual([<<"1">>, <<"2">>, <<"3">>, done], payloads(Pid)).

%% Clauses: ASY-12
asy_12_pause_and_resume_do_nothing_in_other_states(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"x">>)}])),
    ?CONN:pause_stream(Pid),
    ?CONN:resume_stream(Pid),
    ?assertEqual(connected, state(Pid)),
    {ok, 200, _} = hansom_case:request(Pid),
    ?CONN:pause_stream(Pid),
    ?CONN:resume_stream(Pid),
    ?CONN:stream_next(Pid),
    ?assertEqual(receiving, state(Pid)),
    ?assertEqual({ok, <<"x">>}, ?CONN:body(Pid)),
    hansom_case:no_message().

%% Clauses: ASY-13
asy_13_once_reads_nothing_until_pulled(_) ->
    %% More than any buffer between the two holds.
    Size = 64 * 1024 * 1024,
    {Pid, Peer} = connected(serve([request, {send, ["HTTP/1.1 200 OK\r\nContent-Length: ",
                                                    integer_to_list(Size), "\r\n\r\n"]},
                                   {flood, binary:copy(<<"x">>, 1 bsl 20), 64}])),
    async(Pid, once),
    200 = head(Pid),
    ?CONN:stream_next(Pid),
    First = payload(Pid),
    hansom_case:hold(100),
    ?assertEqual(running, hansom_script:progress(Peer)),
    hansom_case:no_message(),
    ?assertEqual(Size - byte_size(First), pull_all(Pid, 0)).

pull_all(Pid, Size) ->
    ?CONN:stream_next(Pid),
    case payload(Pid) of
        done -> Size;
        Bin -> pull_all(Pid, Size + byte_size(Bin))
    end.

%% Clauses: ASY-13
asy_13_push_waits_for_a_receiver_that_lags(_) ->
    Receiver = hansom_case:process(),
    {Pid, Peer} = connected(serve([request, {send, "HTTP/1.1 200 OK\r\n\r\n"},
                                   {repeat, [{send, binary:copy(<<"x">>, 65536)}]}])),
    {ok, Pid} = hansom_case:run_in(Receiver, fun() ->
        ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true) end),
    %% It comes to a halt although nothing is taken out of the mailbox.
    hansom_case:wait_for(
      fun() ->
              Before = process_info(Receiver, message_queue_len),
              hansom_case:hold(200),
              Before =:= process_info(Receiver, message_queue_len)
                  andalso Before =/= {message_queue_len, 0}
      end),
    ?assertEqual(running, hansom_script:progress(Peer)),
    hansom_case:kill(Receiver),
    ok = ?CONN:stop(Pid).

%% Clauses: ASY-14, TRAP-28, ST-5
asy_14_set_owner_while_streaming(_) ->
    {Pid, Peer} = connected(serve([request, {send, chunk_head()}, {send, chunk("1")}, wait,
                                   {send, chunk("2")}, wait, {send, [chunk("3"), "0\r\n\r\n"]}])),
    async(Pid, true),
    200 = head(Pid),
    <<"1">> = payload(Pid),
    Owner = hansom_case:process(),
    Giver = hansom_case:async(fun() -> ?CONN:set_owner(Pid, Owner) end),
    hansom_script:continue(Peer),
    ?assertEqual(<<"2">>, payload(Pid)),
    ?assertEqual({ok, ok}, hansom_case:result(Giver)),
    Exit = hansom_case:monitor_exit(Pid),
    hansom_case:kill(Owner),
    %% The other module notices only after its read, and may deliver that.
    [hansom_script:continue(Peer) || not hansom_case:is_hansom()],
    ?assertEqual(normal, hansom_case:await(Exit)),
    told_of_the_end(Pid),
    [hansom_case:flush_to([]) || not hansom_case:is_hansom()].

%% Clauses: ASY-14, ST-25
asy_14_set_owner_in_streaming_once_is_refused(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"x">>)}])),
    async(Pid, once),
    200 = head(Pid),
    ?assertEqual({error, invalid_state}, ?CONN:set_owner(Pid, self())),
    ?CONN:stream_next(Pid),
    ?assertEqual(<<"x">>, payload(Pid)).

%% Clauses: ASY-15, ST-19
asy_15_error_is_final(_) ->
    Head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    [begin
         {Pid, _} = connected(serve([request, {send, [Head, Bytes]}, eof]), #{recv_timeout => 60}),
         async(Pid, Mode),
         200 = head(Pid),
         %% Bytes before the flaw may be delivered.
         ?assertEqual({error, Reason}, last_pulled(Pid, Mode)),
         hansom_case:is_state(Pid, closed),
         ?CONN:stream_next(Pid),
         ?assertEqual(closed, state(Pid)),
         hansom_case:no_message()
     end
     || Mode <- [true, once],
        {Bytes, Reason} <- [{"", timeout}, {"x\r\n", invalid_chunk_size},
                            {"1\r\nab\r\n", poorly_formatted_chunked_size}]].

last_pulled(Pid, Mode) ->
    [?CONN:stream_next(Pid) || Mode =:= once],
    case payload(Pid) of
        Bin when is_binary(Bin) -> last_pulled(Pid, Mode);
        End -> End
    end.

%% Clauses: ASY-15, TRAP-41
asy_15_reset_while_waiting_for_a_pull(_) ->
    {Pid, Peer} = connected(serve([request, {send, chunk_head()}])),
    async(Pid, once),
    200 = head(Pid),
    ok = hansom_script:step(Peer, reset),
    ?CONN:stream_next(Pid),
    {error, Reason} = payload(Pid),
    ?assert(lists:member(Reason, [closed, econnreset])),
    hansom_case:is_state(Pid, closed).

%% Clauses: ASY-16
asy_16_state_names(_) ->
    {Pid, Peer} = connected(serve([request, {send, chunk_head()}, {send, chunk("1")}, wait,
                                   {send, "0\r\n\r\n"}])),
    async(Pid, true),
    200 = head(Pid),
    <<"1">> = payload(Pid),
    %% The other module answers nothing while it reads.
    [?assertEqual(streaming, state(Pid)) || hansom_case:is_hansom()],
    hansom_script:continue(Peer),
    ?assertEqual(done, payload(Pid)).
