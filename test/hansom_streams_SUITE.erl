%% @doc What HTTP/2 and HTTP/3 do alike, in a group for each: heads, bodies, trailers, messages, uploads, and what a
%% process and a pool see of a connection of many streams. Where HTTP/3 has to do the same, a case bears the clause of
%% HTTP/2 in its name.
-module(hansom_streams_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [state/1, async/1, result/1, process/0, run_in/2, start_in/2, kill/1, payload/1, payloads/1,
                      pulled/2, body_of/1, pieces/1, no_message/0, wait_for/1]).
-import(hansom_h2_case, [get/2, get/3, post/3]).

all() -> [{group, http2}, {group, http3}].

groups() -> [{Protocol, [], hansom_case:cases(?MODULE)} || Protocol <- [http2, http3]].

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h2_case:init_suite(Config).
end_per_suite(Config) -> hansom_h2_case:end_suite(Config).
init_per_group(Protocol, Config) -> [{protocol, Protocol} | Config].
end_per_group(_, Config) -> Config.
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations(Config) ->
    [{h2_03_slow_beside_fast, "tells no figures to wait for"},
     {h2_05_trailers_by_option, "an option of hansom"},
     {h2_05_request_trailers, "an option of hansom"},
     {h2_13_early_response, "one upload blocks the whole connection"},
     {h2_13_failing_producer, "one upload blocks the whole connection"},
     {h2_14_uploads_side_by_side, "one upload blocks the whole connection"},
     {h2_15_interim_by_option, "an option of hansom"},
     {h2_15_interim_of_an_upload, "an option of hansom"},
     {h2_16_windows_of_every_size, "options of hansom"},
     {st_09_no_idle_end, "`idle_timeout' ends it"}
     | case protocol(Config) of
           http2 -> [{h2_01_the_head, "numbers are no values"},
                     {h2_04_requests_wait_for_their_turn, "an immediate error"}];
           http3 -> [{h2_04_immediate_error, "an option of hansom"},
                     {api_39_what_a_pool_is_told, "never ready"},
                     {h2_01_the_head, "the authority lacks the port"},
                     {h2_02_what_is_not_allowed, "errors of other names"},
                     {h2_05_trailers_end_the_response, "an error, or no end"},
                     {h2_10_one_message_for_a_pull, "`once' pushes"},
                     {h2_15_what_has_no_effect, "takes an interim response for the final one"}]
                    ++ [{Case, "no body after an upload"}
                        || Case <- [h2_13_upload, h2_13_body_of_an_upload, h2_13_large_uploads]]
                    ++ [{Case, "reserved frames hide the end of a response"}
                        || Case <- [h2_03_many_at_once, h2_03_whole_responses, h2_10_messages,
                                    pool_06_never_back_to_a_pool]]
       end].

protocol(Config) -> proplists:get_value(protocol, Config).

