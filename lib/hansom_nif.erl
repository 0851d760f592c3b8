%% @private The native functions: stubs, replaced when the library is loaded.
%%
%% Nothing else belongs here. A library that is in use cannot be replaced, so this module cannot
%% be reloaded; what may change while the system runs stands in other modules.
-module(hansom_nif).

-export([runtime_start/1, runtime_stop/3,
         open/1, shutdown/4, state/1, protocol/1, info/1, stats/0,
         exchange/3, exchange_dirty/3, call/3, call_dirty/3, cast/2, cancel/3,
         pipe_new/3, pipe_opened/2, pipe_take/1, pipe_sent/2, pipe_received/2, pipe_break/1,
         lend/1, lent/0, give_back/1, mozilla_roots/0]).
-export_type([runtime/0, exchange/0, answer/0, pipe/0]).

-nifs([runtime_start/1, runtime_stop/3,
       open/1, shutdown/4, state/1, protocol/1, info/1, stats/0,
       exchange/3, exchange_dirty/3, call/3, call_dirty/3, cast/2, cancel/3,
       pipe_new/3, pipe_opened/2, pipe_take/1, pipe_sent/2, pipe_received/2, pipe_break/1,
       lend/1, lent/0, give_back/1, mozilla_roots/0]).
-on_load(load/0).

-opaque runtime() :: pos_integer().
%% Names a runtime of this node.

-opaque pipe() :: reference().
%% The processes' end of a pipe; see `hansom_pipe'.

-type answer() :: ok | done | undefined | list()
                | {ok, binary()} | {ok, tuple()}
                | {ok, StreamId :: pos_integer()}
                | {ok, Status :: non_neg_integer(), Headers :: [{binary(), binary()}]}
                | {ok, Status :: non_neg_integer(), Headers :: [{binary(), binary()}],
                   Body :: binary()}
                | {reuse, ShouldClose :: boolean(), Ready :: boolean()}
                | '$transport'
                | {error, term()} | {'$down', Reason :: term()}.
%% What a call is answered with. It is returned when the engine has it at once. After `wait' it comes as
%% `{Ref, answer()}', or as `{Ref, {'$down', Reason}}' if the process ended first. `'$transport'': only the
%% transport that moves the bytes can answer.

-type head() :: {Method :: iodata() | atom(), Path :: iodata() | atom(), Headers :: list()}.

-type exchange() :: {request, head(), body(), hansom_request:options()}
                  | {request_async, head(), body(), hansom_request:options(), delivery()}
                  %% The body of the response is asked for by `Sender', or on its behalf.
                  | {request_streaming, head(), body(), Sender :: pid()}
                  %% The pieces of the body come from `Sender', or are given on its behalf.
                  | {send_headers, head(), hansom_request:options(), Sender :: pid()}
                  %% A stream of the handler's own. `Manual': its window reopens by `stream_consume' alone.
                  | {open_stream, head(), {Handler :: pid(), Manual :: boolean()}}.

-type body() :: binary() | stream | [].

-type delivery() :: {StreamTo :: pid(), Mode :: true | once, FollowRedirect :: boolean()}.
%% A receiver other than the calling process becomes the connection's owner.

load() ->
    Priv = case code:priv_dir(hansom) of
        {error, bad_name} ->
            %% Not in a folder called after the application: priv is beside the one of this module.
            filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir ->
            Dir
    end,
    erlang:load_nif(filename:join(Priv, "hansom_nif"), 0).

%% Starts the node's runtime. It belongs to the calling process and ends with it.
-spec runtime_start(Threads :: pos_integer()) ->
    {ok, runtime()} | {error, already_started | atom()}.
runtime_start(_Threads) -> not_loaded().

%% Stops the runtime: `{Ref, stopped}' comes when its threads are gone, or the deadline is over.
-spec runtime_stop(runtime(), reference(), DeadlineMs :: non_neg_integer()) -> ok.
runtime_stop(_Runtime, _Ref, _DeadlineMs) -> not_loaded().

%% Makes the connection of the calling process.
-spec open(map()) -> ok | {error, not_running | already_open | {options, term()}}.
open(_Config) -> not_loaded().

%% Ends the connection of the calling process, which is about to terminate. After `wait',
%% `{Ref, ok}' comes when the socket is closed. `Tell': those who were to get more messages hear
%% that they will not.
-spec shutdown(pid(), reference(), Reason :: term(), Tell :: boolean()) -> ok | wait | noproc.
shutdown(_Pid, _Ref, _Reason, _Tell) -> not_loaded().

