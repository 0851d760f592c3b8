%% @doc A transport module of somebody else's: TCP that fails, hangs or dawdles as it is told.
%%
%% The socket is a term of its own, so that nobody can take it for a socket of `gen_tcp'.
-module(hansom_faulty).

-export([start/0, fault/2, calls/1, sockets/0]).
%% What a transport has.
-export([connect/4, recv/3, send/2, setopts/2, controlling_process/2, peername/1, sockname/1,
         peercert/1, close/1]).

-define(TABLE, ?MODULE).

-type fault() :: none
               | {error, term()}
               %% An exception, or an answer that is none.
               | crash | nonsense
               %% For ever.
               | hang
               %% Until told otherwise: before the work is done, or after it.
               | hold | linger
               %% Of `recv': so many bytes at a time; of any other: first so many milliseconds.
               | {pieces, pos_integer()} | {delay, non_neg_integer()}.

%% @doc Without faults; for the calling process's life.
start() ->
    ?TABLE = ets:new(?TABLE, [named_table, public]),
    ok.

-spec fault(atom(), fault()) -> ok.
fault(Function, Fault) ->
    true = ets:insert(?TABLE, {Function, Fault}),
    ok.

%% @doc The arguments of the calls of a function but for the socket, in order.
calls(Function) ->
    [Args || {_, Args} <- lists:sort([{At, Args} || {{At, Called}, Args} <- ets:tab2list(?TABLE), Called =:= Function])].

%% @doc The sockets in use.
sockets() ->
    [Socket || {{socket, Socket}} <- ets:tab2list(?TABLE), erlang:port_info(Socket) =/= undefined].

connect(Host, Port, Options, Timeout) ->
    run(connect, [Host, Port, Options, Timeout],
        fun() ->
                case gen_tcp:connect(Host, Port, [binary, {active, false} | Options], Timeout) of
                    {ok, Socket} ->
                        true = ets:insert(?TABLE, {{socket, Socket}}),
                        {ok, {?MODULE, Socket}};
                    Error ->
                        Error
                end
        end).

recv({?MODULE, Socket}, Length, Timeout) ->
    run(recv, [Length, Timeout],
        fun() ->
                case {gen_tcp:recv(Socket, Length, Timeout), ets:lookup(?TABLE, recv)} of
                    {{ok, Bytes}, [{recv, {pieces, Size}}]} when byte_size(Bytes) > Size ->
                        {Piece, Rest} = split_binary(Bytes, Size),
                        ok = gen_tcp:unrecv(Socket, Rest),
                        {ok, Piece};
                    {Result, _} ->
                        Result
                end
        end).

send({?MODULE, Socket}, Data) ->
    run(send, [iolist_size(Data)], fun() -> gen_tcp:send(Socket, Data) end).

setopts({?MODULE, Socket}, Options) ->
    run(setopts, [Options], fun() -> inet:setopts(Socket, Options) end).

controlling_process({?MODULE, Socket}, Pid) ->
    run(controlling_process, [Pid], fun() -> gen_tcp:controlling_process(Socket, Pid) end).

peername({?MODULE, Socket}) -> run(peername, [], fun() -> inet:peername(Socket) end).

sockname({?MODULE, Socket}) -> run(sockname, [], fun() -> inet:sockname(Socket) end).

peercert({?MODULE, _Socket}) -> run(peercert, [], fun() -> {ok, <<"certificate">>} end).

close({?MODULE, Socket}) -> run(close, [], fun() -> gen_tcp:close(Socket) end).

run(Function, Args, Work) ->
    true = ets:insert(?TABLE, {{erlang:unique_integer([monotonic]), Function}, Args}),
    case ets:lookup(?TABLE, Function) of
        [{_, {error, _} = Error}] -> Error;
        [{_, crash}] -> error({crash, Function});
        [{_, nonsense}] -> nonsense;
        [{_, hang}] -> receive after infinity -> ok end;
        [{_, hold}] -> held(Function, hold), run(Function, Args, Work);
        [{_, linger}] -> Result = Work(), held(Function, linger), Result;
        [{_, {delay, Time}}] -> receive after Time -> Work() end;
        _ -> Work()
    end.

held(Function, Fault) ->
    case ets:lookup(?TABLE, Function) of
        [{_, Fault}] -> receive after 5 -> held(Function, Fault) end;
        _ -> ok
    end.
