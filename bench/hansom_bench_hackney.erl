%% @doc Measures `hackney:request/5' with its pool, without and with hansom installed, in turns within one run.
%% How to run it and how to read the result: bench/README.md.
-module(hansom_bench_hackney).

-export([main/0]).
%% What hansom_bench_load expects of a connection: here a user of hackney's pool.
-export([start_link/1, connect/1, request/5, stop/1]).

-define(SMALL, 1024).
-define(CONCURRENCY, [1, 16, 64]).

%% @doc Entry point of `make bench-hackney'; ends the VM.
-spec main() -> no_return().
main() ->
    try run() of
        ok -> erlang:halt(0)
    catch Class:Reason:Stack ->
            io:format(standard_error, "~p: ~p~n~p~n", [Class, Reason, Stack]),
            erlang:halt(1)
    end.

run() ->
    code:ensure_loaded(hackney_conn) =:= {module, hackney_conn}
        orelse error("hackney is not on the code path: HACKNEY_LIBS is a colon separated list of ebin folders"),
    {ok, _} = application:ensure_all_started(hackney),
    {ok, _} = application:ensure_all_started(hansom),
    {ok, Version} = application:get_key(hackney, vsn),
    Server = server(),
    Seconds = number("BENCH_SECONDS", 1),
    Rounds = number("BENCH_ROUNDS", 5),
    io:format("hackney ~ts, ~b rounds of ~w s~n", [Version, Rounds, Seconds]),
    [io:format("~ts: ~ts~n", [Name, Value]) || {Name, Value} <- hansom_bench_vm:describe()],
    Results = [{Case, measure(Case, Server, Seconds, Rounds)}
               || Security <- [plain, tls, http2], Concurrency <- ?CONCURRENCY, Case <- [{Security, Concurrency}]],
    ok = hansom_servers:stop(Server),
    Dir = os:getenv("BENCH_OUTPUT", "_build/bench"),
    ok = filelib:ensure_path(Dir),
    ok = file:write_file(filename:join(Dir, "hackney.md"), markdown(Version, Results)),
    io:format("Written to ~ts/hackney.md~n", [Dir]).

server() ->
    case hansom_servers:find(nginx) of
        {ok, _} ->
            #{dir := Dir} = Server = hansom_servers:nginx(),
            ok = filelib:ensure_path(filename:join(Dir, "www/bytes")),
            ok = file:write_file(filename:join([Dir, "www", path()]), binary:copy(<<"hansom: ">>, ?SMALL div 8)),
            Server;
        missing ->
            hansom_servers:origin()
    end.

path() -> "bytes/" ++ integer_to_list(?SMALL).

number(Variable, Default) ->
    case os:getenv(Variable) of
        false -> Default;
        Text -> try list_to_integer(Text) catch error:badarg -> list_to_float(Text) end
    end.

%% Every round measures both, each first in turn.
measure({Security, Concurrency} = Case, Server, Seconds, Rounds) ->
    Result = [maps:from_list([{How, once(How, Security, Concurrency, Server, Seconds)} || How <- order(Round)])
              || Round <- lists:seq(1, Rounds)],
    io:format("~ts", [line(Case, Result)]),
    Result.

order(Round) when Round rem 2 =:= 1 -> [original, hansom];
order(_Round) -> [hansom, original].

once(How, Security, Concurrency, Server, Seconds) ->
    case How of
        original -> ok = hansom_hackney:uninstall();
        hansom -> ok = hansom_hackney:install()
    end,
    %% Of one round, so that none of its connections were opened in the other way.
    Pool = list_to_atom("bench_" ++ atom_to_list(How)),
    ok = hackney_pool:start_pool(Pool, [{max_connections, Concurrency}]),
    Options = #{url => url(Security, Server), options => [{pool, Pool}, {recv_timeout, 60000} | options(Security, Server)]},
    Result = hansom_bench_load:run(?MODULE, Options, {<<>>, ?SMALL}, {Concurrency, Seconds}, each),
    ok = hackney_pool:stop_pool(Pool),
    Result.

url(Security, #{ports := Ports}) ->
    {Scheme, Port} = case Security of
        plain -> {"http", maps:get(http, Ports)};
        tls -> {"https", maps:get(https, Ports)};
        http2 -> {"https", maps:get(http2, Ports, maps:get(https, Ports))}
    end,
    iolist_to_binary([Scheme, "://localhost:", integer_to_list(Port), "/", path()]).

options(plain, _Server) -> [];
options(tls, #{cacerts := Roots}) -> [{protocols, [http1]}, {ssl_options, [{cacerts, Roots}]}, {ssl_pooling, true}];
options(http2, #{cacerts := Roots}) -> [{protocols, [http2]}, {ssl_options, [{cacerts, Roots}]}].

%% A user of the pool in the place of a connection

start_link(Options) -> {ok, Options}.
connect(_User) -> ok.
stop(_User) -> ok.

request(#{url := Url, options := Options}, <<"GET">>, _Path, _Headers, _Body) ->
    hackney:request(get, Url, [], <<>>, Options).

%% The report

line({Security, Concurrency}, Rounds) ->
    {Original, Hansom} = {median(rps, original, Rounds), median(rps, hansom, Rounds)},
    {CpuOriginal, CpuHansom} = {median(cpu_us, original, Rounds), median(cpu_us, hansom, Rounds)},
    io_lib:format("~-6s ~3b users: ~8b -> ~8b requests/s (x ~.2f), ~6.1f -> ~6.1f us CPU, p99 ~b -> ~b us~n",
                  [Security, Concurrency, round(Original), round(Hansom), Hansom / Original, CpuOriginal, CpuHansom,
                   round(median(p99_us, original, Rounds)), round(median(p99_us, hansom, Rounds))]).

median(Key, How, Rounds) ->
    Sorted = lists:sort([maps:get(Key, maps:get(How, Round)) || Round <- Rounds]),
    lists:nth((length(Sorted) + 1) div 2, Sorted) * 1.0.

markdown(Version, Results) ->
    [io_lib:format("hackney ~ts; medians of the rounds, original -> hansom~n~n"
                   "| | users | requests/s | | CPU for one (us) | 99 % within (us) |~n|---|---|---|---|---|---|~n", [Version]),
     [row(Case, Rounds) || {Case, Rounds} <- Results]].

row({Security, Concurrency}, Rounds) ->
    Values = fun(Key) -> {median(Key, original, Rounds), median(Key, hansom, Rounds)} end,
    {Original, Hansom} = Values(rps),
    {CpuOriginal, CpuHansom} = Values(cpu_us),
    {LateOriginal, LateHansom} = Values(p99_us),
    io_lib:format("| ~s | ~b | ~b -> ~b | x ~.2f | ~.1f -> ~.1f | ~b -> ~b |~n",
                  [Security, Concurrency, round(Original), round(Hansom), Hansom / Original, CpuOriginal, CpuHansom,
                   round(LateOriginal), round(LateHansom)]).
