%% @doc Runs one scenario with a connection module and gives what could be seen of it.
%%
%% A scenario is a map:
%% <ul>
%% <li>`id': a tuple that begins with the family</li>
%% <li>`script': steps of `hansom_script' for every connection, or `scripts' for one after the
%%     other; or `origin': `http', `https' or `http3' of the bundled server; or `frames': lines of its
%%     script mode, over TLS; or `port': `refused' or `full'. Without any of them nobody listens
%%     because nothing is dialled</li>
%% <li>`start': start options. `{actor, Name}' as a value is the pid of that process</li>
%% <li>`do': operations, see `op/3'</li>
%% <li>`differs': the deviation (a test named in docs/deviations.md) by which hansom answers
%%     otherwise than hackney</li>
%% </ul>
%% Operations are run by processes of their own, the actors: `main', which starts the connection
%% and owns it by default, and others as they are named. The actor `pool' is a pool: it takes
%% everything back.
%%
%% The trace is a list of `{What, Seen}'. Whatever differs from run to run is taken out of it by
%% `hansom_trace'.
-module(hansom_scenario).

-export([run/3, http3/1]).

-type scenario() :: #{id := tuple(), do := [term()], start => map(), differs => atom(), _ => _}.
-export_type([scenario/0]).

%% How long an operation may take until it counts as hanging, in milliseconds. hackney's is shorter,
%% because some do, but longer than its `recv_timeout'.
-define(PATIENCE(Conn), case Conn of hansom_conn -> 20000; _ -> 8000 end).
-define(POLL, 2).

%% @doc The trace. `Origin' is what `hansom_servers:origin/0' gave.
-spec run(module(), hansom_servers:server(), scenario()) -> [term()].
run(Conn, Origin, Scenario) ->
    {Director, Monitor} = spawn_monitor(fun() -> exit({trace, direct(Conn, Origin, Scenario)}) end),
    receive
        {'DOWN', Monitor, process, Director, {trace, Trace}} -> Trace;
        {'DOWN', Monitor, process, Director, Reason} -> error({scenario, Scenario, Reason})
    end.

