%% @doc Measures `hansom_conn', side by side with `hackney_conn' when that is on the code path, against a server on
%% loopback. How to run it and how to read the result: bench/README.md.
-module(hansom_bench).

-export([main/0]).
-export([idle_in_peer/3]).

-define(SMALL, 1024).
-define(LARGE, 104857600).
%% Of what is sent over a path with a delay.
-define(MEDIUM, 16777216).
-define(DELAY_MS, 30).
-define(PLAIN_CONNECTIONS, 4000).
-define(TLS_CONNECTIONS, 1600).
-define(CONNECT_CONCURRENCY, 16).

-record(bench, {seconds :: number(),
                rounds :: pos_integer(),
                idle_connections :: pos_integer(),
                parts :: [atom()],
                clients :: [module()],
                %% Those of them that get an answer over HTTP/3.
                http3 :: [module()],
                wrk :: file:filename() | missing,
                h2load :: file:filename() | missing,
                server :: hansom_servers:server(),
                %% The bundled origin, and another with a delay.
                sink :: hansom_servers:server() | missing,
                far :: hansom_servers:server() | missing}).

%% @doc Entry point of `make bench'; ends the VM.
-spec main() -> no_return().
main() ->
    try run() of
        ok -> erlang:halt(0)
    catch Class:Reason:Stack ->
            io:format(standard_error, "~p: ~p~n~p~n", [Class, Reason, Stack]),
            erlang:halt(1)
    end.

run() ->
    Clients = clients(),
    {ServerName, Server} = server(),
    Sink = sink(ServerName, Server),
    Far = far(Sink),
    Parts = parts(),
    Bench = #bench{seconds = number("BENCH_SECONDS", 1),
                   rounds = number("BENCH_ROUNDS", 5),
                   idle_connections = number("BENCH_IDLE_CONNECTIONS", 1000),
                   parts = Parts,
                   clients = Clients,
                   http3 = http3_clients(Clients, Parts, Sink),
                   wrk = find("wrk"),
                   h2load = find("h2load"),
                   server = Server,
                   sink = Sink,
                   far = Far},
    Head = [{<<"Clients">>, lists:join(", ", [version(Client) || Client <- Clients])},
            {<<"Server">>, describe(ServerName)},
            {<<"Rounds">>, [integer_to_list(Bench#bench.rounds), ", of ",
                            io_lib:format("~w", [Bench#bench.seconds]), " s where time is what is given"]}
            | hansom_bench_vm:describe()],
    [io:format("~ts: ~ts~n", [Name, Value]) || {Name, Value} <- Head],
    [io:format("~s is not installed: no ceiling is measured~n", [Name])
     || {Name, missing} <- [{"wrk", Bench#bench.wrk}, {"h2load", Bench#bench.h2load}]],
    Results = [measure(Case, Bench) || Case <- cases(Bench)],
    lists:foreach(fun hansom_servers:stop/1, lists:usort([S || S <- [Server, Sink, Far], S =/= missing])),
    write(#{head => [{Name, unicode:characters_to_binary(Value)} || {Name, Value} <- Head], results => Results}).

find(Program) ->
    case os:find_executable(Program) of
        false -> missing;
        File -> File
    end.

%% hansom, and hackney when it is there.
clients() ->
    Loaded = [Client || Client <- [hansom_conn, hackney_conn], code:ensure_loaded(Client) =:= {module, Client}],
    lists:foreach(fun(Client) -> {ok, _} = application:ensure_all_started(application(Client)) end, Loaded),
    case Loaded of
        [hansom_conn, hackney_conn] -> ok;
        [Only] -> io:format("Only ~s is on the code path: nothing is compared. HACKNEY_LIBS (a colon separated list of "
                            "ebin folders) adds hackney.~n", [Only])
    end,
    Loaded.

%% A client that gets no answer would wait until the connection is idle for too long.
http3_clients(Clients, Parts, Sink) ->
    Wanted = Sink =/= missing andalso (lists:member(http3, Parts) orelse lists:member(http3_delayed, Parts)),
    {Path, _} = target(?SMALL),
    [Client || Wanted, Client <- Clients, hansom_bench_load:is_answered(Client, options(http3, Sink), Path)].

application(hansom_conn) -> hansom;
application(hackney_conn) -> hackney.

version(Client) ->
    {ok, Version} = application:get_key(application(Client), vsn),
    [atom_to_list(Client), " ", Version].

server() ->
    Wanted = os:getenv("BENCH_SERVER", case hansom_servers:find(nginx) of {ok, _} -> "nginx"; missing -> "origin" end),
    case Wanted of
        "nginx" ->
            #{dir := Dir} = Server = hansom_servers:nginx(),
            Www = filename:join(Dir, "www"),
            ok = file:make_dir(filename:join(Www, "bytes")),
            [ok = file:write_file(filename:join(Www, path(Size)), binary:copy(<<"hansom: ">>, Size div 8))
             || Size <- [?SMALL, ?LARGE]],
            {nginx, Server};
        "origin" ->
            {origin, origin()}
    end.

%% Reserved frames (RFC 9114, section 7.2.8) keep hackney 4.7.4 from seeing the end of the response before them.
origin() -> hansom_servers:origin(["--no-grease"]).

%% Uploads go to the bundled origin: nginx would write them to a file.
sink(origin, Server) -> Server;
sink(nginx, _) ->
    case hansom_servers:find(origin) of
        {ok, _} -> origin();
        missing -> io:format("The bundled origin is not built: no uploads are measured~n"), missing
    end.

%% The path over which the delayed parts go.
far(missing) -> missing;
far(Sink) ->
    Listen = lists:append([["--" ++ Name, "127.0.0.1:0"] || Name <- ["https", "http3"]]),
    Far = hansom_servers:origin(Sink, Listen ++ ["--delay-ms", integer_to_list(?DELAY_MS), "--no-grease"]),
    maps:merge(maps:without([dir], Sink), Far).

describe(nginx) ->
    {ok, Nginx} = hansom_servers:find(nginx),
    [string:trim(os:cmd(Nginx ++ " -v 2>&1")), ", 1 worker"];
describe(origin) -> "the bundled origin".

path(Size) -> "bytes/" ++ integer_to_list(Size).

target(Size) -> {list_to_binary("/" ++ path(Size)), Size}.

number(Variable, Default) ->
    case os:getenv(Variable) of
        false -> Default;
        Text -> try list_to_integer(Text) catch error:badarg -> list_to_float(Text) end
    end.

parts() ->
    All = [rate, download, upload, connect, idle, http2, http2_delayed, http3, http3_delayed],
    case os:getenv("BENCH_ONLY") of
        false -> All;
        Text -> [Part || Part <- All, lists:member(atom_to_list(Part), string:lexemes(Text, ", "))]
    end.

cases(#bench{parts = Parts, sink = missing}) ->
    [Case || Part <- Parts, lists:member(Part, [rate, download, connect, idle]), Case <- cases_of(Part)];
cases(#bench{parts = Parts}) ->
    [Case || Part <- Parts, Case <- cases_of(Part)].

%% Of protocols of which one connection has many exchanges at a time.
multiplexed(Protocol) ->
    [{shared_rate, Protocol, Concurrency} || Concurrency <- [1, 16, 64, 256]]
        ++ [{download, Protocol, How} || How <- [body, async_once]]
        ++ [{upload, Protocol, How} || How <- [binary, chunks]].

delayed(Protocol) ->
    [{delayed_rate, Protocol, Concurrency} || Concurrency <- [1, 16, 64, 256]]
        ++ [{delayed_download, Protocol, body}, {delayed_upload, Protocol, binary}].

cases_of(http2) -> multiplexed(http2);
cases_of(http2_delayed) -> delayed(http2);
cases_of(http3) -> multiplexed(http3);
cases_of(http3_delayed) -> delayed(http3);
cases_of(rate) -> [{rate, Security, Concurrency} || Security <- [plain, tls], Concurrency <- [1, 16, 64]];
cases_of(download) ->
    [{download, Security, How} || Security <- [plain, tls], How <- [body, stream_body, async, async_once]];
cases_of(upload) -> [{upload, Security, How} || Security <- [plain, tls], How <- [binary, chunks]];
cases_of(Part) -> [{Part, plain, 1}, {Part, tls, 1}].

%% One measurement of every variant a round, in turns that begin with another variant each time, so that what drifts
%% on the machine meets all alike.
measure(Case, #bench{rounds = Rounds} = Bench) ->
    Variants = variants(Case, Bench),
    Result = [maps:from_list([Measured || Variant <- rotate(Round, Variants), Measured <- attempt(Variant, Case, Bench)])
              || Round <- lists:seq(1, Rounds)],
    io:format("~ts", [hansom_bench_report:lines(Case, Result)]),
    {Case, Result}.

%% A failure of hackney's takes its figures out of the round, one of hansom's ends the run.
attempt(hackney_conn = Variant, Case, Bench) ->
    try
        [{Variant, variant(Variant, Case, Bench)}]
    catch error:Reason ->
            io:format("~ts: ~s failed, ~P~n", [hansom_bench_report:title(Case), Variant, Reason, 10]),
            []
    end;
attempt(Variant, Case, Bench) -> [{Variant, variant(Variant, Case, Bench)}].

%% hackney 4.7.4 refuses content beyond the window the peer begins with.
variants({Part, http3, _} = Case, #bench{http3 = Clients} = Bench) when Part =:= upload; Part =:= delayed_upload ->
    variants_of(Case, Bench#bench{clients = lists:delete(hackney_conn, Clients)});
variants({_, http3, _} = Case, #bench{http3 = Clients} = Bench) -> variants_of(Case, Bench#bench{clients = Clients});
variants(Case, Bench) -> variants_of(Case, Bench).

variants_of({rate, _, _}, #bench{clients = Clients, wrk = Wrk}) when Wrk =/= missing -> Clients ++ [wrk];
variants_of({Part, http2, _}, #bench{clients = Clients, h2load = H2load})
  when Part =:= shared_rate orelse Part =:= delayed_rate, H2load =/= missing ->
    Clients ++ [h2load];
%% What the same server gives over HTTP/1.1.
variants_of({Part, Protocol, How}, #bench{clients = Clients})
  when Protocol =:= http2 orelse Protocol =:= http3, Part =:= download orelse Part =:= upload andalso How =:= binary ->
    Clients ++ [hansom_http1];
variants_of(_, #bench{clients = Clients}) -> Clients.

rotate(Round, Variants) ->
    {Front, Back} = lists:split(Round rem length(Variants), Variants),
    Back ++ Front.

variant(wrk, {rate, Security, Concurrency}, #bench{wrk = Wrk, server = Server, seconds = Seconds}) ->
    {Path, _} = target(?SMALL),
    {Scheme, Port} = case Security of
                         plain -> {"http", port(Security, Server)};
                         tls -> {"https", port(Security, Server)}
                     end,
    Url = [Scheme, "://127.0.0.1:", integer_to_list(Port), Path],
    hansom_bench_load:wrk(Wrk, Url, Concurrency, Seconds);
variant(Client, {rate, Security, Concurrency}, #bench{server = Server, seconds = Seconds}) ->
    hansom_bench_load:run(Client, options(Security, Server), target(?SMALL), {Concurrency, Seconds}, each);
variant(h2load, {Part, _, Concurrency}, #bench{h2load = H2load, seconds = Seconds} = Bench) ->
    {Path, _} = target(?SMALL),
    Url = ["https://127.0.0.1:", integer_to_list(port(tls, place(Part, Bench))), Path],
    hansom_bench_load:h2load(H2load, Url, Concurrency, Seconds);
variant(Client, {Part, Protocol, Concurrency}, #bench{seconds = Seconds} = Bench)
  when Part =:= shared_rate; Part =:= delayed_rate ->
    Options = options(Protocol, place(Part, Bench)),
    hansom_bench_load:run(Client, Options, target(?SMALL), {Concurrency, Seconds}, shared);
variant(hansom_http1, {Part, _, How}, #bench{sink = Sink} = Bench) ->
    variant(hansom_conn, {Part, tls, How}, Bench#bench{server = Sink});
variant(Client, {download, Protocol, How}, #bench{sink = Sink}) when Protocol =:= http2; Protocol =:= http3 ->
    %% What hackney takes two minutes for is told from a part of it.
    Size = case Client of hackney_conn -> ?MEDIUM; _ -> ?LARGE end,
    hansom_bench_transfer:download(Client, options(Protocol, Sink), target(Size), How);
variant(Client, {delayed_download, Protocol, How}, #bench{far = Far}) ->
    hansom_bench_transfer:download(Client, options(Protocol, Far), target(?MEDIUM), How);
variant(Client, {delayed_upload, Protocol, How}, #bench{far = Far}) ->
    hansom_bench_transfer:upload(Client, options(Protocol, Far), {<<"/upload">>, ?MEDIUM}, How);
variant(Client, {download, Security, How}, #bench{server = Server}) ->
    hansom_bench_transfer:download(Client, options(Security, Server), target(?LARGE), How);
variant(Client, {upload, Security, How}, #bench{sink = Sink}) ->
    hansom_bench_transfer:upload(Client, options(Security, Sink), {<<"/upload">>, ?LARGE}, How);
variant(Client, {connect, Security, _}, #bench{server = Server}) ->
    Count = case Security of plain -> ?PLAIN_CONNECTIONS; tls -> ?TLS_CONNECTIONS end,
    hansom_bench_transfer:connect(Client, options(Security, Server), Count, ?CONNECT_CONCURRENCY);
variant(Client, {idle, Security, _}, #bench{server = Server, idle_connections = Count}) ->
    {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["-pa" | code:get_path()]}),
    Arguments = [Client, {options(Security, Server), target(?SMALL)}, Count],
    Result = peer:call(Peer, ?MODULE, idle_in_peer, Arguments, 120000),
    ok = peer:stop(Peer),
    Result.

%% @private
idle_in_peer(Client, Target, Count) ->
    {ok, _} = application:ensure_all_started(application(Client)),
    hansom_bench_transfer:idle(Client, Target, Count).

place(shared_rate, #bench{sink = Sink}) -> Sink;
place(delayed_rate, #bench{far = Far}) -> Far.

%% Certificates are verified by both clients, against the same authorities.
options(plain, Server) ->
    #{host => "127.0.0.1", port => port(plain, Server), recv_timeout => 60000};
options(tls, Server) -> secure(http1, tls, Server);
options(http2, Server) -> secure(http2, tls, Server);
options(http3, Server) -> secure(http3, http3, Server).

secure(Protocol, Port, #{cacerts := Roots} = Server) ->
    #{host => "127.0.0.1", port => port(Port, Server), recv_timeout => 60000, transport => hackney_ssl,
      ssl_options => [{cacerts, Roots}, {server_name_indication, "localhost"}],
      connect_options => [{protocols, [Protocol]}]}.

port(plain, #{ports := #{http := Port}}) -> Port;
port(tls, #{ports := #{https := Port}}) -> Port;
port(http3, #{ports := #{http3 := Port}}) -> Port.

write(Results) ->
    Dir = os:getenv("BENCH_OUTPUT", "_build/bench"),
    File = fun(Name) -> filename:join(Dir, Name) end,
    ok = filelib:ensure_path(Dir),
    ok = file:write_file(File("results.term"), io_lib:format("~p.~n", [Results])),
    ok = file:write_file(File("results.md"), hansom_bench_report:markdown(Results)),
    case hansom_bench_chart:svg(Results) of
        {ok, Svg} -> ok = file:write_file(File("results.svg"), Svg);
        nothing_compared -> ok
    end,
    io:format("Written to ~ts: results.term, results.md and, of a comparison, results.svg~n", [Dir]).
