%% @doc Load: workers that use connections in every way until they are told to stop, or until an
%% exchange fails.
%%
%% One load a node, run by a registered process, so that it can be asked from another node. What
%% became of each worker is an `outcome()'. A worker whose exchange gives a wrong answer ends with
%% `{exit, {wrong, _}}'; one that finds a message in its mailbox that it did not ask for, or a
%% second answer, ends with `{exit, {stray_messages, _}}'.
-module(hansom_load).

-export([start/2, busy/1, stop/1, ended/1, exchanges/0, connections/0]).
-export([open/2, open/3, exchange/2, silent/0, vm/0]).

-export_type([target/0, kind/0, outcome/0]).

%% `silent' is a port that takes connections and says nothing.
-type target() :: #{http := inet:port_number(), https := inet:port_number(),
                    silent := inet:port_number(), cacerts := [binary()]}.

%% `sync', `tls', `async', `once', `upload' and `relay' use one connection for all exchanges,
%% `dial' and `dial_tls' a new one for each. The others begin one exchange, or a dial, that never
%% ends: `wait' for a head, `stream' of an endless body, `handshake' with a silent peer, `idle'
%% without any.
-type kind() :: sync | tls | async | once | upload | relay | dial | dial_tls | wait | stream
              | handshake | idle.

-type outcome() :: {kind(), stopped | {error, term()} | {exit, term()}}.

-define(DEADLINE, 20000).
-define(BYTES, 20000).

%% @doc Starts a worker for each kind.
-spec start(target(), [kind()]) -> ok.
start(Target, Kinds) ->
    Parent = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> init(Parent, Target, Kinds) end),
    receive
        {Pid, started} -> demonitor(Monitor, [flush]), ok;
        {'DOWN', Monitor, process, Pid, Reason} -> error({no_load, Reason})
    end.

%% @doc Waits until every worker has begun `Count' more exchanges than now. Those of the endless
%% kinds need to have begun theirs.
-spec busy(non_neg_integer()) -> ok.
busy(Count) -> call({busy, Count}).

%% @doc Stops the workers after the exchange they are in; not for endless kinds.
-spec stop(timeout()) -> [outcome()].
stop(Timeout) -> call(stop, Timeout).

%% @doc Waits until every worker has ended because of a failure.
-spec ended(timeout()) -> [outcome()].
ended(Timeout) -> call(ended, Timeout).

%% @doc The exchanges begun by all workers together.
-spec exchanges() -> non_neg_integer().
exchanges() -> call(exchanges).

%% @doc The connections the workers have now.
-spec connections() -> [pid()].
connections() -> call(connections).

call(Request) -> call(Request, ?DEADLINE).

call(Request, Timeout) ->
    Monitor = monitor(process, ?MODULE),
    ?MODULE ! {self(), Monitor, Request},
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, _, Reason} -> error({no_load, Reason})
    after Timeout ->
        error({load_does_not_answer, Request})
    end.

%% The process that runs it

