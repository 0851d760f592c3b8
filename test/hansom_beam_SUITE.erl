%% @doc Connections over a transport module of somebody else's: HTTP in the engine, bytes through
%% the module, whatever that does.
-module(hansom_beam_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_case, [serve/1, serve_each/1, connected/2, start/2, request/1, exchange/1, exchange/2, state/1,
                      payload/1, payloads/1, body_of/1, response/1, chunked/1, pieces/1]).

-define(CONN, hansom_conn).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h2_case:init_suite(Config).

end_per_suite(Config) -> hansom_h2_case:end_suite(Config).

init_per_testcase(Case, Config) ->
    ok = hansom_faulty:start(),
    hansom_case:init_case(?MODULE, Case, Config).

end_per_testcase(_Case, Config) -> hansom_case:end_case(Config).

faulty() -> faulty(#{}).

faulty(Options) -> Options#{transport => hansom_faulty}.

%% The error of an exception in the module names the place, and nothing that was given to the function.
crashed({error, {Reason, [{hansom_faulty, run, 3, [_ | _]} | _] = Stack}}) ->
    [] = [Entry || {_, _, Arguments, _} = Entry <- Stack, is_list(Arguments)],
    {crashed, Reason};
crashed(Other) ->
    Other.

%% What the module is called with

%% Clauses: LOW-9
low_09_the_module_dials(_) ->
    Server = serve([request, {send, response(<<"hello">>)}, eof]),
    Options = [inet, {nodelay, true}],
    {Pid, _} = connected(Server, faulty(#{connect_options => [{protocols, [http1]} | Options], connect_timeout => 4711})),
    ?assertEqual([["127.0.0.1", hansom_script:port(Server), Options, 4711]], hansom_faulty:calls(connect)),
    ?assertEqual({200, <<"hello">>}, exchange(Pid)),
    ?assertEqual(connected, state(Pid)),
    ?assertEqual(http1, ?CONN:get_protocol(Pid)).

%% Clauses: LOW-9
low_09_what_is_no_transport(_) ->
    [begin
         Pid = start(serve([]), #{transport => Module}),
         Exit = hansom_case:monitor_exit(Pid),
         ?assertEqual({error, {unsupported_transport, Module}}, ?CONN:connect(Pid)),
         ?assertEqual(normal, hansom_case:await(Exit))
     end || Module <- [lists, no_such_module]].

%% A module that can do no more than connect is one until there is a connection to be carried.
%% Clauses: LOW-9, TRAP-43
low_09_what_only_connects(_) ->
    Server = serve([eof]),
    Connect = fun(Host) ->
                      Pid = start(Server, #{transport => ?MODULE, host => Host}),
                      Exit = hansom_case:monitor_exit(Pid),
                      Answer = ?CONN:connect(Pid),
                      ?assertEqual(normal, hansom_case:await(Exit)),
                      Answer
              end,
    ?assertEqual({error, econnrefused}, Connect("refused.example")),
    ?assertMatch({error, {simulated, [{?MODULE, connect, 4, _} | _]}}, Connect("crash.example")),
    ?assertMatch({error, {{bad_argument, 4711}, [{?MODULE, connect, 2, _} | _]}}, Connect("arguments.example")),
    ?assertEqual({error, over}, Connect("exit.example")),
    ?assertEqual({error, thrown}, Connect("throw.example")),
    ?assertEqual({error, {unsupported_transport, ?MODULE}}, Connect("127.0.0.1")),
    closed = hansom_script:await_closed(hansom_script:accept(Server)).

%% This module as a transport.
connect("refused.example", _Port, _Options, _Timeout) -> {error, econnrefused};
connect("crash.example", _Port, _Options, _Timeout) -> error(simulated);
connect("arguments.example", _Port, _Options, _Timeout) -> error({bad_argument, 4711}, [secret, 4711]);
connect("exit.example", _Port, _Options, _Timeout) -> exit(over);
connect("throw.example", _Port, _Options, _Timeout) -> throw(thrown);
connect(Host, Port, Options, Timeout) -> gen_tcp:connect(Host, Port, [binary, {active, false} | Options], Timeout).

%% Clauses: LOW-9, LOW-1, LOW-2, LOW-3, LOW-7, API-18
low_09_questions_go_to_the_module(_) ->
    {Pid, Peer} = connected(serve([request, wait]), faulty()),
    {ok, {_, Port}} = ?CONN:peername(Pid),
    ?assertEqual({ok, {{127, 0, 0, 1}, Port}}, ?CONN:peername(Pid)),
    ?assertMatch({ok, {{127, 0, 0, 1}, _}}, ?CONN:sockname(Pid)),
    ?assertEqual({ok, <<"certificate">>}, ?CONN:peercert(Pid)),
    ?assertEqual(ok, ?CONN:setopts(Pid, [{nodelay, true}])),
    ?assertEqual([[[{nodelay, true}]]], hansom_faulty:calls(setopts)),
    %% Its options are its own affair, also one that has another meaning elsewhere.
    hansom_faulty:fault(setopts, {error, not_mine}),
    ?assertEqual({error, not_mine}, ?CONN:setopts(Pid, [binary, {own, option}, {port, 1}])),
    ?assertEqual([binary, {own, option}, {port, 1}], hd(lists:last(hansom_faulty:calls(setopts)))),
    hansom_faulty:fault(setopts, none),
    ?assertEqual(ok, ?CONN:verify_socket(Pid)),
    ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)),
    %% Also while an exchange is under way.
    Request = hansom_case:async(fun() -> request(Pid) end),
    ok = hansom_script:arrived(Peer, 1),
    ?assertEqual({ok, {{127, 0, 0, 1}, Port}}, ?CONN:peername(Pid)),
    [begin
         hansom_faulty:fault(Function, Fault),
         ?assertEqual({Function, Error}, {Function, crashed(apply(?CONN, Function, [Pid | Args]))})
     end || {Function, Args} <- [{peername, []}, {sockname, []}, {peercert, []}, {setopts, [[{nodelay, true}]]}],
            {Fault, Error} <- [{{error, einval}, {error, einval}}, {crash, {crashed, {crash, Function}}},
                               {nonsense, {error, {bad_return, hansom_faulty, Function}}}]],
    ok = hansom_script:continue(Peer),
    ok = ?CONN:close(Pid),
    ?assertEqual({ok, {error, closed}}, hansom_case:result(Request)),
    [?assertEqual({error, not_connected}, Ask(Pid)) || Ask <- [fun ?CONN:peername/1, fun ?CONN:peercert/1]],
    ?assertEqual({error, not_connected}, ?CONN:setopts(Pid, [{own, option}])).

%% Clauses: LOW-9, LOW-7
low_09_unsound_socket(_) ->
    {Pid, _} = connected(serve([eof]), faulty()),
    hansom_faulty:fault(peername, {error, enotconn}),
    ?assertEqual({error, enotconn}, ?CONN:verify_socket(Pid)),
    ?assertEqual(closed, state(Pid)),
    {Other, _} = connected(serve([eof]), faulty()),
    ?assertEqual({ok, closed}, ?CONN:is_ready(Other)).

%% Clauses: LOW-9, LOW-4, LOW-5
low_09_raw_bytes(_) ->
    {Pid, _} = connected(serve([{read, 4}, {send, <<"pong!">>}, eof]), faulty()),
    ?assertEqual(ok, ?CONN:send(Pid, [<<"pi">>, "ng"])),
    ?assertEqual({ok, <<"pon">>}, ?CONN:recv(Pid, 3, 5000)),
    ?assertEqual({ok, <<"g!">>}, ?CONN:recv(Pid, 5000)),
    ?assertEqual({error, timeout}, ?CONN:recv(Pid, 20)),
    hansom_faulty:fault(send, {error, epipe}),
    ?assertEqual({error, epipe}, ?CONN:send(Pid, <<"x">>)).

%% Clauses: LOW-6, ST-6, ST-27
low_09_close_and_dial_again(_) ->
    Server = serve_each([[request, {send, response(<<"one">>)}, eof], [request, {send, response(<<"two">>)}, eof]]),
    {Pid, Peer} = connected(Server, faulty()),
    ?assertEqual({200, <<"one">>}, exchange(Pid)),
    hansom_faulty:fault(close, {delay, 50}),
    ok = ?CONN:close(Pid),
    ?assertEqual(closed, state(Pid)),
    ?assertEqual([], hansom_faulty:sockets()),
    closed = hansom_script:await_closed(Peer),
    ok = ?CONN:connect(Pid),
    ?assertEqual({200, <<"two">>}, exchange(Pid)),
    ?assertEqual(1, length(hansom_faulty:sockets())).

%% Nobody waits for the module: there is nothing to be waited for, and it may never come back.
%% Clauses: LOW-8, LOW-9, API-2
low_08_open_socket_of_a_module(_) ->
    Server = serve_each([[request, {send, response(<<"x">>)}, eof], [eof]]),
    Open = fun() ->
                   {ok, Socket} = hansom_faulty:connect("127.0.0.1", hansom_script:port(Server), [], 20000),
                   faulty(#{socket => Socket, connect_timeout => 0})
           end,
    Pid = start(Server, Open()),
    ?assertEqual(connected, state(Pid)),
    ?assertEqual({200, <<"x">>}, exchange(Pid)),
    hansom_faulty:fault(controlling_process, hang),
    {ok, Held} = hansom_conn_sup:start_conn(
                   hansom_case:options(Server, (Open())#{connect_timeout => infinity,
                                                         connect_options => [{send_timeout, 100}]})),
    hansom_case:adopt(Held),
    ?assertEqual(connected, state(Held)),
    ?assertEqual({error, timeout}, request(Held)).

%% Every way to have a response

%% Clauses: LOW-9, API-7, API-9, API-10
low_09_every_way_of_reading(_) ->
    Body = binary:copy(<<"0123456789">>, 20000),
    Is = fun(Read) -> ?assert(Read =:= Body) end,
    [begin
         hansom_faulty:fault(recv, Fault),
         Response = {send, [response(Body)]},
         {Pid, _} = connected(serve([request, Response, request, Response, request, {send, chunked([<<"ab">>, <<"c">>])},
                                     request, Response, request, Response, eof]), faulty()),
         {200, Whole} = exchange(Pid),
         Is(Whole),
         {ok, 200, _} = request(Pid),
         [done | Pieces] = lists:reverse(pieces(Pid)),
         Is(iolist_to_binary(lists:reverse(Pieces))),
         {ok, 200, _} = request(Pid),
         ?assertEqual([<<"ab">>, <<"c">>, done], pieces(Pid)),
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
         ?assertMatch([{status, 200, _}, {headers, _}], [payload(Pid), payload(Pid)]),
         Is(body_of(hansom_case:pulled(Pid, Pid))),
         hansom_case:wait_for(fun() -> not is_process_alive(Pid) end)
     end || Fault <- [none, {pieces, 4096}]].

%% Clauses: LOW-9, ASY-1
low_09_pushed(_) ->
    Body = binary:copy(<<"x">>, 100000),
    {Pid, _} = connected(serve([request, {send, response(Body)}, eof]), faulty()),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
    [{status, 200, _}, {headers, _} | Rest] = payloads(Pid),
    ?assertEqual({Body, done}, {body_of(Rest), lists:last(Rest)}).

%% Clauses: LOW-9, API-11
low_09_upload(_) ->
    Large = binary:copy(<<"y">>, 700000),
    {Pid, Peer} = connected(serve([request, {send, response(<<"ok">>)}, request, {send, response(<<"ok">>)}, eof]),
                            faulty()),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, [{<<"Host">>, <<"h">>}]),
    ok = ?CONN:send_body_chunk(Pid, <<"piece">>),
    ok = ?CONN:send_body_chunk(Pid, Large),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    ?assertEqual({ok, <<"ok">>}, ?CONN:body(Pid)),
    {ok, 200, _} = ?CONN:request(Pid, <<"PUT">>, <<"/">>, [], Large),
    ?assertEqual({ok, <<"ok">>}, ?CONN:body(Pid)),
    [Chunked, Plain] = hansom_script:requests(Peer),
    ?assert(byte_size(Chunked) > byte_size(Large)),
    ?assertEqual(Large, binary:part(Plain, byte_size(Plain), -byte_size(Large))),
    %% Not more than the window goes to the module at once.
    ?assert(lists:max([Size || [Size] <- hansom_faulty:calls(send)]) =< 256 * 1024).

%% Clauses: LOW-9, ASY-13
low_09_reads_only_what_is_wanted(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(binary:copy(<<"z">>, 8 bsl 20))}, eof]), faulty()),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, once),
    [{status, 200, _}, {headers, _}] = [payload(Pid), payload(Pid)],
    hansom_case:wait_for(fun() -> Before = length(hansom_faulty:calls(recv)), hansom_case:hold(50),
                                  Before =:= length(hansom_faulty:calls(recv)) end),
    #{buffered_in := Buffered} = hansom:info(Pid),
    ?assert(Buffered =< 256 * 1024),
    _ = Peer,
    ok = ?CONN:stop(Pid).

