%% @doc The life of HTTP/3 connections: who dials them and finds them, their ends before the handshake, and that nothing is
%% left over. What they have in common with HTTP/2 is in `hansom_streams_life_SUITE'.
-module(hansom_h3_life_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [start_with/1, async/1, result/1, process/0, run_in/2, kill/1, wait_for/1, monitor_exit/1, await/1]).
-import(hansom_h3_case, [options/1, options/2, open/1, connect/1, mute/1, tcp_only/2, trying/2, with_origin/3]).
-import(hansom_h2_case, [get/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hansom_h3_case:init_suite(Config).
end_per_suite(Config) -> hansom_h3_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

%% Dialled by its first user, without an owner or a pool, and found by others through a pool that only asks whether it is
%% alive and connected.
%% Clauses: POOL-18, POOL-19, API-2
pool_19_dialled_by_a_user(Config) ->
    #{host := Host, port := Port, ssl_options := SslOptions} = options(Config),
    Dial = fun(UdpPort) ->
                   Supervisor = list_to_atom(atom_to_list(hansom_case:application()) ++ "_conn_sup"),
                   {ok, Pid} = Supervisor:start_conn(
                                 #{host => Host, port => UdpPort, transport => hackney_ssl, connect_timeout => 2000,
                                   recv_timeout => 5000, connect_options => [{protocols, [http3, http2]}],
                                   ssl_options => SslOptions, pool_name => default, pool_handler => ?MODULE}),
                   {Pid, ?CONN:connect(Pid, 2000)}
           end,
    User = process(),
    {Pid, ok} = run_in(User, fun() -> Dial(Port) end),
    ?assertEqual({http3, {ok, connected}}, {?CONN:get_protocol(Pid), ?CONN:get_state(Pid)}),
    ok = kill(User),
    Users = [async(fun() -> get(Pid, "/delay/20") end) || _ <- lists:seq(1, 20)],
    [?assertMatch({ok, {ok, 200, _, _}}, result(Other)) || Other <- Users],
    ?assertEqual({ok, connected}, ?CONN:get_state(Pid)),
    ok = ?CONN:stop(Pid),
    %% Where UDP leads nowhere the user learns it in time, so that it can be remembered.
    tcp_only(Config, fun(Silent) ->
                             {Other, ok} = Dial(Silent),
                             ?assertEqual(http2, ?CONN:get_protocol(Other)),
                             ok = ?CONN:stop(Other)
                     end).

%% Clauses: ST-28, API-4
st_28_end_of_a_dial(Config) ->
    mute(fun(Port) ->
                 [begin
                      Owner = process(),
                      Pid = start_with((trying(Port, Config))#{owner => Owner}),
                      Before = hansom_case:descriptors(),
                      Caller = async(fun() -> ?CONN:connect(Pid) end),
                      wait_for(fun() -> hansom_case:descriptors() > Before end),
                      unlink(Pid),
                      End(Pid, Owner),
                      _ = result(Caller),
                      wait_for(fun() -> hansom_case:descriptors() =< Before end)
                  end || End <- [fun(Pid, _) -> ok = ?CONN:stop(Pid) end, fun(Pid, _) -> kill(Pid) end,
                                 fun(_, Owner) -> kill(Owner) end]]
         end).

%% A connection that is used before its server has said anything ends like any other.
%% Clauses: ST-4, ST-26, ST-28, H3-5
st_28_end_before_the_handshake(Config) ->
    with_origin(["--early-data", "accept"], Config,
                fun(ServerPort) ->
                        [begin
                             {Path, Port} = hansom_udp_path:open(ServerPort),
                             Owner = process(),
                             Options = options(#{port => Port, early_data => true, owner => Owner}, Config),
                             First = connect(Options),
                             {ok, 200, _, _} = get(First, "/hello"),
                             ok = ?CONN:stop(First),
                             ok = hansom_udp_path:cut(Path),
                             Before = hansom_case:descriptors(),
                             Pid = connect(Options),
                             Exit = monitor_exit(Pid),
                             Callers = [async(fun() -> ask(Pid, Method) end) || Method <- [<<"GET">>, <<"POST">>]],
                             wait_for(fun() -> maps:get(requests, hansom_nif:info(Pid)) =:= 2 end),
                             unlink(Pid),
                             End(Pid, Owner),
                             _ = await(Exit),
                             [?assertMatch({Class, _} when Class =:= exit; Class =:= ok, result(Caller))
                              || Caller <- Callers],
                             wait_for(fun() -> hansom_case:descriptors() =< Before end)
                         end || End <- [fun(Pid, _) -> ok = ?CONN:stop(Pid) end, fun(Pid, _) -> kill(Pid) end,
                                        fun(_, Owner) -> kill(Owner) end]]
                end).

ask(Pid, Method) -> {error, _} = ?CONN:request(Pid, Method, <<"/hello">>, [], <<>>).

%% Clauses: ST-27
st_27_nothing_is_left(Config) ->
    Cycle = fun() ->
                    Pid = open(Config),
                    {ok, 200, _, _} = get(Pid, "/bytes/10000"),
                    ok = ?CONN:stop(Pid)
            end,
    Cycle(),
    Before = hansom_case:descriptors(),
    [Cycle() || _ <- lists:seq(1, 50)],
    ?assertEqual(Before, hansom_case:descriptors()).

%% Over HTTP/3 as over anything else, functions can be called from other nodes.
%% Clauses: ST-29, H3-6, H3-12
st_29_calls_from_another_node(Config) ->
    {ok, Node} = hansom_case:other_node(),
    Pid = open(Config),
    Call = fun(Function, Arguments) -> erpc:call(Node, ?CONN, Function, [Pid | Arguments], 10000) end,
    ?assertMatch({ok, 200, _, <<"Hello, world!\n">>}, Call(request, [<<"GET">>, <<"/hello">>, [], <<>>])),
    ?assertMatch({ok, {{127, 0, 0, 1}, _}}, Call(peername, [])),
    ?assertEqual(ok, Call(migrate, [])),
    ?assertEqual(http3, Call(get_protocol, [])),
    Streamed = erpc:call(Node, fun() ->
                                       {ok, 200, _} = ?CONN:request_streaming(Pid, <<"GET">>, <<"/hello">>, [], <<>>),
                                       {ok, Piece} = ?CONN:stream_body(Pid),
                                       done = ?CONN:stream_body(Pid),
                                       Piece
                               end, 10000),
    ?assertEqual(<<"Hello, world!\n">>, Streamed).
