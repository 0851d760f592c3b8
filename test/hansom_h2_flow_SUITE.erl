%% @doc Flow control and patience over HTTP/2: pulled responses, bodies that wait for the peer's
%% windows, stalled peers, more streams than allowed.
-module(hansom_h2_flow_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
-define(MIB, 1048576).

-import(hansom_case, [state/1, is_state/2, async/1, result/1, process/0, run_in/2, kill/1, payload/1, pulled/2,
                      body_of/1, no_message/0, wait_for/1]).
-import(hansom_h2_case, [open/1, open/2, connect/1, get/2, get/3, post/3, with_origin/3, with_script/2,
                         stream_next/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h2_case:init_suite(Config).
end_per_suite(Config) -> hansom_h2_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{st_08_stalled_steps, "hackney waits for ever"},
     {h2_16_windows_by_option, "options of hansom"}].

received(Pid) ->
    #{received := Bytes} = hansom_nif:info(Pid),
    Bytes.

%% Pulled responses

%% The peer sends no more than the window until the first pull.
%% Clauses: H2-10, ASY-13
h2_10_the_window_stays_closed(Config) ->
    Pid = open(#{stream_window => 65535}, Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/10000000">>, [], <<>>, once),
    {status, 200, <<>>} = payload(Pid),
    {headers, _} = payload(Pid),
    wait_for(fun() -> received(Pid) >= 65535 end),
    {ok, 200, _, _} = get(Pid, "/delay/100"),
    ?assert(received(Pid) < 2 * 65535),
    First = stream_next(Pid, Pid),
    ?assert(is_binary(First)),
    ok = ?CONN:close(Pid).

%% A pull before anything is there is one credit.
%% Clauses: H2-10, ST-2
h2_10_early_pulls_count(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/delay/50">>, [], <<>>, once),
    ok = ?CONN:stream_next(Pid),
    {status, 200, <<>>} = payload(Pid),
    {headers, _} = payload(Pid),
    First = payload(Pid),
    Rest = case First of
               done -> [];
               _ -> pulled(Pid, Pid)
           end,
    ?assertEqual(done, lists:last([First | Rest])).

%% A pull is for the oldest response that comes to the caller, a bare one for the oldest of all.
%% Clauses: H2-10, API-46
h2_10_whose_pull_it_is(Config) ->
    Pid = open(Config),
    [A, B] = [process(), process()],
    Begin = fun() ->
                    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/10">>, [], <<>>, once),
                    {status, 200, <<>>} = payload(Pid),
                    {headers, _} = payload(Pid)
            end,
    [run_in(Receiver, Begin) || Receiver <- [A, B]],
    ?assertMatch(<<_:10/binary>>, run_in(B, fun() -> stream_next(Pid, Pid) end)),
    ok = gen_statem:cast(Pid, {stream_next, B}),
    ?assertEqual(done, run_in(B, fun() -> payload(Pid) end)),
    run_in(A, fun hansom_case:no_message/0),
    ok = gen_statem:cast(Pid, stream_next),
    ?assertMatch(<<_:10/binary>>, run_in(A, fun() -> payload(Pid) end)).

%% Bodies

%% Clauses: H2-11, TRAP-30
h2_11_bodies_larger_than_the_window(Config) ->
    with_origin(["--stream-window", "16384", "--connection-window", "65535"], Config,
                fun(Options) ->
                        Pid = connect(Options),
                        Data = binary:copy(<<"0123456789">>, 300000),
                        {ok, 200, _, Echo} = post(Pid, "/echo", Data),
                        ?assert(Echo =:= Data)
                end).

%% Clauses: H2-11, TRAP-30
h2_11_timeout_of_one_request(Config) ->
    with_origin(["--stream-window", "0"], Config,
                fun(Options) ->
                        Pid = connect(Options),
                        Post = fun(More) ->
                                       ?CONN:request(Pid, <<"POST">>, <<"/echo">>, [], <<"x">>, infinity, More)
                               end,
                        ?assertEqual({error, timeout}, Post([{send_timeout, 50}])),
                        ?assertEqual({error, timeout},
                                     ?CONN:request_async(Pid, <<"POST">>, <<"/stall">>, [], <<"x">>, true, self(),
                                                         false, [{send_timeout, 50}])),
                        %% The value of one request is not that of the next.
                        Waiting = async(fun() -> Post([]) end),
                        wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 3 end),
                        ?assertMatch({ok, 200, _, _}, get(Pid, "/delay/200")),
                        ?assertEqual(connected, state(Pid)),
                        ok = ?CONN:close(Pid),
                        ?assertMatch({ok, {error, {closed, normal}}}, result(Waiting))
                end).

%% Clauses: H2-11, TRAP-33
h2_11_timeout_of_the_connection(Config) ->
    with_origin(["--stream-window", "0"], Config,
                fun(Options) ->
                        Pid = connect(Options#{send_timeout => 50}),
                        ?assertEqual({error, timeout}, post(Pid, "/echo", <<"x">>)),
                        ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
                        ?assertEqual({error, timeout}, ?CONN:send_body_chunk(Pid, <<"x">>)),
                        ?assertMatch({error, _}, ?CONN:finish_send_body(Pid)),
                        ?assertMatch({ok, 200, _, _}, get(Pid, "/hello"))
                end).

%% Clauses: H2-11, API-40
h2_11_timeout_of_an_upload(Config) ->
    with_origin(["--stream-window", "0"], Config,
                fun(Options) ->
                        Pid = connect(Options),
                        ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, [], [{send_timeout, 50}]),
                        ?assertEqual({error, timeout}, ?CONN:send_body_chunk(Pid, <<"x">>)),
                        ?assertEqual({error, {options, {send_timeout, soon}}},
                                     ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, [], [{send_timeout, soon}]))
                end).

%% Clauses: H2-11
h2_11_nonblock(Config) ->
    with_origin(["--stream-window", "0"], Config,
                fun(Options) ->
                        Pid = connect(Options#{send_timeout => nonblock}),
                        Body = binary:copy(<<"x">>, 2 * ?MIB),
                        ?assertEqual({error, send_buffer_full}, post(Pid, "/echo", Body)),
                        ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
                        ?assertEqual(ok, ?CONN:send_body_chunk(Pid, Body)),
                        ?assertEqual({error, send_buffer_full}, ?CONN:send_body_chunk(Pid, <<"y">>))
                end).

%% Clauses: H2-12, TRAP-25
h2_12_blocked_senders_are_released(_) ->
    Script = fun(Frame) ->
                     ["h2-preface", "expect-frame headers 1", "expect-frame data 1", Frame, "expect-eof"]
             end,
    Body = binary:copy(<<"x">>, 4 * ?MIB),
    Blocked = fun(Options) ->
                      Pid = connect(Options),
                      ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
                      Answer = ?CONN:send_body_chunk(Pid, Body),
                      {Pid, Answer}
              end,
    with_script(Script("frame rst_stream 0 1 \"\\x00\\x00\\x00\\x08\""),
                fun(Options) ->
                        {Pid, Answer} = Blocked(Options),
                        ?assertEqual({error, stream_reset}, Answer),
                        ?assertEqual(connected, state(Pid))
                end),
    with_script(Script("close"),
                fun(Options) ->
                        {Pid, Answer} = Blocked(Options),
                        ?assertMatch({error, {closed, _}}, Answer),
                        is_state(Pid, closed)
                end).

%% Blocked by the peer's window, then not any more: all was sent, whatever the peer does then.
%% Clauses: H2-12, TRAP-26
h2_12_all_was_sent(_) ->
    [with_script(["expect 24", "expect-frame settings", "frame settings 0 0 \"\\0\\x04\\0\\0\\0\\x0a\"",
                  "frame settings ack 0 \"\"", "expect-frame data 1 \"0123456789\"",
                  "frame window_update 0 1 \"\\0\\0\\0\\x0a\"", "expect-frame data 1 \"abcdefghij\"" | End],
                 fun(Options) ->
                         Pid = connect(Options),
                         ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
                         ?assertEqual({End, ok}, {End, ?CONN:send_body_chunk(Pid, <<"0123456789abcdefghij">>)})
                 end)
     || End <- [["frame rst_stream 0 1 \"\\0\\0\\0\\x08\"", "expect-eof"], ["close"], ["reset"],
                ["frame goaway 0 0 \"\\0\\0\\0\\x01\\0\\0\\0\\0\"", "expect-eof"]]].

%% The peer answers before it has the whole request. It may want no more of it (RFC 9113, section 8.1), and must not have
%% more than its end.
%% Clauses: H2-12, H2-13, TRAP-26
h2_12_answered_early(_) ->
    Answer = ["h2-preface", "expect-frame headers 1", "fields headers end_headers 1 \":status: 200\"",
              "frame data end_stream 1 \"early\""],
    %% It has come when that of another request has.
    Next = ["expect-frame headers 3", "fields headers end_headers|end_stream 3 \":status: 204\""],
    [with_script(Answer ++ Reset ++ Next ++ ["expect-eof"],
                 fun(Options) ->
                         Pid = connect(Options),
                         ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
                         ?assertMatch({ok, 204, _, _}, get(Pid, "/")),
                         ?assertEqual({Reset, Sent}, {Reset, ?CONN:send_body_chunk(Pid, <<"x">>)}),
                         Reset =:= [] andalso ?assertEqual(ok, ?CONN:finish_send_body(Pid)),
                         Reset =:= [] andalso ?assertEqual({error, stream_closed}, ?CONN:send_body_chunk(Pid, <<"y">>)),
                         ?assertMatch({ok, 200, _, Pid}, ?CONN:start_response(Pid)),
                         ?assertEqual({ok, <<"early">>}, ?CONN:body(Pid)),
                         ?assertEqual(connected, state(Pid))
                 end)
     || {Reset, Sent} <- [{["frame rst_stream 0 1 \"\\0\\0\\0\\0\""], {error, stream_reset}}, {[], ok}]].

%% Patience

%% Clauses: ST-8, TRAP-15, TRAP-16
st_08_stalled_responses(Config) ->
    Pid = open(#{recv_timeout => 100}, Config),
    ?assertEqual({error, timeout}, get(Pid, "/stall")),
    ?assertEqual({error, timeout}, get(Pid, "/stall/head")),
    %% Progress counts, not the whole time.
    ?assertMatch({ok, 200, _, <<_:10/binary>>}, get(Pid, "/drip?bytes=10&interval_ms=40")),
    ?assertEqual({error, timeout}, get(Pid, "/stall", [{recv_timeout, 10}])),
    ?assertEqual(connected, state(Pid)).

%% Clauses: TRAP-16, ST-8
st_08_the_stream_is_reset(_) ->
    with_script(["h2-preface", "expect-frame headers 1", "expect-frame rst_stream 1 \"\\x00\\x00\\x00\\x08\"",
                 "expect-frame headers 3", "fields headers end_headers|end_stream 3 \":status: 204\"", "expect-eof"],
                fun(Options) ->
                        Pid = connect(Options#{recv_timeout => 100}),
                        ?assertEqual({error, timeout}, get(Pid, "/")),
                        ?assertMatch({ok, 204, _, <<>>}, get(Pid, "/"))
                end).

%% Each call of a response that is read in steps waits as long, and no longer.
%% Clauses: ST-8, H2-13
st_08_stalled_steps(Config) ->
    Pid = open(#{recv_timeout => 1000}, Config),
    ?assertEqual({error, timeout}, stalled("/stall", Pid, [start_response])),
    ?assertEqual({error, no_stream}, ?CONN:start_response(Pid)),
    ?assertEqual({error, timeout}, stalled("/stall/head", Pid, [start_response, body])),
    ?assertEqual({error, timeout}, stalled("/stall/head", Pid, [start_response, stream_body])),
    ?assertEqual({error, no_stream}, ?CONN:stream_body(Pid)),
    ?assertEqual(connected, state(Pid)).

%% What the last of these calls gives.
stalled(Path, Pid, Steps) ->
    ok = ?CONN:send_request_headers(Pid, <<"GET">>, list_to_binary(Path), []),
    ok = ?CONN:finish_send_body(Pid),
    lists:last([?CONN:Step(Pid) || Step <- Steps]).

%% A caller that gives up gets no message later.
%% Clauses: ST-26, API-34
st_26_abandoned_requests(Config) ->
    Pid = open(Config),
    ?assertExit({timeout, {gen_statem, call, _}},
                ?CONN:request(Pid, <<"GET">>, <<"/delay/100">>, [], <<>>, 10)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/delay/200")),
    no_message().

%% Streams of a killed caller are reset.
%% Clauses: ST-26, TRAP-16
st_26_killed_callers(_) ->
    with_script(["h2-preface", "expect-frame headers 1", "expect-frame rst_stream 1 \"\\x00\\x00\\x00\\x08\"",
                 "close"],
                fun(Options) ->
                        Pid = connect(Options),
                        {Caller, _} = async(fun() -> get(Pid, "/", [{recv_timeout, infinity}]) end),
                        wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
                        kill(Caller),
                        %% The peer closes when it has been told.
                        is_state(Pid, closed)
                end).

%% Limits of the peer

%% Clauses: H2-4
h2_04_heads_larger_than_accepted(_) ->
    with_script(["expect 24", "expect-frame settings", "frame settings 0 0 \"\\x00\\x06\\x00\\x00\\x04\\x00\"",
                 "frame settings ack 0 \"\"", "expect-eof"],
                fun(Options) ->
                        Pid = connect(Options),
                        Large = [{<<"x">>, binary:copy(<<"y">>, 1024)}],
                        ?assertEqual({error, header_list_too_large},
                                     ?CONN:request(Pid, <<"GET">>, <<"/">>, Large, <<>>)),
                        ?assertEqual(connected, state(Pid))
                end).

%% What the peer is told: SETTINGS_ENABLE_PUSH, SETTINGS_INITIAL_WINDOW_SIZE and SETTINGS_MAX_HEADER_LIST_SIZE, then how
%% much more than 65 535 bytes all streams together may have.
%% Clauses: H2-16
h2_16_windows_by_option(_) ->
    Settings = fun(Window) -> <<2:16, 0:32, 4:16, Window:32, 6:16, (2 * ?MIB):32>> end,
    Response = ["expect-frame headers 1", "fields headers end_headers 1 \":status: 200\""],
    [begin
         Updates = ["expect-frame window_update 0 " ++ quoted(<<(All - 65535):32>>) || All > 65535],
         with_script(["expect 24", "expect-frame settings 0 " ++ quoted(Settings(Stream))] ++ Updates
                     ++ ["frame settings 0 0 \"\"", "frame settings ack 0 \"\""] ++ Response
                     ++ ["frame data end_stream 1 \"\"", "expect-eof"],
                     fun(Options) ->
                             Pid = connect(maps:merge(Options, Windows)),
                             ?assertMatch({Windows, {ok, 200, _, <<>>}}, {Windows, get(Pid, "/")})
                     end)
     end || {Windows, Stream, All} <- [{#{}, 4 * ?MIB, 16 * ?MIB},
                                       {#{stream_window => 65535, connection_window => 65535}, 65535, 65535},
                                       {#{stream_window => 16385, connection_window => 300000}, 16385, 300000},
                                       %% With less a response could not come, or hardly.
                                       {#{stream_window => 16383}, 16384, 16 * ?MIB},
                                       {#{stream_window => 0, connection_window => 16#7fffffff}, 16384, 16#7fffffff}]],
    %% Each is as large as it says, and no larger. Nothing is read, so none is opened again.
    Data = "frame data 0 1 \"x\"",
    Last = "frame data end_stream 1 \"x\"",
    Next = ["expect-frame headers 3", "fields headers end_headers|end_stream 3 \":status: 204\""],
    [with_script(["h2-preface"] ++ Response ++ Frames ++ Next ++ ["expect-eof"],
                 fun(Options) ->
                         Pid = connect(maps:merge(Options, Windows)),
                         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
                         {status, 200, <<>>} = payload(Pid),
                         {headers, []} = payload(Pid),
                         case Expected of
                             closed ->
                                 ?assertEqual({error, {closed, flow_control_error}}, payload(Pid)),
                                 ?assertEqual(closed, state(Pid));
                             reset ->
                                 ?assertMatch({ok, 204, _, _}, get(Pid, "/")),
                                 %% What the window had room for comes first.
                                 ?assertMatch(<<_:16384/binary>>, stream_next(Pid, Pid)),
                                 ?assertEqual({error, {stream_error, flow_control_error}}, payload(Pid));
                             Size ->
                                 ?assertMatch({ok, 204, _, _}, get(Pid, "/")),
                                 ?assertEqual(Size, byte_size(body_of(pulled(Pid, Pid))))
                         end
                 end)
     || {Windows, Frames, Expected} <-
            [{#{stream_window => 16384}, [Last ++ "*16384"], 16384},
             {#{stream_window => 16384}, [Data ++ "*16384", Data], reset},
             {#{connection_window => 65535}, lists:duplicate(3, Data ++ "*16384") ++ [Last ++ "*16383"], 65535},
             {#{connection_window => 65535}, lists:duplicate(4, Data ++ "*16384"), closed}]],
    [?assertMatch({error, {options, {Key, Value}}}, ?CONN:start_link(#{host => "h.example", Key => Value}))
     || {Key, Value} <- [{stream_window, -1}, {stream_window, 1 bsl 31}, {connection_window, 65534},
                         {max_streams, none}, {ping_interval, -1}, {ping_timeout, x}, {drain_on_goaway, 1},
                         {trailers, yes}]].

%% Bytes as a string of a script.
quoted(Bytes) -> lists:flatten([$", [io_lib:format("\\x~2.16.0b", [Byte]) || <<Byte>> <= Bytes], $"]).
