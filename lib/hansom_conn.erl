%% @doc A connection to an HTTP server, behind a process.
%%
%% The functions and their answers are those of `hackney_conn'. A connection is started
%% `idle', dialled with {@link connect/1}, carries one exchange at a time (many over HTTP/2 and HTTP/3), and
%% ends with its owner, by {@link stop/1} or when it is of no further use:
%%
%% ```
%% {ok, Conn} = hansom_conn:start_link(#{host => "example.com", port => 80}),
%% ok = hansom_conn:connect(Conn),
%% {ok, 200, Headers} = hansom_conn:request(Conn, <<"GET">>, <<"/">>, [], <<>>),
%% {ok, Body} = hansom_conn:body(Conn),
%% ok = hansom_conn:stop(Conn).
%% '''
%%
%% With `transport => tls' HTTP/2 is spoken where the server does, and HTTP/3 where `protocols' in
%% `connect_options' has it too: then the answer of `request' has the body as a fourth element, and
%% the connection stays `connected' whatever is on its way.
%%
%% == States ==
%% `idle', `connecting', `connected', `receiving' (a response is being read), `streaming_body'
%% (a request body is being sent in pieces), `streaming' and `streaming_once' (a response is
%% being delivered as messages), `closed' (without a socket; it can be dialled again). A
%% function that does not fit the state answers `{error, invalid_state}'.
%%
%% == When the process is gone ==
%% The functions that make an exchange (`request', `request_async', `body' and so on) answer
%% `{error, closed}' if the process is dead or ends normally meanwhile. The others, and all if
%% the process crashes, exit as `gen_statem:call/3' does. A wait that expires exits with
%% `{timeout, {gen_statem, call, _}}'; what was asked for goes on, and no message of it comes
%% later. A wait that is no time is an error `timeout_value', and nothing is asked for: times are
%% milliseconds up to `16#ffffffff', as after `receive ... after', or `infinity'.
%%
%% == Errors ==
%% `closed', `timeout', `invalid_state', `nxdomain', POSIX names (`econnrefused'),
%% `not_connected', `bad_request', `line_too_long', `{bad_response, not_http}',
%% `invalid_chunk_size', `poorly_formatted_chunked_size', `{limit_exceeded, Limit}',
%% `{decompress_error, Coding, Reason}', `{tls_alert, {Alert, Text}}', `{options, Option}',
%% `{badarg, _}'. Over HTTP/2: `{stream_error, Code}', `{goaway, Code}', `{closed, Reason}',
%% `max_streams_exceeded', `header_list_too_large', `protocol_error', `no_stream',
%% `send_buffer_full', `stream_reset', `stream_closed'. Over HTTP/3: `{stream_reset, Code}',
%% `{connection_closed, Reason}', `{transport_error, Code, Text}', `early_data_rejected'.
%%
%% Options are described in docs/options.md, messages in docs/messages.md.
-module(hansom_conn).

-export([start_link/1, stop/1, stop/2, connect/1, connect/2, get_state/1, get_state/2]).
-export([request/5, request/6, request/7, request_streaming/5, body/1, body/2, stream_body/1]).
-export([send_request_headers/4, send_request_headers/5, send_body_chunk/2, finish_send_body/1,
         finish_send_body/2, start_response/1, open_h2_stream/6]).
-export([request_async/6, request_async/7, request_async/8, request_async/9, stream_next/1,
         stop_async/1, pause_stream/1, resume_stream/1]).
-export([setopts/2, peername/1, peercert/1, sockname/1, migrate/1, send/2, recv/2, recv/3, close/1]).
-export([response_headers/1, get_location/1, set_location/2, get_protocol/1]).
-export([release_to_pool/1, verify_socket/1, is_ready/1, is_ready/2, upgrade_to_ssl/2,
         upgrade_to_ssl/3, is_upgraded_ssl/1, is_no_reuse/1, checkin_info/1, checkin_info/2,
         set_owner/2, set_owner/3, set_owner_async/2]).

-export_type([start_options/0, state/0, method/0, path/0, headers/0, body/0, status/0,
              response_headers/0, response/0, request_options/0, protocol/0, inform_fun/0,
              producer/0, error/0]).