open(Config) -> open(#{}, Config).

open(More, Config) ->
    case protocol(Config) of
        http2 -> hansom_h2_case:open(More, Config);
        http3 -> hansom_h3_case:open(More, Config)
    end.

connect(Options, Config) -> hansom_case:connect_over(protocol(Config), Options).

with_origin(Options, Config, Fun) ->
    case protocol(Config) of
        http2 -> hansom_h2_case:with_origin(Options, Config, Fun);
        http3 -> hansom_h3_case:with_origin(Options, Config,
                                            fun(Port) -> Fun(hansom_h3_case:options(#{port => Port}, Config)) end)
    end.

%% Requests and responses

%% Clauses: H2-1, H3-1, REQ-1
h2_01_the_head(Config) ->
    Pid = open(Config),
    {PortOf, Version} = case protocol(Config) of
                            http2 -> {https, <<"HTTP/2.0">>};
                            http3 -> {http3, <<"HTTP/3.0">>}
                        end,
    Port = integer_to_binary(hansom_server_case:port(PortOf, Config)),
    {ok, 200, _, Body} = ?CONN:request(Pid, <<"POST">>, <<"/headers?a=b">>,
                                       [{<<"X-Upper">>, <<"Kept">>}, {<<"Host">>, <<"elsewhere.example">>},
                                        {x_atom, value}, {"x-list", "text"}, {<<"x-number">>, 7},
                                        {<<"a">>, <<"second">>}, {<<"x-upper">>, <<"too">>}], <<"body">>),
    [Line | Fields] = binary:split(Body, <<"\n">>, [global, trim]),
    ?assertEqual(<<"POST https://localhost:", Port/binary, "/headers?a=b ", Version/binary>>, Line),
    %% Those of one name stand together.
    ?assertEqual([<<"x-upper: Kept">>, <<"x-upper: too">>, <<"x_atom: value">>, <<"x-list: text">>, <<"x-number: 7">>,
                  <<"a: second">>], Fields).

%% Clauses: H2-2, H3-1
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
    [Refused(Method, <<"/">>, []) || Method <- [<<"CONNECT">>, <<"G T">>, <<"GÉ"/utf8>>]],
    [Refused(<<"GET">>, Target, [])
     || Target <- [<<"hello">>, <<"*">>, <<"?a">>, <<"/a b">>, <<"/a", 1>>, <<"/a#b">>, <<"/<">>, <<"/>">>, <<"/`">>,
                   <<"/?\"">>, <<"/", 16#e9>>, binary:copy(<<"/">>, 65535)]],
    ?assertMatch({ok, 404, _, _}, get(Pid, [<<"/\"{|}\\^'é?`{|}\\^'é"/utf8>>])),
    ?assertEqual({error, protocol_error}, ?CONN:request_async(Pid, <<"GET">>, <<"x">>, [], <<>>, true)),
    ?assertEqual({error, protocol_error}, ?CONN:send_request_headers(Pid, <<"GET">>, <<"x">>, [])),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello", [])),
    ?assertMatch({ok, 200, _, _}, ?CONN:request(Pid, <<"GET">>, <<"/hello">>, [{<<"te">>, <<"trailers">>}], <<>>)).

%% Clauses: H2-3, H3-1, API-7, TRAP-24
h2_03_whole_responses(Config) ->
    Pid = open(Config),
    {ok, 200, Headers, Body} = get(Pid, "/bytes/300000"),
    ?assertEqual(<<"300000">>, proplists:get_value(<<"content-length">>, Headers)),
    ?assert(Body =:= << <<(I rem 251)>> || I <- lists:seq(0, 299999) >>),
    ?assertMatch({ok, 200, _, <<>>}, ?CONN:request(Pid, <<"HEAD">>, <<"/bytes/10">>, [], <<>>)),
    ?assertMatch({ok, 204, _, <<>>}, get(Pid, "/status/204")),
    ?assertMatch({ok, 304, _, <<>>}, get(Pid, "/cache/304")),
    ?assertMatch({ok, 404, _, _}, get(Pid, "/nowhere")),
    ?assertMatch({ok, 200, _, <<"onetwo">>}, post(Pid, "/echo", [<<"one">>, "two"])),
    ?assertMatch({ok, 200, _, <<"q">>}, ?CONN:request(Pid, <<"QUERY">>, <<"/echo">>, [], <<"q">>)),
    ?assertMatch([_ | _], ?CONN:response_headers(Pid)),
    ?assertEqual(connected, state(Pid)).

%% Clauses: H2-3, H2-14, H3-1
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
%% Clauses: H2-3, H3-1
h2_03_slow_beside_fast(Config) ->
    Pid = open(Config),
    Slow = async(fun() -> get(Pid, "/stall", [{recv_timeout, infinity}]) end),
    wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 1 end),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    ok = ?CONN:close(Pid),
    Closed = case protocol(Config) of
                 http2 -> closed;
                 http3 -> connection_closed
             end,
    ?assertEqual({ok, {error, {Closed, normal}}}, result(Slow)),
    ?assertEqual(closed, state(Pid)).

%% Clauses: H2-5, H3-11, TRAP-14
h2_05_trailers_end_the_response(Config) ->
    Pid = open(Config),
    Te = [{<<"te">>, <<"trailers">>}],
    ?assertMatch({ok, 200, _, <<"a body with trailers\n">>}, ?CONN:request(Pid, <<"GET">>, <<"/trailers">>, Te, <<>>)),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/trailers">>, Te, <<>>, true),
    ?assertMatch([{status, 200, <<>>}, {headers, _}, <<"a body with trailers\n">>, done], payloads(Ref)).

%% Clauses: H2-5, H3-11
h2_05_trailers_by_option(Config) ->
    Te = [{<<"te">>, <<"trailers">>}],
    Pid = open(Config),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/trailers">>, Te, <<>>, true, self(), false, [{trailers, true}]),
    ?assertMatch([{status, 200, <<>>}, {headers, _}, _, {trailers, [{_, _} | _]}, done], payloads(Ref)),
    Always = open(#{trailers => true}, Config),
    {ok, Ref2} = ?CONN:request_async(Always, <<"GET">>, <<"/trailers">>, Te, <<>>, true),
    ?assertMatch([{status, 200, <<>>}, {headers, _}, _, {trailers, [{_, _} | _]}, done], payloads(Ref2)).

%% Clauses: H2-5, H2-13, H3-7
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

%% Clauses: H2-10, H3-8, ASY-1, ASY-7, TRAP-31
h2_10_messages(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/100000">>, [], <<>>, true),
    [{status, 200, <<>>}, {headers, _} | Rest] = payloads(Pid),
    ?assertEqual(done, lists:last(Rest)),
    ?assertEqual(100000, byte_size(body_of(Rest))),
    ?assertEqual(connected, state(Pid)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/redirect/1">>, [], <<>>, true, self(), true),
    ?assertMatch([{status, 302, <<>>}, {headers, _} | _], payloads(Pid)).

%% Clauses: H2-10, H3-8, ASY-2, TRAP-32
h2_10_one_message_for_a_pull(Config) ->
    Pid = open(#{stream_window => 65535}, Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/300000">>, [], <<>>, once),
    {status, 200, <<>>} = payload(Pid),
    {headers, _} = payload(Pid),
    %% An exchange later all that may come without a pull would be here.
    {ok, 200, _, _} = get(Pid, "/hello"),
    no_message(),
    Pulled = pulled(Pid, Pid),
    ?assertEqual(300000, byte_size(body_of(Pulled))),
    no_message().

%% Clauses: H2-16, API-1
h2_16_windows_of_every_size(Config) ->
    [begin
         Pid = open(maps:from_list([{Key, Value} || Key <- Keys]), Config),
         {ok, 200, _, Body} = get(Pid, "/bytes/300000"),
         ?assertEqual(300000, byte_size(Body)),
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/300000">>, [], <<>>, once),
         {status, 200, <<>>} = payload(Pid),
         {headers, _} = payload(Pid),
         ?assertEqual(300000, byte_size(body_of(pulled(Pid, Pid))))
     end || {Keys, Value} <- [{[stream_window], 0}, {[stream_window], 1},
                              {[stream_window, connection_window], 16#7fffffff},
                              {[connection_window], 65535}]].

%% A receiver that takes nothing holds up nobody, also with all it may have in its mailbox, and costs no more than that
%% and its window.
%% Clauses: H2-10, H2-3, H3-8, ASY-13
h2_10_slow_receivers_do_not_disturb(Config) ->
    Window = 1048576,
    Allowance = 65536,
    Pid = open(#{stream_window => Window, connection_window => 2 * Window, push_allowance => Allowance,
                 push_queue_limit => 1}, Config),
    Receivers = [process() || _ <- lists:seq(1, 5)],
    [{ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/bytes/50000000">>, [], <<>>, true, Receiver)
     || Receiver <- Receivers],
    {ok, 200, _, Body} = get(Pid, "/bytes/5000000"),
    ?assertEqual(5000000, byte_size(Body)),
    #{received := Received, buffered_in := Buffered} = hansom_nif:info(Pid),
    ?assert(Received < 5000000 + 5 * 2 * Window),
    ?assert(Buffered =< 5 * Window),
    %% The head, and pieces until the allowance was spent.
    Lengths = [Length || Receiver <- Receivers, {_, Length} <- [process_info(Receiver, message_queue_len)]],
    ?assertEqual([], [Length || Length <- Lengths, Length > 2 + Allowance div 1024]),
    [kill(Receiver) || Receiver <- Receivers],
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% The death of a receiver ends its transfer and nothing else: messages for others do not change the owner.
%% Clauses: H2-10, H3-8, ASY-10
h2_10_receivers_do_not_own(Config) ->
    Pid = open(Config),
    Receiver = process(),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, true, Receiver),
    ?assertMatch({status, 200, <<>>}, run_in(Receiver, fun() -> payload(Pid) end)),
    kill(Receiver),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: H2-15, H3-13, API-8, API-17, API-37, RSP-15
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
    %% What the other protocol has.
    ?assertEqual({error, invalid_state},
                 case protocol(Config) of
                     http2 -> ?CONN:request_streaming(Pid, <<"GET">>, <<"/">>, [], <<>>);
                     http3 -> ?CONN:open_h2_stream(Pid, <<"GET">>, <<"/">>, [], self(), #{})
                 end).

%% Clauses: H2-15, H3-13
h2_15_interim_by_option(Config) ->
    Pid = open(Config),
    Self = self(),
    Tell = fun(Status, Reason, Headers) -> Self ! {informed, Status, Reason, Headers} end,
    {ok, 200, _, _} = get(Pid, "/interim/103?count=2", [{inform_fun, Tell}, {interim, true}]),
    [receive {informed, 103, <<>>, [_ | _]} -> ok after hansom_case:deadline() -> error(not_informed) end || _ <- [1, 2]],
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/interim/103">>, [], <<>>, true, self(), false,
                                    [{interim, true}]),
    ?assertMatch([{informational, 103, <<>>, _}, {status, 200, <<>>} | _], payloads(Ref)).

%% Those of an upload are told when its response is asked for, by the connection's function.
%%
%% Clauses: H2-15, RSP-13, RSP-15
h2_15_interim_of_an_upload(Config) ->
    Self = self(),
    Pid = open(#{inform_fun => fun(Status, _, _) -> Self ! {informed, Status} end}, Config),
    Upload = fun(Options) ->
                     ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/interim/103?count=2">>, [], Options),
                     %% The server does not wait for the body: it may have answered by now, and take no more.
                     ?assert(lists:member(?CONN:finish_send_body(Pid), [ok, {error, stream_reset}])),
                     {ok, 200, _, Pid} = ?CONN:start_response(Pid),
                     {ok, _} = ?CONN:body(Pid),
                     informed()
             end,
    ?assertEqual([], Upload([])),
    ?assertEqual([{informed, 103}, {informed, 103}], Upload([{interim, true}])).

informed() ->
    receive {informed, _} = Told -> [Told | informed()] after 0 -> [] end.

%% Limits of the peer

%% Clauses: H2-4, H3-1
h2_04_requests_wait_for_their_turn(Config) ->
    with_origin(["--max-streams", "2"], Config,
                fun(Options) ->
                        Pid = connect(Options, Config),
                        Handles = [async(fun() -> get(Pid, "/delay/20") end) || _ <- lists:seq(1, 10)],
                        [?assertMatch({ok, {ok, 200, _, _}}, result(Handle)) || Handle <- Handles],
                        %% Waiting is bounded too.
                        [{ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall">>, [], <<>>, true)
                         || _ <- [1, 2]],
                        ?assertEqual({error, timeout}, get(Pid, "/hello", [{recv_timeout, 50}])),
                        ok = ?CONN:close(Pid)
                end).

%% Clauses: H2-4, H3-1
h2_04_immediate_error(Config) ->
    with_origin(["--max-streams", "1"], Config,
                fun(Options) ->
                        Pid = connect(Options#{max_streams => error}, Config),
                        {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall">>, [], <<>>, true),
                        ?assertEqual({error, max_streams_exceeded}, get(Pid, "/hello")),
                        ?assertEqual({error, max_streams_exceeded},
                                     ?CONN:request_async(Pid, <<"GET">>, <<"/hello">>, [], <<>>, true)),
                        ?assertEqual(connected, state(Pid)),
                        ok = ?CONN:close(Pid)
                end).

%% Uploads in pieces

%% Clauses: H2-13, H3-7, TRAP-12, API-11, API-12, API-13, API-14
h2_13_upload(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
    ok = ?CONN:send_body_chunk(Pid, <<"one,">>),
    ok = ?CONN:send_body_chunk(Pid, ["two", $,, <<"three,">>]),
    ok = ?CONN:send_body_chunk(Pid, "four,"),
    ok = ?CONN:send_body_chunk(Pid, {fun(0) -> eof; (N) -> {ok, <<"x">>, N - 1} end, 3}),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual(connected, state(Pid)),
    Pieces = pieces(Pid),
    ?assertEqual(<<"one,two,three,four,xxx">>, body_of(Pieces)),
    ?assertEqual(done, lists:last(Pieces)),
    ?assertEqual({error, no_stream}, ?CONN:stream_body(Pid)).

%% Clauses: H2-13, H3-7, API-9
h2_13_body_of_an_upload(Config) ->
    Pid = open(Config),
    NoBody = case protocol(Config) of
                 http2 -> no_stream;
                 http3 -> invalid_state
             end,
    ?assertEqual({error, NoBody}, ?CONN:body(Pid)),
    ?assertEqual({error, no_stream}, ?CONN:stream_body(Pid)),
    ?assertEqual({error, invalid_state}, ?CONN:start_response(Pid)),
    %% One after the other.
    [begin
         ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
         ok = ?CONN:send_body_chunk(Pid, binary:copy(Byte, 100000)),
         ok = ?CONN:finish_send_body(Pid),
         {ok, 200, _, Pid} = ?CONN:start_response(Pid),
         ?assertEqual({ok, binary:copy(Byte, 100000)}, ?CONN:body(Pid))
     end || Byte <- [<<"x">>, <<"y">>]].

%% The response may come before it is asked for, and before the request has ended.
%% Clauses: H2-13, H3-7
h2_13_early_response(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/hello">>, []),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual({ok, <<"Hello, world!\n">>}, ?CONN:body(Pid)),
    ?assertEqual(connected, state(Pid)).

%% A function that fails ends its own stream only.
%% Clauses: H2-13, H2-14, H3-7
h2_13_failing_producer(Config) ->
    Pid = open(Config),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/echo">>, []),
    ?assertEqual({error, disk}, ?CONN:send_body_chunk(Pid, fun() -> {error, disk} end)),
    ?assertEqual({error, no_stream}, ?CONN:start_response(Pid)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: H2-13, H3-7
h2_13_large_uploads(Config) ->
    Pid = open(Config),
    Piece = binary:copy(<<"x">>, 100000),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/upload">>, []),
    ok = ?CONN:send_body_chunk(Pid, {fun(50) -> eof; (N) -> {ok, Piece, N + 1} end, 0}),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, Body} = ?CONN:body(Pid),
    ?assertMatch({match, _}, re:run(Body, "bytes: ?5000000\\n")),
    ?assertMatch({ok, 200, _, <<"bytes: 5000000\n", _/binary>>}, post(Pid, "/upload", binary:copy(<<"y">>, 5000000))).

%% Clauses: H2-14, H3-7
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
    hansom_case:hold(300),
    ?assertEqual(connected, state(Pid)),
    ?assertMatch({ok, 200, _, _}, get(Pid, "/hello")).

%% Clauses: API-39, POOL-9
api_39_what_a_pool_is_told(Config) ->
    Pid = open(Config),
    Protocol = protocol(Config),
    ?assertMatch(#{protocol := Protocol, upgraded_ssl := false, ready := true}, ?CONN:checkin_info(Pid)).

%% The pool is told that the connection is of no use to it.
%% Clauses: POOL-6, POOL-9, POOL-18
pool_06_never_back_to_a_pool(Config) ->
    Pool = process(),
    Pid = open(#{pool_pid => Pool, owner => self()}, Config),
    {ok, 200, _, _} = get(Pid, "/hello"),
    ok = start_in(Pool, fun() ->
                                receive {'$gen_call', From, {checkin_sync, Pid, ShouldClose}} ->
                                        put(told, ShouldClose),
                                        gen_server:reply(From, ok)
                                end
                        end),
    ?assertEqual(ok, ?CONN:release_to_pool(Pid)),
    ?assertEqual(true, run_in(Pool, fun() -> get(told) end)).
