%% @private Moves the bytes of a connection the engine cannot own: over a transport module of
%% others, or over Erlang's `ssl'. HTTP stays in the engine.
%%
%% A pipe has two processes, linked to the connection's own. The <em>writer</em> makes the
%% connection, owns it, sends and closes. The <em>reader</em> waits for bytes, when the engine wants
%% some. Functions of the module are only called by these two and by {@link ask/4}, so that one that
%% hangs or crashes holds up nobody else; what waits for it has its deadline in the engine.
%%
%% The engine calls with `{'$pipe', Number, read | write | socket | close}', which say no more than
%% that there is something to be done (see `pipe.rs').
-module(hansom_pipe).

-export([dial/5, secure/1, carry/3]).
-export([start/1, opened/3, handle/1, number/1, has/2, is_open/1, ask/2, break/1, close/1, end_within/2]).
-export([can_dial/1, can_carry/1]).
%% The bodies of processes.
-export([reader/0, writer/1, answer/3]).
-export_type([pipe/0, job/0, operation/0]).

%% A binary of this size is copied in some 10 us.
-define(PART, 65536).
%% What a module may take to send what is left, and to close.
-define(CLOSE_TIMEOUT, 5000).

-record(pipe, {number :: pos_integer(), handle :: hansom_nif:pipe(), conn :: pid(), writer :: pid(),
               reader :: pid(),
               %% The open connection.
               carried :: undefined | {module(), Socket :: term()},
               %% The port under it, if the engine has lent its socket.
               lent :: undefined | port()}).

-opaque pipe() :: #pipe{}.

-opaque job() :: {dial, module(), string(), inet:port_number(), list(), timeout()}
               | {secure, list()}
               | {carry, module(), Socket :: term(), Unread :: binary()}.

-type operation() :: {setopts, list()} | peername | sockname | peercert.

%% What is to become of a new pipe: dial with a module ...
-spec dial(module(), string(), inet:port_number(), list(), timeout()) -> job().
dial(Module, Host, Port, Options, Timeout) -> {dial, Module, Host, Port, Options, Timeout}.

%% ... speak TLS on the socket the engine will put into it ...
-spec secure(list()) -> job().
secure(SslOptions) -> {secure, SslOptions}.

%% ... or go on with an open connection. `Unread' was already read from it.
-spec carry(module(), Socket :: term(), Unread :: binary()) -> job().
carry(Module, Socket, Unread) -> {carry, Module, Socket, Unread}.

%% Whether connections can be made with a module.
-spec can_dial(module()) -> boolean().
can_dial(Module) ->
    exports(Module, [{connect, 4}]).

%% Whether a module has what is needed for an open connection.
-spec can_carry(module()) -> boolean().
can_carry(Module) ->
    exports(Module, [{recv, 3}, {send, 2}, {setopts, 2}, {controlling_process, 2}, {peername, 1}, {sockname, 1},
                     {close, 1}]).

exports(Module, Functions) ->
    code:ensure_loaded(Module) =:= {module, Module}
        andalso lists:all(fun({Function, Arity}) -> erlang:function_exported(Module, Function, Arity) end, Functions).

%% For the connection of the calling process. Unless the job is to go on with a connection, that
%% process gets the call `{opened, Number, Module, Socket}'.
-spec start(job()) -> pipe().
start(Job) ->
    Conn = self(),
    Reader = spawn_link(?MODULE, reader, []),
    Writer = spawn_link(?MODULE, writer, [Job]),
    Number = erlang:unique_integer([positive]),
    Handle = hansom_nif:pipe_new(Number, Writer, Reader),
    Pipe = begin_with(Job, #pipe{number = Number, handle = Handle, conn = Conn, writer = Writer,
                                 reader = Reader}),
    Writer ! {start, Pipe},
    Pipe.

