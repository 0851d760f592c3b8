%% @doc gRPC over a stream of one's own, as far as tests need it: messages are bytes, and calls are read by the process
%% that began them.
-module(hansom_grpc).

-export([start/3, start/4, send/2, send_last/2, close/1, cancel/1, recv/1, all/1, call/3, call/4]).

-export_type([call/0]).

-define(PATIENCE, 15000).

-record(call, {conn :: pid(), id :: pos_integer(), buffer = <<>> :: binary()}).

-type call() :: #call{}.
-type status() :: {status, Code :: non_neg_integer(), Message :: binary(), [{binary(), binary()}]}.

%% @doc Begins a call of a method of the test server.
-spec start(pid(), string(), hansom_conn:headers()) -> call().
start(Conn, Method, Metadata) -> start(Conn, Method, Metadata, #{}).

-spec start(pid(), string(), hansom_conn:headers(), map()) -> call().
start(Conn, Method, Metadata, Options) ->
    Headers = [{<<"te">>, <<"trailers">>}, {<<"content-type">>, <<"application/grpc">>} | Metadata],
    Path = iolist_to_binary(["/hansom.Test/", Method]),
    {ok, Conn, Id} = hansom_h2_stream:open(Conn, <<"POST">>, Path, Headers, Options),
    #call{conn = Conn, id = Id}.

%% @doc Sends a message.
-spec send(call(), iodata()) -> ok | hansom_conn:error().
send(Call, Message) -> send(Call, Message, nofin).

%% @doc Sends the last message. A server that waits for only one may be done with the call as soon as it has it.
-spec send_last(call(), iodata()) -> ok | hansom_conn:error().
send_last(Call, Message) -> send(Call, Message, fin).

send(#call{conn = Conn, id = Id}, Message, Fin) ->
    hansom_h2_stream:send(Conn, Id, [<<0, (iolist_size(Message)):32>>, Message], Fin).

%% @doc Says that no message follows.
-spec close(call()) -> ok | hansom_conn:error().
close(#call{conn = Conn, id = Id}) -> hansom_h2_stream:send(Conn, Id, <<>>, fin).

-spec cancel(call()) -> ok | {error, closed}.
cancel(#call{conn = Conn, id = Id}) -> hansom_h2_stream:cancel(Conn, Id).

%% @doc The next message, the head, or how the call ended.
-spec recv(call()) -> {message, binary(), call()} | {head, list(), call()} | status() | term().
recv(#call{buffer = <<0, Size:32, Message:Size/binary, Rest/binary>>} = Call) ->
    {message, Message, Call#call{buffer = Rest}};
recv(#call{conn = Conn, id = Id, buffer = Buffer} = Call) ->
    case hansom_h2_stream:recv(Conn, Id, ?PATIENCE) of
        {response, Id, 200, Headers} ->
            case proplists:is_defined(<<"grpc-status">>, Headers) of
                true ->
                    {data, Id, <<>>, true} = hansom_h2_stream:recv(Conn, Id, ?PATIENCE),
                    status(Headers);
                false -> {head, Headers, Call}
            end;
        {data, Id, Data, false} -> recv(Call#call{buffer = <<Buffer/binary, Data/binary>>});
        {trailers, Id, Trailers} when Buffer =:= <<>> -> status(Trailers);
        Other -> Other
    end.

status(Fields) ->
    {status, binary_to_integer(proplists:get_value(<<"grpc-status">>, Fields)),
     proplists:get_value(<<"grpc-message">>, Fields, <<>>), Fields}.

%% @doc All messages still to come and how the call ended.
-spec all(call()) -> {[binary()], status() | term()}.
all(Call) ->
    case recv(Call) of
        {message, Message, Next} ->
            {Messages, End} = all(Next),
            {[Message | Messages], End};
        {head, _, Next} -> all(Next);
        End -> {[], End}
    end.

%% @doc A call with one message to send.
-spec call(pid(), string(), iodata()) -> {[binary()], status() | term()}.
call(Conn, Method, Message) -> call(Conn, Method, Message, []).

-spec call(pid(), string(), iodata(), hansom_conn:headers()) -> {[binary()], status() | term()}.
call(Conn, Method, Message, Metadata) ->
    Call = start(Conn, Method, Metadata),
    %% A call that has failed already takes nothing more.
    _ = send_last(Call, Message),
    all(Call).
