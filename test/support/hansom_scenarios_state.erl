%% @doc Misuse: every operation in every state.
-module(hansom_scenarios_state).

-export([scenarios/0, operations/0]).

scenarios() ->
    [hansom_deviations:mark(
       #{id => {state, State, Name}, script => script(),
         %% Of a request that has not been sent to its end there is no answer.
         start => #{recv_timeout => case Name of start_response -> 100; _ -> 5000 end},
         do => enter(State) ++ [Op] ++ after_it(Name, State)})
     || State <- [idle, connected, used, streaming_body, finished_body, receiving, half_read, streaming_once,
                  stopped_async, closed, stopped],
        {Name, Op} <- operations(), fits(State, Name)].

script() ->
    Answer = [request, {send, hansom_case:chunked(["one", "two"])}],
    Answer ++ Answer.

enter(idle) -> [];
enter(connected) -> [connect];
enter(used) -> [connect, get, body];
enter(streaming_body) -> [connect, {send_request_headers, <<"POST">>, <<"/">>, []}];
enter(finished_body) -> enter(streaming_body) ++ [{send_body_chunk, <<"x">>}, finish_send_body];
enter(receiving) -> [connect, get];
enter(half_read) -> [connect, get, stream_body];
enter(streaming_once) -> [connect, {async, once}, {messages, 2}];
enter(stopped_async) -> [connect, {async, once}, {messages, 2}, stop_async];
enter(closed) -> [connect, close];
enter(stopped) -> [connect, stop].

%% What has an effect that shows later.
after_it(async, State) when State =:= connected; State =:= used -> [messages, {wait, gone}];
after_it(async_once, State) when State =:= connected; State =:= used -> [{messages, 2}, get_state];
after_it(async_legacy, State) when State =:= connected; State =:= used ->
    [{as, other, {messages, 2}}, get_state];
after_it(stream_next, streaming_once) -> [{messages, 1}, get_state];
after_it(stream_next_cast, streaming_once) -> [{messages, 1}, get_state];
after_it(resume_stream, streaming_once) -> [messages];
after_it(cast_stop, _) -> [{wait, gone}];
after_it(stop, _) -> [{wait, gone}];
after_it(_, stopped) -> [];
after_it(get, _) -> [body, get_state];
after_it(_, _) -> [get_state].

%% A handshake with a server that does not take part in it has its own place.
fits(State, upgrade) -> not lists:member(State, [connected, used]);
%% Bytes the server was not asked for, and its answer to them.
fits(State, send) -> lists:member(State, [idle, closed, stopped]);
fits(State, recv) -> lists:member(State, [idle, closed, stopped, connected]);
fits(_, _) -> true.

%% @doc Every operation by name.
operations() ->
    Get = [<<"GET">>, <<"/">>, [], <<>>],
    [{connect, connect}, {connect_timeout, {connect, 1000}}, {get, get},
     {request_timeout, list_to_tuple([request | Get] ++ [1000])},
     {request_streaming, list_to_tuple([request_streaming | Get])},
     {bad_target, {get, <<"/a\r\nb">>}}, {bad_method, {request, <<"G\r\nT">>, <<"/">>, [], <<>>}},
     {async, {async, true}}, {async_once, {async, once}},
     {async_legacy, {call, {request_async, <<"GET">>, <<"/a">>, [], <<>>, once, {actor, other}}}},
     {headers, {send_request_headers, <<"POST">>, <<"/">>, []}},
     {headers_options, {send_request_headers, <<"POST">>, <<"/">>, [], []}},
     {chunk, {send_body_chunk, <<"data">>}}, {chunk_iolist, {send_body_chunk, ["da", [<<"ta">>]]}},
     {chunk_fun, {send_body_chunk, fun() -> eof end}},
     {chunk_state_fun, {send_body_chunk, {fun(eof) -> eof; (N) -> {ok, N, eof} end, <<"data">>}}},
     {chunk_failing, {send_body_chunk, fun() -> {error, no_more} end}},
     {finish, finish_send_body}, {start_response, start_response},
     {body, body}, {body_timeout, {body, 1000}}, {stream_body, stream_body}, {pieces, pieces},
     {stream_next, stream_next}, {stream_next_cast, {cast, stream_next}},
     {pause_stream, pause_stream}, {resume_stream, resume_stream}, {stop_async, stop_async},
     {setopts, {setopts, [{nodelay, true}]}}, {peername, peername}, {sockname, sockname},
     {peercert, peercert}, {send, {send, <<"x">>}}, {recv, {recv, 50}}, {close, close},
     {response_headers, response_headers}, {get_location, get_location},
     {set_location, {set_location, <<"/there">>}}, {release_to_pool, release_to_pool},
     {verify_socket, verify_socket}, {is_ready, is_ready}, {is_ready_timeout, {is_ready, 1000}},
     {upgrade, {upgrade_to_ssl, []}}, {is_upgraded_ssl, is_upgraded_ssl}, {is_no_reuse, is_no_reuse},
     {set_owner, {set_owner, {actor, other}}}, {set_owner_timeout, {set_owner, {actor, other}, 1000}},
     {set_owner_async, {set_owner_async, {actor, other}}}, {get_protocol, get_protocol},
     {checkin_info, checkin_info}, {get_state, get_state}, {get_state_timeout, {get_state, 1000}},
     {open_h2_stream, {open_h2_stream, <<"GET">>, <<"/">>, [], {actor, other}, #{}}},
     {unknown_call, {call, some_unknown_call}}, {unknown_cast, {cast, {some_unknown, cast}}},
     {unknown_message, {info, some_message}}, {cast_stop, {cast, stop}}, {stop, stop}, {stop_deadline, {stop, 1000}}].
