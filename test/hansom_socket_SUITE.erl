%% @doc The functions that act on the socket, and options of sockets.
-module(hansom_socket_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [connected/1, connected/2, start/2, serve/1, request/1, exchange/1, state/1,
                      response/1]).

all() -> hansom_case:cases(?MODULE).

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{low_09_foreign_transport_is_refused_by_name, "LOW-9: hackney calls the module"},
     {low_11_options_are_refused_by_name, "LOW-11: hackney exits with badarg"}].

%% A connection without a socket, in each way there is.
without_socket() ->
    {Closed, _} = connected(serve([])),
    ok = ?CONN:close(Closed),
    [start(serve([]), #{}), Closed].

%% Clauses: LOW-1, API-18
low_01_setopts(_) ->
    {Pid, _} = connected(serve([])),
    ?assertEqual(ok, ?CONN:setopts(Pid, [{nodelay, true}, {keepalive, true}])),
    ?assertEqual(ok, ?CONN:setopts(Pid, [])),
    ?assertMatch({error, _}, ?CONN:setopts(Pid, [{no_such_option, 1}])),
    ?assertEqual(connected, state(Pid)),
    [?assertEqual({error, not_connected}, ?CONN:setopts(P, [{nodelay, true}])) || P <- without_socket()].

%% Clauses: LOW-2, API-18
low_02_names_of_both_ends(_) ->
    {Pid, Peer} = connected(serve([])),
    #{local := Server, remote := Client} = hansom_script:socket_info(Peer),
    ?assertEqual(Server, ?CONN:peername(Pid)),
    ?assertEqual(Client, ?CONN:sockname(Pid)),
    [begin
         ?assertEqual({error, not_connected}, ?CONN:peername(P)),
         ?assertEqual({error, not_connected}, ?CONN:sockname(P))
     end
     || P <- without_socket()].

%% Clauses: LOW-2
low_02_names_while_a_body_is_read(_) ->
    {Pid, Peer} = connected(serve([request, {send, response(<<"x">>)}])),
    #{local := Server} = hansom_script:socket_info(Peer),
    {ok, 200, _} = request(Pid),
    ?assertEqual(Server, ?CONN:peername(Pid)),
    ?assertEqual({ok, <<"x">>}, ?CONN:body(Pid)).

%% Clauses: LOW-3, API-18
low_03_peercert_without_tls(_) ->
    {Pid, _} = connected(serve([])),
    ?assertEqual({error, not_ssl}, ?CONN:peercert(Pid)),
    [?assertEqual({error, not_connected}, ?CONN:peercert(P)) || P <- without_socket()].

%% Clauses: LOW-4, API-18
low_04_send_writes_raw_bytes(_) ->
    {Pid, Peer} = connected(serve([{read, 8}])),
    ?assertEqual(ok, ?CONN:send(Pid, <<"raw ">>)),
    ?assertEqual(ok, ?CONN:send(Pid, ["by", [<<"te">>]])),
    ?assertEqual(<<"raw byte">>, hansom_script:received(Peer)),
    ?assertEqual(connected, state(Pid)),
    [?assertEqual({error, not_connected}, ?CONN:send(P, <<"x">>)) || P <- without_socket()].

%% Clauses: LOW-4, LOW-5
low_04_send_and_recv_make_an_exchange_of_their_own(_) ->
    {Pid, _} = connected(serve([head, {send, "one"}, {read, 3}, {send, "two"},
                                request, {send, response(<<"x">>)}])),
    ok = ?CONN:send(Pid, <<"HELO\r\n\r\n">>),
    ?assertEqual({ok, <<"one">>}, ?CONN:recv(Pid, 5000)),
    ok = ?CONN:send(Pid, <<"abc">>),
    ?assertEqual({ok, <<"two">>}, ?CONN:recv(Pid, 3, 5000)),
    ?assertEqual({200, <<"x">>}, exchange(Pid)).

%% Clauses: LOW-4
low_04_send_to_a_closed_peer(_) ->
    %% A reset that comes at once may already fail the dial.
    {Pid, Peer} = connected(serve([wait, reset])),
    hansom_script:continue(Peer),
    hansom_case:wait_for(fun() -> ?CONN:send(Pid, <<"x">>) =/= ok end),
    ?assertMatch({error, Reason} when is_atom(Reason), ?CONN:send(Pid, <<"x">>)).

%% Clauses: LOW-5, API-18
low_05_recv(_) ->
    {Pid, Peer} = connected(serve([{send, "hello, world"}, wait, half_close])),
    ?assertEqual({ok, <<"hello">>}, ?CONN:recv(Pid, 5, 5000)),
    ?assertEqual({ok, <<", world">>}, ?CONN:recv(Pid, 0, 5000)),
    ?assertEqual({error, timeout}, ?CONN:recv(Pid, 20)),
    ?assertEqual({error, timeout}, ?CONN:recv(Pid, 1, 20)),
    ?assertEqual(connected, state(Pid)),
    hansom_script:continue(Peer),
    ?assertEqual({error, closed}, ?CONN:recv(Pid, 5000)),
    ?assertEqual({error, closed}, ?CONN:recv(Pid, 5000)),
    ?assertEqual({error, closed}, ?CONN:recv(Pid, 1, 5000)),
    [begin
         ?assertEqual({error, not_connected}, ?CONN:recv(P, 10)),
         ?assertEqual({error, not_connected}, ?CONN:recv(P, 1, 10))
     end
     || P <- without_socket()].

%% Clauses: LOW-5
low_05_recv_waits_for_all_it_was_asked_for(_) ->
    {Pid, Peer} = connected(serve([{send, "abc"}, wait, {send, "defg"}])),
    Reader = hansom_case:async(fun() -> ?CONN:recv(Pid, 6, 5000) end),
    hansom_script:continue(Peer),
    ?assertEqual({ok, {ok, <<"abcdef">>}}, hansom_case:result(Reader)),
    ?assertEqual({ok, <<"g">>}, ?CONN:recv(Pid, 0, 5000)).

%% Clauses: LOW-6, API-18, ST-27
low_06_close_keeps_the_process(_) ->
    {Pid, Peer} = connected(serve([eof])),
    ?assertEqual(ok, ?CONN:close(Pid)),
    ?assertEqual(closed, state(Pid)),
    ok = hansom_script:await_script(Peer),
    ?assertEqual(ok, ?CONN:close(Pid)),
    ?assert(is_process_alive(Pid)).

%% Clauses: LOW-6
low_06_close_during_a_body(_) ->
    {Pid, Peer} = connected(serve([request, {send, "HTTP/1.1 200 OK\r\n\r\nhello"}, eof])),
    {ok, 200, _} = request(Pid),
    {ok, <<"hello">>} = ?CONN:stream_body(Pid),
    ?assertEqual(ok, ?CONN:close(Pid)),
    ?assertEqual({error, invalid_state}, ?CONN:stream_body(Pid)),
    ok = hansom_script:await_script(Peer).

%% Clauses: LOW-7, API-24
low_07_is_ready_keeps_the_connection_usable(_) ->
    {Pid, _} = connected(serve([{repeat, [request, {send, response(<<"x">>)}]}])),
    [begin
         ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)),
         ?assertEqual(ok, ?CONN:verify_socket(Pid)),
         ?assertEqual({200, <<"x">>}, exchange(Pid))
     end
     || _ <- "123"].

