%% @private Stands under the name `hackney_conn' while hackney runs on hansom; see {@link hansom_hackney_code}.
%%
%% Which code a call goes to is decided by the connection: one of hansom's is served by {@link hansom_conn}, and one that
%% hackney had open before, or has on another node, by hackney's module. Every function ends with a call of that
%% code, so nobody waits in here, and this module can be replaced at any time.
-module(hansom_hackney_conn).

%% By this the module is known under another name.
-hansom_hackney_conn(replacement).

-export([start_link/1, stop/1, stop/2, connect/1, connect/2, get_state/1, get_state/2]).
-export([request/5, request/6, request/7, request_streaming/5, body/1, body/2, stream_body/1]).
-export([send_request_headers/4, send_request_headers/5, send_body_chunk/2, finish_send_body/1,
         start_response/1, open_h2_stream/6]).
-export([request_async/6, request_async/7, request_async/8, request_async/9, stream_next/1,
         stop_async/1, pause_stream/1, resume_stream/1]).
-export([setopts/2, peername/1, peercert/1, sockname/1, send/2, recv/2, recv/3, close/1]).
-export([response_headers/1, get_location/1, set_location/2, get_protocol/1]).
-export([release_to_pool/1, verify_socket/1, is_ready/1, is_ready/2, upgrade_to_ssl/2,
         upgrade_to_ssl/3, is_upgraded_ssl/1, is_no_reuse/1, checkin_info/1, checkin_info/2,
         set_owner/2, set_owner/3, set_owner_async/2]).
%% What `gen_statem' calls in connections that hackney had open before.
-export([init/1, callback_mode/0, terminate/3, code_change/4]).
-export([idle/3, connecting/3, connected/3, sending/3, streaming_body/3, receiving/3, streaming/3,
         streaming_once/3, closed/3]).
-export(['$handle_undefined_function'/2]).

start_link(Options) ->
    case hansom_hackney_switch:start_options(Options) of
        original -> (original()):start_link(Options);
        Own -> hansom_conn:start_link(Own)
    end.

stop(Pid) -> (code_of(Pid)):stop(Pid).
stop(Pid, Timeout) -> (code_of(Pid)):stop(Pid, Timeout).
connect(Pid) -> (code_of(Pid)):connect(Pid).
connect(Pid, Timeout) -> (code_of(Pid)):connect(Pid, Timeout).
get_state(Pid) -> (code_of(Pid)):get_state(Pid).
get_state(Pid, Timeout) -> (code_of(Pid)):get_state(Pid, Timeout).

request(Pid, Method, Path, Headers, Body) ->
    request(Pid, Method, Path, Headers, Body, infinity, []).
request(Pid, Method, Path, Headers, Body, Timeout) ->
    request(Pid, Method, Path, Headers, Body, Timeout, []).
request(Pid, Method, Path, Headers, Body, Timeout, ReqOpts) ->
    (code_of(Pid)):request(Pid, Method, Path, headers(Headers), Body, Timeout, ReqOpts).
request_streaming(Pid, Method, Path, Headers, Body) ->
    (code_of(Pid)):request_streaming(Pid, Method, Path, headers(Headers), Body).
body(Pid) ->
    body(Pid, infinity).
body(Pid, Timeout) ->
    case code_of(Pid) of
        hansom_conn -> hansom_hackney_exchange:body(Pid, Timeout);
        Original -> Original:body(Pid, Timeout)
    end.
stream_body(Pid) ->
    case code_of(Pid) of
        hansom_conn -> hansom_hackney_exchange:stream_body(Pid);
        Original -> Original:stream_body(Pid)
    end.

send_request_headers(Pid, Method, Path, Headers) ->
    (code_of(Pid)):send_request_headers(Pid, Method, Path, headers(Headers)).
send_request_headers(Pid, Method, Path, Headers, ReqOpts) ->
    (code_of(Pid)):send_request_headers(Pid, Method, Path, headers(Headers), ReqOpts).
send_body_chunk(Pid, Data) -> (code_of(Pid)):send_body_chunk(Pid, Data).
finish_send_body(Pid) -> (code_of(Pid)):finish_send_body(Pid).
start_response(Pid) -> (code_of(Pid)):start_response(Pid).
open_h2_stream(Pid, Method, Path, Headers, Handler, Options) ->
    (code_of(Pid)):open_h2_stream(Pid, Method, Path, headers(Headers), Handler, Options).

request_async(Pid, Method, Path, Headers, Body, Mode) ->
    request_async(Pid, Method, Path, Headers, Body, Mode, self()).
request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo) ->
    request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, false).
request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect) ->
    request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect, []).
request_async(Pid, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect, ReqOpts) ->
    (code_of(Pid)):request_async(Pid, Method, Path, headers(Headers), Body, Mode, StreamTo, FollowRedirect, ReqOpts).
stream_next(Pid) -> (code_of(Pid)):stream_next(Pid).
stop_async(Pid) -> (code_of(Pid)):stop_async(Pid).
pause_stream(Pid) -> (code_of(Pid)):pause_stream(Pid).
resume_stream(Pid) -> (code_of(Pid)):resume_stream(Pid).

