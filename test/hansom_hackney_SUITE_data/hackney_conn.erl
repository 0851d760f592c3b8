%% Stands in for hackney's connection process: one exchange at a time over plain TCP, with bodies of a known length. Its
%% interface, its messages and the way it blocks in a callback are those of the real one.
-module(hackney_conn).
-behaviour(gen_statem).

-export([start_link/1, stop/1, connect/2, get_state/1, request/5, request/7, body/1, body/2, stream_body/1, request_async/6,
         send_request_headers/4, send_body_chunk/2, finish_send_body/1, start_response/1, stream_next/1, stop_async/1,
         close/1, get_protocol/1, checkin_info/1, is_ready/1, set_owner/2, set_owner_async/2, release_to_pool/1,
         response_headers/1, set_location/2, get_location/1, open_h2_stream/6]).
-export([init/1, callback_mode/0, terminate/3, code_change/4]).
-export([idle/3, connected/3, receiving/3, closed/3]).
%% What no module of hackney calls.
-export([own_affair/1]).

start_link(Options) -> gen_statem:start_link(?MODULE, [self(), Options], []).
stop(Pid) -> gen_statem:stop(Pid).
connect(Pid, Timeout) -> gen_statem:call(Pid, connect, Timeout).
get_state(Pid) -> gen_statem:call(Pid, get_state).
request(Pid, Method, Path, Headers, Body) -> request(Pid, Method, Path, Headers, Body, infinity, []).
%% Not in tail position, as the real one, which has errors to translate: the caller waits in this code.
request(Pid, Method, Path, Headers, Body, Timeout, Options) ->
    answer(gen_statem:call(Pid, {request, Method, Path, Headers, Body, Options}, Timeout)).
body(Pid) -> body(Pid, infinity).
body(Pid, Timeout) -> answer(gen_statem:call(Pid, body, Timeout)).
stream_body(Pid) -> answer(gen_statem:call(Pid, stream_body)).
request_async(Pid, Method, Path, Headers, Body, Mode) ->
    answer(gen_statem:call(Pid, {request_async, Method, Path, Headers, Body, Mode, self(), false})).
send_request_headers(Pid, Method, Path, Headers) ->
    answer(gen_statem:call(Pid, {send_headers, Method, Path, Headers})).
send_body_chunk(Pid, Data) -> answer(gen_statem:call(Pid, {send_body_chunk, Data})).
finish_send_body(Pid) -> answer(gen_statem:call(Pid, finish_send_body)).
start_response(Pid) -> answer(gen_statem:call(Pid, start_response)).
stream_next(Pid) -> gen_statem:cast(Pid, {stream_next, self()}).
stop_async(Pid) -> gen_statem:call(Pid, stop_async).
close(Pid) -> gen_statem:call(Pid, close_socket).
get_protocol(Pid) -> gen_statem:call(Pid, get_protocol).
checkin_info(Pid) -> gen_statem:call(Pid, checkin_info).
is_ready(Pid) -> gen_statem:call(Pid, is_ready).
set_owner(Pid, Owner) -> gen_statem:call(Pid, {set_owner, Owner}).
set_owner_async(Pid, Owner) -> gen_statem:cast(Pid, {set_owner, Owner}).
release_to_pool(Pid) -> gen_statem:call(Pid, release_to_pool).
response_headers(Pid) -> gen_statem:call(Pid, response_headers).
set_location(Pid, Location) -> gen_statem:call(Pid, {set_location, Location}).
get_location(Pid) -> gen_statem:call(Pid, get_location).
open_h2_stream(Pid, Method, Path, Headers, Handler, Options) ->
    answer(gen_statem:call(Pid, {open_h2_stream, Method, Path, Headers, Handler, Options})).

own_affair(Value) -> {?MODULE, Value}.

answer({error, _} = Error) -> Error;
answer(Answer) -> Answer.

callback_mode() -> state_functions.

init([Starter, Options]) ->
    Owner = maps:get(owner, Options, Starter),
    {ok, idle, #{options => Options, monitor => monitor(process, Owner)}}.

terminate(_Reason, _State, _Data) -> ok.

code_change(_OldVsn, State, Data, _Extra) -> {ok, State, Data}.

idle({call, From}, connect, #{options := #{host := Host, port := Port}} = Data) ->
    {ok, Socket} = gen_tcp:connect(Host, Port, [binary, {active, false}]),
    {next_state, connected, Data#{socket => Socket}, [{reply, From, ok}]};
idle(Type, Content, Data) -> any(Type, Content, idle, Data).

connected({call, From}, {request, Method, Path, Headers, Body, _}, #{socket := Socket} = Data) ->
    ok = gen_tcp:send(Socket, [Method, " ", Path, " HTTP/1.1\r\n", [[N, ": ", V, "\r\n"] || {N, V} <- Headers],
                               "\r\n", Body]),
    {Status, Fields, Rest} = head(Socket, <<>>),
    {next_state, receiving, Data#{rest => Rest, headers => Fields}, [{reply, From, {ok, Status, Fields}}]};
connected(Type, Content, Data) -> any(Type, Content, connected, Data).

receiving({call, From}, body, #{socket := Socket, rest := Rest, headers := Headers} = Data) ->
    {_, Length} = lists:keyfind(<<"Content-Length">>, 1, Headers),
    {next_state, connected, Data, [{reply, From, {ok, rest(Socket, binary_to_integer(Length), Rest)}}]};
receiving(Type, Content, Data) -> any(Type, Content, receiving, Data).

closed(Type, Content, Data) -> any(Type, Content, closed, Data).

any(info, {'DOWN', Monitor, process, _, _}, _State, #{monitor := Monitor}) ->
    {stop, normal};
any({call, From}, get_state, State, _Data) ->
    {keep_state_and_data, [{reply, From, {ok, State}}]};
any({call, From}, _Message, _State, _Data) ->
    {keep_state_and_data, [{reply, From, {error, invalid_state}}]};
any(_Type, _Content, _State, _Data) ->
    keep_state_and_data.

head(Socket, Seen) ->
    case binary:split(Seen, <<"\r\n\r\n">>) of
        [Head, Rest] ->
            [<<"HTTP/1.1 ", Status:3/binary, _/binary>> | Lines] = binary:split(Head, <<"\r\n">>, [global]),
            {binary_to_integer(Status), [list_to_tuple(binary:split(Line, <<": ">>)) || Line <- Lines], Rest};
        [_] ->
            {ok, More} = gen_tcp:recv(Socket, 0),
            head(Socket, <<Seen/binary, More/binary>>)
    end.

rest(_Socket, Length, Seen) when byte_size(Seen) >= Length -> Seen;
rest(Socket, Length, Seen) ->
    {ok, More} = gen_tcp:recv(Socket, 0),
    rest(Socket, Length, <<Seen/binary, More/binary>>).