%% Clauses: LOW-9, H2-3
low_09_http2(Config) ->
    Pid = hansom_case:start_with(#{host => "127.0.0.1", port => hansom_server_case:port(http, Config), h2c => true,
                                   transport => hansom_faulty}),
    ok = ?CONN:connect(Pid),
    ?assertEqual(http2, ?CONN:get_protocol(Pid)),
    Waiting = [hansom_case:async(fun() -> hansom_h2_case:get(Pid, "/bytes/100000") end) || _ <- "12345678"],
    [?assertMatch({ok, {ok, 200, _, Body}} when byte_size(Body) =:= 100000, hansom_case:result(Handle, 15000))
     || Handle <- Waiting],
    Sent = binary:copy(<<"s">>, 500000),
    ?assertMatch({ok, 200, _, Sent}, hansom_h2_case:post(Pid, "/echo", Sent)),
    ?assertMatch({ok, {_, _}}, ?CONN:peername(Pid)),
    hansom_faulty:fault(send, {error, epipe}),
    ?assertMatch({error, _}, hansom_h2_case:get(Pid, "/")),
    hansom_case:is_state(Pid, closed).

%% Clauses: LOW-10, LOW-9
low_10_upgrade_over_a_module(Config) ->
    #{ssl_options := Trust} = hansom_h2_case:options(Config),
    Start = fun() ->
                    Pid = hansom_case:start_with(#{host => "localhost", port => hansom_server_case:port(https, Config),
                                                   transport => hansom_faulty}),
                    ok = ?CONN:connect(Pid),
                    Pid
            end,
    Pid = Start(),
    ok = ?CONN:upgrade_to_ssl(Pid, Trust),
    ?assertEqual(http2, ?CONN:get_protocol(Pid)),
    ?assertMatch({ok, 200, _, _}, hansom_h2_case:get(Pid, "/")),
    {ok, Certificate} = ?CONN:peercert(Pid),
    ?assertNotEqual(<<"certificate">>, Certificate),
    %% Erlang's own TLS needs the socket.
    ?assertEqual({error, {options, {unsupported, crl_check}}}, ?CONN:upgrade_to_ssl(Start(), [{crl_check, true} | Trust])).

