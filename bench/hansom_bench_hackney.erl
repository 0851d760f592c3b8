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
    %% Behind reserved frames hackney 4.7.4 never sees the end of a response.
    Origin = hansom_servers:origin(["--no-grease"]),
    Seconds = number("BENCH_SECONDS", 1),
    Rounds = number("BENCH_ROUNDS", 5),
    io:format("hackney ~ts, ~b rounds of ~w s~n", [Version, Rounds, Seconds]),
    [io:format("~ts: ~ts~n", [Name, Value]) || {Name, Value} <- hansom_bench_vm:describe()],
    Results = [{Case, measure(Case, At, Hows, Seconds, Rounds)}
               || {Security, At, Hows} <- [{plain, Server, [original, hansom]}, {tls, Server, [original, hansom]},
                                           {http2, Server, [original, hansom]}, {http3, Origin, http3(Origin)}],
                  Concurrency <- ?CONCURRENCY, Case <- [{Security, Concurrency}]],
    [ok = hansom_servers:stop(Started) || Started <- [Server, Origin]],
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

%% Not every nginx speaks HTTP/3. The bundled origin does, but hackney's own connection may not understand it.
http3(#{ports := #{http3 := Port}, cacerts := Roots}) ->
    Options = #{host => "localhost", port => Port, transport => hackney_ssl, connect_options => [{protocols, [http3]}],
                ssl_options => [{cacerts, Roots}]},
    [original || hansom_bench_load:is_answered(hackney_conn, Options, iolist_to_binary(["/", path()]))] ++ [hansom].

path() -> "bytes/" ++ integer_to_list(?SMALL).

number(Variable, Default) ->
    case os:getenv(Variable) of
        false -> Default;
        Text -> try list_to_integer(Text) catch error:badarg -> list_to_float(Text) end
    end.

%% Every round measures both, if there are two, each first in turn.
measure({Security, Concurrency} = Case, Server, Hows, Seconds, Rounds) ->
    Result = [maps:from_list([{How, once(How, Security, Concurrency, Server, Seconds)} || How <- order(Round, Hows)])
              || Round <- lists:seq(1, Rounds)],
    io:format("~ts", [line(Case, Result)]),
    Result.

order(Round, Hows) when Round rem 2 =:= 1 -> Hows;
order(_Round, Hows) -> lists:reverse(Hows).

once(How, Security, Concurrency, Server, Seconds) ->
    case How of
        original -> ok = hansom_hackney:uninstall(), #{state := not_installed} = hansom_hackney:status();
        hansom -> ok = hansom_hackney:install(), #{state := installed} = hansom_hackney:status()
    end,
    %% Of one round, so that none of its connections were opened in the other way.
    Pool = list_to_atom("bench_" ++ atom_to_list(How)),
    ok = hackney_pool:start_pool(Pool, [{max_connections, Concurrency}]),
    Options = #{url => url(Security, Server), options => [{pool, Pool}, {recv_timeout, 60000} | options(Security, Server)]},
    %% A connection that all share ends with who opened it, which none of them may be.
    {ok, 200, _, _} = request(Options, <<"GET">>, <<>>, [], <<>>),
    Result = hansom_bench_load:run(?MODULE, Options, {<<>>, ?SMALL}, {Concurrency, Seconds}, each),
    ok = hackney_pool:stop_pool(Pool),
    Result.

url(Security, #{ports := Ports}) ->
    {Scheme, Port} = case Security of
        plain -> {"http", maps:get(http, Ports)};
        tls -> {"https", maps:get(https, Ports)};
        http2 -> {"https", maps:get(http2, Ports, maps:get(https, Ports))};
        http3 -> {"https", maps:get(http3, Ports)}
    end,
    iolist_to_binary([Scheme, "://localhost:", integer_to_list(Port), "/", path()]).

options(plain, _Server) -> [];
options(tls, #{cacerts := Roots}) -> [{protocols, [http1]}, {ssl_options, [{cacerts, Roots}]}, {ssl_pooling, true}];
options(Protocol, #{cacerts := Roots}) -> [{protocols, [Protocol]}, {ssl_options, [{cacerts, Roots}]}].

%% A user of the pool in the place of a connection

start_link(Options) -> {ok, Options}.
connect(_User) -> ok.
stop(_User) -> ok.

request(#{url := Url, options := Options} = User, Method, Path, Headers, Body) ->
    case hackney:request(get, Url, [], <<>>, Options) of
        %% At times the pool closes a connection of hackney's own under somebody who shares it.
        {error, closed} -> request(User, Method, Path, Headers, Body);
        Answer -> Answer
    end.

%% The report

line({Security, Concurrency}, Rounds) ->
    io_lib:format("~-6s ~3b users: ~s requests/s~s, ~s us CPU, p99 ~s us~n",
                  [Security, Concurrency, both(rps, 0, Rounds), factor(Rounds, ", x ~.2f"), both(cpu_us, 1, Rounds),
                   both(p99_us, 0, Rounds)]).

%% The medians of what was measured, original -> hansom.
both(Key, Decimals, Rounds) ->
    lists:join(" -> ", [float_to_list(median(Key, How, Rounds), [{decimals, Decimals}])
                        || How <- [original, hansom], is_map_key(How, hd(Rounds))]).

factor([#{original := _} | _] = Rounds, Format) ->
    io_lib:format(Format, [median(rps, hansom, Rounds) / median(rps, original, Rounds)]);
factor(_Rounds, _Format) ->
    "".

median(Key, How, Rounds) ->
    Sorted = lists:sort([maps:get(Key, maps:get(How, Round)) || Round <- Rounds]),
    lists:nth((length(Sorted) + 1) div 2, Sorted) * 1.0.

markdown(Version, Results) ->
    [io_lib:format("hackney ~ts; medians of the rounds, original -> hansom~n~n"
                   "| | users | requests/s | | CPU for one (us) | 99 % within (us) |~n|---|---|---|---|---|---|~n", [Version]),
     [row(Case, Rounds) || {Case, Rounds} <- Results]].

row({Security, Concurrency}, Rounds) ->
    io_lib:format("| ~s | ~b | ~s | ~s | ~s | ~s |~n",
                  [Security, Concurrency, both(rps, 0, Rounds), factor(Rounds, "x ~.2f"), both(cpu_us, 1, Rounds),
                   both(p99_us, 0, Rounds)]).