-type start_options() :: #{host := string() | binary() | inet:ip_address(),
                           port => inet:port_number(),
                           transport => module(),
                           connect_timeout => timeout(),
                           recv_timeout => timeout(),
                           idle_timeout => timeout(),
                           connect_options => list(),
                           ssl_options => [{atom(), term()}],
                           pool_pid => pid() | undefined,
                           owner => pid(),
                           no_reuse => boolean(),
                           socket => gen_tcp:socket() | ssl:sslsocket() | term(),
                           tls => auto | rustls | erlang,
                           inform_fun => inform_fun() | undefined,
                           auto_decompress => boolean(),
                           user_agent => iodata(),
                           truncated_body => error | ok,
                           unpulled => keep | drop,
                           send_timeout => timeout() | nonblock,
                           h2c => boolean(),
                           stream_window => 0..2147483647,
                           connection_window => 65535..2147483647,
                           max_streams => wait | error,
                           ping_interval => timeout(),
                           ping_timeout => timeout(),
                           drain_on_goaway => boolean(),
                           http3 => first | race,
                           quic_idle_timeout => timeout(),
                           early_data => boolean(),
                           trailers => boolean(),
                           term() => term()}.
-type state() :: idle | connecting | connected | streaming_body | receiving | streaming
               | streaming_once | closed.
-type method() :: binary() | string() | atom().
-type path() :: iodata().
-type headers() :: [{Name :: binary() | string() | atom(),
                     Value :: header_value() | {header_value(), Params :: list()}}].
-type header_value() :: binary() | string() | atom() | integer().
-type body() :: iodata() | stream.
-type status() :: non_neg_integer().
-type response_headers() :: [{Name :: binary(), Value :: binary()}].
-type inform_fun() :: fun((status(), Reason :: binary(), response_headers()) -> term()).
-type request_options() :: [{recv_timeout, timeout()} | {inform_fun, inform_fun()}
                            | {auto_decompress, boolean()}
                            | {send_timeout, timeout() | nonblock} | {trailers, boolean()}
                            | {interim, boolean()} | term()].
-type protocol() :: http1 | http2 | http3.
%% A whole response comes at once where a connection carries many: over HTTP/2 and HTTP/3.
-type response() :: {ok, status(), response_headers()}
                  | {ok, status(), response_headers(), Body :: binary()}.
-type producer() :: fun(() -> {ok, iodata()} | eof | {error, term()})
                  | {fun((State :: term()) -> {ok, iodata(), term()} | eof | {error, term()}),
                     State :: term()}.
-type error() :: {error, term()}.

%% Life

