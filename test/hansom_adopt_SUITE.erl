%% @doc Connections on sockets that Erlang has opened: the start option `socket'.
-module(hansom_adopt_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_case, [serve/1, exchange/1, request/1, response/1, state/1]).

-define(CONN, hansom_conn).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_tls_case:init_suite(Config).

end_per_suite(Config) -> hansom_tls_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).

end_per_testcase(_Case, Config) -> hansom_case:end_case(Config).

open(Server, Options) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, hansom_script:port(Server),
                                   %% The backend has to come first, what the options change last.
                                   [{inet_backend, inet} || not lists:keymember(inet_backend, 1, Options)]
                                   ++ [Backend || {inet_backend, _} = Backend <- Options] ++ [binary, {active, false}]
                                   ++ lists:keydelete(inet_backend, 1, Options)),
    Socket.

adopted(Server, Socket) -> adopted(Server, Socket, #{}).

adopted(Server, Socket, Options) ->
    hansom_case:start(Server, Options#{socket => Socket}).

%% Sockets of gen_tcp

%% Clauses: LOW-8, NEG-5, LOW-2
low_08_plain_socket(_) ->
    Server = serve([request, {send, response(<<"one">>)}, request, {send, response(<<"two">>)}, eof]),
    [begin
         Socket = open(Server, Options),
         {ok, Ends} = inet:sockname(Socket),
         Pid = adopted(Server, Socket),
         ?assertEqual(connected, state(Pid)),
         ?assertEqual(http1, ?CONN:get_protocol(Pid)),
         ?assertEqual({ok, Ends}, ?CONN:sockname(Pid)),
         ?assertEqual({ok, connected}, ?CONN:is_ready(Pid)),
         %% The port is gone, the connection is not: the peer has noticed nothing.
         ?assertMatch({error, _}, gen_tcp:send(Socket, <<"x">>)),
         ?assertEqual({error, invalid_state}, ?CONN:connect(Pid)),
         ?assertEqual({200, <<"one">>}, exchange(Pid)),
         ?assertEqual({200, <<"two">>}, exchange(Pid)),
         Peer = hansom_script:accept(Server),
         ok = ?CONN:close(Pid),
         closed = hansom_script:await_closed(Peer)
     end || Options <- [[], [{inet_backend, socket}], [{active, once}], [{active, true}], [{packet, line}]]].

%% Clauses: LOW-8
low_08_nothing_received_is_lost(_) ->
    Early = <<"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n">>,
    Server = serve([{send, Early}, wait, request, {send, <<"hello">>}, eof]),
    [begin
         Socket = open(Server, []),
         Peer = hansom_script:accept(Server),
         ok = Get(Socket),
         Pid = adopted(Server, Socket),
         ok = hansom_script:continue(Peer),
         %% Bytes that came before the request do no harm.
         ?assertEqual({Name, {200, <<"hello">>}}, {Name, exchange(Pid)}),
         hansom_case:no_message()
     end || {Name, Get} <- [{kernel, fun(Socket) -> readable(Socket) end},
                            {once, fun(Socket) -> inet:setopts(Socket, [{active, once}]), in_mailbox() end},
                            {true, fun(Socket) -> inet:setopts(Socket, [{active, true}]), in_mailbox() end},
                            {count, fun(Socket) -> inet:setopts(Socket, [{active, 1}]), in_mailbox() end},
                            {driver, fun(Socket) ->
                                             ok = inet:setopts(Socket, [{packet, line}]),
                                             {ok, Line} = gen_tcp:recv(Socket, 0, 5000),
                                             %% The rest of what was read is in the driver.
                                             gen_tcp:unrecv(Socket, Line)
                                     end}]].

readable(Socket) ->
    {ok, Bytes} = gen_tcp:recv(Socket, 0, 5000),
    gen_tcp:unrecv(Socket, Bytes).

in_mailbox() ->
    hansom_case:wait_for(fun() -> {message_queue_len, 0} =/= process_info(self(), message_queue_len) end).

%% Clauses: LOW-8, LOW-10
low_08_upgrade(Config) ->
    Trust = hansom_tls_case:trust(Config),
    [begin
         {ok, Socket} = gen_tcp:connect("localhost", hansom_tls_case:port(Config), [binary, {active, false}]),
         Pid = hansom_case:start_with(#{host => "localhost", port => 443, socket => Socket}),
         ?assertEqual(ok, ?CONN:upgrade_to_ssl(Pid, [{protocols, [Protocol]} | Trust], #{tls => Tls})),
         ?assertEqual(Protocol, ?CONN:get_protocol(Pid)),
         ?assertMatch({ok, 200, _}, erlang:delete_element(4, result4(request(Pid)))),
         ok = ?CONN:stop(Pid)
     end || Tls <- [rustls, erlang], Protocol <- [http1, http2]],
    ?assertEqual([], hansom_nif:lent()).

result4({ok, Status, Headers}) -> {ok, Status, Headers, none};
result4(Other) -> Other.

%% Clauses: LOW-8
low_08_peer_that_closed(_) ->
    Server = serve([close]),
    Socket = open(Server, []),
    closed = hansom_script:await_closed(hansom_script:accept(Server)),
    Pid = adopted(Server, Socket),
    ?assertEqual({error, closed}, request(Pid)),
    %% As is a socket that is closed on this side.
    Closed = open(serve([eof]), []),
    ok = gen_tcp:close(Closed),
    ?assertEqual({error, closed}, request(adopted(Server, Closed))).

%% Clauses: LOW-8
low_08_socket_of_another_process(_) ->
    Server = serve([request, {send, response(<<"x">>)}, eof]),
    Owner = hansom_case:process(),
    Socket = hansom_case:run_in(Owner, fun() -> open(Server, []) end),
    Pid = adopted(Server, Socket),
    %% It does not die with that process.
    hansom_case:kill(Owner),
    ?assertEqual({200, <<"x">>}, exchange(Pid)).

%% What Erlang has not yet sent comes before what the engine sends. Clauses: LOW-8
low_08_unsent_bytes_come_first(_) ->
    Sent = binary:copy(<<"s">>, 8 bsl 20),
    Server = serve([wait, {read, byte_size(Sent)}, request, {send, response(<<"x">>)}, eof]),
    Socket = open(Server, [{high_watermark, 16 bsl 20}]),
    Peer = hansom_script:accept(Server),
    ok = gen_tcp:send(Socket, Sent),
    ?assertMatch({ok, [{send_pend, Pending}]} when Pending > 0, inet:getstat(Socket, [send_pend])),
    Pid = adopted(Server, Socket),
    Exchange = hansom_case:async(fun() -> exchange(Pid) end),
    ok = hansom_script:continue(Peer),
    ?assertEqual({ok, {200, <<"x">>}}, hansom_case:result(Exchange, 15000)).

%% Clauses: LOW-8
low_08_what_is_no_socket(_) ->
    Server = serve([]),
    [?assertEqual({error, {options, {socket, Socket}}}, ?CONN:start_link(#{host => "h", socket => Socket, transport => T}))
     || {Socket, T} <- [{self(), hackney_tcp}, {sslsocket, hackney_ssl}, {open(Server, []), hackney_ssl},
                        {self(), no_such_module}]].

%% Clauses: LOW-8
low_08_local_socket(_) ->
    Path = hansom_case:local_path(),
    {ok, Server} = hansom_case:serve_on({local, Path}, 0, [request, {send, response(<<"x">>)}, eof]),
    {ok, Socket} = gen_tcp:connect({local, Path}, 0, [binary, {active, false}]),
    Pid = hansom_case:start_with(#{host => Path, port => 0, transport => hackney_local_tcp, socket => Socket}),
    ?assertEqual({200, <<"x">>}, exchange(Pid)),
    _ = Server.

%% Clauses: LOW-8, API-2
low_08_below_the_supervisor(_) ->
    Server = serve([request, {send, response(<<"x">>)}, eof]),
    {ok, Pid} = hansom_conn_sup:start_conn(hansom_case:options(Server, #{socket => open(Server, []), owner => self()})),
    hansom_case:adopt(Pid),
    ?assertEqual({200, <<"x">>}, exchange(Pid)).

%% No descriptor is left, whoever ends the connection. Clauses: LOW-8, ST-28
low_08_leaves_nothing(_) ->
    Server = serve([eof]),
    Round = fun(End) ->
                    Pid = adopted(Server, open(Server, [])),
                    unlink(Pid),
                    End(Pid),
                    closed = hansom_script:await_closed(hansom_script:accept(Server))
            end,
    [Round(End) || End <- [fun ?CONN:stop/1, fun hansom_case:kill/1], _ <- lists:seq(1, 20)].

%% Through a tunnel

%% Clauses: LOW-8
low_08_tunnel_through_a_proxy(Config) ->
    {ok, Listen} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    Http = hansom_server_case:port(http, Config),
    Proxy = hansom_case:process(),
    ok = gen_tcp:controlling_process(Listen, Proxy),
    ok = hansom_case:start_in(Proxy, fun() -> tunnel(Listen) end),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, io_lib:format("CONNECT 127.0.0.1:~b HTTP/1.1\r\nHost: x\r\n\r\n", [Http])),
    {ok, <<"HTTP/1.1 200 ", _/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    Pid = hansom_case:start_with(#{host => "127.0.0.1", port => Http, socket => Socket, no_reuse => true}),
    ?assertMatch({ok, 200, _}, request(Pid)),
    ?assertEqual({ok, <<"Hello, world!\n">>}, ?CONN:body(Pid)),
    hansom_case:wait_for(fun() -> not is_process_alive(Pid) end).

%% A proxy for one connection.
tunnel(Listen) ->
    {ok, Client} = gen_tcp:accept(Listen, 5000),
    {ok, Head} = gen_tcp:recv(Client, 0, 5000),
    {match, [Port]} = re:run(Head, "^CONNECT 127.0.0.1:([0-9]+) ", [{capture, all_but_first, list}]),
    {ok, Server} = gen_tcp:connect({127, 0, 0, 1}, list_to_integer(Port), [binary, {active, false}]),
    ok = gen_tcp:send(Client, <<"HTTP/1.1 200 Connection established\r\n\r\n">>),
    [ok = inet:setopts(Socket, [{active, true}]) || Socket <- [Client, Server]],
    splice(Client, Server).

splice(Client, Server) ->
    receive
        {tcp, Client, Data} -> ok = gen_tcp:send(Server, Data), splice(Client, Server);
        {tcp, Server, Data} -> ok = gen_tcp:send(Client, Data), splice(Client, Server);
        {tcp_closed, _} -> [gen_tcp:close(Socket) || Socket <- [Client, Server]]
    end.

%% Sockets of ssl

%% Clauses: LOW-8, NEG-5, LOW-3
low_08_ssl_socket(Config) ->
    [begin
         {ok, Socket} = ssl:connect("localhost", hansom_tls_case:port(Config),
                                    [binary, {active, Active}, {verify, verify_peer} | hansom_tls_case:trust(Config)]),
         Pid = hansom_case:start_with(#{host => "localhost", port => 443, transport => hackney_ssl, socket => Socket}),
         ?assertEqual(connected, state(Pid)),
         ?assertEqual(http1, ?CONN:get_protocol(Pid)),
         [begin
              ?assertMatch({ok, 200, _}, request(Pid)),
              ?assertEqual({ok, <<"Hello, world!\n">>}, ?CONN:body(Pid))
          end || _ <- "123"],
         ?assertEqual(ssl:peercert(Socket), ?CONN:peercert(Pid)),
         ?assertMatch({ok, {{127, 0, 0, 1}, _}}, ?CONN:peername(Pid)),
         ?assertEqual(ok, ?CONN:setopts(Pid, [{nodelay, true}])),
         ?assertEqual(ok, ?CONN:verify_socket(Pid)),
         ?assertEqual(ok, ?CONN:upgrade_to_ssl(Pid, [])),
         ok = ?CONN:close(Pid),
         hansom_case:wait_for(fun() -> {error, closed} =:= ssl:send(Socket, <<"x">>) end),
         hansom_case:no_message()
     end || Active <- [false, true, once]].

%% A socket whose process is stuck is refused, and keeps nobody waiting for ever.
%% Clauses: LOW-8
low_08_ssl_socket_that_does_not_answer(Config) ->
    Options = [binary, {active, false} | hansom_tls_case:trust(Config)],
    {ok, Socket} = ssl:connect("localhost", hansom_tls_case:port(Config), Options),
    Starter = hansom_case:async(
                fun() ->
                        %% They go on when this process ends.
                        [true = erlang:suspend_process(Pid) || Pid <- processes_of(Socket)],
                        ?CONN:start_link(#{host => "localhost", transport => hackney_ssl, socket => Socket})
                end),
    ?assertEqual({ok, {error, {options, {socket, Socket}}}}, hansom_case:result(Starter)),
    ok = ssl:close(Socket).

%% The processes that serve a socket of `ssl', whose form is not the same in all releases.
processes_of(Term) when is_tuple(Term) -> processes_of(tuple_to_list(Term));
processes_of(Terms) when is_list(Terms) -> lists:usort(lists:append([processes_of(Term) || Term <- Terms]));
processes_of(Pid) when is_pid(Pid) -> [Pid];
processes_of(_Term) -> [].

%% The connection owns it, whoever opened it. Clauses: LOW-8
low_08_ssl_socket_of_another_process(Config) ->
    Opener = hansom_case:process(),
    Options = [binary, {active, false} | hansom_tls_case:trust(Config)],
    Port = hansom_tls_case:port(Config),
    {ok, Socket} = hansom_case:run_in(Opener, fun() -> ssl:connect("localhost", Port, Options) end),
    Pid = hansom_case:start_with(#{host => "localhost", port => Port, transport => hackney_ssl, socket => Socket}),
    ?assertMatch({ok, 200, _}, request(Pid)),
    hansom_case:kill(Opener),
    ?assertEqual({ok, <<"Hello, world!\n">>}, ?CONN:body(Pid)),
    ?assertMatch({ok, 200, _}, request(Pid)),
    hansom_case:kill(Pid),
    hansom_case:wait_for(fun() -> {error, closed} =:= ssl:send(Socket, <<"x">>) end).
