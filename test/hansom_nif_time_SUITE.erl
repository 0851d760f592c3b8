%% @doc No native function keeps a scheduler: each call, whatever it is given, takes less than a
%% millisecond.
%%
%% Every call of `hansom_nif' made while a case runs is timed by call tracing. (`long_schedule' of
%% `erlang:system_monitor/2' tells where a process was scheduled in and out, but not which function
%% took the time in between.) The clock goes on when the operating system takes the processor
%% away, which on a busy machine happens for milliseconds. So a load in which a call was slow runs
%% again, and fails if the same call (the first, second... of this function and operation) was slow
%% each time: one that needs the time needs it each time. That takes many runs on a busy machine,
%% where waking a thread of the engine often means to give it the processor.
-module(hansom_nif_time_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_node, [call/2, call/4]).

%% Microseconds.
-define(LIMIT, 1000).
-define(TIMES, 100).
-define(MIB, (1 bsl 20)).

all() ->
    [calls_are_timed, small_exchanges, large_response_head, many_response_fields, many_request_fields,
     long_request_fields, large_request_body, large_pieces, large_response_body, streamed_body, pushed_body,
     pulled_body, many_authorities, many_connections, http2_exchanges, http2_heads, http2_many_request_fields,
     http2_large_uploads, http2_large_responses, http2_unread_responses, http2_probes_of_a_busy_connection,
     http2_many_streams, large_trailers].

suite() -> [{timetrap, {minutes, 5}}].

init_per_suite(Config) ->
    Origin = #{ports := #{http := Http, https := Https}, cacerts := Roots} = hansom_servers:origin(),
    Target = #{http => Http, https => Https, silent => 0, cacerts => Roots},
    [{origin, Origin}, {target, Target} | Config].

end_per_suite(Config) ->
    hansom_servers:stop(proplists:get_value(origin, Config)).

init_per_testcase(_, Config) ->
    Peer = hansom_node:start([]),
    {ok, _} = call(Peer, application, ensure_all_started, [hansom]),
    [{peer, Peer} | Config].

end_per_testcase(_, Config) ->
    hansom_node:stop(proplists:get_value(peer, Config)).

%% Runs loads, functions of the target. They make what is large themselves, in the node where they
%% run: the way there is slow.
is_quick(Config, Loads) ->
    Target = proplists:get_value(target, Config),
    Peer = proplists:get_value(peer, Config),
    [begin
         Runs = call(Peer, fun() -> runs(Load, Target, ?TIMES) end),
         Slow = [maps:filter(fun(_, Took) -> Took > ?LIMIT end, Run) || Run <- Runs],
         ct:log("microseconds, of the slow ones: ~p", [Slow]),
         %% Something was timed.
         ?assertMatch([#{{open, 1} := _} | _], Runs),
         ?assertEqual([], always_slow(Runs))
     end
     || Load <- Loads],
    ok.

%% The calls of each run, the last run first.
runs(Load, Target, Times) ->
    runs(Load, Target, Times, []).

runs(_Load, _Target, 0, Runs) ->
    Runs;
runs(Load, Target, Times, Runs) ->
    Now = [timed(Load, Target) | Runs],
    case always_slow(Now) of
        [] -> Now;
        _ -> runs(Load, Target, Times - 1, Now)
    end.

always_slow(Runs) ->
    [Call || Call <- maps:keys(hd(Runs)), lists:all(fun(Run) -> maps:get(Call, Run, 0) > ?LIMIT end, Runs)].

%% How long each call took while Load ran, in microseconds.
timed(Load, Target) ->
    Tracer = spawn_link(fun() -> trace(#{}, #{}, #{}) end),
    _ = erlang:trace_pattern({hansom_nif, '_', '_'}, [{'_', [], [{return_trace}]}], [local]),
    %% Only the name of the operation: a copy of all of it would be made on the call's time.
    Operation = [{['_', '_', '$1'], [{is_tuple, '$1'}], [{return_trace}, {message, {element, 1, '$1'}}]},
                 {['_', '_', '$1'], [], [{return_trace}, {message, '$1'}]}],
    _ = [erlang:trace_pattern({hansom_nif, Function, 3}, Operation, [local]) || Function <- [call, exchange]],
    _ = erlang:trace(all, true, [call, arity, monotonic_timestamp, {tracer, Tracer}]),
    Load(Target),
    _ = erlang:trace(all, false, [call, arity, monotonic_timestamp]),
    Delivered = erlang:trace_delivered(all),
    receive {trace_delivered, all, Delivered} -> ok end,
    Tracer ! {self(), times},
    receive {Tracer, Times} -> Times end.

trace(Begun, Counts, Times) ->
    receive
        {trace_ts, Pid, call, {hansom_nif, Function, _}, Time} ->
            trace(Begun#{Pid => {Function, Time}}, Counts, Times);
        {trace_ts, Pid, call, {hansom_nif, Function, _}, Operation, Time} ->
            trace(Begun#{Pid => {{Function, Operation}, Time}}, Counts, Times);
        {trace_ts, Pid, return_from, {hansom_nif, Function, _}, _, Time} ->
            {{Name, Began}, Rest} = maps:take(Pid, Begun),
            Count = 1 + maps:get(Name, Counts, 0),
            Took = erlang:convert_time_unit(Time - Began, native, microsecond),
            trace(Rest, Counts#{Name => Count},
                  case is_dirty(Function) of
                      true -> Times;
                      false -> Times#{{Name, Count} => Took}
                  end);
        {From, times} ->
            From ! {self(), Times}
    end.

%% These have schedulers of their own, which they may keep.
is_dirty(Function) ->
    lists:member(Function, [exchange_dirty, call_dirty, stats, runtime_start]).

%% Loads that use a connection, without and with TLS.
with_connection(Use) -> with_connection([http, https], Use).

%% The same over HTTP/2.
over_http2(Use) -> with_connection([h2c, h2], Use).

with_connection(Transports, Use) ->
    [fun(Target) ->
             %% The window lets in large responses nobody reads.
             Pid = hansom_load:open(Transport, Target, #{stream_window => 64 * ?MIB, connection_window => 64 * ?MIB}),
             Use(Pid),
             ok = hansom_conn:stop(Pid)
     end
     || Transport <- Transports].

get(Pid, Path) -> hansom_conn:request(Pid, <<"GET">>, Path, [], <<>>).

%% That the measure measures: a load whose calls are known.
%%
%% Clauses: VM-7
calls_are_timed(Config) ->
    #{{{call, peername}, 1} := Call, {state, 1} := State} =
        call(proplists:get_value(peer, Config), fun() ->
            timed(fun(_) ->
                            noproc = hansom_nif:state(self()),
                            noproc = hansom_nif:call(self(), make_ref(), peername)
                    end, target)
        end),
    ?assert(is_integer(Call) andalso is_integer(State)).

%% Clauses: VM-7
small_exchanges(Config) ->
    is_quick(Config, with_connection(fun(Pid) ->
        [ok = hansom_load:exchange(Kind, Pid) || Kind <- [sync, async, once, upload, relay], _ <- lists:seq(1, 50)],
        [_ = Function(Pid) || Function <- [fun hansom_conn:peername/1, fun hansom_conn:sockname/1,
                                           fun hansom_conn:peercert/1, fun hansom_conn:is_ready/1,
                                           fun hansom_conn:verify_socket/1, fun hansom:info/1,
                                           fun hansom_conn:checkin_info/1, fun hansom_conn:close/1]]
    end)).

%% Clauses: VM-7
large_response_head(Config) ->
    is_quick(Config, with_connection(fun(Pid) ->
        {ok, 200, _} = get(Pid, <<"/headers-size/1000000">>),
        [_ | _] = hansom_conn:response_headers(Pid),
        {ok, _} = hansom_conn:body(Pid),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/headers-size/1000000">>, [], <<>>, true),
        done = lists:last(hansom_case:payloads(Pid))
    end)).

%% Clauses: VM-7
many_response_fields(Config) ->
    is_quick(Config, with_connection(fun(Pid) ->
        {ok, 200, Fields} = get(Pid, <<"/headers-count/9900">>),
        Fields = hansom_conn:response_headers(Pid),
        {ok, _} = hansom_conn:body(Pid)
    end)).

%% Clauses: VM-7
many_request_fields(Config) ->
    [is_quick(Config, with_connection(fun(Pid) ->
         {ok, 431, _} = hansom_conn:request(Pid, <<"GET">>, <<"/">>, Fields, <<>>),
         {ok, _} = hansom_conn:body(Pid)
     end))
     || Count <- [400, 1000, 5000], Value <- [<<"binary">>, "a string of some length", 12345, atom],
        Fields <- [[{"x-field-" ++ integer_to_list(N), Value} || N <- lists:seq(1, Count)]]],
    ok.

%% Clauses: VM-7
long_request_fields(Config) ->
    [is_quick(Config, with_connection(fun(Pid) ->
         {Path, Fields} = Make(lists:duplicate(?MIB, $x)),
         %% The server does not take it.
         Answer = hansom_conn:request(Pid, <<"GET">>, Path, Fields, <<>>),
         ?assert(element(1, Answer) =:= error orelse element(2, Answer) >= 400)
     end))
     || Make <- [fun(Long) -> {"/", [{"x", Long}]} end,
                 fun(Long) -> {"/", [{<<"x">>, list_to_binary(Long)}]} end,
                 fun(Long) -> {"/", [{<<"x">>, {<<"y">>, [{<<"z">>, Long}]}}]} end,
                 fun(Long) -> {"/", [{list_to_binary(Long), <<"x">>}]} end,
                 fun(_) -> {"/", [{<<"x">>, lists:duplicate(1000, [lists:duplicate(1000, $x), <<"x">>])}]} end,
                 fun(_) -> {"/", lists:duplicate(300, {"x", lists:duplicate(3000, $x)})} end,
                 fun(Long) -> {["/", Long], []} end]],
    ok.

large_bodies() ->
    [fun() -> binary:copy(<<"x">>, 10 * ?MIB) end,
     fun() -> lists:duplicate(100000, binary:copy(<<"x">>, 100)) end,
     fun() -> lists:duplicate(?MIB, $x) end].

%% Clauses: VM-7
large_request_body(Config) ->
    [is_quick(Config, with_connection(fun(Pid) ->
         {ok, 200, _} = hansom_conn:request(Pid, <<"POST">>, <<"/upload">>, [], Make()),
         {ok, _} = hansom_conn:body(Pid)
     end))
     || Make <- large_bodies()],
    ok.

%% Clauses: VM-7
large_pieces(Config) ->
    [is_quick(Config, with_connection(fun(Pid) ->
         ok = hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/upload">>, [{"Host", "origin"}]),
         ok = hansom_conn:send_body_chunk(Pid, Make()),
         ok = hansom_conn:finish_send_body(Pid),
         {ok, 200, _, Pid} = hansom_conn:start_response(Pid),
         {ok, _} = hansom_conn:body(Pid)
     end))
     || Make <- [fun() -> binary:copy(<<"x">>, 10 * ?MIB) end,
                 fun() -> lists:duplicate(10000, <<"a piece">>) end]],
    ok.

%% Clauses: VM-7
large_response_body(Config) ->
    [is_quick(Config, with_connection(fun(Pid) ->
         {ok, 200, _} = get(Pid, Path),
         %% The body may be there before it is asked for.
         hansom_case:hold(Pause),
         {ok, _} = hansom_conn:body(Pid)
     end))
     || Path <- [<<"/bytes/10000000">>, <<"/chunks/1000/10000">>, <<"/bytes/60000">>], Pause <- [0, 20]],
    ok.

%% Clauses: VM-7
streamed_body(Config) ->
    is_quick(Config, with_connection(fun(Pid) ->
        {ok, 200, _} = get(Pid, <<"/bytes/20000000">>),
        20000000 = streamed(Pid, 0)
    end)).

streamed(Pid, Size) ->
    case hansom_conn:stream_body(Pid) of
        {ok, Piece} -> streamed(Pid, Size + byte_size(Piece));
        done -> Size
    end.

%% Clauses: VM-7
pushed_body(Config) ->
    is_quick(Config, with_connection(fun(Pid) ->
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/104857600">>, [], <<>>, true),
        104857600 = received(Pid, fun() -> ok end, 0)
    end)).

%% Clauses: VM-7
pulled_body(Config) ->
    is_quick(Config, with_connection(fun(Pid) ->
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/20000000">>, [], <<>>, once),
        20000000 = received(Pid, fun() -> hansom_conn:stream_next(Pid) end, 0)
    end)).

received(Pid, Pull, Size) ->
    Pull(),
    case hansom_case:payload(Pid) of
        done -> Size;
        Piece when is_binary(Piece) -> received(Pid, Pull, Size + byte_size(Piece));
        {headers, _} -> received(Pid, Pull, Size);
        {status, 200, _} -> received(Pid, Pull, Size)
    end.

%% Clauses: VM-7
many_authorities(Config) ->
    is_quick(Config, [fun(#{https := Port, cacerts := [Root]}) ->
        {ok, Pid} = hansom_conn:start_link(#{host => "127.0.0.1", port => Port, transport => hackney_ssl,
                                             ssl_options => [{cacerts, lists:duplicate(1000, Root)}]}),
        ok = hansom_conn:connect(Pid),
        ok = hansom_conn:stop(Pid)
    end]).

%% Clauses: VM-7
many_connections(Config) ->
    is_quick(Config, [fun(#{http := Port}) ->
        Pids = [begin
                    {ok, Pid} = hansom_conn:start_link(#{host => "127.0.0.1", port => Port}),
                    Pid
                end
                || _ <- lists:seq(1, 2000)],
        [ok = hansom_conn:connect(Pid) || Pid <- lists:sublist(Pids, 200)],
        [ok = hansom_conn:stop(Pid) || Pid <- Pids]
    end]).

%% HTTP/2

%% Clauses: VM-7
http2_exchanges(Config) ->
    is_quick(Config, over_http2(fun(Pid) ->
        [begin
             {ok, 200, _, <<_:20000/binary>>} = get(Pid, <<"/bytes/20000">>),
             {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/20000">>, [], <<>>, true),
             20000 = received(Pid, fun() -> ok end, 0),
             {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/20000">>, [], <<>>, once),
             20000 = received(Pid, fun() -> hansom_conn:stream_next(Pid) end, 0),
             {ok, _} = uploaded(Pid, [<<"one">>, <<"two">>], fun hansom_conn:body/1)
         end
         || _ <- lists:seq(1, 50)],
        [_ = Function(Pid) || Function <- [fun hansom_conn:peername/1, fun hansom_conn:sockname/1,
                                           fun hansom_conn:peercert/1, fun hansom_conn:is_ready/1,
                                           fun hansom_conn:verify_socket/1, fun hansom:info/1,
                                           fun hansom_conn:checkin_info/1, fun hansom_conn:close/1]]
    end)).

%% An upload, and its response read by `Read'.
uploaded(Pid, Pieces, Read) ->
    ok = hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/upload">>, []),
    [ok = hansom_conn:send_body_chunk(Pid, Piece) || Piece <- Pieces],
    ok = hansom_conn:finish_send_body(Pid),
    {ok, 200, _, Pid} = hansom_conn:start_response(Pid),
    Read(Pid).