-spec state(pid()) ->
    idle | connecting | connected | streaming_body | receiving | streaming | streaming_once
  | closed | noproc.
state(_Pid) -> not_loaded().

%% `http1' before the first dial.
-spec protocol(pid()) -> http1 | http2 | http3 | noproc.
protocol(_Pid) -> not_loaded().

-spec info(pid()) -> map() | noproc.
info(_Pid) -> not_loaded().

-spec stats() -> map().
stats() -> not_loaded().

%% Begins an exchange or a stream. `_dirty' is for heads of many fields, which take longer to read than a
%% scheduler may be kept.
-spec exchange(pid(), reference(), exchange()) -> answer() | wait | noproc.
exchange(_Pid, _Ref, _Exchange) -> not_loaded().

-spec exchange_dirty(pid(), reference(), exchange()) -> answer() | wait | noproc.
exchange_dirty(_Pid, _Ref, _Exchange) -> not_loaded().

%% Everything else a connection can be asked, also as `{on_behalf, pid(), Op}'.
%% `_dirty' is for trailer sections of many fields.
-spec call(pid(), reference(), Op :: term()) -> answer() | wait | noproc.
call(_Pid, _Ref, _Op) -> not_loaded().

-spec call_dirty(pid(), reference(), Op :: term()) -> answer() | wait | noproc.
call_dirty(_Pid, _Ref, _Op) -> not_loaded().

%% `abandon' resets what a process has begun on a connection of many streams; `receiver_gone' ends
%% what was to come to it.
-spec cast(pid(), stream_next | {abandon, Sender :: pid()} | {receiver_gone, Receiver :: pid()} | {stream_next, Caller :: pid()} | watch_idle
                  | {grant, Receiver :: pid(), Bytes :: non_neg_integer()}
                  | {stream_consume, StreamId :: pos_integer(), Bytes :: non_neg_integer()}) -> ok.
cast(_Pid, _Op) -> not_loaded().

%% Lets the engine forget that the calling process waits for `Ref'. After `ok', or `{CancelRef, ok}'
%% after `wait', nothing more is sent for it.
-spec cancel(pid(), CancelRef :: reference(), Ref :: reference()) -> ok | wait | noproc.
cancel(_Pid, _CancelRef, _Ref) -> not_loaded().

%% A pipe of the calling process's connection. `Writer' and `Reader' are sent
%% `{'$pipe', Number, read | write | socket}' when there is something to do, the connection's
%% process `{'$pipe', Number, close}'.
-spec pipe_new(Number :: pos_integer(), Writer :: pid(), Reader :: pid()) -> pipe().
pipe_new(_Number, _Writer, _Reader) -> not_loaded().

%% `Alpn' is empty if no protocol was agreed on.
-spec pipe_opened(pipe(), {ok, Tls :: boolean(), Alpn :: binary()} | {error, term()}) -> ok.
pipe_opened(_Pipe, _Result) -> not_loaded().

%% What waits to be sent; pipe_sent/2 has to follow.
-spec pipe_take(pipe()) -> binary() | empty.
pipe_take(_Pipe) -> not_loaded().

-spec pipe_sent(pipe(), ok | {ok, term()} | {error, term()}) -> ok.
pipe_sent(_Pipe, _Result) -> not_loaded().

%% What was fetched: not more than some 100 KiB. `{error, closed}' is the end.
-spec pipe_received(pipe(), binary() | {error, term()}) -> ok.
pipe_received(_Pipe, _Result) -> not_loaded().

%% Nothing can be sent or received any more.
-spec pipe_break(pipe()) -> ok.
pipe_break(_Pipe) -> not_loaded().

%% The socket the engine has put into a pipe. It stays the engine's.
-spec lend(pipe()) -> {Descriptor :: integer(), inet | inet6 | local} | none.
lend(_Pipe) -> not_loaded().

-spec lent() -> [Descriptor :: integer()].
lent() -> not_loaded().

%% No port uses the descriptor any more.
-spec give_back(Descriptor :: integer()) -> ok.
give_back(_Descriptor) -> not_loaded().

%% The roots the engine trusts by default, in DER.
-spec mozilla_roots() -> [binary()].
mozilla_roots() -> not_loaded().

%% No spec: dialyzer would believe that none of the functions above ever returns.
not_loaded() ->
    erlang:nif_error({not_loaded, ?MODULE}).