%% @doc Starts a connection, linked to the caller, without any network activity. The caller is
%% its owner unless the options name another: the owner's death ends the connection.
%%
%% A bad value is named as `{error, {options, {Key, Value}}}'; unknown keys are ignored. See
%% docs/options.md for all keys. `{error, {not_started, hansom}}': the application is not
%% running.
-spec start_link(start_options()) -> {ok, pid()} | error().
start_link(Options) ->
    %% Checked here, not in the new process, so that a mistake does not come as an exit signal.
    case whereis(hansom_runtime) =/= undefined andalso hansom_options:start(Options, self()) of
        {ok, #{socket := Socket} = Settings} -> start_link(Settings, Socket);
        {error, Reason} -> {error, Reason};
        false -> {error, {not_started, hansom}}
    end.

start_link(Settings, undefined) ->
    hansom_conn_process:start_link(Settings);
start_link(Settings, Socket) ->
    case hansom_conn_process:start_link(Settings) of
        {ok, Pid} ->
            ok = hansom_adopt:hand_over(Socket, Pid),
            {ok, Pid};
        Error ->
            Error
    end.

%% @equiv stop(Pid, infinity)
-spec stop(pid()) -> ok.
stop(Pid) ->
    stop(Pid, infinity).

%% @doc Ends the connection and returns when its process is dead. After `Timeout' milliseconds
%% it is killed. `ok' also if it was dead.
-spec stop(pid(), timeout()) -> ok.
stop(Pid, Timeout) ->
    ok = hansom_direct:check_wait(Timeout),
    Monitor = monitor(process, Pid),
    try gen_statem:stop(Pid, normal, Timeout)
    catch exit:_ -> exit(Pid, kill)
    end,
    receive {'DOWN', Monitor, process, _, _} -> ok end.

%% @equiv connect(Pid, 8000)
-spec connect(pid()) -> ok | error().
connect(Pid) ->
    connect(Pid, 8000).

%% @doc Dials, from `idle' or `closed'. The dial is bounded by the start option
%% `connect_timeout', `Timeout' bounds only the wait for it. A dial from `idle' that fails also
%% ends the process, with reason `normal'. While it dials a second call is refused.
-spec connect(pid(), timeout()) -> ok | error().
connect(Pid, Timeout) ->
    hansom_direct:relay(Pid, connect, Timeout, exit).

%% @equiv get_state(Pid, 5000)
-spec get_state(pid()) -> {ok, state()}.
get_state(Pid) ->
    get_state(Pid, 5000).

%% @doc The state, at once whatever the connection is busy with, but for a function of the user that it runs (a body, an
%% `inform_fun').
-spec get_state(pid(), timeout()) -> {ok, state()}.
get_state(Pid, Timeout) ->
    hansom_direct:relay(Pid, get_state, Timeout, exit).

%% Requests

%% @equiv request(Pid, Method, Path, Headers, Body, infinity, [])
-spec request(pid(), method(), path(), headers(), body()) ->
    response() | error().
request(Pid, Method, Path, Headers, Body) ->
    request(Pid, Method, Path, Headers, Body, infinity, []).

%% @equiv request(Pid, Method, Path, Headers, Body, Timeout, [])
-spec request(pid(), method(), path(), headers(), body(), timeout()) ->
    response() | error().
request(Pid, Method, Path, Headers, Body, Timeout) ->
    request(Pid, Method, Path, Headers, Body, Timeout, []).

%% @doc Sends a request and waits for status and header fields of its response. The body is
%% then read with {@link body/1} or {@link stream_body/1}, also when there can be none (HEAD,
%% 204, 304): until then the connection is `receiving'. Over HTTP/2 and HTTP/3 the answer is the
%% whole response, `{ok, Status, Headers, Body}', and many processes can wait for theirs at once.
%% The body `stream' sends the head alone, which only HTTP/1.1 allows.
%%
%% `Timeout' bounds the wait of the caller. Options of this request alone: `recv_timeout'
%% (milliseconds for each read), `inform_fun' (called with status, reason and header fields of
%% each interim response, in the connection's process), `auto_decompress' (acts in `body'),
%% `send_timeout' (HTTP/2 and HTTP/3: how long the body may wait for the peer's flow control),
%% `interim' (HTTP/2 and HTTP/3: let `inform_fun' act there too).
-spec request(pid(), method(), path(), headers(), body(), timeout(), request_options()) ->
    response() | error().
request(Pid, Method, Path, Headers, Body, Timeout, ReqOpts) ->
    case prepare(Method, Path, Body, ReqOpts) of
        {ok, M, P, Content, Options, undefined} ->
            hansom_direct:request(Pid, M, P, Headers, Content,
                                  hansom_request:with_inform(Options), Timeout);
        {ok, M, P, Content, _Options, _InformFun} ->
            hansom_direct:relay(Pid, {request, M, P, Headers, Content, ReqOpts}, Timeout, answer);
        Error ->
            Error
    end.

%% @doc HTTP/3: sends a request and waits for status and header fields of its response, where
%% {@link request/5} waits for the whole. The body is then read by the same process, with
%% {@link stream_body/1} or {@link body/1}; what it does not read of one response is given up with
%% its next such request. On HTTP/1.1 and HTTP/2 it answers `{error, invalid_state}'.
-spec request_streaming(pid(), method(), path(), headers(), body()) ->
    {ok, status(), response_headers()} | error().
request_streaming(Pid, Method, Path, Headers, Body) ->
    case hansom_request:head(Method, Path) of
        {ok, M, P} ->
            hansom_direct:relay(Pid, {request_streaming, M, P, Headers, Body}, infinity, answer);
        Error ->
            Error
    end.

%% @equiv body(Pid, infinity)
-spec body(pid()) -> {ok, binary()} | error().
body(Pid) ->
    body(Pid, infinity).

%% @doc The (rest of the) response body. After this the connection is `connected' again, back
%% with its pool, or at its end.
%%
%% A body cut short by the peer gives `{error, {closed, Received}}', or `{ok, Received}' with
%% the start option `truncated_body => ok'.
-spec body(pid(), timeout()) -> {ok, binary()} | error().
body(Pid, Timeout) ->
    hansom_direct:call(Pid, body, Timeout, answer).

%% @doc The next piece of the response body, or `done' after the last.
-spec stream_body(pid()) -> {ok, binary()} | done | error().
stream_body(Pid) ->
    hansom_direct:call(Pid, stream_body, infinity, answer).