init(Parent, Target, Kinds) ->
    register(?MODULE, self()),
    Stop = atomics:new(1, []),
    Workers = maps:from_list(
                [begin
                     Begun = atomics:new(1, []),
                     {Pid, Monitor} = spawn_monitor(fun() -> worker(Kind, Target, Begun, Stop) end),
                     {Monitor, {Kind, Pid, Begun}}
                 end
                 || Kind <- Kinds]),
    Parent ! {self(), started},
    loop(#{stop => Stop, running => Workers, outcomes => [], waiting => []}).

loop(#{running := Running, outcomes := Outcomes, waiting := Waiting, stop := Stop} = Load) ->
    receive
        {From, Ref, {busy, Count}} ->
            Goals = [{Monitor, goal(Kind, Begun, Count)}
                     || {Monitor, {Kind, _, Begun}} <- maps:to_list(Running)],
            loop(waiting(Load#{waiting := [{From, Ref, {busy, Goals}} | Waiting]}));
        {From, Ref, exchanges} ->
            From ! {Ref, lists:sum([atomics:get(Begun, 1) || {_, _, Begun} <- maps:values(Running)])},
            loop(Load);
        {From, Ref, connections} ->
            From ! {Ref, [Pid || {_, Worker, _} <- maps:values(Running),
                                 {links, Links} <- [process_info(Worker, links)],
                                 Pid <- Links, is_pid(Pid)]},
            loop(Load);
        {From, Ref, stop} ->
            atomics:put(Stop, 1, 1),
            loop(waiting(Load#{waiting := [{From, Ref, ended} | Waiting]}));
        {From, Ref, ended} ->
            loop(waiting(Load#{waiting := [{From, Ref, ended} | Waiting]}));
        {'DOWN', Monitor, process, _, Reason} ->
            {{Kind, _, _}, Rest} = maps:take(Monitor, Running),
            Outcome = case Reason of
                {outcome, Ending} -> {Kind, Ending};
                _ -> {Kind, {exit, Reason}}
            end,
            loop(waiting(Load#{running := Rest, outcomes := [Outcome | Outcomes]}))
    after 2 ->
        loop(waiting(Load))
    end.

goal(Kind, _, _) when Kind =:= wait; Kind =:= stream; Kind =:= handshake; Kind =:= idle -> 1;
goal(_, Begun, Count) -> atomics:get(Begun, 1) + Count.

waiting(#{waiting := Waiting} = Load) ->
    Load#{waiting := [Waiter || Waiter <- Waiting, not is_answered(Waiter, Load)]}.

is_answered({From, Ref, {busy, Goals}}, #{running := Running, outcomes := []}) ->
    Busy = lists:all(fun({Monitor, Goal}) ->
                             {_, _, Begun} = maps:get(Monitor, Running),
                             atomics:get(Begun, 1) >= Goal
                     end, Goals),
    _ = [From ! {Ref, ok} || Busy],
    Busy;
is_answered({From, Ref, {busy, _}}, #{outcomes := Outcomes}) ->
    From ! {Ref, {ended, Outcomes}},
    true;
is_answered({From, Ref, ended}, #{running := Running, outcomes := Outcomes})
  when map_size(Running) =:= 0 ->
    %% The load is over, and its name free when that is known.
    unregister(?MODULE),
    From ! {Ref, Outcomes},
    exit(normal);
is_answered({_, _, ended}, _) ->
    false.

%% Workers

worker(Kind, Target, Begun, Stop) ->
    process_flag(trap_exit, true),
    Go = fun() ->
                 atomics:add(Begun, 1, 1),
                 atomics:get(Stop, 1) =:= 0
         end,
    Ending = try run(Kind, Target, Go)
             catch
                 throw:Failure -> Failure;
                 exit:Reason -> {exit, Reason}
             end,
    Outcome = left_over(Ending),
    %% Connections end with their owner; the link would make it look like a crash of theirs.
    {links, Links} = process_info(self(), links),
    lists:foreach(fun unlink/1, Links),
    exit({outcome, Outcome}).

%% Whatever is in the mailbox now came uncalled, except that connections ended and what the
%% worker's own function sent before an exchange failed.
left_over(Ending) ->
    receive
        {'EXIT', Pid, _} when is_pid(Pid) -> left_over(Ending);
        {informed, _, _} -> left_over(Ending);
        Message -> {exit, {stray_messages, Message, Ending}}
    after 0 ->
        Ending
    end.

run(Kind, Target, Go) when Kind =:= dial; Kind =:= dial_tls ->
    case Go() of
        true ->
            Pid = open(transport(Kind), Target),
            ok = exchange(sync, Pid),
            ok = hansom_conn:stop(Pid),
            run(Kind, Target, Go);
        false ->
            stopped
    end;
run(handshake, #{silent := Port} = Target, Go) ->
    Pid = ok(hansom_conn:start_link(options(https, Target#{https := Port}, #{connect_timeout => infinity}))),
    true = Go(),
    ok(hansom_conn:connect(Pid, infinity));
run(idle, Target, Go) ->
    Pid = open(https, Target),
    true = Go(),
    receive {'EXIT', Pid, Reason} -> {exit, Reason} end;
run(Endless, Target, Go) when Endless =:= wait; Endless =:= stream ->
    Pid = open(http, Target),
    true = Go(),
    exchange(Endless, Pid);
run(Kind, Target, Go) ->
    repeat(Kind, open(transport(Kind), Target), Go).

repeat(Kind, Pid, Go) ->
    case Go() of
        true ->
            ok = exchange(Kind, Pid),
            repeat(Kind, Pid, Go);
        false ->
            ok = hansom_conn:stop(Pid),
            stopped
    end.

transport(Kind) when Kind =:= tls; Kind =:= dial_tls; Kind =:= once; Kind =:= upload -> https;
transport(_) -> http.

%% @doc A connection in `connected', linked to the caller.
-spec open(http | https | h2c | h2, target()) -> pid().
open(Transport, Target) -> open(Transport, Target, #{}).

%% @doc The same with start options of its own.
-spec open(http | https | h2c | h2, target(), map()) -> pid().
open(Transport, Target, Options) ->
    Pid = ok(hansom_conn:start_link(options(Transport, Target, Options#{pool_pid => no_pool()}))),
    case hansom_conn:connect(Pid) of
        ok -> Pid;
        Failure -> throw(Failure)
    end.

%% A connection without a pool ends after an asynchronous response; this one is to be used again.
no_pool() -> self().

options(http, #{http := Port}, More) ->
    maps:merge(patient(#{host => "127.0.0.1", port => Port}), More);
options(h2c, Target, More) ->
    options(http, Target, More#{h2c => true});
options(https, Target, More) ->
    tls(http1, Target, More);
options(h2, Target, More) ->
    tls(http2, Target, More).

tls(Protocol, #{https := Port, cacerts := Roots}, More) ->
    maps:merge(patient(#{host => "127.0.0.1", port => Port, transport => hackney_ssl,
                         connect_options => [{protocols, [Protocol]}], ssl_options => [{cacerts, Roots}]}), More).

patient(Options) -> maps:merge(hansom_case:patient(), Options).

%% @doc One exchange, checked; throws what the connection answers instead of a success.
-spec exchange(kind(), pid()) -> ok.
exchange(Kind, Pid) when Kind =:= sync; Kind =:= tls ->
    head(hansom_conn:request(Pid, <<"GET">>, path(?BYTES), [], <<>>)),
    body(Pid, ?BYTES),
    checked_in(Pid);
exchange(relay, Pid) ->
    Self = self(),
    Inform = fun(Status, _, _) -> Self ! {informed, Pid, Status} end,
    head(hansom_conn:request(Pid, <<"GET">>, <<"/interim/103?count=2">>, [], <<>>, infinity,
                             [{inform_fun, Inform}])),
    %% They come before the head does.
    receive {informed, Pid, 103} -> ok after 0 -> exit({wrong, no_inform}) end,
    receive {informed, Pid, 103} -> ok after 0 -> exit({wrong, no_inform}) end,
    _ = ok(hansom_conn:body(Pid)),
    checked_in(Pid);
exchange(upload, Pid) ->
    Piece = binary:copy(<<"u">>, 30000),
    ok(hansom_conn:send_request_headers(Pid, <<"POST">>, <<"/upload">>, [{<<"Host">>, <<"origin">>}])),
    ok(hansom_conn:send_body_chunk(Pid, Piece)),
    ok(hansom_conn:send_body_chunk(Pid, Piece)),
    ok(hansom_conn:finish_send_body(Pid)),
    case hansom_conn:start_response(Pid) of
        {ok, 200, _, Pid} -> ok;
        Failure -> throw(Failure)
    end,
    case ok(hansom_conn:body(Pid)) of
        <<"bytes: 60000", _/binary>> -> ok;
        Other -> exit({wrong, Other})
    end,
    checked_in(Pid);
exchange(async, Pid) ->
    Pid = ok(hansom_conn:request_async(Pid, <<"GET">>, path(?BYTES), [], <<>>, true)),
    received(Pid, fun() -> ok end),
    checked_in(Pid);
exchange(once, Pid) ->
    Pid = ok(hansom_conn:request_async(Pid, <<"GET">>, path(?BYTES), [], <<>>, once)),
    received(Pid, fun() -> hansom_conn:stream_next(Pid) end),
    checked_in(Pid);
exchange(wait, Pid) ->
    throw(hansom_conn:request(Pid, <<"GET">>, <<"/delay/3600000">>, [], <<>>));
exchange(stream, Pid) ->
    Pid = ok(hansom_conn:request_async(Pid, <<"GET">>, <<"/stream/1000000000?interval_ms=5">>, [], <<>>,
                                       true)),
    endless(Pid).

path(Bytes) -> ["/bytes/", integer_to_binary(Bytes)].

head({ok, 200, _}) -> ok;
head(Failure) -> throw(Failure).

body(Pid, Size) ->
    case hansom_conn:body(Pid) of
        {ok, Body} when byte_size(Body) =:= Size -> ok;
        {ok, Body} -> exit({wrong, {body, byte_size(Body)}});
        Failure -> throw(Failure)
    end.

%% The worker stands for the pool: it is told of every exchange that is over.
checked_in(Pid) ->
    receive
        {'$gen_cast', {checkin, _, Pid}} -> ok;
        {'EXIT', Pid, Reason} -> throw({exit, Reason})
    end.

received(Pid, Pull) ->
    case message(Pid) of
        {status, 200, _} -> ok;
        Other -> throw(Other)
    end,
    case message(Pid) of
        {headers, _} -> ok;
        Failure -> throw(Failure)
    end,
    rest(Pid, Pull, 0).

rest(Pid, Pull, Size) ->
    Pull(),
    case message(Pid) of
        Piece when is_binary(Piece) -> rest(Pid, Pull, Size + byte_size(Piece));
        done when Size =:= ?BYTES -> ok;
        done -> exit({wrong, {body, Size}});
        Failure -> throw(Failure)
    end.

endless(Pid) ->
    case message(Pid) of
        {Failure, Reason} when Failure =:= error; Failure =:= exit -> throw({Failure, Reason});
        _ -> endless(Pid)
    end.

message(Pid) ->
    receive
        {hackney_response, Pid, Payload} -> Payload;
        {'EXIT', Pid, Reason} ->
            %% The last message comes before the end, if one comes.
            receive {hackney_response, Pid, Payload} -> Payload
            after 0 -> {exit, Reason}
            end
    end.

ok(ok) -> ok;
ok({ok, Value}) -> Value;
ok(Failure) -> throw(Failure).

%% @doc A process that takes connections at a port and says nothing, until it is killed.
-spec silent() -> {pid(), inet:port_number()}.
silent() ->
    Parent = self(),
    Pid = spawn(fun() ->
                        {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {backlog, 1000}]),
                        {ok, Port} = inet:port(Listen),
                        Parent ! {self(), Port},
                        receive after infinity -> ok end
                end),
    receive {Pid, Port} -> {Pid, Port} after ?DEADLINE -> error(no_silent_port) end.

%% A VM that ends in the midst of its load. Its arguments: how to end, and the target.

%% @doc The body of an operating system process, see `hansom_node:vm/2'.
-spec vm() -> no_return().
vm() ->
    [How, Target] = [binary_to_term(base64:decode(Argument)) || Argument <- init:get_plain_arguments()],
    {ok, _} = application:ensure_all_started(hansom),
    ok = start(Target, [sync, sync, tls, tls, async, once, upload, relay, dial, dial_tls, wait, stream,
                        handshake]),
    ok = busy(3),
    case How of
        halt -> halt();
        halt_without_flush -> halt(0, [{flush, false}]);
        init_stop -> init:stop()
    end.
