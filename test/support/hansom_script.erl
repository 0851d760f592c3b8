%% @doc A TCP server that says exactly the bytes a test dictates.
%%
%% Every accepted connection becomes a <em>peer</em>: a process that owns the
%% socket, runs the script given to `serve/1', and afterwards obeys single
%% steps sent with `step/2'. A peer that meets a closed socket in the middle of
%% its script records that and stays available, so that a test can ask what
%% happened. Everything that waits has a deadline (`?DEADLINE' milliseconds).
%%
%% Steps:
%% <ul>
%% <li>`request': read one request, head and body (Content-Length or chunked)</li>
%% <li>`head': read up to the empty line that ends a request head</li>
%% <li>`{read, N}': read N bytes</li>
%% <li>`{send, IoData}': write</li>
%% <li>`{pieces, [IoData]}': write piece by piece, each only after the client
%%     has taken the one before out of its socket</li>
%% <li>`{drip, Binary}': one byte at a time, otherwise as `pieces'</li>
%% <li>`{flood, IoData, Count}': write the same bytes Count times</li>
%% <li>`wait': until `continue/1'</li>
%% <li>`half_close': shut down the sending side</li>
%% <li>`close': close both sides, `reset': close with RST</li>
%% <li>`eof': read, and keep, whatever comes until the client closes</li>
%% <li>`{repeat, Steps}': again and again, until the socket is closed</li>
%% </ul>
-module(hansom_script).

-export([serve/1, serve_each/1, serve_on/3, port/1, stop/1, connections/1, peers/1]).
-export([accept/1, step/2, continue/1, arrived/2, received/1, requests/1, outcome/1, progress/1,
         await_closed/1, await_script/1, socket_info/1]).
-export([refused_port/0]).

-define(DEADLINE, 5000).

-type step() :: atom() | tuple().
-type server() :: pid().
-type peer() :: pid().
-export_type([step/0, server/0, peer/0]).

%% @doc Starts a server on a free port of 127.0.0.1; every connection runs `Steps'.
-spec serve([step()]) -> server().
serve(Steps) ->
    serve_each([Steps]).

%% @doc The first connection runs the first script, and so on; the last one repeats.
-spec serve_each([[step()], ...]) -> server().
serve_each(Scripts) ->
    {ok, Server} = serve_on({127, 0, 0, 1}, 0, Scripts),
    Server.

%% @doc As `serve_each/1' on an address of choice: an IP address or `{local, Path}'.
%% Port 0 is a free one.
-spec serve_on(inet:ip_address() | {local, string()}, inet:port_number(), [[step()], ...]) ->
          {ok, server()} | {error, inet:posix()}.
serve_on(Address, Port, Scripts) ->
    Parent = self(),
    Ref = make_ref(),
    Server = spawn_link(fun() -> server_init(Parent, Ref, Address, Port, Scripts) end),
    receive
        {Ref, ready} -> {ok, Server};
        {Ref, {error, Reason}} -> {error, Reason}
    after ?DEADLINE -> error(listen_timeout)
    end.

-spec port(server()) -> inet:port_number().
port(Server) -> call(Server, port).

%% @doc Closes the listening socket and all peers.
-spec stop(server()) -> ok.
stop(Server) ->
    Monitor = monitor(process, Server),
    unlink(Server),
    Server ! {self(), stop},
    receive {'DOWN', Monitor, process, Server, _} -> ok
    after ?DEADLINE -> error(server_does_not_stop)
    end.

%% @doc How many connections have been accepted so far.
-spec connections(server()) -> non_neg_integer().
connections(Server) -> call(Server, connections).

%% @doc How many processes the server has for the connections it accepted.
-spec peers(server()) -> non_neg_integer().
peers(Server) -> call(Server, peers).

%% @doc The next accepted connection not yet handed out.
-spec accept(server()) -> peer().
accept(Server) -> call(Server, accept).

%% @doc Runs one step after the script and returns its result.
-spec step(peer(), step()) -> term().
step(Peer, Step) -> call(Peer, {step, Step}).

%% @doc Lets a peer that waits, or will wait, in `wait' go on.
-spec continue(peer()) -> ok.
continue(Peer) ->
    Peer ! continue,
    ok.

%% @doc Waits until the script of the peer has got past its `Count'-th `request' step.
-spec arrived(peer(), pos_integer()) -> ok.
arrived(Peer, Count) -> call(Peer, {arrived, Count}).

%% @doc All bytes read from the client, in order.
-spec received(peer()) -> binary().
received(Peer) ->
    ok = await_script(Peer),
    call(Peer, received).

%% @doc The requests read by `request' steps, oldest first, byte for byte.
-spec requests(peer()) -> [binary()].
requests(Peer) ->
    ok = await_script(Peer),
    call(Peer, requests).

%% @doc `done', or the step that met an error and that error.
-spec outcome(peer()) -> done | {step(), term()}.
outcome(Peer) ->
    ok = await_script(Peer),
    call(Peer, outcome).

%% @doc As `outcome/1', but `running' at once while the script is not over.
-spec progress(peer()) -> running | done | {step(), term()}.
progress(Peer) -> call(Peer, progress).

%% @doc Waits until the script is over.
-spec await_script(peer()) -> ok.
await_script(Peer) -> call(Peer, await_script).

%% @doc Waits for the client's close: `closed' (orderly) or the posix error (`econnreset').
-spec await_closed(peer()) -> closed | atom().
await_closed(Peer) ->
    case step(Peer, eof) of
        ok -> closed;
        {error, Reason} -> Reason
    end.

%% @doc Addresses of both ends as the server sees them.
-spec socket_info(peer()) -> #{local := term(), remote := term()}.
socket_info(Peer) -> call(Peer, socket_info).

%% @doc A port nobody listens on: it was free a moment ago.
-spec refused_port() -> inet:port_number().
refused_port() ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    ok = gen_tcp:close(Listen),
    Port.

%% The reply is addressed through an alias: one that comes after the deadline is dropped.
call(Pid, Request) ->
    Ref = monitor(process, Pid, [{alias, reply_demonitor}]),
    Pid ! {Ref, Request},
    receive
        {Ref, Reply} -> Reply;
        {'DOWN', Ref, process, Pid, Reason} -> error({script_process_gone, Request, Reason})
    after ?DEADLINE + 1000 ->
        demonitor(Ref, [flush]),
        error({script_timeout, Request})
    end.

%% The acceptor

server_init(Parent, Ref, Address, Port, Scripts) ->
    process_flag(trap_exit, true),
    case gen_tcp:listen(Port, listen_options(Address)) of
        {ok, Listen} ->
            Parent ! {Ref, ready},
            Self = self(),
            spawn_link(fun() -> accept_loop(Self, Listen) end),
            server_loop(#{parent => Parent, listen => Listen, scripts => Scripts, count => 0,
                          ready => [], waiting => [], peers => []});
        {error, Reason} ->
            Parent ! {Ref, {error, Reason}}
    end.

listen_options({local, _} = Address) ->
    [binary, {active, false}, {ip, Address}, {backlog, 1024}];
listen_options(Address) ->
    Family = case tuple_size(Address) of 4 -> inet; 8 -> inet6 end,
    [Family, binary, {active, false}, {ip, Address}, {backlog, 1024}, {nodelay, true},
     {send_timeout, ?DEADLINE},
     {reuseaddr, true}].

accept_loop(Server, Listen) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            ok = gen_tcp:controlling_process(Socket, Server),
            Server ! {accepted, Socket},
            accept_loop(Server, Listen);
        {error, _} ->
            ok
    end.

server_loop(#{scripts := Scripts, count := Count, ready := Ready, waiting := Waiting,
              peers := Peers, parent := Parent, listen := Listen} = State) ->
    receive
        {accepted, Socket} ->
            [Script | Later] = Scripts,
            Peer = spawn_link(fun() -> peer_init(Socket, Script) end),
            ok = gen_tcp:controlling_process(Socket, Peer),
            Peer ! go,
            Next = case Later of [] -> Scripts; _ -> Later end,
            server_loop(hand_out(State#{scripts := Next, count := Count + 1,
                                        ready := Ready ++ [Peer], peers := [Peer | Peers]}));
        {From, accept} ->
            server_loop(hand_out(State#{waiting := Waiting ++ [From]}));
        {From, port} ->
            From ! {From, listen_port(Listen)},
            server_loop(State);
        {From, connections} ->
            From ! {From, Count},
            server_loop(State);
        {From, peers} ->
            From ! {From, 2 * length(Peers)},
            server_loop(State);
        {'EXIT', Parent, Reason} ->
            exit_all(Peers, Reason);
        {_, stop} ->
            exit_all(Peers, shutdown);
        {'EXIT', Peer, Reason} when Reason =/= normal ->
            case lists:member(Peer, Peers) of
                true -> exit({peer_failed, Reason});
                false -> server_loop(State)
            end;
        {'EXIT', _, normal} ->
            server_loop(State)
    end.

hand_out(#{ready := [Peer | Ready], waiting := [From | Waiting]} = State) ->
    From ! {From, Peer},
    hand_out(State#{ready := Ready, waiting := Waiting});
hand_out(State) ->
    State.

listen_port(Listen) ->
    case inet:sockname(Listen) of
        {ok, {local, _}} -> 0;
        {ok, {_, Port}} -> Port
    end.

exit_all(Peers, Reason) ->
    [exit(Peer, kill) || Peer <- Peers],
    exit(Reason).

%% The peer answers questions while its runner, which owns the socket, is busy.

peer_init(Socket, Script) ->
    receive go -> ok end,
    Peer = self(),
    Runner = spawn_link(fun() -> runner_init(Peer, Socket, Script) end),
    ok = gen_tcp:controlling_process(Socket, Runner),
    Info = #{local => inet:sockname(Socket), remote => inet:peername(Socket)},
    Runner ! go,
    peer_loop(#{runner => Runner, info => Info, received => [], requests => [],
                outcome => running, waiting => []}).

peer_loop(#{runner := Runner, received := Received, requests := Requests,
            waiting := Waiting} = Peer) ->
    receive
        continue ->
            Runner ! continue,
            peer_loop(Peer);
        {Runner, {received, Bytes}} ->
            peer_loop(Peer#{received := [Received, Bytes]});
        {Runner, {request, Bytes}} ->
            peer_loop(answer(Peer#{requests := Requests ++ [Bytes]}));
        {Runner, {outcome, Outcome}} ->
            peer_loop(answer(Peer#{outcome := Outcome}));
        {Ref, {step, Step}} ->
            Runner ! {Ref, {step, Step}},
            peer_loop(Peer);
        {Ref, Question} when is_reference(Ref) ->
            peer_loop(answer(Peer#{waiting := Waiting ++ [{Ref, Question}]}))
    end.

answer(#{waiting := Waiting} = Peer) ->
    Left = lists:filter(
             fun({Ref, Question}) ->
                     case answer(Question, Peer) of
                         later -> true;
                         {answer, Answer} -> Ref ! {Ref, Answer}, false
                     end
             end, Waiting),
    Peer#{waiting := Left}.

answer({arrived, Count}, #{requests := Requests, outcome := Outcome}) ->
    case {length(Requests) >= Count, Outcome} of
        {true, _} -> {answer, ok};
        {false, running} -> later;
        {false, _} -> {answer, {error, Outcome}}
    end;
answer(socket_info, #{info := Info}) -> {answer, Info};
answer(progress, #{outcome := Outcome}) -> {answer, Outcome};
answer(received, #{received := Received}) -> {answer, iolist_to_binary(Received)};
answer(requests, #{requests := Requests}) -> {answer, Requests};
answer(_, #{outcome := running}) -> later;
answer(await_script, _) -> {answer, ok};
answer(outcome, #{outcome := Outcome}) -> {answer, Outcome}.

runner_init(Peer, Socket, Script) ->
    receive go -> ok end,
    {Outcome, Run} = run(Script, #{peer => Peer, socket => Socket, buffer => <<>>}),
    Peer ! {self(), {outcome, Outcome}},
    runner_loop(Run).

runner_loop(Run) ->
    receive
        {Ref, {step, Step}} ->
            {Result, Next} = run_step(Step, Run),
            Ref ! {Ref, Result},
            runner_loop(Next)
    end.

run([], Run) ->
    {done, Run};
run([{repeat, Steps} | _] = Script, Run) ->
    case run(Steps, Run) of
        {done, Next} -> run(Script, Next);
        Stopped -> Stopped
    end;
run([Step | Steps], Run) ->
    case run_step(Step, Run) of
        {{error, Reason}, Next} -> {{Step, Reason}, Next};
        {_, Next} -> run(Steps, Next)
    end.

run_step({send, Data}, #{socket := Socket} = Run) ->
    {gen_tcp:send(Socket, Data), Run};
run_step({pieces, Pieces}, #{socket := Socket} = Run) ->
    {send_pieces(Socket, Pieces), Run};
run_step({drip, Bytes}, Run) ->
    run_step({pieces, [<<Byte>> || <<Byte>> <= iolist_to_binary(Bytes)]}, Run);
run_step({flood, Data, Count}, #{socket := Socket} = Run) ->
    {flood(Socket, Data, Count), Run};
run_step(wait, Run) ->
    receive continue -> {ok, Run}
    after ?DEADLINE -> {{error, never_continued}, Run}
    end;
run_step(half_close, #{socket := Socket} = Run) ->
    {gen_tcp:shutdown(Socket, write), Run};
run_step(close, #{socket := Socket} = Run) ->
    {gen_tcp:close(Socket), Run};
run_step(reset, #{socket := Socket} = Run) ->
    _ = inet:setopts(Socket, [{linger, {true, 0}}]),
    {gen_tcp:close(Socket), Run};
run_step(eof, #{buffer := Buffer} = Run) ->
    case fill(Run) of
        {ok, Next} -> run_step(eof, Next);
        {{error, closed}, Next} ->
            %% An RST in answer to the client's FIN spares both ends TIME_WAIT.
            {_, Last} = run_step(reset, Next),
            {ok, Last#{buffer := Buffer}};
        {Error, Next} -> {Error, Next}
    end;
run_step({read, N}, #{buffer := Buffer} = Run) when byte_size(Buffer) >= N ->
    <<Bytes:N/binary, Rest/binary>> = Buffer,
    {Bytes, Run#{buffer := Rest}};
run_step({read, _} = Step, Run) ->
    fill_then(Step, Run);
run_step(head, #{buffer := Buffer} = Run) ->
    case binary:match(Buffer, <<"\r\n\r\n">>) of
        {At, 4} -> run_step({read, At + 4}, Run);
        nomatch -> fill_then(head, Run)
    end;
run_step(request, #{peer := Peer} = Run) ->
    case run_step(head, Run) of
        {{error, _}, _} = Error ->
            Error;
        {Head, Next} ->
            case read_body(framing(Head), Next, <<>>) of
                {{error, _}, _} = Error -> Error;
                {Body, Last} ->
                    Request = <<Head/binary, Body/binary>>,
                    Peer ! {self(), {request, Request}},
                    {Request, Last}
            end
    end.

fill_then(Step, Run) ->
    case fill(Run) of
        {ok, Next} -> run_step(Step, Next);
        Error -> Error
    end.

fill(#{peer := Peer, socket := Socket, buffer := Buffer} = Run) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE) of
        {ok, Bytes} ->
            Peer ! {self(), {received, Bytes}},
            {ok, Run#{buffer := <<Buffer/binary, Bytes/binary>>}};
        {error, _} = Error ->
            {Error, Run}
    end.

framing(Head) ->
    case re:run(Head, "\r\ntransfer-encoding: *chunked", [caseless]) of
        {match, _} ->
            chunked;
        nomatch ->
            case re:run(Head, "\r\ncontent-length: *([0-9]+)",
                        [caseless, {capture, all_but_first, binary}]) of
                {match, [Length]} -> binary_to_integer(Length);
                nomatch -> 0
            end
    end.

read_body(chunked, Run, Body) ->
    case read_line(Run) of
        {{error, _}, _} = Error -> Error;
        {Line, Next} ->
            Size = binary_to_integer(string:trim(Line), 16),
            case run_step({read, Size + 2}, Next) of
                {{error, _}, _} = Error -> Error;
                {Data, Last} when Size =:= 0 -> {<<Body/binary, Line/binary, Data/binary>>, Last};
                {Data, Last} -> read_body(chunked, Last, <<Body/binary, Line/binary, Data/binary>>)
            end
    end;
read_body(Length, Run, <<>>) ->
    run_step({read, Length}, Run).

read_line(#{buffer := Buffer} = Run) ->
    case binary:match(Buffer, <<"\r\n">>) of
        {At, 2} ->
            run_step({read, At + 2}, Run);
        nomatch ->
            case fill(Run) of
                {ok, Next} -> read_line(Next);
                Error -> Error
            end
    end.

send_pieces(Socket, Pieces) ->
    Backlog = hansom_backlog:open(),
    Ends = case {inet:peername(Socket), inet:sockname(Socket)} of
               {{ok, Client}, {ok, Here}} -> {Client, Here};
               _ -> {unknown, unknown}
           end,
    Result = send_pieces(Socket, Pieces, Backlog, Ends),
    case Backlog of
        {ok, Netlink} -> ok = socket:close(Netlink);
        none -> ok
    end,
    Result.

send_pieces(_, [], _, _) ->
    ok;
send_pieces(Socket, [Piece | Pieces], Backlog, {Client, Here} = Ends) ->
    case gen_tcp:send(Socket, Piece) of
        ok when Pieces =:= [] ->
            ok;
        ok ->
            hansom_backlog:await_empty(Backlog, Client, Here),
            send_pieces(Socket, Pieces, Backlog, Ends);
        Error ->
            Error
    end.

flood(_, _, 0) -> ok;
flood(Socket, Data, Count) ->
    case gen_tcp:send(Socket, Data) of
        ok -> flood(Socket, Data, Count - 1);
        Error -> Error
    end.