%% Request bodies in pieces

%% @equiv send_request_headers(Pid, Method, Path, Headers, [])
-spec send_request_headers(pid(), method(), path(), headers()) -> ok | error().
send_request_headers(Pid, Method, Path, Headers) ->
    send_request_headers(Pid, Method, Path, Headers, []).

%% @doc Sends the head of a request whose body follows with {@link send_body_chunk/2}. Nothing
%% is added but `Transfer-Encoding: chunked', unless the headers have a Transfer-Encoding: give
%% `Host' yourself. Options of this request alone: `recv_timeout', `send_timeout' and `interim', which
%% lets the connection's `inform_fun' act over HTTP/2 and HTTP/3.
-spec send_request_headers(pid(), method(), path(), headers(), request_options()) -> ok | error().
send_request_headers(Pid, Method, Path, Headers, ReqOpts) ->
    case hansom_request:head(Method, Path) of
        %% Not past the process: it holds the start options that act on this request.
        {ok, M, P} ->
            hansom_direct:relay(Pid, {send_headers, M, P, Headers, ReqOpts}, infinity,
                                answer);
        Error ->
            Error
    end.

%% @doc Sends a piece of the request body as one chunk, or all pieces a function makes until
%% it gives `eof'. The function runs in the connection's process. Nothing is sent for an empty
%% piece. `ok' means that the piece was taken by the connection; over HTTP/2 and HTTP/3 that the
%% peer's flow control allows all of it, whatever becomes of the stream then. There
%% `{error, stream_reset}' says that the peer takes no more, and the response tells why, if there
%% is one; `{error, stream_closed}' that the body was ended before.
-spec send_body_chunk(pid(), iodata() | producer()) -> ok | error().
send_body_chunk(Pid, Data) when is_binary(Data) ->
    hansom_direct:call(Pid, {send_body_chunk, Data}, infinity, answer);
send_body_chunk(Pid, Data) when is_list(Data) ->
    case hansom_request:bytes(Data) of
        {ok, Binary} -> hansom_direct:call(Pid, {send_body_chunk, Binary}, infinity, answer);
        Error -> Error
    end;
send_body_chunk(Pid, {Fun, _State} = Producer) when is_function(Fun, 1) ->
    hansom_direct:relay(Pid, {send_body_chunk, Producer}, infinity, answer);
send_body_chunk(Pid, Producer) when is_function(Producer, 0) ->
    hansom_direct:relay(Pid, {send_body_chunk, Producer}, infinity, answer);
send_body_chunk(_Pid, Data) ->
    {error, {badarg, {body, Data}}}.

%% @doc Ends the request body.
-spec finish_send_body(pid()) -> ok | error().
finish_send_body(Pid) ->
    hansom_direct:call(Pid, finish_send_body, infinity, answer).