setopts(Pid, Options) -> (code_of(Pid)):setopts(Pid, Options).
peername(Pid) -> (code_of(Pid)):peername(Pid).
peercert(Pid) -> (code_of(Pid)):peercert(Pid).
sockname(Pid) -> (code_of(Pid)):sockname(Pid).
send(Pid, Data) -> (code_of(Pid)):send(Pid, Data).
recv(Pid, Timeout) -> (code_of(Pid)):recv(Pid, Timeout).
recv(Pid, Length, Timeout) -> (code_of(Pid)):recv(Pid, Length, Timeout).
close(Pid) -> (code_of(Pid)):close(Pid).

response_headers(Pid) -> (code_of(Pid)):response_headers(Pid).
get_location(Pid) -> (code_of(Pid)):get_location(Pid).
set_location(Pid, Location) -> (code_of(Pid)):set_location(Pid, Location).
get_protocol(Pid) -> (code_of(Pid)):get_protocol(Pid).

release_to_pool(Pid) -> (code_of(Pid)):release_to_pool(Pid).
verify_socket(Pid) -> (code_of(Pid)):verify_socket(Pid).
is_ready(Pid) -> (code_of(Pid)):is_ready(Pid).
is_ready(Pid, Timeout) -> (code_of(Pid)):is_ready(Pid, Timeout).
upgrade_to_ssl(Pid, SslOptions) ->
    case code_of(Pid) of
        hansom_conn -> hansom_conn:upgrade_to_ssl(Pid, hansom_hackney_options:tls(SslOptions));
        Original -> Original:upgrade_to_ssl(Pid, SslOptions)
    end.
upgrade_to_ssl(Pid, SslOptions, #{final := true} = Options) ->
    (code_of(Pid)):upgrade_to_ssl(Pid, SslOptions, Options);
upgrade_to_ssl(Pid, SslOptions, Options) ->
    case code_of(Pid) of
        hansom_conn -> hansom_conn:upgrade_to_ssl(Pid, hansom_hackney_options:tls(SslOptions), Options);
        Original -> Original:upgrade_to_ssl(Pid, SslOptions, Options)
    end.
is_upgraded_ssl(Pid) -> (code_of(Pid)):is_upgraded_ssl(Pid).
is_no_reuse(Pid) -> (code_of(Pid)):is_no_reuse(Pid).
checkin_info(Pid) -> (code_of(Pid)):checkin_info(Pid).
checkin_info(Pid, Timeout) -> (code_of(Pid)):checkin_info(Pid, Timeout).
set_owner(Pid, NewOwner) -> (code_of(Pid)):set_owner(Pid, NewOwner).
set_owner(Pid, NewOwner, Timeout) -> (code_of(Pid)):set_owner(Pid, NewOwner, Timeout).
set_owner_async(Pid, NewOwner) -> (code_of(Pid)):set_owner_async(Pid, NewOwner).

init(Arguments) -> (original()):init(Arguments).
callback_mode() -> (original()):callback_mode().
terminate(Reason, State, Data) -> (original()):terminate(Reason, State, Data).
code_change(OldVsn, State, Data, Extra) -> (original()):code_change(OldVsn, State, Data, Extra).
idle(Type, Content, Data) -> (original()):idle(Type, Content, Data).
connecting(Type, Content, Data) -> (original()):connecting(Type, Content, Data).
connected(Type, Content, Data) -> (original()):connected(Type, Content, Data).
sending(Type, Content, Data) -> (original()):sending(Type, Content, Data).
streaming_body(Type, Content, Data) -> (original()):streaming_body(Type, Content, Data).
receiving(Type, Content, Data) -> (original()):receiving(Type, Content, Data).
streaming(Type, Content, Data) -> (original()):streaming(Type, Content, Data).
streaming_once(Type, Content, Data) -> (original()):streaming_once(Type, Content, Data).
closed(Type, Content, Data) -> (original()):closed(Type, Content, Data).

%% What else the original exports; hackney itself does not call it.
'$handle_undefined_function'(Function, Arguments) ->
    case erlang:function_exported(original(), Function, length(Arguments)) of
        true -> apply(original(), Function, Arguments);
        false -> error_handler:raise_undef_exception(hackney_conn, Function, Arguments)
    end.

original() ->
    hansom_hackney_original.

%% The code of a connection. A dead one is answered for as hansom does. One on another node understands the
%% messages of hackney's module, whosever it is.
code_of(Pid) when node(Pid) =:= node() ->
    case hansom_nif:state(Pid) of
        noproc ->
            case is_process_alive(Pid) of
                true -> original();
                false -> hansom_conn
            end;
        _ ->
            hansom_conn
    end;
code_of(_Pid) ->
    original().

%% hackney's own form of header fields, which users may hand over too.
headers({_Count, _Fields} = Headers) ->
    Module = hackney_headers,
    Module:to_list(Headers);
headers(Headers) ->
    Headers.
