%% @doc Peers that break HTTP/2 exchanges and connections, and the ends of users in each phase.
-module(hansom_h2_fault_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [state/1, is_state/2, monitor_exit/1, await/1, async/1, result/1, payload/1, payloads/1,
                      wait_for/1, process/0, kill/1]).
-import(hansom_h2_case, [open/1, open/2, connect/1, get/2, get/3, with_script/2, stream_next/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h2_case:init_suite(Config).
end_per_suite(Config) -> hansom_h2_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{h2_08_streams_may_finish, "an option of hansom"},
     {h2_08_complete_response_not_yet_pulled, "an option of hansom"},
     {h2_08_pooled_connections_stay_for_readers, "in hackney a response ends with its connection"},
     {h2_08_a_new_connection_ends_readers, "in hackney a response ends with its connection"},
     {h2_09_silent_peer, "an option of hansom"}].

%% RST_STREAM

%% Clauses: H2-6
h2_06_resets_in_each_phase(Config) ->
    Pid = open(Config),
    Names = [no_error, protocol_error, internal_error, flow_control_error, settings_timeout, stream_closed,
             frame_size_error, refused_stream, cancel, compression_error, connect_error, enhance_your_calm,
             inadequate_security, http_1_1_required, {unknown, 14}, {unknown, 70000}],
    Codes = lists:seq(0, 14) ++ [70000],
    [?assertEqual({error, {stream_error, Name}}, get(Pid, [Path, "?code=", integer_to_list(Code)]))
     || {Name, Code} <- lists:zip(Names, Codes), Path <- ["/reset/before-head", "/reset", "/reset/after/100"]],
    ?assertEqual(connected, state(Pid)).

%% Clauses: H2-6
h2_06_resets_of_messages(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/reset/before-head?code=8">>, [], <<>>, true),
    ?assertEqual([{error, {stream_error, cancel}}], payloads(Pid)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/reset/after/100?code=2">>, [], <<>>, true),
    Payloads = payloads(Pid),
    ?assertMatch([{status, 200, <<>>}, {headers, _} | _], Payloads),
    ?assertEqual({error, {stream_error, internal_error}}, lists:last(Payloads)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: H2-6, H2-13
h2_06_resets_of_uploads(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/reset/before-head?code=8">>, []),
    ?assertEqual({error, {stream_error, cancel}}, ?CONN:start_response(Pid)),
    ?assertEqual({error, no_stream}, ?CONN:send_body_chunk(Pid, <<"x">>)),
    ?assertEqual({error, no_stream}, ?CONN:finish_send_body(Pid)),
    ?assertEqual({error, no_stream}, ?CONN:start_response(Pid)),
    ?assertEqual({error, no_stream}, ?CONN:body(Pid)).

%% Malformed responses

%% Clauses: H2-7
h2_07_malformed_responses(Config) ->
    Pid = open(Config),
    [?assertEqual({error, {stream_error, protocol_error}}, get(Pid, Path))
     || Path <- ["/mismatch/10/20", "/mismatch/20/10"]],
    ?assertEqual(connected, state(Pid)).

%% Clauses: H2-7
h2_07_scripted_responses(_) ->
    Head = "fields headers end_headers 1 ",
    Rows = [{<<"HEAD">>, [Head ++ "\":status: 200\"", "frame data end_stream 1 \"x\""], bad},
            {<<"GET">>, [Head ++ "\":status: 204\"", "frame data end_stream 1 \"x\""], bad},
            {<<"GET">>, [Head ++ "\"no-status: x\""], bad},
            {<<"GET">>, [Head ++ "\":status: 204\"", "frame data end_stream 1 \"\""], 204},
            {<<"GET">>, [Head ++ "\":status: 304\"", "frame data end_stream 1 \"\""], 304},
            {<<"HEAD">>, [Head ++ "\":status: 200\" \"content-length: 9\"", "frame data end_stream 1 \"\""], 200}],
    [with_script(["h2-preface", "expect-frame headers 1"] ++ Lines ++ ["expect-eof"],
                 fun(Options) ->
                         Pid = connect(Options),
                         case {Gives, ?CONN:request(Pid, Method, <<"/">>, [], <<>>)} of
                             {bad, Answer} ->
                                 ?assertEqual({Lines, {error, {stream_error, protocol_error}}}, {Lines, Answer}),
                                 ?assertEqual(connected, state(Pid));
                             {Status, Answer} ->
                                 ?assertMatch({ok, Status, _, <<>>}, Answer)
                         end
                 end) || {Method, Lines, Gives} <- Rows].

%% A name that cannot be one is taken for a broken connection.
%% Clauses: H2-7
h2_07_malformed_names(_) ->
    with_script(["h2-preface", "expect-frame headers 1",
                 "fields headers end_headers 1 \":status: 200\" \"Upper: x\"", "expect-eof"],
                fun(Options) ->
                        Pid = connect(Options),
                        ?assertEqual({error, {closed, protocol_error}}, get(Pid, "/")),
                        ?assertEqual(closed, state(Pid))
                end).

%% GOAWAY

%% Clauses: H2-8, TRAP-17
h2_08_goaway_fails_everything(Config) ->
    Pid = open(Config),
    Waiting = async(fun() -> get(Pid, "/stall", [{recv_timeout, infinity}]) end),
    wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall">>, [], <<>>, true),
    _ = get(Pid, "/goaway?code=11"),
    ?assertEqual({ok, {error, {goaway, enhance_your_calm}}}, result(Waiting)),
    ?assertEqual([{error, {goaway, enhance_your_calm}}], payloads(Pid)),
    ?assertEqual(closed, state(Pid)),
    ?assertEqual({error, invalid_state}, get(Pid, "/hello")),
    ok = ?CONN:connect(Pid),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: H2-8
h2_08_streams_may_finish(Config) ->
    Pid = open(#{drain_on_goaway => true}, Config),
    Waiting = async(fun() -> get(Pid, "/delay/300") end),
    wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/goaway")),
    ?assertMatch({ok, {ok, 200, _, _}}, result(Waiting)),
    is_state(Pid, closed).

%% A response that has come whole does not need its connection any more; in hackney it is lost with it.
%% Clauses: H2-8, H2-10
h2_08_complete_response_not_yet_pulled(_) ->
    [with_script(["h2-preface", "expect-frame headers 1", "fields headers end_headers 1 \":status: 200\"",
                  "frame data end_stream 1 \"whole\"", "frame goaway 0 0 \"\\0\\0\\0\\x01\\0\\0\\0\\0\"", "expect-eof"],
                 fun(Options) ->
                         Pid = connect(maps:merge(Options, More)),
                         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
                         [{status, 200, <<>>}, {headers, []}] = [payload(Pid), payload(Pid)],
                         case Expected of
                             {error, _} -> ?assertEqual(Expected, payload(Pid));
                             Body -> ?assertEqual([Body, done], [stream_next(Pid, Pid) || _ <- "12"])
                         end,
                         is_state(Pid, closed)
                 end)
     || {More, Expected} <- [{#{}, <<"whole">>}, {#{unpulled => drop}, {error, {goaway, no_error}}}]].

%% Clauses: H2-8, ST-11
h2_08_pooled_connections_end(Config) ->
    Pid = open(#{pool_pid => self(), owner => self()}, Config),
    End = monitor_exit(Pid),
    _ = get(Pid, "/goaway"),
    ?assertEqual(normal, await(End)).

%% Clauses: H2-8, ST-11
h2_08_pooled_connections_stay_for_readers(_) ->
    left_unread(#{pool_pid => self(), owner => self()},
                fun(Pid, End) ->
                        stays(End),
                        ?assertEqual([<<"whole">>, done], [stream_next(Pid, Pid) || _ <- "12"]),
                        ?assertEqual(normal, await(End))
                end).

%% Clauses: H2-8, ST-6, ST-11
h2_08_a_new_connection_ends_readers(_) ->
    [left_unread(More, fun(Pid, End) ->
                               ?assertEqual(ok, ?CONN:connect(Pid)),
                               ?assertEqual({error, {closed, normal}}, payload(Pid)),
                               stays(End),
                               ?assertEqual(connected, state(Pid)),
                               ok = ?CONN:stop(Pid),
                               ?assertEqual(normal, await(End))
                       end) || More <- [#{}, #{pool_pid => self(), owner => self()}]].

%% A connection that is closed while a complete response is still to be pulled, and its exit.
left_unread(More, Fun) ->
    with_script(["h2-preface", "expect-frame headers 1", "fields headers end_headers 1 \":status: 200\"",
                 "frame data end_stream 1 \"whole\"", "frame goaway 0 0 \"\\0\\0\\0\\x01\\0\\0\\0\\0\"", "expect-eof"],
                fun(Options) ->
                        Pid = connect(maps:merge(Options, More)),
                        End = monitor_exit(Pid),
                        {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
                        [{status, 200, <<>>}, {headers, []}] = [payload(Pid), payload(Pid)],
                        is_state(Pid, closed),
                        Fun(Pid, End)
                end).

%% Longer than a closed connection of a pool lives.
stays({monitor, Monitor}) ->
    receive {'DOWN', Monitor, process, _, Reason} -> error({stopped, Reason}) after 200 -> ok end.

%% Loss

%% Clauses: H2-9
h2_09_loss_ends_everything(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, true),
    {status, 200, <<>>} = payload(Pid),
    {headers, _} = payload(Pid),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/stall">>, []),
    ?assertMatch({error, {closed, _}}, get(Pid, "/disconnect/before-head")),
    ?assertMatch([{error, {closed, _}}], payloads(Pid)),
    ?assertMatch({error, {closed, _}}, ?CONN:send_body_chunk(Pid, <<"x">>)),
    ?assertEqual({error, invalid_state}, ?CONN:send_body_chunk(Pid, <<"x">>)),
    ?assertEqual(closed, state(Pid)),
    ?assertEqual({error, invalid_state}, get(Pid, "/hello")).

%% Clauses: H2-9
h2_09_orderly_close(_) ->
    with_script(["h2-preface", "expect-frame headers 1", "close"],
                fun(Options) ->
                        Pid = connect(Options),
                        ?assertEqual({error, {closed, tcp_closed}}, get(Pid, "/")),
                        ?assertEqual(closed, state(Pid))
                end).

%% Clauses: H2-9, LOW-6
h2_09_close_by_a_user(Config) ->
    Pid = open(Config),
    Waiting = [async(fun() -> get(Pid, "/stall", [{recv_timeout, infinity}]) end) || _ <- lists:seq(1, 10)],
    wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 10 end),
    ok = ?CONN:close(Pid),
    [?assertEqual({ok, {error, {closed, normal}}}, result(Handle)) || Handle <- Waiting],
    ?assertEqual(closed, state(Pid)).

%% Clauses: H2-9, API-36, ST-28
h2_09_stop_and_kill(Config) ->
    [begin
         Pid = open(Config),
         unlink(Pid),
         Waiting = async(fun() -> get(Pid, "/stall", [{recv_timeout, infinity}]) end),
         wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
         End(Pid),
         ?assertMatch(Gives, case result(Waiting) of
                                 {exit, {Reason, {gen_statem, call, _}}} -> {exit, Reason};
                                 Other -> Other
                             end)
     end || {End, Gives} <- [{fun(Pid) -> ok = ?CONN:stop(Pid) end, {ok, {error, closed}}},
                             {fun(Pid) -> exit(Pid, kill) end, {exit, killed}}]].

%% Clauses: H2-9
h2_09_silent_peer(_) ->
    with_script(["h2-preface", "expect-frame ping 0", "expect-eof"],
                fun(Options) ->
                        Pid = connect(Options#{ping_interval => 50, ping_timeout => 50}),
                        is_state(Pid, closed)
                end).

%% Floods

%% Clauses: H2-9
h2_09_floods_end_the_connection(_) ->
    Rows = [{"frames 200000 settings 0 0 \"\"", enhance_your_calm},
            {"frame data 0 1 \"x\"", protocol_error},
            {"frame headers end_headers 2 \"\"", protocol_error},
            {"frame continuation 0 1 \"\"", protocol_error},
            {"frame window_update 0 0 \"\\x00\\x00\\x00\\x00\"", protocol_error},
            {"send \"HTTP/1.1 400 Bad Request\\r\\n\\r\\n\"", frame_size_error}],
    [with_script(["h2-preface", "expect-frame headers 1", Line, "expect-eof"],
                 fun(Options) ->
                         Pid = connect(Options#{recv_timeout => 10000}),
                         ?assertEqual({Line, {error, {closed, Code}}}, {Line, get(Pid, "/")}),
                         is_state(Pid, closed)
                 end) || {Line, Code} <- Rows].

%% A handshake that is not followed by HTTP/2.
%% Clauses: H2-9, ST-12
h2_09_no_settings(_) ->
    [with_script(Script,
                 fun(Options) ->
                         Pid = hansom_case:start_with(Options#{connect_timeout => 200}),
                         End = monitor_exit(Pid),
                         ?assertMatch({error, Expected} when Expected =:= Reason; Reason =:= any, ?CONN:connect(Pid)),
                         ?assertEqual(normal, await(End))
                 end) || {Script, Reason} <- [{["expect-eof"], timeout}, {["expect 24", "close"], any}]].

%% Whoever dies while the first settings are waited for.
%% Clauses: ST-4, ST-26, ST-28, API-5
st_28_deaths_before_the_settings(_) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, binary, {active, false}]),
    {ok, Port} = inet:port(Listen),
    Wait = hansom_case:deadline(),
    Dial = fun() ->
                   Owner = process(),
                   Pid = hansom_case:start_with((hansom_case:patient())#{host => "127.0.0.1", port => Port, h2c => true,
                                                                         owner => Owner}),
                   unlink(Pid),
                   Caller = async(fun() -> ?CONN:connect(Pid, infinity) end),
                   {ok, Socket} = gen_tcp:accept(Listen, Wait),
                   {ok, <<"PRI * HTTP/2.0", _/binary>>} = gen_tcp:recv(Socket, 24, Wait),
                   {Pid, Owner, Caller, Socket}
           end,
    Closed = fun Read(Socket) ->
                     case gen_tcp:recv(Socket, 0, Wait) of
                         {ok, _} -> Read(Socket);
                         {error, Reason} -> lists:member(Reason, [closed, econnreset])
                     end
             end,
    [begin
         {Pid, Owner, Caller, Socket} = Dial(),
         Exit = monitor_exit(Pid),
         End(Pid, Owner),
         ?assertEqual(Reason, await(Exit)),
         ?assertMatch({exit, {Reason, {gen_statem, call, _}}}, result(Caller)),
         ?assert(Closed(Socket))
     end || {End, Reason} <- [{fun(_, Owner) -> kill(Owner) end, normal}, {fun(Pid, _) -> kill(Pid) end, killed},
                              {fun(Pid, _) -> ok = ?CONN:stop(Pid) end, normal}]],
    %% The dial is not the caller's.
    {Pid, _, {Caller, _}, Socket} = Dial(),
    kill(Caller),
    ok = gen_tcp:send(Socket, <<0:24, 4, 0, 0:32>>),
    is_state(Pid, connected),
    ok = gen_tcp:close(Listen).