%% @doc Ends the request body. Option: `trailers', fields to be sent after it.
-spec finish_send_body(pid(), [{trailers, headers()}]) -> ok | error().
finish_send_body(Pid, Options) ->
    Trailers = proplists:get_value(trailers, Options, []),
    hansom_direct:call(Pid, {finish_send_body, Trailers}, infinity, answer).

%% @doc Waits for status and header fields of the response; its body is read as that of
%% {@link request/5}.
-spec start_response(pid()) -> {ok, status(), response_headers(), pid()} | error().
start_response(Pid) ->
    hansom_direct:start_response(Pid).

%% Streams of one's own

%% @doc Opens a stream on an HTTP/2 connection on which both sides send as they like. The handler
%% gets a message `{h2, H2Pid, Event}' for whatever happens on it (docs/messages.md), and drives
%% it with {@link hansom_h2_stream}. It ends with the handler.
%%
%% Option: `flow_control', `auto' (default) or `manual': then the stream's window reopens only by
%% {@link hansom_h2_stream:consume/3}.
-spec open_h2_stream(pid(), method(), path(), headers(), Handler :: pid(),
                     #{flow_control => auto | manual}) ->
    {ok, H2Pid :: pid(), hansom_h2_stream:id()} | error().
open_h2_stream(Pid, Method, Path, Headers, Handler, Options)
  when is_pid(Handler), is_map(Options) ->
    case hansom_request:stream(Method, Path, Options) of
        {ok, M, P, Manual} -> hansom_direct:open_stream(Pid, M, P, Headers, Handler, Manual);
        Error -> Error
    end.

%% Responses as messages

%% @equiv request_async(Pid, Method, Path, Headers, Body, Mode, self(), false, [])
-spec request_async(pid(), method(), path(), headers(), body(), true | once) ->
    {ok, pid()} | error().
request_async(Pid, Method, Path, Headers, Body, Mode) ->
    request_async(Pid, Method, Path, Headers, Body, Mode, self(), false, []).

%% @equiv request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, false, [])
-spec request_async(pid(), method(), path(), headers(), body(), true | once, pid()) ->
    {ok, pid()} | error().
request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo) ->
    request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, false, []).

%% @equiv request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect, [])
-spec request_async(pid(), method(), path(), headers(), body(), true | once, pid(), boolean()) ->
    {ok, pid()} | error().
request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect) ->
    request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect, []).

%% @doc Sends a request whose response comes to `StreamTo' as messages
%% `{hackney_response, Pid, Payload}'; see docs/messages.md. Mode `true' pushes them, `once'
%% waits for {@link stream_next/1} before each one after the header fields. A `StreamTo' other
%% than the caller becomes the owner. With `FollowRedirect' a redirect comes as one message,
%% for the receiver to follow.
%%
%% An error answered here means that no message will come.
-spec request_async(pid(), method(), path(), headers(), body(), true | once, pid(), boolean(),
                    request_options()) -> {ok, pid()} | error().
request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect, ReqOpts)
  when is_pid(StreamTo), is_boolean(FollowRedirect) ->
    case {prepare(Method, Path, Body, ReqOpts), hansom_request:mode(Mode)} of
        {{ok, M, P, Content, Options, _InformFun}, ok} ->
            hansom_direct:request_async(Pid, M, P, Headers, Content,
                                        hansom_request:without_inform(Options),
                                        {StreamTo, Mode, FollowRedirect}, ReqOpts);
        {{error, _} = Error, _} -> Error;
        {_, Error} -> Error
    end.

%% @doc Asks for one more message of a response in mode `once', or paused. Over HTTP/2 and HTTP/3 it is the
%% oldest one of those that come to the caller. Always `ok'.
-spec stream_next(pid()) -> ok.
stream_next(Pid) when node(Pid) =:= node() ->
    hansom_nif:cast(Pid, {stream_next, self()});
stream_next(Pid) ->
    gen_statem:cast(Pid, {stream_next, self()}).

%% @doc Ends the delivery of messages; the rest of the body is read with {@link body/1} or
%% {@link stream_body/1}. Messages already sent stay in the mailbox.
-spec stop_async(pid()) -> ok | error().
stop_async(Pid) ->
    hansom_direct:call(Pid, stop_async, infinity, exit).

%% @doc Makes a pushed response one that is pulled. Always `ok'.
-spec pause_stream(pid()) -> ok.
pause_stream(Pid) ->
    steer(Pid, pause_stream).

