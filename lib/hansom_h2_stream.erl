%% @doc A stream of one's own on an HTTP/2 connection: requests and responses whose two sides are
%% sent and read as they come, as gRPC does it.
%%
%% ```
%% {ok, Conn, Id} = hansom_h2_stream:open(Conn, <<"POST">>, <<"/chat">>, []),
%% ok = hansom_h2_stream:send(Conn, Id, <<"hello">>),
%% {response, Id, 200, Headers} = hansom_h2_stream:recv(Conn, Id),
%% {data, Id, Answer, false} = hansom_h2_stream:recv(Conn, Id),
%% ok = hansom_h2_stream:send(Conn, Id, <<>>, fin),
%% {data, Id, <<>>, true} = hansom_h2_stream:recv(Conn, Id).
%% '''
%%
%% A stream is named by the connection's pid and its identifier. What happens on it comes to its
%% handler as messages `{h2, Conn, Event}'; {@link recv/3} is a receive for them, and a process
%% with a loop of its own can as well receive them there. They arrive no faster than the handler
%% takes them: its mailbox is looked at from time to time, and with `flow_control => manual' the
%% peer may send only what {@link consume/3} has made room for. The stream ends with its handler,
%% but not the other way round.
%%
%% Errors of the functions: `no_stream' (over, or never opened), `stream_reset' and `stream_closed'
%% (it ended under a send), `timeout' (the peer's flow control for longer than `send_timeout'),
%% `send_buffer_full', `protocol_error' (a field that HTTP/2 forbids), `closed'.
-module(hansom_h2_stream).

-export([open/4, open/5, send/3, send/4, send_trailers/3, recv/2, recv/3, consume/3, cancel/2,
         cancel/3]).
%% The number of an error code, for those who send it in another way.
-export([number/1]).
-export_type([id/0, event/0, code/0]).

%% Of what fits into a variable-length integer (RFC 9000, section 16).
-define(LARGEST, 16#3fffffffffffffff).

%% RFC 9113, section 7.
-define(CODES, #{no_error => 0, protocol_error => 1, internal_error => 2, flow_control_error => 3,
                 settings_timeout => 4, stream_closed => 5, frame_size_error => 6, refused_stream => 7,
                 cancel => 8, compression_error => 9, connect_error => 10, enhance_your_calm => 11,
                 inadequate_security => 12, http_1_1_required => 13}).

-type id() :: pos_integer().
-type code() :: no_error | protocol_error | internal_error | flow_control_error
              | settings_timeout | stream_closed | frame_size_error | refused_stream | cancel
              | compression_error | connect_error | enhance_your_calm | inadequate_security
              | http_1_1_required | {unknown, non_neg_integer()}.
%% `data' with `true', `trailers' and everything below it are the last of a stream.
-type event() :: {informational, id(), hansom_conn:status(), hansom_conn:response_headers()}
               | {response, id(), hansom_conn:status(), hansom_conn:response_headers()}
               | {data, id(), binary(), End :: boolean()}
               | {trailers, id(), hansom_conn:response_headers()}
               | {stream_reset, id(), code()}
               | {goaway, Last :: non_neg_integer(), code()}
               | {closed, Reason :: atom()}.

%% @equiv open(Conn, Method, Path, Headers, #{})
-spec open(pid(), hansom_conn:method(), hansom_conn:path(), hansom_conn:headers()) ->
    {ok, pid(), id()} | hansom_conn:error().
open(Conn, Method, Path, Headers) ->
    open(Conn, Method, Path, Headers, #{}).

%% @doc Opens a stream whose handler is the caller; see {@link hansom_conn:open_h2_stream/6}.
-spec open(pid(), hansom_conn:method(), hansom_conn:path(), hansom_conn:headers(),
           #{flow_control => auto | manual}) ->
    {ok, pid(), id()} | hansom_conn:error().
open(Conn, Method, Path, Headers, Options) ->
    hansom_conn:open_h2_stream(Conn, Method, Path, Headers, self(), Options).

%% @equiv send(Conn, Id, Data, nofin)
-spec send(pid(), id(), iodata()) -> ok | hansom_conn:error().
send(Conn, Id, Data) ->
    send(Conn, Id, Data, nofin).

%% @doc Sends data, with `fin' as the last. `ok' comes when the peer's flow control has let it
%% pass, so a sender cannot outrun the peer; with the start option `send_timeout => nonblock' at
%% once.
-spec send(pid(), id(), iodata(), fin | nofin) -> ok | hansom_conn:error().
send(Conn, Id, Data, Fin) when is_integer(Id), Fin =:= fin orelse Fin =:= nofin ->
    case hansom_request:bytes(Data) of
        {ok, Bytes} ->
            hansom_direct:call(Conn, {stream_send, Id, Bytes, Fin =:= fin}, infinity, answer);
        Error ->
            Error
    end.

%% @doc Ends the request with a trailer section (RFC 9113, section 8.1).
-spec send_trailers(pid(), id(), hansom_conn:headers()) -> ok | hansom_conn:error().
send_trailers(Conn, Id, Trailers) when is_integer(Id) ->
    hansom_direct:call(Conn, {stream_trailers, Id, Trailers}, infinity, answer).

%% @equiv recv(Conn, Id, infinity)
-spec recv(pid(), id()) -> event() | {error, closed}.
recv(Conn, Id) ->
    recv(Conn, Id, infinity).

%% @doc The next event of the stream, for its handler. `{error, closed}' if the connection's
%% process is dead. Do not ask again after the last event: nothing follows it.
-spec recv(pid(), id(), timeout()) -> event() | {error, closed | timeout}.
recv(Conn, Id, Timeout) when is_pid(Conn), is_integer(Id) ->
    ok = hansom_direct:check_wait(Timeout),
    Monitor = monitor(process, Conn),
    Event = receive
        {h2, Conn, Found} when element(2, Found) =:= Id; element(1, Found) =:= goaway;
                               element(1, Found) =:= closed ->
            Found;
        {'DOWN', Monitor, process, _, _} ->
            {error, closed}
    after Timeout ->
        {error, timeout}
    end,
    demonitor(Monitor, [flush]),
    Event.

