%% @doc Large bodies in both directions, connections opened, and memory held by idle ones. Each function makes one
%% measurement with one client module.
-module(hansom_bench_transfer).

-export([download/4, upload/4, connect/4, idle/3]).

-define(UPLOAD_CHUNK, 65536).
-define(DEADLINE, 120000).

%% `cpu_us_mib': microseconds for each MiB.
-type timing() :: #{mbps := float(), cpu_us_mib := float()}.

%% @doc Fetches `Path' of `Size' bytes once, read as `How' says. The connection is open before the clock starts.
-spec download(module(), map(), {binary(), pos_integer()}, body | stream_body | async | async_once) -> timing().
download(Module, Options, {Path, Size}, How) ->
    transfer(Module, Options, Size, fun(Conn) -> Size = fetch(Module, Conn, Path, How) end).

fetch(Module, Conn, Path, body) ->
    {ok, Body} = answer(Module, Conn, Module:request(Conn, <<"GET">>, Path, [], <<>>)),
    byte_size(Body);
fetch(Module, Conn, Path, stream_body) ->
    {ok, 200, _} = Module:request(Conn, <<"GET">>, Path, [], <<>>),
    pull(Module, Conn, 0);
fetch(Module, Conn, Path, async) ->
    {ok, Ref} = Module:request_async(Conn, <<"GET">>, Path, [], <<>>, true),
    ok = head(Ref),
    collect(Ref, fun() -> ok end, 0);
fetch(Module, Conn, Path, async_once) ->
    {ok, Ref} = Module:request_async(Conn, <<"GET">>, Path, [], <<>>, once),
    ok = head(Ref),
    Next = fun() -> Module:stream_next(Conn) end,
    ok = Next(),
    collect(Ref, Next, 0).

%% HTTP/1.1 answers a request with the head, later protocols with all of the response.
answer(Module, Conn, {ok, Status, _}) when Status < 300 -> Module:body(Conn);
answer(_, _, {ok, Status, _, Body}) when Status < 300 -> {ok, Body}.

pull(Module, Conn, Total) ->
    case Module:stream_body(Conn) of
        {ok, Piece} -> pull(Module, Conn, Total + byte_size(Piece));
        done -> Total
    end.

head(Ref) ->
    {status, 200, _} = payload(Ref),
    {headers, _} = payload(Ref),
    ok.

collect(Ref, Next, Total) ->
    case payload(Ref) of
        done -> Total;
        Piece when is_binary(Piece) -> ok = Next(), collect(Ref, Next, Total + byte_size(Piece))
    end.

payload(Ref) ->
    receive {hackney_response, Ref, Payload} -> Payload
    after ?DEADLINE -> error(no_answer)
    end.

%% @doc Sends a body of `Size' bytes once: as one binary, or in chunks of 64 KiB.
-spec upload(module(), map(), {binary(), pos_integer()}, binary | chunks) -> timing().
upload(Module, Options, {Path, Size}, How) ->
    Body = binary:copy(<<"0123456789abcdef">>, Size div 16),
    transfer(Module, Options, Size, fun(Conn) -> send(Module, Conn, Path, Body, How) end).

send(Module, Conn, Path, Body, binary) ->
    {ok, _} = answer(Module, Conn, Module:request(Conn, <<"PUT">>, Path, [], Body));
send(Module, Conn, Path, Body, chunks) ->
    %% A streaming upload gets no Host of its own.
    ok = Module:send_request_headers(Conn, <<"PUT">>, Path, [{<<"Host">>, <<"127.0.0.1">>}]),
    ok = send_chunks(Module, Conn, Body),
    ok = Module:finish_send_body(Conn),
    {ok, Status, _, _} = Module:start_response(Conn),
    true = Status < 300,
    {ok, _} = Module:body(Conn).

send_chunks(Module, Conn, <<Chunk:?UPLOAD_CHUNK/binary, Rest/binary>>) ->
    ok = Module:send_body_chunk(Conn, Chunk),
    send_chunks(Module, Conn, Rest);
send_chunks(_, _, <<>>) -> ok;
send_chunks(Module, Conn, Rest) -> Module:send_body_chunk(Conn, Rest).

%% In a process of its own, so that no garbage of one measurement is collected in the next.
transfer(Module, Options, Size, Fun) ->
    isolated(fun() ->
                     {ok, Conn} = Module:start_link(Options),
                     ok = Module:connect(Conn),
                     {WallUs, CpuUs} = timed(fun() -> Fun(Conn) end),
                     ok = Module:stop(Conn),
                     #{mbps => Size / WallUs, cpu_us_mib => CpuUs / (Size / (1 bsl 20))}
             end).

%% @doc Opens and closes `Count' connections, `Concurrency' at a time.
-spec connect(module(), map(), pos_integer(), pos_integer()) -> #{per_second := float(), cpu_us := float()}.
connect(Module, Options, Count, Concurrency) ->
    isolated(fun() ->
                     Each = Count div Concurrency,
                     Open = fun() -> [open_and_close(Module, Options) || _ <- lists:seq(1, Each)] end,
                     {WallUs, CpuUs} =
                         timed(fun() ->
                                       Monitors = [monitor(process, spawn_link(Open))
                                                   || _ <- lists:seq(1, Concurrency)],
                                       [receive {'DOWN', Monitor, process, _, normal} -> ok end
                                        || Monitor <- Monitors]
                               end),
                     #{per_second => Each * Concurrency * 1000000 / WallUs, cpu_us => CpuUs / (Each * Concurrency)}
             end).

open_and_close(Module, Options) ->
    {ok, Conn} = Module:start_link(Options),
    ok = Module:connect(Conn),
    ok = Module:stop(Conn).

%% @doc Resident memory for each of `Count' connections that have had one exchange and are idle now. To be run in a
%% fresh VM: memory that an earlier measurement gave back would be used again unseen.
-spec idle(module(), {map(), {binary(), non_neg_integer()}}, pos_integer()) -> #{bytes := float()}.
idle(Module, {Options, Target}, Count) ->
    %% What the first connection loads and keeps is no cost of the connections.
    _ = [idle_connection(Module, Options, Target) || _ <- lists:seq(1, 20)],
    Before = settled_rss(),
    Connections = [idle_connection(Module, Options, Target) || _ <- lists:seq(1, Count)],
    After = settled_rss(),
    lists:foreach(fun(Conn) -> {ok, connected} = Module:get_state(Conn) end, Connections),
    #{bytes => (After - Before) / Count}.

idle_connection(Module, Options, {Path, Size}) ->
    {ok, Conn} = Module:start_link(Options),
    ok = Module:connect(Conn),
    {ok, 200, _} = Module:request(Conn, <<"GET">>, Path, [], <<>>),
    {ok, Body} = Module:body(Conn),
    Size = byte_size(Body),
    Conn.

settled_rss() ->
    timer:sleep(1000),
    hansom_bench_vm:rss_bytes().

timed(Fun) ->
    {Cpu, Start} = {hansom_bench_vm:cpu_us(), erlang:monotonic_time(microsecond)},
    _ = Fun(),
    {erlang:monotonic_time(microsecond) - Start, hansom_bench_vm:cpu_us() - Cpu}.

isolated(Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({measured, Fun()}) end),
    receive
        {'DOWN', Monitor, process, Pid, {measured, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.