%% @doc Makes a pulled response one that is pushed. Always `ok'.
-spec resume_stream(pid()) -> ok.
resume_stream(Pid) ->
    steer(Pid, resume_stream).

%% The socket

%% @doc Sets options of the open socket. A transport of others is asked as it is.
-spec setopts(pid(), list()) -> ok | error().
setopts(Pid, Options) ->
    gen_statem:call(Pid, {setopts, Options}).

%% @doc The peer's address and port.
-spec peername(pid()) -> {ok, {inet:ip_address(), inet:port_number()} | {local, binary()}} | error().
peername(Pid) ->
    hansom_direct:call(Pid, peername, infinity, exit).

%% @doc The local address and port.
-spec sockname(pid()) -> {ok, {inet:ip_address(), inet:port_number()} | {local, binary()}} | error().
sockname(Pid) ->
    hansom_direct:call(Pid, sockname, infinity, exit).

%% @doc The peer's certificate (DER). `{error, not_ssl}' without TLS.
-spec peercert(pid()) -> {ok, binary()} | error().
peercert(Pid) ->
    hansom_direct:call(Pid, peercert, infinity, exit).

%% @doc Moves an HTTP/3 connection to a new local socket, and so to the local address the system
%% chooses now: for use when the network has changed. Exchanges go on. It is done unasked when the
%% system refuses to send from the old address. Other protocols answer `{error, not_supported}'.
-spec migrate(pid()) -> ok | error().
migrate(Pid) ->
    hansom_direct:call(Pid, migrate, infinity, exit).

%% @doc Writes bytes past HTTP.
-spec send(pid(), iodata()) -> ok | error().
send(Pid, Data) ->
    case hansom_request:bytes(Data) of
        {ok, Binary} -> hansom_direct:call(Pid, {send, Binary}, infinity, exit);
        Error -> Error
    end.

%% @equiv recv(Pid, 0, Timeout)
-spec recv(pid(), timeout()) -> {ok, binary()} | error().
recv(Pid, Timeout) ->
    recv(Pid, 0, Timeout).

%% @doc Reads `Length' bytes past HTTP, or any number if it is 0, within `Timeout' milliseconds.
-spec recv(pid(), non_neg_integer(), timeout()) -> {ok, binary()} | error().
recv(Pid, Length, Timeout) when is_integer(Length), Length >= 0 ->
    ok = hansom_direct:check_wait(Timeout),
    hansom_direct:call(Pid, {recv, Length, Timeout}, longer(Timeout), exit).

%% The engine keeps the time of a `recv', but time may pass on the way to it.
longer(infinity) -> infinity;
longer(Timeout) -> min(Timeout + 5000, 16#ffffffff).

%% @doc Closes the socket, in every state. The process stays, in `closed'; that of a pool
%% ends 50 ms later.
-spec close(pid()) -> ok.
close(Pid) ->
    hansom_direct:call(Pid, close, infinity, exit).

%% What is known

%% @doc Header fields of the last response, `undefined' before the first.
-spec response_headers(pid()) -> response_headers() | undefined.
response_headers(Pid) ->
    hansom_direct:call(Pid, response_headers, infinity, exit).

%% @doc What {@link set_location/2} noted last; `undefined' also if the process is dead.
-spec get_location(pid()) -> binary() | undefined.
get_location(Pid) ->
    case hansom_direct:relay(Pid, get_location, infinity, answer) of
        {error, closed} -> undefined;
        Location -> Location
    end.

%% @doc Notes where a chain of redirects has led.
-spec set_location(pid(), binary()) -> ok | {error, closed}.
set_location(Pid, Location) ->
    hansom_direct:relay(Pid, {set_location, Location}, infinity, answer).

%% @doc The protocol spoken; `http1' before the first dial.
-spec get_protocol(pid()) -> protocol().
get_protocol(Pid) ->
    gen_statem:call(Pid, get_protocol).

%% Pools and owners

%% @doc Makes the pool the owner and hands the connection back to it.
-spec release_to_pool(pid()) -> ok | error().
release_to_pool(Pid) ->
    gen_statem:call(Pid, release_to_pool, 5000).

%% @doc Whether the socket of a `connected' connection is sound; if not, it is closed.
-spec verify_socket(pid()) -> ok | error().
verify_socket(Pid) ->
    gen_statem:call(Pid, verify_socket).

%% @equiv is_ready(Pid, 5000)
-spec is_ready(pid()) -> {ok, connected | closed} | error().
is_ready(Pid) ->
    is_ready(Pid, 5000).