%% Faults

%% Clauses: LOW-9, ST-18
low_09_failed_dials(_) ->
    [begin
         hansom_faulty:fault(connect, Fault),
         Pid = start(serve([]), faulty(#{connect_timeout => 100})),
         Exit = hansom_case:monitor_exit(Pid),
         ?assertEqual({Fault, Error}, {Fault, crashed(?CONN:connect(Pid))}),
         ?assertEqual(normal, hansom_case:await(Exit))
     end || {Fault, Error} <- [{{error, econnrefused}, {error, econnrefused}},
                               {{error, {odd, "term"}}, {error, {odd, "term"}}},
                               {crash, {crashed, {crash, connect}}}, {hang, {error, timeout}},
                               {nonsense, {error, {bad_return, hansom_faulty, connect}}}]],
    ?assertEqual([], hansom_faulty:sockets()).

%% Clauses: LOW-9, ST-18, RSP-11
low_09_failed_reads(_) ->
    [begin
         {Pid, _} = connected(serve([request, eof]), faulty(#{recv_timeout => 100})),
         hansom_faulty:fault(recv, Fault),
         ?assertEqual({Fault, Error}, {Fault, crashed(request(Pid))}),
         ?assertEqual(closed, state(Pid)),
         hansom_faulty:fault(recv, none),
         ok = ?CONN:stop(Pid)
     end || {Fault, Error} <- [{{error, closed}, {error, closed}}, {{error, timeout}, {error, timeout}},
                               {{error, etimedout}, {error, etimedout}}, {crash, {crashed, {crash, recv}}},
                               {nonsense, {error, {bad_return, hansom_faulty, recv}}}, {hang, {error, timeout}}]],
    hansom_case:wait_for(fun() -> [] =:= hansom_faulty:sockets() end).

%% Clauses: LOW-9, ST-18
low_09_failed_writes(_) ->
    [begin
         {Pid, _} = connected(serve([eof]), faulty(#{connect_options => [{send_timeout, 100}]})),
         hansom_faulty:fault(send, Fault),
         ?assertEqual({Fault, Error}, {Fault, crashed(request(Pid))}),
         ?assertEqual(closed, state(Pid)),
         hansom_faulty:fault(send, none),
         ok = ?CONN:stop(Pid)
     end || {Fault, Error} <- [{{error, closed}, {error, closed}}, {{error, enotconn}, {error, enotconn}},
                               {crash, {crashed, {crash, send}}}, {hang, {error, timeout}},
                               {nonsense, {error, {bad_return, hansom_faulty, send}}}]],
    hansom_case:wait_for(fun() -> [] =:= hansom_faulty:sockets() end).

%% Clauses: TRAP-44, TRAP-45, LOW-9
trap_44_responsive_when_wedged(_) ->
    [begin
         %% The fastest, as the machine may have other things to do for a while.
         Times = [stop_wedged(Wedged) || _ <- lists:seq(1, 5)],
         ct:log("~p: stopped after ~w us", [Wedged, Times]),
         ?assert(lists:min(Times) < 100000)
     end || Wedged <- [recv, send]],
    hansom_case:wait_for(fun() -> [] =:= hansom_faulty:sockets() end).

%% The time it takes to stop a connection whose transport hangs, in microseconds.
stop_wedged(Wedged) ->
    {Pid, _} = connected(serve([eof]), faulty(#{recv_timeout => infinity})),
    hansom_faulty:fault(Wedged, hang),
    Request = hansom_case:async(fun() -> request(Pid) end),
    hansom_case:wait_for(fun() -> [] =/= hansom_faulty:calls(send) end),
    ?assertEqual({ok, receiving}, ?CONN:get_state(Pid, 5000)),
    ?assertEqual({error, invalid_state}, ?CONN:is_ready(Pid, 5000)),
    hansom_faulty:fault(close, hang),
    %% Orderly: within 100 ms a pool would kill it.
    Exit = hansom_case:monitor_exit(Pid),
    unlink(Pid),
    {Time, ok} = timer:tc(fun() -> ?CONN:stop(Pid) end),
    ?assertEqual(normal, hansom_case:await(Exit)),
    ?assertEqual({ok, {error, closed}}, hansom_case:result(Request)),
    [hansom_faulty:fault(Function, none) || Function <- [Wedged, close]],
    true = ets:match_delete(hansom_faulty, {{'_', send}, '_'}),
    Time.

%% Clauses: TRAP-44, LOW-9
trap_44_stopped_while_dialling(_) ->
    hansom_faulty:fault(connect, hang),
    Pid = start(serve([]), faulty(#{connect_timeout => infinity})),
    Dial = hansom_case:async(fun() -> ?CONN:connect(Pid, infinity) end),
    hansom_case:wait_for(fun() -> [] =/= hansom_faulty:calls(connect) end),
    hansom_case:is_state(Pid, connecting),
    unlink(Pid),
    ok = ?CONN:stop(Pid),
    ?assertMatch({ok, {error, closed}}, wrapped(hansom_case:result(Dial))).

%% `connect' of a connection that ends exits, or is answered if the engine comes first.
wrapped({exit, {normal, _}}) -> {ok, {error, closed}};
wrapped(Other) -> Other.

%% Clauses: API-5, LOW-9, TRAP-43
low_09_one_dial_at_a_time(_) ->
    Server = serve([request, {send, response(<<"x">>)}, eof]),
    Pid = start(Server, faulty(#{connect_timeout => infinity})),
    Dial = fun() -> ?CONN:connect(Pid, infinity) end,
    ?assertEqual([{ok, ok}, {ok, {error, invalid_state}}], hansom_case:at_once(Pid, [Dial, Dial])),
    ?assertEqual(1, length(hansom_faulty:calls(connect))),
    ?assertEqual({200, <<"x">>}, exchange(Pid)).

%% Clauses: LOW-9, LOW-6
low_06_close_that_hangs(_) ->
    {Pid, Peer} = connected(serve([eof]), faulty()),
    hansom_faulty:fault(close, hold),
    Close = hansom_case:async(fun() -> ?CONN:close(Pid) end),
    hansom_case:wait_for(fun() -> [] =/= hansom_faulty:calls(close) end),
    ?assertEqual(closed, state(Pid)),
    %% It can be dialled again meanwhile.
    ok = ?CONN:connect(Pid),
    hansom_faulty:fault(close, none),
    ?assertEqual({ok, ok}, hansom_case:result(Close)),
    closed = hansom_script:await_closed(Peer),
    ?assertEqual(1, length(hansom_faulty:sockets())).

%% Clauses: ST-28, LOW-9
st_28_kill_of_any_party(_) ->
    Kill = fun(Victim) ->
                   {Pid, Peer} = connected(serve([request, eof]), faulty()),
                   Request = hansom_case:async(fun() -> request(Pid) end),
                   ok = hansom_script:arrived(Peer, 1),
                   {links, Links} = process_info(Pid, links),
                   Processes = [Linked || Linked <- Links, is_pid(Linked), Linked =/= self()],
                   ?assertEqual(2, length(Processes)),
                   unlink(Pid),
                   exit(case Victim of
                            connection -> Pid;
                            N -> lists:nth(N, lists:sort(Processes))
                        end, kill),
                   Result = hansom_case:result(Request),
                   case Victim of
                       connection -> ?assertMatch({exit, {killed, _}}, Result);
                       _ -> ?assertEqual({ok, {error, closed}}, Result)
                   end,
                   ok = ?CONN:stop(Pid),
                   closed = hansom_script:await_closed(Peer),
                   hansom_case:wait_for(fun() -> not lists:any(fun is_process_alive/1, Processes) end),
                   hansom_case:wait_for(fun() -> [] =:= hansom_faulty:sockets() end)
           end,
    lists:foreach(Kill, [connection, 1, 2]).

%% Clauses: RSP-28, LOW-9
rsp_28_close_while_idle_is_noticed(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"x">>)}, wait, close]), faulty()),
    ?assertEqual({200, <<"x">>}, exchange(Pid)),
    ok = hansom_script:continue(Peer),
    hansom_case:is_state(Pid, closed).

%% The response may come before the module says that the request is sent.
%% Clauses: LOW-9, RSP-27
rsp_27_send_returns_after_the_response(_) ->
    {Pid, _} = connected(serve([request, {send, response(<<"a">>)}, request, {send, response(<<"b">>)}, eof]), faulty()),
    hansom_faulty:fault(send, linger),
    ?assertEqual({200, <<"a">>}, exchange(Pid)),
    ?assertEqual(connected, state(Pid)),
    hansom_faulty:fault(send, none),
    ?assertEqual({200, <<"b">>}, exchange(Pid)).

%% Clauses: LOW-9, ST-29
low_09_questions_from_another_node(_) ->
    {Pid, _} = connected(serve([eof]), faulty()),
    {ok, Node} = hansom_case:other_node(),
    Here = ?CONN:peername(Pid),
    ?assertEqual(Here, erpc:call(Node, ?CONN, peername, [Pid])),
    ?assertEqual(ok, erpc:call(Node, ?CONN, setopts, [Pid, [{nodelay, false}]])),
    ?assertEqual(ok, erpc:call(Node, ?CONN, close, [Pid])),
    ?assertEqual([], hansom_faulty:sockets()).