%% Clauses: LOW-9
low_09_foreign_transport_is_refused_by_name(_) ->
    Pid = start(serve([]), #{transport => some_transport}),
    Exit = hansom_case:monitor_exit(Pid),
    ?assertEqual({error, {unsupported_transport, some_transport}}, ?CONN:connect(Pid)),
    ?assertEqual(normal, hansom_case:await(Exit)).

%% Clauses: LOW-9, LOW-2
low_09_local_socket(_) ->
    Path = hansom_case:local_path(),
    {ok, Server} = hansom_case:serve_on({local, Path}, 0, [{repeat, [request, {send, response(<<"x">>)}]}]),
    Pid = hansom_case:start_with(#{host => Path, port => 0, transport => hackney_local_tcp}),
    ?assertEqual(ok, ?CONN:connect(Pid)),
    ?assertEqual({200, <<"x">>}, exchange(Pid)),
    ?assertEqual({200, <<"x">>}, exchange(Pid)),
    ?assertEqual(http1, ?CONN:get_protocol(Pid)),
    _ = hansom_script:accept(Server).

%% Clauses: LOW-9, ST-7
low_09_missing_local_socket(_) ->
    Pid = hansom_case:start_with(#{host => hansom_case:local_path(), port => 0,
                                   transport => hackney_local_tcp}),
    ?assertEqual({error, enoent}, ?CONN:connect(Pid)).

%% Clauses: LOW-11
low_11_common_socket_options(_) ->
    Server = serve([request, {send, response(<<"x">>)}]),
    [begin
         {Pid, _} = connected(Server, #{connect_options => Options}),
         ?assertEqual({Options, {200, <<"x">>}}, {Options, exchange(Pid)})
     end
     || Options <- [[inet], [{nodelay, true}], [{keepalive, true}], [{linger, {true, 1}}],
                    [{sndbuf, 65536}, {recbuf, 65536}, {buffer, 65536}], [{send_timeout, 1000}],
                    [{send_timeout_close, true}], [{tos, 16}], [{priority, 2}], [{reuseaddr, true}],
                    [{protocols, [http1]}], [{port, 0}]]].

%% Clauses: LOW-11
low_11_binding_options_take_effect(_) ->
    Server = serve([]),
    [begin
         {Pid, Peer} = connected(Server, #{connect_options => [Option]}),
         #{remote := {ok, {Address, _}}} = hansom_script:socket_info(Peer),
         ?assertEqual({127, 0, 0, 7}, Address),
         ?assertMatch({ok, {{127, 0, 0, 7}, _}}, ?CONN:sockname(Pid))
     end
     || Option <- [{ip, {127, 0, 0, 7}}, {ifaddr, {127, 0, 0, 7}}]],
    Port = hansom_script:refused_port(),
    {Bound, _} = connected(Server, #{connect_options => [{port, Port}]}),
    ?assertMatch({ok, {_, Port}}, ?CONN:sockname(Bound)).

%% Clauses: LOW-11, ST-13
low_11_send_timeout_bounds_a_write(_) ->
    {Pid, _} = connected(serve([head]), #{connect_options => [{send_timeout, 100}, {linger, {true, 0}}]}),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
    Chunk = binary:copy(<<"x">>, 1 bsl 20),
    ?assertEqual({error, timeout}, fill(Pid, Chunk, 100)),
    ?assertEqual(closed, state(Pid)).

fill(_, _, 0) -> never;
fill(Pid, Chunk, Count) ->
    case ?CONN:send_body_chunk(Pid, Chunk) of
        ok -> fill(Pid, Chunk, Count - 1);
        Error -> Error
    end.

%% Clauses: LOW-11
low_11_options_are_refused_by_name(_) ->
    Server = serve([]),
    [begin
         Pid = start(Server, #{connect_options => [{nodelay, true}, Option]}),
         Exit = hansom_case:monitor_exit(Pid),
         ?assertEqual({error, {options, Reason}}, ?CONN:connect(Pid)),
         ?assertEqual(normal, hansom_case:await(Exit))
     end
     || {Option, Reason} <- [{{raw, 6, 9, <<1:32/native>>}, {unsupported, {raw, 6, 9, <<1:32/native>>}}},
                             {{netns, "/proc/self/ns/net"}, {unsupported, {netns, "/proc/self/ns/net"}}},
                             {{no_such_option, 1}, {no_such_option, 1}},
                             {no_such_flag, no_such_flag},
                             {{nodelay, maybe}, {nodelay, maybe}},
                             {{ip, "not an address"}, {ip, "not an address"}},
                             {{tos, low}, {tos, low}}]],
    ?assertEqual(0, hansom_script:connections(Server)).
