%% @doc Streams of one's own over HTTP/2: open, both directions, flow control, ends.
-module(hansom_h2_stream_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [is_state/2, process/0, run_in/2, kill/1]).
-import(hansom_h2_case, [open/1, open/2, connect/1, options/1, get/2, with_script/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) ->
    case hansom_case:is_hansom() of
        true -> hansom_h2_case:init_suite(Config);
        false -> {skip, "the functions on a stream are those of hansom_h2_stream"}
    end.
end_per_suite(Config) -> hansom_h2_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

recv(Pid, Id) -> hansom_h2_stream:recv(Pid, Id, hansom_case:deadline()).

%% The answer comes while the request is still being sent.
%% Clauses: API-37, TRAP-13
api_37_both_directions(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/echo">>, [{<<"X-A">>, <<"1">>}]),
    ok = hansom_h2_stream:send(Pid, Id, <<"one">>),
    ?assertMatch({response, Id, 200, [_ | _]}, recv(Pid, Id)),
    ?assertEqual({data, Id, <<"one">>, false}, recv(Pid, Id)),
    ok = hansom_h2_stream:send(Pid, Id, ["t", <<"wo">>]),
    ?assertEqual({data, Id, <<"two">>, false}, recv(Pid, Id)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    ok = hansom_h2_stream:send(Pid, Id, <<>>, fin),
    ?assertEqual({data, Id, <<>>, true}, recv(Pid, Id)),
    ?assertEqual({error, no_stream}, hansom_h2_stream:send(Pid, Id, <<"late">>)),
    ?assertEqual(ok, hansom_h2_stream:cancel(Pid, Id)).

%% Clauses: API-37
api_37_trailers(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/echo">>, [{<<"te">>, <<"trailers">>}]),
    ok = hansom_h2_stream:send(Pid, Id, <<"x">>),
    {response, Id, 200, _} = recv(Pid, Id),
    {data, Id, <<"x">>, false} = recv(Pid, Id),
    ?assertEqual({error, protocol_error}, hansom_h2_stream:send_trailers(Pid, Id, [{<<"connection">>, <<"x">>}])),
    ok = hansom_h2_stream:send_trailers(Pid, Id, [{<<"Grpc-Status">>, 0}]),
    ?assertEqual({trailers, Id, [{<<"grpc-status">>, <<"0">>}]}, recv(Pid, Id)).

%% Clauses: API-37
api_37_another_handler(Config) ->
    Pid = open(Config),
    Handler = process(),
    {ok, Pid, Id} = ?CONN:open_h2_stream(Pid, <<"POST">>, <<"/echo">>, [], Handler, #{}),
    ok = hansom_h2_stream:send(Pid, Id, <<"x">>, fin),
    ?assertMatch([{response, Id, 200, _}, {data, Id, <<"x">>, _}],
                 run_in(Handler, fun() -> [recv(Pid, Id), recv(Pid, Id)] end)).

%% Clauses: API-37
api_37_interim_responses(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"GET">>, <<"/interim/103">>, []),
    %% The server may have answered already, and then wants nothing more.
    _ = hansom_h2_stream:send(Pid, Id, <<>>, fin),
    ?assertMatch({informational, Id, 103, [_ | _]}, recv(Pid, Id)),
    ?assertMatch({response, Id, 200, _}, recv(Pid, Id)),
    ok = hansom_h2_stream:cancel(Pid, Id),
    _ = hansom_case:flush_to([]).

%% The peer gets no more room than was consumed.
%% Clauses: API-37
api_37_manual_flow_control(Config) ->
    Pid = open(#{stream_window => 65535}, Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"GET">>, <<"/bytes/131070">>, [], #{flow_control => manual}),
    ok = hansom_h2_stream:send(Pid, Id, <<>>, fin),
    {response, Id, 200, _} = recv(Pid, Id),
    ok = take(Pid, Id, 65535),
    ?assertEqual({error, timeout}, hansom_h2_stream:recv(Pid, Id, 100)),
    ok = hansom_h2_stream:consume(Pid, Id, 65535),
    ok = take(Pid, Id, 65535).

take(_, _, 0) -> ok;
take(Pid, Id, Left) ->
    {data, Id, Data, _} = recv(Pid, Id),
    take(Pid, Id, Left - byte_size(Data)).

%% Clauses: API-37, H2-6
api_37_resets(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/reset/before-head?code=11">>, []),
    ?assertEqual({stream_reset, Id, enhance_your_calm}, recv(Pid, Id)),
    ?assertEqual({error, no_stream}, hansom_h2_stream:send(Pid, Id, <<"x">>)).

%% Clauses: API-37, H2-8
api_37_goaway(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/echo">>, []),
    {response, Id, 200, _} = recv(Pid, Id),
    _ = get(Pid, "/goaway?code=2"),
    ?assertMatch({goaway, _, internal_error}, recv(Pid, Id)),
    ?assertEqual({error, invalid_state}, hansom_h2_stream:open(Pid, <<"GET">>, <<"/">>, [])).

%% Clauses: API-37, H2-9
api_37_loss(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/echo">>, []),
    {response, Id, 200, _} = recv(Pid, Id),
    _ = get(Pid, "/disconnect/before-head"),
    ?assertMatch({closed, _}, recv(Pid, Id)).

%% The peer closes when it has been told.
%% Clauses: API-37
api_37_cancel_and_death_reset(_) ->
    Told = fun(Code, Handler, End) ->
                   with_script(["h2-preface", "expect-frame headers 1",
                                "expect-frame rst_stream 1 \"\\x00\\x00\\x00" ++ Code ++ "\"", "close"],
                               fun(Options) ->
                                       Pid = connect(Options),
                                       {ok, Pid, Id} = ?CONN:open_h2_stream(Pid, <<"POST">>, <<"/">>, [], Handler, #{}),
                                       ok = End(Pid, Id),
                                       is_state(Pid, closed)
                               end)
           end,
    Told("\\x02", self(), fun(Pid, Id) -> hansom_h2_stream:cancel(Pid, Id, internal_error) end),
    Handler = process(),
    Told("\\x08", Handler, fun(_, _) -> kill(Handler) end).

%% Clauses: API-37
api_37_what_is_refused(Config) ->
    Pid = open(Config),
    Open = fun(Conn, Path, Options) -> hansom_h2_stream:open(Conn, <<"GET">>, Path, [], Options) end,
    ?assertEqual({error, {options, {flow_control, x}}}, Open(Pid, <<"/">>, #{flow_control => x})),
    ?assertEqual({error, {invalid_request_target, <<"/\r">>}}, Open(Pid, <<"/\r">>, #{})),
    ?assertEqual({error, protocol_error}, Open(Pid, <<"x">>, #{})),
    ?assertEqual({error, no_stream}, hansom_h2_stream:send(Pid, 99, <<"x">>)),
    ok = ?CONN:close(Pid),
    ?assertEqual({error, invalid_state}, Open(Pid, <<"/">>, #{})),
    Idle = hansom_case:start_with(options(Config)),
    ?assertEqual({error, invalid_state}, Open(Idle, <<"/">>, #{})),
    ok = ?CONN:stop(Idle),
    ?assertEqual({error, closed}, Open(Idle, <<"/">>, #{})).

%% What comes from other nodes, or from the library that hackney has for HTTP/2, is not checked by functions
%% of this one. A connection is not only the user's who sends it.
%% Clauses: API-37, ST-3, ST-29
api_37_messages_that_make_no_sense(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/echo">>, [], #{flow_control => manual}),
    Large = 1 bsl 64,
    [ok = gen_statem:cast(Pid, {stream_consume, Stream, Bytes})
     || {Stream, Bytes} <- [{Id, Large}, {Large, 1}, {0, 1}, {Id, -1}, {x, y}, {Id, 1.5}]],
    [?assertEqual({Call, Answer}, {Call, gen_statem:call(Pid, Call)})
     || {Call, Answer} <- [{{consume, Id, Large}, ok}, {{consume, Large, 1}, ok},
                           {{cancel_stream, Id, foo}, {error, {badarg, {code, foo}}}},
                           {{cancel_stream, Id, {unknown, Large}}, {error, {badarg, {code, {unknown, Large}}}}}]],
    ?assertEqual({error, {badarg, {code, foo}}}, hansom_h2_stream:cancel(Pid, Id, foo)),
    ?assertEqual(ok, hansom_h2_stream:consume(Pid, Large, Large)),
    ok = hansom_h2_stream:send(Pid, Id, <<"x">>, fin),
    ?assertMatch({response, Id, 200, _}, recv(Pid, Id)),
    ?assertMatch({data, Id, <<"x">>, _}, recv(Pid, Id)),
    ?assertEqual(ok, hansom_h2_stream:cancel(Pid, Id)),
    _ = hansom_case:flush_to([]).
