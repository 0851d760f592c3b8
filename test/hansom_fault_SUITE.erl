%% @doc Whatever dies, whenever it dies: nothing hangs, and nothing is left behind, be it a
%% process, a socket or a message.
-module(hansom_fault_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [connected/2, start_with/1, serve/1, request/1, exchange/1, response/1]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 90}}].

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [].

%% Phases of an exchange. Each gives a connection in that phase, its peer, whose script is
%% over, and the process that waits for the connection, if one does.

phases() ->
    [connected, waiting_for_head, inside_head, receiving, reading_body, reading_piece, upload,
     writing_chunk, streaming, streaming_once].

-define(HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").

in(Phase, Options) ->
    {Pid, Peer} = connected(serve(script(Phase)), Options#{recv_timeout => recv_timeout()}),
    Caller = enter(Phase, Pid, Peer),
    #{pid => Pid, peer => Peer, caller => Caller, phase => Phase}.

%% The other module notices some deaths only after a read: this bounds it. Here a timeout would
%% hide that a death goes unnoticed.
recv_timeout() ->
    case hansom_case:is_hansom() of
        true -> infinity;
        false -> 300
    end.

script(connected) -> [];
script(waiting_for_head) -> [request];
script(inside_head) -> [request, {send, "HTTP/1.1 200 OK\r\nA"}];
script(Upload) when Upload =:= upload; Upload =:= writing_chunk -> [head];
script(_) -> [request, {send, [?HEAD, "hello"]}].

enter(connected, _, _) ->
    none;
enter(Waiting, Pid, Peer) when Waiting =:= waiting_for_head; Waiting =:= inside_head ->
    Caller = hansom_case:async(fun() -> request(Pid) end),
    ok = hansom_script:await_script(Peer),
    Caller;
enter(receiving, Pid, _) ->
    {ok, 200, _} = request(Pid),
    none;
enter(reading_body, Pid, _) ->
    {ok, 200, _} = request(Pid),
    hansom_case:async(fun() -> ?CONN:body(Pid) end);
enter(reading_piece, Pid, _) ->
    {ok, 200, _} = request(Pid),
    {ok, <<"hello">>} = ?CONN:stream_body(Pid),
    hansom_case:async(fun() -> ?CONN:stream_body(Pid) end);
enter(upload, Pid, Peer) ->
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
    ok = hansom_script:await_script(Peer),
    none;
enter(writing_chunk, Pid, Peer) ->
    none = enter(upload, Pid, Peer),
    Chunk = binary:copy(<<"x">>, 1 bsl 20),
    hansom_case:async(fun() -> write_on(Pid, Chunk) end);
enter(streaming, Pid, _) ->
    async(Pid, true),
    <<"hello">> = hansom_case:payload(Pid),
    none;
enter(streaming_once, Pid, _) ->
    async(Pid, once),
    none.

async(Pid, Mode) ->
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, Mode),
    {status, 200, _} = hansom_case:payload(Pid),
    {headers, _} = hansom_case:payload(Pid).

write_on(Pid, Chunk) ->
    case ?CONN:send_body_chunk(Pid, Chunk) of
        ok -> write_on(Pid, Chunk);
        Error -> Error
    end.

%% A caller gets an answer, and it is no success.
failed(#{caller := none}) ->
    ok;
failed(#{caller := Caller, phase := Phase}) ->
    case hansom_case:result(Caller) of
        {exit, _} -> ok;
        {ok, {error, Reason}} -> lost(Reason);
        Other ->
            %% Elsewhere a body cut short is a success.
            {Phase, Other, false} = {Phase, Other, hansom_case:is_hansom()}
    end.

%% A reason that names the loss.
lost(timeout) -> false = hansom_case:is_hansom();
lost(invalid_state) -> false = hansom_case:is_hansom();
lost(_) -> ok.

closed(Peer) ->
    Outcome = hansom_script:await_closed(Peer),
    ?assert(lists:member(Outcome, [closed, econnreset])).

%% Clauses: ST-28, API-48, API-36
st_28_connection_killed_in_every_phase(_) ->
    [begin
         #{pid := Pid, peer := Peer} = Exchange = in(Phase, #{}),
         hansom_case:kill(Pid),
         failed(Exchange),
         closed(Peer),
         ended(Pid, Phase),
         hansom_case:no_message()
     end
     || Phase <- phases()].

%% Clauses: ST-28, ST-27, API-4
st_28_connection_stopped_in_every_phase(_) ->
    [begin
         #{pid := Pid, peer := Peer} = Exchange = in(Phase, #{}),
         %% A wait that nothing else would end, except by the timeout of the read.
         case Phase of
             writing_chunk -> ok = ?CONN:stop(Pid, 500);
             _ -> ok = ?CONN:stop(Pid)
         end,
         failed(Exchange),
         closed(Peer),
         ended(Pid, Phase),
         hansom_case:no_message()
     end
     || Phase <- phases(), Phase =/= writing_chunk orelse hansom_case:is_hansom()].

%% The receiver of a stream may have been told how it ended, before the stop.
ended(Pid, Phase) when Phase =:= streaming; Phase =:= streaming_once ->
    receive {hackney_response, Pid, {error, _}} -> ok after 0 -> ok end;
ended(_, _) ->
    ok.

%% Clauses: ST-4, ST-28, EXIT-1
st_04_owner_killed_in_every_phase(_) ->
    [begin
         Owner = hansom_case:process(),
         #{pid := Pid, peer := Peer} = Exchange = in(Phase, #{owner => Owner}),
         Exit = hansom_case:monitor_exit(Pid),
         hansom_case:kill(Owner),
         failed(Exchange),
         ?assertEqual(normal, hansom_case:await(Exit)),
         closed(Peer),
         ended(Pid, Phase),
         hansom_case:no_message()
     end
     || Phase <- phases(), Phase =/= writing_chunk orelse hansom_case:is_hansom()].

%% Clauses: ST-28, EXIT-2
st_28_supervisor_shutdown_in_every_phase(_) ->
    [begin
         Parent = hansom_case:process(),
         Server = serve(script(Phase)),
         Options = hansom_case:options(Server, #{recv_timeout => recv_timeout(), owner => self()}),
         {ok, Pid} = hansom_case:run_in(Parent, fun() -> ?CONN:start_link(Options) end),
         ok = ?CONN:connect(Pid),
         Peer = hansom_script:accept(Server),
         Caller = enter(Phase, Pid, Peer),
         Exit = hansom_case:monitor_exit(Pid),
         exit(Parent, shutdown),
         failed(#{caller => Caller, phase => Phase}),
         Reason = hansom_case:await(Exit),
         %% The other module may have failed the exchange, and stopped, before it looks.
         ?assert(Reason =:= shutdown orelse Reason =:= normal andalso not hansom_case:is_hansom()),
         closed(Peer),
         ended(Pid, Phase)
     end
     || Phase <- phases(), Phase =/= writing_chunk orelse hansom_case:is_hansom()].

%% Clauses: ST-26
st_26_caller_killed_in_every_phase(_) ->
    [begin
         #{pid := Pid, peer := Peer, caller := {Caller, _}} = in(Phase, #{}),
         hansom_case:kill(Caller),
         %% Still a connection: it can be asked, and it can be stopped.
         {ok, _} = ?CONN:get_state(Pid),
         ok = ?CONN:stop(Pid),
         closed(Peer)
     end
     || Phase <- [waiting_for_head, inside_head, reading_body, reading_piece]].

%% Clauses: ASY-10, ST-28
asy_10_receiver_killed_while_streaming(_) ->
    [begin
         Receiver = hansom_case:process(),
         {Pid, Peer} = connected(serve(script(streaming)), #{recv_timeout => recv_timeout()}),
         Exit = hansom_case:monitor_exit(Pid),
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, Mode, Receiver),
         {status, 200, _} = hansom_case:run_in(Receiver, fun() -> hansom_case:payload(Pid) end),
         hansom_case:kill(Receiver),
         ?assertEqual(normal, hansom_case:await(Exit)),
         closed(Peer),
         hansom_case:no_message()
     end
     || Mode <- [true, once]].

%% What is asked of a connection after its peer is gone. No answer may be a success of a
%% whole exchange, and none may be missing.
ask(#{pid := Pid, phase := connected}) -> failed_with(request(Pid));
ask(#{pid := Pid, phase := receiving}) -> cut(?CONN:body(Pid));
ask(#{pid := Pid, phase := upload}) -> failed_with(write_on(Pid, binary:copy(<<"x">>, 65536)));
ask(#{pid := Pid, phase := streaming}) -> cut_async(hansom_case:payloads(Pid));
ask(#{pid := Pid, phase := streaming_once}) -> cut_pulled(Pid);
ask(Exchange) -> failed(Exchange).

failed_with({error, Reason}) -> lost(Reason).

cut({error, Reason}) -> lost(Reason);
cut({ok, <<"hello">>}) -> false = hansom_case:is_hansom().

cut_async(Payloads) ->
    case lists:last(Payloads) of
        {error, Reason} -> lost(Reason);
        done -> false = hansom_case:is_hansom()
    end.

cut_pulled(Pid) ->
    ?CONN:stream_next(Pid),
    case hansom_case:payload(Pid) of
        <<_, _/binary>> -> cut_pulled(Pid);
        End -> cut_async([End])
    end.

%% Clauses: RSP-11, RSP-30, ST-18, ST-19, ASY-15, TRAP-41
rsp_30_peer_lost_in_every_phase(_) ->
    [begin
         #{pid := Pid, peer := Peer} = Exchange = in(Phase, #{}),
         ok = hansom_script:step(Peer, How),
         ask(Exchange),
         hansom_case:wait_for(fun() -> lists:member(state(Pid), [closed, gone]) end),
         hansom_case:no_message()
     end
     || How <- [reset, close, half_close], Phase <- phases(),
        %% A peer that only stops writing may go on reading an upload.
        How =/= half_close orelse not lists:member(Phase, [upload, writing_chunk])].

state(Pid) ->
    try ?CONN:get_state(Pid) of
        {ok, State} -> State
    catch
        exit:{_, {gen_statem, call, _}} -> gone
    end.

%% Clauses: ST-28, ST-12
st_28_connection_killed_while_it_dials(_) ->
    {Host, Port, Full} = hansom_case:full_listener(),
    Before = hansom_case:descriptors(),
    Dials = [begin
                 Pid = start_with(#{host => Host, port => Port, connect_timeout => 20000}),
                 {Pid, hansom_case:async(fun() -> ?CONN:connect(Pid, infinity) end)}
             end || _ <- lists:seq(1, 20)],
    hansom_case:wait_for(fun() -> hansom_case:descriptors() >= Before + 20 end),
    [hansom_case:kill(Pid) || {Pid, _} <- Dials],
    [?assertMatch({exit, {killed, _}}, hansom_case:result(Caller)) || {_, Caller} <- Dials],
    hansom_case:wait_for(fun() -> hansom_case:descriptors() =< Before end),
    Full().

%% Clauses: ST-28, ST-4
st_28_owner_killed_while_it_dials(_) ->
    {Host, Port, Full} = hansom_case:full_listener(),
    Owner = hansom_case:process(),
    Pid = start_with(#{host => Host, port => Port, connect_timeout => 500, owner => Owner}),
    Exit = hansom_case:monitor_exit(Pid),
    Caller = hansom_case:async(fun() -> ?CONN:connect(Pid, infinity) end),
    hansom_case:kill(Owner),
    ?assertEqual(normal, hansom_case:await(Exit)),
    ?assertMatch({Class, _} when Class =:= exit orelse Class =:= ok, hansom_case:result(Caller)),
    Full().

%% Clauses: RSP-20, ST-8
rsp_20_many_dripping_servers(_) ->
    Bytes = [hansom_case:chunked(["hello", ", ", "world"])],
    Server = serve([request, {drip, Bytes}]),
    Callers = [hansom_case:async(
                 fun() ->
                         {ok, Pid} = ?CONN:start_link(hansom_case:options(Server, #{})),
                         ok = ?CONN:connect(Pid),
                         Result = exchange(Pid),
                         ok = ?CONN:stop(Pid),
                         Result
                 end) || _ <- lists:seq(1, 40)],
    [?assertEqual({ok, {200, <<"hello, world">>}}, hansom_case:result(Caller, 30000))
     || Caller <- Callers].

%% Clauses: ST-27, ST-28, API-2
st_28_thousands_of_connections_leave_nothing(_) ->
    Count = hansom_case:affordable(2000),
    Server = serve([{repeat, [request, {send, response(<<"x">>)}]}]),
    Ways = [fun(P) -> ok = ?CONN:stop(P) end,
            fun(P) -> hansom_case:kill(P) end,
            fun(P) -> unlink(P), gen_statem:cast(P, stop) end,
            fun(P) -> ok = ?CONN:close(P), {error, invalid_state} = request(P), ok = ?CONN:stop(P) end],
    %% The first round pays for what is made once.
    round(Server, 10, Ways),
    Before = counts(Server),
    [round(Server, Count div 4, Ways) || _ <- "1234"],
    hansom_case:wait_for(fun() -> leq(counts(Server), Before) end),
    hansom_case:no_message().

round(Server, Count, Ways) ->
    Options = hansom_case:options(Server, #{}),
    Pids = [begin
                {ok, Pid} = ?CONN:start_link(Options),
                ok = ?CONN:connect(Pid),
                Pid
            end || _ <- lists:seq(1, Count)],
    [{200, <<"x">>} = exchange(Pid) || Pid <- Pids],
    [(lists:nth(1 + N rem length(Ways), Ways))(Pid) || {N, Pid} <- enumerate(Pids)],
    ok.

enumerate(List) -> lists:zip(lists:seq(1, length(List)), List).

%% Sockets and processes, without those of the server's peers.
counts(Server) ->
    {hansom_case:descriptors(), length(processes()) - hansom_script:peers(Server)}.

leq({Sockets, Processes}, {SocketsBefore, ProcessesBefore}) ->
    Sockets =< SocketsBefore andalso Processes =< ProcessesBefore.

%% Clauses: ST-4, ST-28
st_04_owners_of_many_connections_die(_) ->
    Count = hansom_case:affordable(400),
    Server = serve([{repeat, [request, {send, response(<<"x">>)}]}]),
    Before = hansom_case:descriptors(),
    Owners = [hansom_case:process() || _ <- lists:seq(1, Count)],
    Exits = [begin
                 {Pid, _} = connected(Server, #{owner => Owner}),
                 {200, <<"x">>} = exchange(Pid),
                 hansom_case:monitor_exit(Pid)
             end || Owner <- Owners],
    [exit(Owner, kill) || Owner <- Owners],
    [?assertEqual(normal, hansom_case:await(Exit)) || Exit <- Exits],
    hansom_case:wait_for(fun() -> hansom_case:descriptors() =< Before end),
    hansom_case:no_message().

%% Clauses: ST-26, API-34
st_26_many_expired_waits_leave_no_message(_) ->
    Server = serve([request, wait, {send, response(<<"x">>)}]),
    [begin
         {Pid, Peer} = connected(Server, #{}),
         ?assertExit({timeout, _}, ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>, Wait)),
         hansom_script:continue(Peer),
         hansom_case:is_state(Pid, receiving),
         ?assertEqual({ok, <<"x">>}, ?CONN:body(Pid)),
         hansom_case:no_message()
     end
     || Wait <- lists:seq(0, 19)].
