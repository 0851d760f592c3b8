%% @private Takes over sockets that Erlang has opened: the start option `socket'.
%%
%% A socket of `gen_tcp' is taken by its descriptor: a duplicate goes to the engine, and the port is
%% closed, of which the peer notices nothing. What cannot be taken so, such as a socket of `ssl', is
%% used where it is, over a pipe.
-module(hansom_adopt).

-export([prepare/2, take/2, hand_over/2]).
-export_type([prepared/0]).

%% How long a socket of `ssl' may take for an answer, in milliseconds.
-define(ANSWER_TIMEOUT, 5000).

-type prepared() :: {descriptor, gen_tcp:socket(), Unread :: binary()}
                  | {carry, module(), Socket :: term(), Unread :: binary()}.
%% `Unread' was received and comes before whatever is read from the socket.

%% Makes the socket passive. Run by the process that starts the connection: if it owns the socket,
%% what came as messages is in its mailbox.
-spec prepare(hansom_options:transport(), term()) -> {ok, prepared()} | error.
prepare(tls, Socket) when is_tuple(Socket), element(1, Socket) =:= sslsocket ->
    case make_passive(Socket) of
        ok -> {ok, {carry, ssl, Socket, messages(ssl, Socket)}};
        error -> error
    end;
prepare({module, Module}, Socket) ->
    case hansom_pipe:can_carry(Module) of
        true -> {ok, {carry, Module, Socket, <<>>}};
        false -> error
    end;
prepare(Transport, Socket) when Transport =:= tcp; Transport =:= unix ->
    case is_tcp(Socket) of
        true ->
            %% A packet mode keeps parts of packets in the driver, where only a read gets them.
            _ = inet:setopts(Socket, [{active, false}, {packet, raw}, {mode, binary}]),
            Messages = messages(tcp, Socket),
            Unread = case gen_tcp:recv(Socket, 0, 0) of
                {ok, Bytes} -> <<Messages/binary, (iolist_to_binary(Bytes))/binary>>;
                {error, _} -> Messages
            end,
            {ok, case inet:getstat(Socket, [send_pend]) of
                     {ok, [{send_pend, 0}]} -> {descriptor, Socket, Unread};
                     %% What the driver has not yet sent must come first.
                     _ -> {carry, gen_tcp, Socket, Unread}
                 end};
        false ->
            error
    end;
prepare(_Transport, _Socket) ->
    error.

%% A socket of `ssl' is asked by a call without a deadline of its own. Who starts the connection may be the supervisor of
%% all of them, and must not wait for ever for a process that is stuck.
make_passive(Socket) ->
    {Asking, Monitor} =
        spawn_monitor(fun() -> catch ssl:setopts(Socket, [{active, false}, {packet, raw}, {mode, binary}]) end),
    receive
        %% A socket that is closed already is found so by reading.
        {'DOWN', Monitor, process, Asking, _} -> ok
    after ?ANSWER_TIMEOUT ->
        exit(Asking, kill),
        _ = demonitor(Monitor, [flush]),
        error
    end.

is_tcp(Socket) when is_port(Socket) -> node(Socket) =:= node();
is_tcp({'$inet', Module, _}) -> is_atom(Module);
is_tcp(_Socket) -> false.

%% The bytes of messages that were on their way when the socket became passive, and no more such
%% messages.
messages(Tag, Socket) ->
    receive
        {Tag, Socket, Data} -> <<(iolist_to_binary(Data))/binary, (messages(Tag, Socket))/binary>>;
        {tcp_passive, Socket} -> messages(Tag, Socket);
        {ssl_passive, Socket} -> messages(Tag, Socket)
    after 0 ->
        %% The end is found again by reading.
        receive
            {Closed, Socket} when Closed =:= tcp_closed; Closed =:= ssl_closed -> <<>>;
            {Error, Socket, _} when Error =:= tcp_error; Error =:= ssl_error -> <<>>
        after 0 -> <<>>
        end
    end.

%% Gives a duplicate of the descriptor to `Take', and closes the socket. After an error what was
%% taken must not be used.
-spec take(gen_tcp:socket(), fun((integer()) -> ok | {error, term()})) -> ok | {error, term()}.
take(Socket, Take) ->
    case descriptor(Socket) of
        {ok, Descriptor} ->
            case Take(Descriptor) of
                ok ->
                    %% A number says nothing of what it is for: had the socket been closed by its
                    %% owner meanwhile, it could be another's.
                    case descriptor(Socket) of
                        {ok, Descriptor} ->
                            _ = gen_tcp:close(Socket),
                            ok;
                        _ ->
                            {error, closed}
                    end;
                Error ->
                    Error
            end;
        error ->
            {error, einval}
    end.

descriptor({'$inet', gen_tcp_socket, {_, Socket}}) ->
    try socket:getopt(Socket, otp, fd) of
        {ok, Descriptor} -> {ok, Descriptor};
        _ -> error
    catch error:_ -> error
    end;
descriptor(Port) when is_port(Port) ->
    case inet:getfd(Port) of
        {ok, Descriptor} when Descriptor >= 0 -> {ok, Descriptor};
        _ -> error
    end;
descriptor(_Socket) ->
    error.

%% Makes the connection the owner of a socket that it uses where it is, if the calling process may
%% give it away.
-spec hand_over(prepared(), pid()) -> ok.
hand_over({descriptor, Socket, _Unread}, Conn) ->
    %% It is closed now, or could not be taken.
    hand_over({carry, gen_tcp, Socket, <<>>}, Conn);
hand_over({carry, ssl, _Socket, _Unread}, _Conn) ->
    %% Was taken by the process that uses it.
    ok;
hand_over({carry, Module, Socket, _Unread}, Conn) ->
    %% A supervisor has no sockets to give away, and must not be held up.
    case self() =:= whereis(hansom_conn_sup) of
        true -> ok;
        false -> give_away(Module, Socket, Conn)
    end.

give_away(Module, Socket, Conn) ->
    _ = try Module:controlling_process(Socket, Conn) catch _:_ -> error end,
    ok.