%% @doc Whether a `connected' connection can be taken into use. It restarts the idle timer.
-spec is_ready(pid(), timeout()) -> {ok, connected | closed} | error().
is_ready(Pid, Timeout) ->
    hansom_direct:relay(Pid, is_ready, Timeout, exit).

%% @equiv upgrade_to_ssl(Pid, SslOptions, #{})
-spec upgrade_to_ssl(pid(), list()) -> ok | error().
upgrade_to_ssl(Pid, SslOptions) ->
    upgrade_to_ssl(Pid, SslOptions, #{}).

%% @doc Starts TLS on an open TCP connection, bounded by `connect_timeout'. `ok' at once if it
%% is encrypted already; while another process starts it, the answer is the same as for that one.
%% Options: `final' (default `false') takes `SslOptions' as complete; `pool_ssl' (default `false')
%% lets the connection go back to a pool; `tls' overrides the start option. After an error the
%% connection is of no further use.
-spec upgrade_to_ssl(pid(), list(), #{final => boolean(), pool_ssl => boolean(),
                                      tls => auto | rustls | erlang}) -> ok | error().
upgrade_to_ssl(Pid, SslOptions, Options) when is_map(Options) ->
    gen_statem:call(Pid, {upgrade_to_ssl, SslOptions, Options}).

%% @doc Whether TLS was started by {@link upgrade_to_ssl/2}.
-spec is_upgraded_ssl(pid()) -> boolean().
is_upgraded_ssl(Pid) ->
    gen_statem:call(Pid, is_upgraded_ssl).

%% @doc Whether the connection ends after its first exchange.
-spec is_no_reuse(pid()) -> boolean().
is_no_reuse(Pid) ->
    gen_statem:call(Pid, is_no_reuse).

%% @equiv checkin_info(Pid, 5000)
-spec checkin_info(pid()) -> #{upgraded_ssl := boolean(), no_reuse := boolean(),
                               pool_ssl := boolean(), protocol := protocol(),
                               should_close := boolean(), ready := boolean()}.
checkin_info(Pid) ->
    checkin_info(Pid, 5000).

%% @doc What a pool needs to know to take the connection back: `should_close' is the demand of
%% the last exchange (RFC 9112, section 9.3), `ready' that the connection is `connected' and
%% its socket sound.
-spec checkin_info(pid(), timeout()) -> #{upgraded_ssl := boolean(), no_reuse := boolean(),
                                          pool_ssl := boolean(), protocol := protocol(),
                                          should_close := boolean(), ready := boolean()}.
checkin_info(Pid, Timeout) ->
    hansom_direct:relay(Pid, checkin_info, Timeout, exit).

%% @equiv set_owner(Pid, NewOwner, 5000)
-spec set_owner(pid(), pid()) -> ok | error().
set_owner(Pid, NewOwner) ->
    set_owner(Pid, NewOwner, 5000).

%% @doc Makes `NewOwner' the process whose death ends the connection. From the answer on the
%% old owner's death has no effect, even if it came before.
-spec set_owner(pid(), pid(), timeout()) -> ok | error().
set_owner(Pid, NewOwner, Timeout) ->
    hansom_direct:relay(Pid, {set_owner, NewOwner}, Timeout, exit).

%% @doc The same without an answer.
-spec set_owner_async(pid(), pid()) -> ok.
set_owner_async(Pid, NewOwner) ->
    gen_statem:cast(Pid, {set_owner, NewOwner}).

%% Internal functions

prepare(Method, Path, Body, ReqOpts) ->
    case hansom_request:head(Method, Path) of
        {ok, M, P} ->
            case hansom_request:options(ReqOpts) of
                {ok, Options, InformFun} ->
                    case hansom_request:content(Body) of
                        {ok, Content} -> {ok, M, P, Content, Options, InformFun};
                        Error -> Error
                    end;
                Error -> Error
            end;
        Error -> Error
    end.

%% Answered by the engine without waiting, so that it takes effect before what the caller does
%% next; but to nobody's harm if there is no connection.
steer(Pid, Operation) when node(Pid) =:= node() ->
    Ref = make_ref(),
    case hansom_nif:call(Pid, Ref, Operation) of
        wait -> receive {Ref, _} -> ok end;
        _ -> ok
    end;
steer(Pid, Operation) ->
    gen_statem:cast(Pid, Operation).