%% To go on with a connection the engine need not wait for the module.
begin_with({carry, Module, Socket, Unread}, #pipe{handle = Handle} = Pipe) ->
    ok = case Unread of
        <<>> -> ok;
        _ -> received(Handle, Unread)
    end,
    ok = hansom_nif:pipe_opened(Handle, {ok, Module =:= ssl, <<>>}),
    opened(Module, Socket, Pipe);
begin_with(_Job, Pipe) ->
    Pipe.

-spec opened(module(), Socket :: term(), pipe()) -> pipe().
opened(Module, Socket, Pipe) -> Pipe#pipe{carried = {Module, Socket}}.

-spec is_open(pipe()) -> boolean().
is_open(#pipe{carried = Carried}) -> Carried =/= undefined.

-spec handle(pipe()) -> hansom_nif:pipe().
handle(#pipe{handle = Handle}) -> Handle.

-spec number(pipe()) -> pos_integer().
number(#pipe{number = Number}) -> Number.

%% Which of its processes this is.
-spec has(pid(), pipe()) -> writer | reader | none.
has(Pid, #pipe{writer = Pid}) -> writer;
has(Pid, #pipe{reader = Pid}) -> reader;
has(_Pid, _Pipe) -> none.

%% Asks the module, in a process of its own that exits with `{prepared, Answer}'.
-spec ask(operation(), pipe()) -> reference().
ask(Operation, #pipe{writer = Writer, carried = {Module, Socket}}) ->
    {_, Monitor} = spawn_monitor(?MODULE, answer, [Operation, Writer, {Module, Socket}]),
    Monitor.

%% Sends what is left, closes, and ends the processes, the writer last. One that was never open is
%% not waited for. The calling process gets `{'$pipe', Number, kill}' when it is time to be done.
-spec close(pipe()) -> ok.
close(#pipe{carried = undefined} = Pipe) ->
    %% The engine may be waiting for it to open.
    ok = break(Pipe),
    kill(Pipe);
close(#pipe{number = Number, writer = Writer}) ->
    Writer ! close,
    _ = erlang:send_after(?CLOSE_TIMEOUT, self(), {'$pipe', Number, kill}),
    ok.

%% Tells the engine that nothing can be sent or received any more.
-spec break(pipe()) -> ok.
break(#pipe{handle = Handle}) -> hansom_nif:pipe_break(Handle).

%% Waits so long for the ends of closed pipes, then kills what is left of them.
-spec end_within(timeout(), [pipe()]) -> ok.
end_within(Timeout, Pipes) ->
    Timer = erlang:start_timer(Timeout, self(), ended),
    Monitors = [monitor(process, Writer) || #pipe{writer = Writer} <- Pipes],
    await_all(Monitors, Timer),
    lists:foreach(fun kill/1, Pipes).

await_all([], Timer) ->
    _ = erlang:cancel_timer(Timer),
    ok;
await_all([Monitor | Rest], Timer) ->
    receive
        {'DOWN', Monitor, process, _, _} -> await_all(Rest, Timer);
        {timeout, Timer, ended} -> ok
    end.

kill(#pipe{writer = Writer, reader = Reader}) ->
    exit(Reader, kill),
    exit(Writer, kill),
    ok.

%% The writer

-spec writer(job()) -> no_return().
writer(Job) ->
    receive
        {start, Pipe} ->
            case open(Job, Pipe) of
                {ok, Opened, Alpn} -> serve(Job, Opened, Alpn);
                {error, _} = Error -> hansom_nif:pipe_opened(handle(Pipe), Error)
            end,
            exit(shutdown)
    end.

open({dial, Module, Host, Port, Options, Timeout}, Pipe) ->
    case call(Module, connect, [Host, Port, Options, Timeout]) of
        {ok, Socket} ->
            case can_carry(Module) of
                true ->
                    {ok, opened(Module, Socket, Pipe), <<>>};
                false ->
                    %% What it has opened without such a function ends with this process.
                    _ = call(Module, close, [Socket]),
                    {error, {unsupported_transport, Module}}
            end;
        ok ->
            {error, {bad_return, Module, connect}};
        Error ->
            Error
    end;
open({carry, Module, Socket, _Unread}, Pipe) ->
    %% A socket of `ssl' is given to whoever asks for it, others only by their owners.
    _ = call(Module, controlling_process, [Socket, self()]),
    {ok, Pipe, <<>>};
open({secure, SslOptions}, #pipe{number = Number} = Pipe) ->
    receive
        {'$pipe', Number, socket} ->
            case hansom_descriptors:lend(handle(Pipe)) of
                {ok, Plain} -> handshake(Plain, SslOptions, Pipe#pipe{lent = Plain});
                {error, _} = Error -> Error
            end
    end.

handshake(Plain, SslOptions, Pipe) ->
    case call(ssl, connect, [Plain, SslOptions, infinity]) of
        {ok, Socket} ->
            Alpn = case call(ssl, negotiated_protocol, [Socket]) of
                {ok, Protocol} -> Protocol;
                {error, _} -> <<>>
            end,
            {ok, opened(ssl, Socket, Pipe), Alpn};
        {error, _} = Error ->
            ok = gen_tcp:close(Plain),
            ok = hansom_descriptors:await(Plain),
            Error
    end.

serve(Job, #pipe{carried = {Module, Socket}, reader = Reader} = Pipe, Alpn) ->
    case announce(Job, Pipe, Alpn) of
        ok ->
            Reader ! {start, Pipe},
            write(Pipe),
            unlink(Reader),
            exit(Reader, kill);
        {error, _} ->
            true
    end,
    _ = call(Module, close, [Socket]),
    case Pipe of
        #pipe{lent = undefined} -> ok;
        #pipe{lent = Plain} -> hansom_descriptors:await(Plain)
    end.

%% The connection's process knows before its users do.
announce({carry, _, _, _}, _Pipe, _Alpn) ->
    ok;
announce(_Job, #pipe{number = Number, handle = Handle, conn = Conn, carried = {Module, Socket}}, Alpn) ->
    case gen_statem:call(Conn, {opened, Number, Module, Socket}) of
        ok -> hansom_nif:pipe_opened(Handle, {ok, Module =:= ssl, Alpn});
        Error -> Error
    end.

%% Until the pipe is closed. What transports tell the owner of a socket is seen by reading, too.
write(#pipe{number = Number} = Pipe) ->
    receive
        {'$pipe', Number, write} ->
            send(Pipe),
            write(Pipe);
        close ->
            send(Pipe);
        _ ->
            write(Pipe)
    end.

send(#pipe{handle = Handle, carried = {Module, Socket}} = Pipe) ->
    case hansom_nif:pipe_take(Handle) of
        empty ->
            ok;
        Bytes ->
            Result = call(Module, send, [Socket, Bytes]),
            case Result of
                {error, _} ->
                    report(Pipe, fun() -> hansom_nif:pipe_sent(Handle, Result) end);
                _ ->
                    ok = hansom_nif:pipe_sent(Handle, ok),
                    send(Pipe)
            end
    end.

%% The reader

-spec reader() -> no_return().
reader() ->
    receive
        {start, #pipe{writer = Writer} = Pipe} ->
            link(Writer),
            read(Pipe)
    end.

read(#pipe{number = Number} = Pipe) ->
    receive
        {'$pipe', Number, read} -> ok = fetch(Pipe);
        _ -> ok
    end,
    read(Pipe).

fetch(#pipe{handle = Handle, carried = {Module, Socket}} = Pipe) ->
    case call(Module, recv, [Socket, 0, infinity]) of
        {ok, Data} ->
            try iolist_to_binary(Data) of
                %% No bytes would be taken for the end.
                <<>> -> fetch(Pipe);
                Bytes -> received(Handle, Bytes)
            catch
                error:badarg -> hansom_nif:pipe_received(Handle, {error, {bad_return, Module, recv}})
            end;
        ok ->
            hansom_nif:pipe_received(Handle, {error, {bad_return, Module, recv}});
        {error, _} = Error ->
            report(Pipe, fun() -> hansom_nif:pipe_received(Handle, Error) end)
    end.

received(Handle, <<Part:?PART/binary, Rest/binary>>) when Rest =/= <<>> ->
    ok = hansom_nif:pipe_received(Handle, Part),
    received(Handle, Rest);
received(Handle, Bytes) ->
    hansom_nif:pipe_received(Handle, Bytes).

%% A failure is not worth telling if it only comes of the connection's own end, of which its users
%% are told the reason.
report(#pipe{conn = Conn}, Tell) ->
    case is_process_alive(Conn) of
        true -> Tell();
        false -> ok
    end.

%% Calls

%% The body of a process that asks the module.
-spec answer(operation(), pid(), {module(), term()}) -> no_return().
answer(Operation, Writer, {Module, Socket}) ->
    %% Ends with the pipe.
    link(Writer),
    Answer = case Operation of
        {setopts, Options} -> call(Module, setopts, [Socket, Options]);
        peercert -> peer_certificate(Module, Socket);
        Name -> call(Module, Name, [Socket])
    end,
    unlink(Writer),
    exit({prepared, Answer}).

peer_certificate(gen_tcp, _Socket) ->
    {error, not_ssl};
peer_certificate(Module, Socket) ->
    case erlang:function_exported(Module, peercert, 1) of
        true -> call(Module, peercert, [Socket]);
        false -> {error, not_ssl}
    end.

%% `ok', `{ok, Value}' or `{error, Reason}', whatever the module does. What a process would exit with that does not catch
%% an exception is the reason: that of an error comes with where it was raised, which is in nobody's log.
call(gen_tcp, Function, Args)
  when Function =:= setopts; Function =:= peername; Function =:= sockname ->
    call(inet, Function, Args);
%% So a socket that found its peer gone while it was read says it.
call(gen_tcp, Function, Args) when Function =:= send; Function =:= recv ->
    case apply(gen_tcp, Function, Args) of
        {error, enotconn} -> {error, closed};
        Result -> Result
    end;
call(Module, Function, Args) ->
    try apply(Module, Function, Args) of
        ok -> ok;
        {ok, _} = Ok -> Ok;
        {error, _} = Error -> Error;
        _ -> {error, {bad_return, Module, Function}}
    catch
        error:Reason:Stack -> {error, {Reason, [without_arguments(Entry) || Entry <- Stack]}};
        _:Reason -> {error, Reason}
    end.

%% The arguments of a call may be large, and are not for everybody.
without_arguments({Module, Function, Args, Location}) when is_list(Args) ->
    {Module, Function, length(Args), Location};
without_arguments(Entry) ->
    Entry.