%% @doc Makes room for `Bytes' more of the peer's data on a stream whose flow control is manual;
%% on others it has no effect. At most what was delivered counts.
-spec consume(pid(), id(), non_neg_integer()) -> ok.
consume(Conn, Id, Bytes)
  when is_pid(Conn), is_integer(Id), Id > 0, is_integer(Bytes), Bytes >= 0 ->
    %% No stream has a greater number, and no window is larger.
    Operation = {stream_consume, min(Id, ?LARGEST), min(Bytes, ?LARGEST)},
    case node(Conn) =:= node() of
        true -> hansom_nif:cast(Conn, Operation);
        false -> gen_statem:cast(Conn, Operation)
    end.

%% @equiv cancel(Conn, Id, cancel)
-spec cancel(pid(), id()) -> ok | {error, closed}.
cancel(Conn, Id) ->
    cancel(Conn, Id, cancel).

%% @doc Resets the stream. No event of it comes later; those already sent stay in the mailbox.
%% `ok' also if it is over.
-spec cancel(pid(), id(), code()) -> ok | {error, closed | {badarg, {code, term()}}}.
cancel(Conn, Id, Code) when is_integer(Id) ->
    case number(Code) of
        {ok, Number} -> hansom_direct:call(Conn, {stream_cancel, Id, Number}, infinity, answer);
        Error -> Error
    end.

%% @private
-spec number(term()) -> {ok, non_neg_integer()} | {error, {badarg, {code, term()}}}.
number({unknown, Number}) when is_integer(Number), Number >= 0, Number =< 16#ffffffff -> {ok, Number};
number(Name) ->
    case maps:find(Name, ?CODES) of
        {ok, Number} -> {ok, Number};
        error -> {error, {badarg, {code, Name}}}
    end.