%% Clauses: VM-7
http2_heads(Config) ->
    is_quick(Config, over_http2(fun(Pid) ->
        [{ok, 200, _, _} = get(Pid, Path) || Path <- [<<"/headers-size/900000">>, <<"/headers-count/9900">>]],
        [_ | _] = hansom_conn:response_headers(Pid)
    end)).

%% Clauses: VM-7
http2_many_request_fields(Config) ->
    [is_quick(Config, over_http2(fun(Pid) ->
         %% The server may refuse them, and the connection with them.
         _ = hansom_conn:request(Pid, <<"GET">>, <<"/">>, Fields, <<>>)
     end))
     || Count <- [100, 400, 1000, 5000, 30000], Value <- [<<"binary">>, "a string of some length", 12345, atom],
        Fields <- [[{"x-field-" ++ integer_to_list(N), Value} || N <- lists:seq(1, Count)]]],
    [is_quick(Config, over_http2(fun(Pid) ->
         _ = hansom_conn:request(Pid, <<"GET">>, <<"/">>, [{<<"x">>, binary:copy(<<"x">>, Size)}], <<>>)
     end))
     || Size <- [10000, 100000, ?MIB]],
    ok.

%% Clauses: VM-7
large_trailers(Config) ->
    [is_quick(Config, with_connection([http, https, h2c, h2], fun(Pid) ->
         %% The server may refuse them, and the connection with them.
         ok = hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/upload">>, [{"Host", "origin"}]),
         _ = hansom_conn:finish_send_body(Pid, [{trailers, Trailers}]),
         _ = hansom_conn:start_response(Pid)
     end))
     || Trailers <- [[{"x-field-" ++ integer_to_list(N), "a string of some length"} || N <- lists:seq(1, Count)]
                     || Count <- [100, 400, 1000, 5000]]
            ++ [[{<<"x">>, lists:duplicate(?MIB, $x)}]]],
    [is_quick(Config, over_http2(fun(Pid) ->
         {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/upload">>, []),
         _ = hansom_h2_stream:send_trailers(Pid, Id, [{"x-field-" ++ integer_to_list(N), "y"} || N <- lists:seq(1, 5000)])
     end))].

%% Clauses: VM-7
http2_large_uploads(Config) ->
    [is_quick(Config, over_http2(fun(Pid) ->
         {ok, 200, _, _} = hansom_conn:request(Pid, <<"POST">>, <<"/upload">>, [], Make()),
         {ok, _} = uploaded(Pid, [Make(), <<"more">>], fun hansom_conn:body/1),
         {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/upload">>, []),
         ok = hansom_h2_stream:send(Pid, Id, Make(), fin),
         {response, Id, 200, _} = hansom_h2_stream:recv(Pid, Id)
     end))
     || Make <- large_bodies()],
    ok.

%% Clauses: VM-7
http2_large_responses(Config) ->
    is_quick(Config, over_http2(fun(Pid) ->
        {ok, 200, _, <<_:10000000/binary>>} = get(Pid, <<"/bytes/10000000">>),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/104857600">>, [], <<>>, true),
        104857600 = received(Pid, fun() -> ok end, 0),
        {ok, Pid} = hansom_conn:request_async(Pid, <<"GET">>, <<"/bytes/20000000">>, [], <<>>, once),
        20000000 = received(Pid, fun() -> hansom_conn:stream_next(Pid) end, 0)
    end)).

%% Responses that are there, as much of them as the windows let in, before they are asked for.
%%
%% Clauses: VM-7
http2_unread_responses(Config) ->
    Here = fun(Pid, Size) ->
                   wait_for(fun() -> maps:get(buffered_in, hansom_nif:info(Pid)) >= Size end)
           end,
    [is_quick(Config, over_http2(fun(Pid) ->
         ok = hansom_conn:send_request_headers(Pid, <<"POST">>, Path, []),
         %% The origin may answer, and then want no more, before the request is complete.
         Finished = hansom_conn:finish_send_body(Pid),
         true = Finished =:= ok orelse Finished =:= {error, stream_reset},
         {ok, 200, _, Pid} = hansom_conn:start_response(Pid),
         Here(Pid, Size),
         {ok, _} = Read(Pid)
     end))
     || {Path, Size} <- [{<<"/bytes/50000000">>, 50000000}, {<<"/chunks/100/30000">>, 3000000}, {<<"/bytes/60000">>, 60000}],
        Read <- [fun hansom_conn:body/1, fun(Pid) -> {ok, streamed(Pid, 0)} end]],
    ok.

wait_for(Is) -> ok = hansom_case:wait_for(Is).

%% Clauses: VM-7
http2_probes_of_a_busy_connection(Config) ->
    is_quick(Config, over_http2(fun(Pid) ->
        Self = self(),
        Readers = [spawn_link(fun() ->
                                      {ok, 200, _, <<_:30000000/binary>>} = get(Pid, <<"/bytes/30000000">>),
                                      Self ! {read, self()}
                              end)
                   || _ <- lists:seq(1, 4)],
        probed(Pid, Readers)
    end)).

probed(_, []) -> ok;
probed(Pid, Readers) ->
    {ok, connected} = hansom_conn:is_ready(Pid),
    ok = hansom_conn:verify_socket(Pid),
    #{} = hansom_conn:checkin_info(Pid),
    receive {read, Reader} -> probed(Pid, lists:delete(Reader, Readers))
    after 0 -> probed(Pid, Readers)
    end.

%% Thousands of streams, and what concerns them all.
%%
%% Clauses: VM-7
http2_many_streams(Config) ->
    is_quick(Config, [fun(Target) ->
        Pid = hansom_load:open(h2c, Target),
        Waiting = [spawn_monitor(fun() -> exit(get(Pid, <<"/delay/3600000">>)) end) || _ <- lists:seq(1, 3000)],
        wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 3000 end),
        {ok, connected} = hansom_conn:is_ready(Pid),
        _ = hansom:info(Pid),
        {Gone, Left} = lists:split(1000, Waiting),
        [exit(Caller, kill) || {Caller, _} <- Gone],
        End(Pid),
        [receive {'DOWN', Monitor, process, _, Answer} -> {error, _} = Answer end || {_, Monitor} <- Left],
        hansom_conn:stop(Pid)
    end
    || End <- [fun hansom_conn:close/1, fun hansom_conn:stop/1]]).