direct(Conn, Origin, Scenario) ->
    Server = serve(Scenario, Origin),
    Main = actor(main),
    State = #{conn => Conn, patience => ?PATIENCE(Conn), server => Server,
              roots => maps:get(cacerts, Origin), actors => #{main => Main},
              pending => #{}, peers => []},
    {Start, Started} = resolve(maps:merge(address(Server, Origin), maps:get(start, Scenario, #{})), State),
    Pid = case in(Main, fun() -> Conn:start_link(Start) end, Started) of
              {ok, {ok, Connection}} -> Connection;
              Other -> error({not_started, Other})
          end,
    Exit = monitor(process, Pid),
    %% Answered after the monitor has arrived: see hansom_case:monitor_exit/1.
    _ = process_info(Pid, monitored_by),
    {Seen, Ended} = ops(maps:get(do, Scenario), Started#{pid => Pid, exit => Exit}, []),
    Left = left(Ended, is_map_key(pool_pid, Start)),
    ok = end_connection(Pid, Conn),
    Mail = [{Name, Messages} || {Name, Actor} <- lists:sort(maps:to_list(maps:get(actors, Ended))),
                                Messages <- [mailbox(Actor, Ended)], Messages =/= []],
    Trace = Seen ++ [{left, Left}] ++ [{mail, Mail} || Mail =/= []] ++ received(Ended),
    Clean = hansom_trace:clean(Trace, names(Ended), port(Server)),
    stop(Server),
    Clean.

names(#{pid := Pid, actors := Actors}) ->
    maps:from_list([{Pid, connection} | [{Actor, {actor, Name}} || {Name, Actor} <- maps:to_list(Actors)]]).

end_connection(Pid, Conn) ->
    %% One that is wedged is killed.
    {_, Monitor} = spawn_monitor(fun() -> Conn:stop(Pid, 2000) end),
    receive {'DOWN', Monitor, process, _, _} -> ok end.

%% Servers

serve(#{script := Steps}, _) -> {script, hansom_script:serve(Steps ++ [eof])};
serve(#{scripts := Scripts}, _) -> {script, hansom_script:serve_each([Steps ++ [eof] || Steps <- Scripts])};
serve(#{origin := Name}, #{ports := Ports}) -> {origin, Name, maps:get(Name, Ports)};
serve(#{frames := Lines}, Origin) ->
    {frames, hansom_servers:script(lists:join("\n", Lines ++ [""]), Origin)};
serve(#{tls := Options}, Origin) -> {tls, hansom_servers:origin(Origin, Options)};
serve(#{port := full}, _) -> {full, hansom_case:full_listener()};
serve(#{}, _) -> refused.

port({script, Server}) -> hansom_script:port(Server);
port({origin, _, Port}) -> Port;
port({frames, #{ports := #{http := Port}}}) -> Port;
port({tls, #{ports := #{https := Port}}}) -> Port;
port({full, {_, Port, _}}) -> Port;
%% Nobody listens on it as long as nobody asks for it: it is below the ports handed out.
port(refused) -> 1.

address({Kind, _} = Server, Origin) when Kind =:= frames; Kind =:= tls ->
    secure(port(Server), Origin);
address({origin, https, Port}, Origin) ->
    secure(Port, Origin);
address({origin, http3, _Port}, Origin) ->
    http3(Origin);
address(Server, _) ->
    #{host => "127.0.0.1", port => port(Server)}.

%% @doc Start options for HTTP/3 with the bundled server.
-spec http3(hansom_servers:server()) -> map().
http3(#{ports := #{http3 := Port}} = Origin) ->
    (secure(Port, Origin))#{connect_options => [{protocols, [http3]}]}.

secure(Port, #{cacerts := Roots}) ->
    #{host => "localhost", port => Port, transport => hackney_ssl, ssl_options => [{cacerts, Roots}]}.

stop({script, Server}) -> hansom_script:stop(Server);
stop({Kind, Server}) when Kind =:= frames; Kind =:= tls -> hansom_servers:stop(Server);
stop({full, {_, _, Release}}) -> Release();
stop(_) -> ok.

%% What the script read from each connection that said something. A connection of its own, which
%% comes after all others, tells when they have been accepted.
received(#{server := {script, Server}, peers := Known}) ->
    {ok, Marker} = gen_tcp:connect({127, 0, 0, 1}, hansom_script:port(Server), [{active, false}]),
    {ok, Name} = inet:sockname(Marker),
    Peers = lists:reverse(Known) ++ accepted_before(Name, Server),
    ok = gen_tcp:close(Marker),
    Received = [begin
                    hansom_script:continue(Peer),
                    hansom_script:received(Peer)
                end || Peer <- Peers],
    [{received, [Bytes || Bytes <- Received, Bytes =/= <<>>]}];
received(_) ->
    [].

accepted_before(Name, Server) ->
    Peer = hansom_script:accept(Server),
    case hansom_script:socket_info(Peer) of
        #{remote := {ok, Name}} -> [];
        _ -> [Peer | accepted_before(Name, Server)]
    end.

%% Actors

actor(Name) ->
    Director = self(),
    spawn(fun() ->
                  process_flag(trap_exit, true),
                  act(Name, monitor(process, Director))
          end).

act(Name, Director) ->
    receive
        {act, From, Ref, Fun} ->
            From ! {Ref, try {ok, Fun()} catch Class:Reason -> {Class, Reason} end},
            act(Name, Director);
        {'$gen_cast', {checkin, nil, Pid}} when Name =:= pool ->
            take({checkin, Pid}),
            act(Name, Director);
        {'$gen_call', From, {checkin_sync, Pid, Close}} when Name =:= pool ->
            take({checkin_sync, Pid, Close}),
            gen_server:reply(From, ok),
            act(Name, Director);
        leave ->
            ok;
        {'DOWN', Director, process, _, _} ->
            ok
    end.

take(Message) ->
    put(taken, taken() ++ [Message]).

taken() ->
    case get(taken) of
        undefined -> [];
        Messages -> Messages
    end.

%% What an actor took as a pool, and what it was sent and nobody asked for.
mailbox(Actor, State) ->
    case in(Actor, fun() -> taken() ++ drain() end, State) of
        {ok, Messages} -> Messages;
        dead -> []
    end.

drain() ->
    receive
        {'EXIT', _, _} -> drain();
        Message -> [Message | drain()]
    after 0 -> []
    end.

named(Name, #{actors := Actors}) -> maps:get(Name, Actors).

with_actor(Name, #{actors := Actors} = State) ->
    case Actors of
        #{Name := _} -> State;
        #{} -> State#{actors := Actors#{Name => actor(Name)}}
    end.

%% Runs a function in an actor: `{ok, Value}', `{Class, Reason}', `hangs' or `dead'.
in(Actor, Fun, State) -> await(submit(Actor, Fun), State).

submit(Actor, Fun) ->
    Ref = monitor(process, Actor),
    Actor ! {act, self(), Ref, Fun},
    Ref.

await(Ref, #{patience := Patience}) ->
    receive
        {Ref, Result} -> demonitor(Ref, [flush]), Result;
        {'DOWN', Ref, process, _, _} -> dead
    after Patience ->
        demonitor(Ref, [flush]),
        hangs
    end.

%% Operations

ops([], State, Seen) ->
    {lists:reverse(Seen), State};
ops([Op | Ops], State, Seen) ->
    case op(Op, main, State) of
        {silent, Next} -> ops(Ops, Next, Seen);
        {hangs, Next} -> {lists:reverse([{name(Op), hangs} | Seen]), Next#{exit := hung}};
        {Result, Next} -> ops(Ops, Next, [{name(Op), Result} | Seen])
    end.

name({as, Actor, Op}) -> {Actor, name(Op)};
name({spawn, Actor, Op}) -> {Actor, name(Op)};
name({join, Actor}) -> {Actor, answer};
name(Op) when is_tuple(Op) -> element(1, Op);
name(Op) -> Op.

%% About processes
op({as, Name, Op}, _, State) ->
    op(Op, Name, with_actor(Name, State));
op({spawn, Name, Op}, _, State) ->
    %% Its answer is for a later `join'.
    #{pending := Pending} = Next = with_actor(Name, State),
    {Fun, Ready} = function(Op, Next),
    {silent, Ready#{pending := Pending#{Name => submit(named(Name, Ready), Fun)}}};
op({join, Name}, _, #{pending := Pending} = State) ->
    {Ref, Rest} = maps:take(Name, Pending),
    {result(await(Ref, State)), State#{pending := Rest}};
%% Waits until an actor has asked and waits for the answer.
op({waits, Name}, _, State) ->
    Actor = named(Name, State),
    hansom_case:wait_for(fun() -> waits(process_info(Actor, [status, current_function])) end),
    {silent, State};
op({kill, Name}, _, State) ->
    Actor = named(Name, State),
    Monitor = monitor(process, Actor),
    exit(Actor, kill),
    receive {'DOWN', Monitor, process, _, _} -> {silent, State} end;
op({signal, Reason}, _, #{pid := Pid} = State) ->
    exit(Pid, Reason),
    {silent, State};
%% About the server
op({server, Step}, _, State) ->
    {Peer, Next} = peer(State),
    case hansom_script:step(Peer, Step) of
        {error, Reason} -> {{error, Reason}, Next};
        _ -> {silent, Next}
    end;
op(continue, _, State) ->
    {Peer, Next} = peer(State),
    hansom_script:continue(Peer),
    {silent, Next};
op({arrived, Count}, _, State) ->
    {Peer, Next} = peer(State),
    ok = hansom_script:arrived(Peer, Count),
    {silent, Next};
%% The server's second connection and so on takes the place of the one before.
op(next_peer, _, #{server := {script, Server}, peers := Peers} = State) ->
    {silent, State#{peers := [hansom_script:accept(Server) | Peers]}};
%% Waits until the state is the one named; `gone': until the process has ended.
op({wait, gone}, _, #{exit := Exit, patience := Patience} = State) ->
    receive {'DOWN', Exit, process, _, Reason} -> {Reason, State#{exit := {was, Reason}}}
    after Patience -> {still_alive, State}
    end;
op({wait, Name}, _, #{conn := Conn, pid := Pid, patience := Patience} = State) ->
    {wait(fun() -> catch Conn:get_state(Pid) end, {ok, Name}, now_ms() + Patience), State};
%% Lets time pass for which the connection has a limit.
op({pass, Milliseconds}, _, State) ->
    hansom_case:hold(Milliseconds),
    {silent, State};
%% About the connection
op(Op, Name, State) ->
    {Fun, Next} = function(Op, State),
    {result(in(named(Name, Next), Fun, Next)), Next}.

waits([{status, waiting}, {current_function, {Module, _, _}}]) -> Module =/= ?MODULE;
waits(_) -> false.

wait(Ask, Wanted, End) ->
    case Ask() of
        Wanted -> reached;
        {'EXIT', _} -> gone;
        Other ->
            case now_ms() < End of
                true -> hansom_case:hold(?POLL), wait(Ask, Wanted, End);
                false -> {stuck, Other}
            end
    end.

now_ms() -> erlang:monotonic_time(millisecond).

peer(#{peers := [Peer | _]} = State) ->
    {Peer, State};
peer(#{server := {script, Server}} = State) ->
    Peer = hansom_script:accept(Server),
    {Peer, State#{peers := [Peer]}}.

%% What an actor has to do.
function(Op, State) ->
    {Resolved, #{conn := Conn, pid := Pid, patience := Patience} = Next} = resolve(Op, State),
    %% The wait for messages ends before the one for the actor.
    {fun() -> run_op(Resolved, Conn, Pid, Patience - 500) end, Next}.

run_op(get, Conn, Pid, _) -> Conn:request(Pid, <<"GET">>, <<"/">>, [], <<>>);
run_op({get, Path}, Conn, Pid, _) -> Conn:request(Pid, <<"GET">>, Path, [], <<>>);
run_op({get, Path, Options}, Conn, Pid, _) ->
    Conn:request(Pid, <<"GET">>, Path, [], <<>>, infinity, Options);
run_op({post, Path, Body}, Conn, Pid, _) -> Conn:request(Pid, <<"POST">>, Path, [], Body);
run_op({async, Mode}, Conn, Pid, _) -> Conn:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, Mode);
run_op({async, Path, Mode}, Conn, Pid, _) -> Conn:request_async(Pid, <<"GET">>, Path, [], <<>>, Mode);
%% A request whose interim responses are told, and what was told.
run_op({inform_request, Options}, Conn, Pid, _) ->
    Self = self(),
    Inform = fun(Status, Reason, Headers) -> Self ! {informed, Status, Reason, Headers} end,
    Answer = Conn:request(Pid, <<"GET">>, <<"/">>, [], <<>>, infinity, [{inform_fun, Inform} | Options]),
    {Answer, informed()};
%% A pushed response and all its messages, if there are to be any.
run_op({push, Method, Path, Headers, Body}, Conn, Pid, Wait) ->
    case Conn:request_async(Pid, Method, Path, Headers, Body, true) of
        {ok, _} = Ok -> {Ok, hansom_trace:join(messages(Pid, infinity, Wait))};
        Error -> Error
    end;
%% All of a body, by pieces.
run_op(pieces, Conn, Pid, _) -> hansom_trace:join(pieces(Conn, Pid));
%% All messages up to the last, the next so many, and all by pulls.
run_op(messages, _, Pid, Wait) -> hansom_trace:join(messages(Pid, infinity, Wait));
run_op({messages, Count}, _, Pid, Wait) -> messages(Pid, Count, Wait);
run_op(pull, Conn, Pid, Wait) ->
    ok = Conn:stream_next(Pid),
    messages(Pid, 1, Wait);
run_op(pull_all, Conn, Pid, Wait) -> hansom_trace:join(pull_all(Conn, Pid, Wait));
run_op({cast, Message}, _, Pid, _) -> gen_statem:cast(Pid, Message);
run_op({call, Message}, _, Pid, _) -> gen_statem:call(Pid, Message);
run_op({info, Message}, _, Pid, _) -> Pid ! Message, sent;
run_op({tell, Name}, _, _, _) -> Name;
%% The actor ends of itself.
run_op(leave, _, _, _) -> self() ! leave, ok;
%% A function of the interface with its further arguments.
run_op(Op, Conn, Pid, _) when is_tuple(Op) ->
    [Function | Arguments] = tuple_to_list(Op),
    apply(Conn, Function, [Pid | Arguments]);
run_op(Function, Conn, Pid, _) ->
    apply(Conn, Function, [Pid]).

pieces(Conn, Pid) ->
    case Conn:stream_body(Pid) of
        {ok, Piece} -> [Piece | pieces(Conn, Pid)];
        End -> [End]
    end.

messages(_, 0, _) ->
    [];
messages(Pid, Count, Wait) ->
    receive
        {hackney_response, Pid, Payload} ->
            case is_last(Payload) of
                true -> [Payload];
                false when Count =:= infinity -> [Payload | messages(Pid, Count, Wait)];
                false -> [Payload | messages(Pid, Count - 1, Wait)]
            end
    after Wait -> [nothing]
    end.

pull_all(Conn, Pid, Wait) ->
    ok = Conn:stream_next(Pid),
    case messages(Pid, 1, Wait) of
        [Piece] when is_binary(Piece) -> [Piece | pull_all(Conn, Pid, Wait)];
        End -> End
    end.

informed() ->
    receive {informed, Status, Reason, Headers} -> [{Status, Reason, Headers} | informed()]
    after 0 -> []
    end.

is_last(done) -> true;
is_last({error, _}) -> true;
is_last({redirect, _, _}) -> true;
is_last({see_other, _, _}) -> true;
is_last(_) -> false.

result({ok, Value}) -> Value;
%% Whether the process ended before the call or during it is a matter of luck.
result({exit, {Reason, {gen_statem, call, _}}}) when Reason =:= normal; Reason =:= noproc -> {exit, gone};
result({exit, {Reason, {gen_statem, call, _}}}) -> {exit, hansom_trace:reason(Reason)};
result({exit, _}) -> {exit, other};
result({Class, _}) when Class =:= error; Class =:= throw -> raises;
result(Other) -> Other.

%% Puts pids in the place of `{actor, Name}' and `connection'.
resolve({actor, Name}, State) ->
    Next = with_actor(Name, State),
    {named(Name, Next), Next};
resolve(connection, #{pid := Pid} = State) ->
    {Pid, State};
%% The server's authority.
resolve(roots, #{roots := Roots} = State) ->
    {Roots, State};
resolve(Tuple, State) when is_tuple(Tuple) ->
    {List, Next} = resolve(tuple_to_list(Tuple), State),
    {list_to_tuple(List), Next};
resolve(List, State) when is_list(List) ->
    resolve_list(List, State);
resolve(Map, State) when is_map(Map) ->
    {List, Next} = resolve(maps:to_list(Map), State),
    {maps:from_list(List), Next};
resolve(Term, State) ->
    {Term, State}.

resolve_list([First | Rest], State) ->
    {Element, Next} = resolve(First, State),
    {Elements, Last} = resolve_list(Rest, Next),
    {[Element | Elements], Last};
resolve_list(End, State) ->
    {End, State}.

%% What is left of the connection. A closed one of a pool has a moment to live.
left(#{exit := hung}, _) ->
    unknown;
left(#{exit := {was, Reason}}, _) ->
    {gone, hansom_trace:reason(Reason)};
left(#{conn := Conn, pid := Pid, exit := Exit, patience := Patience} = State, Pooled) ->
    case result(in(actor(asker), fun() -> Conn:get_state(Pid) end, State)) of
        {ok, closed} when Pooled ->
            receive {'DOWN', Exit, process, _, Reason} -> {gone, hansom_trace:reason(Reason)}
            after Patience -> closed
            end;
        {ok, Name} ->
            Name;
        {exit, _} ->
            receive {'DOWN', Exit, process, _, Reason} -> {gone, hansom_trace:reason(Reason)} end;
        Other ->
            Other
    end.
