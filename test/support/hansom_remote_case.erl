%% @doc What the suites about other nodes share: connections in the node `home', used from the node
%% `user', in which the cases run.
-module(hansom_remote_case).

-include_lib("stdlib/include/assert.hrl").

-export([init_suite/1, end_suite/1, init_case/1, end_case/1, run/2]).
-export([start/4, open/2, open/4, options/3, get/2, receivers/1]).
-export([pull/2, ended/1, reason/1, fun_of/1, is_taken/1, is_free/1]).

-import(hansom_node, [call/2, call/4]).

-define(DEADLINE, 5000).

init_suite(Config) ->
    Origin = #{ports := #{http := Http, https := Https}, cacerts := Roots} = hansom_servers:origin(),
    {Silent, Port} = hansom_load:silent(),
    Single = #{ports := #{https := SinglePort}} = hansom_servers:origin(Origin, ["--max-streams", "1"]),
    Target = #{http => Http, https => Https, single => SinglePort, silent => Port, cacerts => Roots},
    [{origin, Origin}, {single, Single}, {silent, Silent}, {target, Target} | Config].

end_suite(Config) ->
    exit(proplists:get_value(silent, Config), kill),
    [hansom_servers:stop(proplists:get_value(Name, Config)) || Name <- [single, origin]],
    ok.

%% Nodes for each case: whatever one leaves behind does not disturb the next.
init_case(Config) ->
    [{Home, HomeNode}, {User, _}] = hansom_node:start_distributed([home, user]),
    {ok, _} = call(Home, application, ensure_all_started, [hansom]),
    ok = call(Home, logger, set_primary_config, [level, none]),
    [{home, Home}, {home_node, HomeNode}, {user, User} | Config].

end_case(Config) ->
    [catch hansom_node:stop(proplists:get_value(Name, Config)) || Name <- [user, home]],
    ok.

%% Runs a case in the node `user', where it leaves no message.
run(Config, Case) ->
    Target = proplists:get_value(target, Config),
    Home = proplists:get_value(home_node, Config),
    ok = call(proplists:get_value(user, Config),
              fun() -> Case(Target, Home), hansom_case:no_message() end).

%% A connection at home that lives until it is stopped.
start(Home, Transport, Target, More) ->
    {ok, Pid} = erpc:call(Home, hansom_conn_sup, start_conn, [options(Transport, Target, More)]),
    Pid.

open(Home, Target) -> open(Home, http, Target, #{}).
open(Home, Transport, Target, More) ->
    Pid = start(Home, Transport, Target, More),
    ok = hansom_conn:connect(Pid),
    Pid.

%% HTTP/2, one stream at a time.
options(single, #{single := Port, cacerts := Roots}, More) ->
    maps:merge(#{host => "127.0.0.1", port => Port, transport => hackney_ssl, max_streams => error,
                 connect_options => [{protocols, [http2]}], ssl_options => [{cacerts, Roots}]}, More);
options(http, #{http := Port}, More) ->
    maps:merge(#{host => "127.0.0.1", port => Port}, More);
options(https, #{https := Port, cacerts := Roots}, More) ->
    maps:merge(#{host => "127.0.0.1", port => Port, transport => hackney_ssl,
                 connect_options => [{protocols, [http1]}], ssl_options => [{cacerts, Roots}]}, More).

get(Pid, Path) -> hansom_conn:request(Pid, <<"GET">>, Path, [], <<>>).

%% Messages. Who asks and who receives: the caller itself, a process of the connection's node for
%% one of another, and the other way round.

receivers(Home) ->
    Self = self(),
    [fun(Pid, Arguments) -> {apply(hansom_conn, request_async, [Pid | Arguments] ++ [Self]), Self} end,
     fun(Pid, Arguments) ->
             {erpc:call(Home, hansom_conn, request_async, [Pid | Arguments] ++ [Self]), Self}
     end,
     fun(Pid, Arguments) ->
             Away = spawn(Home, fun() -> forward(Self, monitor(process, Self)) end),
             {apply(hansom_conn, request_async, [Pid | Arguments] ++ [Away]), Away}
     end].

forward(To, Monitor) ->
    receive
        {'DOWN', Monitor, process, To, _} -> ok;
        Message -> To ! Message, forward(To, Monitor)
    end.

%% What comes after this many bytes.
pull(Pid, Left) ->
    ok = hansom_conn:stream_next(Pid),
    case hansom_case:payload(Pid) of
        Piece when is_binary(Piece) -> pull(Pid, Left - byte_size(Piece));
        Other when Left =:= 0 -> Other
    end.

%% Waits until the one stream there may be is taken, or free again.
is_taken(Pid) ->
    hansom_case:wait_for(fun() -> get(Pid, <<"/bytes/5">>) =:= {error, max_streams_exceeded} end).

is_free(Pid) ->
    hansom_case:wait_for(fun() -> ok =:= case get(Pid, <<"/bytes/5">>) of {ok, 200, _, _} -> ok; Error -> Error end end).

%% It stopped as it should, now or before.
ended(Pid) ->
    ?assert(lists:member(hansom_case:is_gone(Pid), [normal, noproc])).

reason({Pid, Monitor}) ->
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason
    after ?DEADLINE -> error({still_alive, Pid})
    end.

%% A body function of the one kind that keeps a state.
fun_of(Pieces) ->
    {fun([]) -> eof; ([Piece | Rest]) -> {ok, Piece, Rest} end, Pieces}.
