%% @doc The deaths of owner, callers and process, and the end of the application, whatever a connection of many streams is
%% busy with: the same phases over HTTP/2 and HTTP/3, in a group for each.
-module(hansom_streams_life_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
%% More than any window of the peer.
-define(LARGE, 33554432).

-import(hansom_case, [async/1, result/1, process/0, run_in/2, start_in/2, kill/1, is_gone/1, wait_for/1, monitor_exit/1,
                      await/1]).
-import(hansom_h2_case, [get/2, get/3]).

all() -> [{group, http2}, {group, http3}].

groups() -> [{Protocol, [], hansom_case:cases(?MODULE)} || Protocol <- [http2, http3]].

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hansom_h2_case:init_suite(Config).
end_per_suite(Config) -> hansom_h2_case:end_suite(Config).

init_per_group(Protocol, Config) ->
    Listen = case Protocol of
                 http2 -> [];
                 http3 -> ["--http3", "127.0.0.1:0"]
             end,
    Limit = ["--max-streams", integer_to_list(max_streams(Protocol))],
    [{protocol, Protocol}, {origin, hansom_servers:origin(hansom_server_case:server(Config), Limit ++ Listen)} | Config].

%% Over HTTP/2 a stream that is left over is in the way of all others. Over HTTP/3 the origin does not see that its response
%% is not wanted any more as long as it sends nothing.
max_streams(http2) -> 1;
max_streams(http3) -> 20.

end_per_group(_, Config) ->
    hansom_servers:stop(proplists:get_value(origin, Config)).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

protocol(Config) -> proplists:get_value(protocol, Config).

%% What a connection can be busy with, by a function that brings it about and calls `Ready' right before it waits.
phases(Config) ->
    Patient = [{recv_timeout, infinity}],
    [{request, fun(Pid, Ready) -> Ready(), get(Pid, "/stall", Patient) end},
     {response, fun(Pid, Ready) -> Ready(), get(Pid, "/stall/head", Patient) end},
     {body_of_a_request,
      fun(Pid, Ready) ->
              Ready(),
              ?CONN:request(Pid, <<"POST">>, <<"/stall">>, [], binary:copy(<<"x">>, ?LARGE), infinity, Patient)
      end},
     {queued, fun(Pid, Ready) ->
                      ok = occupy(Pid, "/stall", Config),
                      Ready(),
                      get(Pid, "/hello", Patient)
              end},
     {upload, fun(Pid, Ready) ->
                      ok = begin_upload(Pid, "/stall"),
                      Piece = binary:copy(<<"x">>, 100000),
                      Ready(),
                      ?CONN:send_body_chunk(Pid, fun() -> {ok, Piece} end)
              end},
     {blocked_send, fun(Pid, Ready) ->
                            ok = begin_upload(Pid, "/stall"),
                            Ready(),
                            ?CONN:send_body_chunk(Pid, binary:copy(<<"x">>, ?LARGE))
                    end},
     {between_pieces, fun(Pid, Ready) ->
                              ok = begin_upload(Pid, "/stall"),
                              between(Pid, Ready, fun() -> ?CONN:send_body_chunk(Pid, <<"x">>) end)
                      end},
     {start_response, fun(Pid, Ready) ->
                              ok = begin_upload(Pid, "/stall"),
                              Ready(),
                              ?CONN:start_response(Pid)
                      end},
     {between_calls, fun(Pid, Ready) ->
                             ok = begin_response(Pid),
                             between(Pid, Ready, fun() -> ?CONN:body(Pid) end)
                     end},
     {body, fun(Pid, Ready) -> ok = begin_response(Pid), Ready(), ?CONN:body(Pid) end},
     {piece, fun(Pid, Ready) -> ok = begin_response(Pid), Ready(), ?CONN:stream_body(Pid) end},
     {pushed, fun(Pid, Ready) ->
                      {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, true),
                      {status, 200, _} = hansom_case:payload(Pid),
                      Ready(),
                      last_message(Pid)
              end},
     {pulled, fun(Pid, Ready) ->
                      {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>, once),
                      {status, 200, _} = hansom_case:payload(Pid),
                      ok = ?CONN:stream_next(Pid),
                      Ready(),
                      last_message(Pid)
              end}
     | phases_of(protocol(Config))].

phases_of(http2) ->
    Open = fun(Pid) -> ?CONN:open_h2_stream(Pid, <<"POST">>, <<"/stall">>, [], self(), #{}) end,
    [{handler, fun(Pid, Ready) ->
                       {ok, Pid, _} = Open(Pid),
                       Ready(),
                       last_message(Pid)
               end},
     {handler_that_sends, fun(Pid, Ready) ->
                                  {ok, Pid, Id} = Open(Pid),
                                  Ready(),
                                  Sent = hansom_h2_stream:send(Pid, Id, binary:copy(<<"x">>, ?LARGE)),
                                  {error, {closed, normal}} = last_message(Pid),
                                  Sent
                          end}];
phases_of(http3) ->
    Begin = fun(Pid) -> {ok, 200, _} = ?CONN:request_streaming(Pid, <<"GET">>, <<"/stall/head">>, [], <<>>) end,
    [{streamed, fun(Pid, Ready) -> Begin(Pid), Ready(), ?CONN:stream_body(Pid) end},
     {between_streamed_pieces, fun(Pid, Ready) ->
                                       Begin(Pid),
                                       between(Pid, Ready, fun() -> ?CONN:stream_body(Pid) end)
                               end}].

%% Uses all streams the peer allows.
occupy(Pid, Path, Config) ->
    Count = requests(Pid) + max_streams(protocol(Config)),
    Get = fun() -> get(Pid, Path, [{recv_timeout, infinity}]) end,
    [ok = start_in(process(), Get) || _ <- lists:seq(1, max_streams(protocol(Config)))],
    wait_for(fun() -> requests(Pid) =:= Count end).

requests(Pid) -> maps:get(requests, hansom_nif:info(Pid)).

begin_upload(Pid, Path) -> ?CONN:send_request_headers(Pid, <<"POST">>, list_to_binary(Path), []).

begin_response(Pid) ->
    ok = begin_upload(Pid, "/stall/head"),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ok.

%% What the next call gives when the connection is gone.
between(Pid, Ready, Call) ->
    Monitor = monitor(process, Pid),
    Ready(),
    receive {'DOWN', Monitor, process, Pid, Reason} -> exit_as(Reason, Call())
    after hansom_case:deadline() -> error(no_end)
    end.

exit_as(normal, Answer) -> Answer;
exit_as(Reason, {error, closed}) -> exit(Reason).

%% The message that ends a response, or the stream of a handler. A connection that is killed sends none.
last_message(Pid) ->
    Monitor = monitor(process, Pid),
    End = last_message(Pid, Monitor),
    demonitor(Monitor, [flush]),
    End.

last_message(Pid, Monitor) ->
    receive
        {hackney_response, Pid, {error, _} = Error} -> Error;
        {hackney_response, Pid, _} -> last_message(Pid, Monitor);
        {h2, Pid, {closed, Reason}} -> {error, {closed, Reason}};
        {'DOWN', Monitor, process, Pid, normal} -> last_message(Pid, Monitor);
        {'DOWN', Monitor, process, Pid, Reason} -> exit(Reason)
    after hansom_case:deadline() -> error(no_end)
    end.

%% A connection on which `Begin' is under way in a process of its own.
busy(Begin, Pid) ->
    Self = self(),
    Before = requests(Pid),
    {Caller, _} = Handle = async(fun() -> Begin(Pid, fun() -> Self ! {ready, self()} end) end),
    is_waiting(Caller),
    %% Over HTTP/3 what was asked for is begun by another thread.
    wait_for(fun() -> requests(Pid) > Before end),
    Handle.

%% Waits until the process has announced its last call and waits in it.
is_waiting(Caller) ->
    receive {ready, Caller} -> ok
    after hansom_case:deadline() -> error({not_ready, erlang:process_info(Caller, current_stacktrace)})
    end,
    wait_for(fun() -> {status, waiting} =:= erlang:process_info(Caller, status) end).

open(Config) -> open(#{}, Config).

open(More, Config) ->
    #{ports := Ports} = proplists:get_value(origin, Config),
    case protocol(Config) of
        http2 -> hansom_h2_case:open(More#{port => maps:get(https, Ports)}, Config);
        http3 -> hansom_h3_case:open(More#{port => maps:get(http3, Ports)}, Config)
    end.

%% What a message says of a connection that was closed in order.
closed(Phase, Config) ->
    case {lists:member(Phase, [pushed, pulled, handler]), protocol(Config)} of
        {false, _} -> {error, closed};
        {true, http2} -> {error, {closed, normal}};
        {true, http3} -> {error, {connection_closed, normal}}
    end.

%% Clauses: ST-4, H2-17, H3-10
st_04_death_of_the_owner(Config) ->
    [begin
         Owner = process(),
         Pid = open(#{owner => Owner}, Config),
         Caller = busy(Begin, Pid),
         Exit = monitor_exit(Pid),
         kill(Owner),
         ?assertEqual({Phase, normal}, {Phase, await(Exit)}),
         ?assertEqual({Phase, {ok, closed(Phase, Config)}}, {Phase, result(Caller)})
     end || {Phase, Begin} <- phases(Config)].

%% The connection goes on for the others.
%% Clauses: ST-26, H2-4, H2-17
st_26_death_of_a_caller(Config) ->
    Pid = open(Config),
    [begin
         {Caller, _} = busy(Begin, Pid),
         kill(Caller),
         ?assertMatch({Phase, {ok, 200, _, _}}, {Phase, get(Pid, "/hello")})
     end || {Phase, Begin} <- lists:keydelete(queued, 1, phases(Config))].

%% What nobody waits for any more is not sent when its turn comes.
%% Clauses: ST-26, H2-4
st_26_death_of_a_queued_caller(Config) ->
    Pid = open(Config),
    Most = max_streams(protocol(Config)),
    Users = [process() || _ <- lists:seq(1, Most)],
    [ok = run_in(User, fun() -> begin_upload(Pid, "/echo") end) || User <- Users],
    {Caller, _} = busy(fun(_, Ready) -> Ready(), hansom_h2_case:post(Pid, "/echo", <<"waiting">>) end, Pid),
    wait_for(fun() -> 7 =:= maps:get(buffered_out, hansom_nif:info(Pid)) end),
    kill(Caller),
    wait_for(fun() -> 0 =:= maps:get(buffered_out, hansom_nif:info(Pid)) end),
    [{ok, 200, _, Pid} = run_in(User, fun() -> ok = ?CONN:finish_send_body(Pid), ?CONN:start_response(Pid) end)
     || User <- Users],
    Expected = integer_to_binary(Most + 1),
    ?assertMatch(#{request := Expected}, hansom_h3_case:seen(Pid)).

%% Clauses: ST-28
st_28_death_of_the_process(Config) ->
    Before = hansom_case:descriptors(),
    [begin
         Pid = open(Config),
         Caller = busy(Begin, Pid),
         kill(Pid),
         case result(Caller) of
             {exit, {Reason, {gen_statem, call, _}}} -> ?assertEqual({Phase, killed}, {Phase, Reason});
             Ended -> ?assertEqual({Phase, {exit, killed}}, {Phase, Ended})
         end,
         %% Its socket is closed by a thread that learns of it a moment later.
         wait_for(fun() -> hansom_case:descriptors() =< Before end)
     end || {Phase, Begin} <- phases(Config)].

%% The application may stop at any time: users are told, and no socket is left.
%% Clauses: ST-27, ST-28
st_28_stop_of_the_application(Config) ->
    Before = hansom_case:descriptors(),
    Busy = [begin
                Pid = open(Config),
                unlink(Pid),
                {Phase, Pid, busy(Begin, Pid)}
            end || {Phase, Begin} <- phases(Config)],
    ok = application:stop(hansom_case:application()),
    try
        [_ = is_gone(Pid) || {_, Pid, _} <- Busy],
        [?assertEqual({Phase, {ok, closed(Phase, Config)}}, {Phase, result(Caller)}) || {Phase, _, Caller} <- Busy],
        ?assert(hansom_case:descriptors() =< Before)
    after
        ok = application:start(hansom_case:application())
    end,
    ?assertMatch({ok, 200, _, _}, get(open(Config), "/hello")).
