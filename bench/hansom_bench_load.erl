%% @doc Closed-loop load: a number of processes, each of which sends its next request when it has the whole answer to
%% the one before, on a connection of its own or on one for all.
-module(hansom_bench_load).

-export([run/5, is_answered/3, wrk/4, h2load/4]).

-define(WARM_UP_MS, 300).
-define(ANSWER_MS, 10000).

%% Latencies are counted in buckets: one a microsecond up to 2 ms, 32 us wide up to 66 ms, 1 ms wide up to 4 s.
-define(FINE, 2048).
-define(MEDIUM, 65536).
-define(COARSE, 4194304).
-define(BUCKETS, (?FINE + (?MEDIUM - ?FINE) div 32 + (?COARSE - ?MEDIUM) div 1024 + 1)).

-type result() :: #{rps := float(), p50_us := number(), p99_us := number(), cpu_us := float()}.
-export_type([result/0]).

%% @doc Whether a first request over HTTP/3 is answered; says so if not.
-spec is_answered(module(), map(), binary()) -> boolean().
is_answered(Module, Options, Path) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
                                           Conn = open(Module, Options),
                                           {ok, 200, _, _} = Module:request(Conn, <<"GET">>, Path, [], <<>>),
                                           ok = Module:stop(Conn)
                                   end),
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason =:= normal orelse unanswered(Module)
    after ?ANSWER_MS ->
            exit(Pid, shutdown),
            receive {'DOWN', Monitor, process, Pid, _} -> unanswered(Module) end
    end.

unanswered(Module) ->
    io:format("~s gets no answer over HTTP/3: it is not measured there~n", [Module]),
    false.

%% @doc Requests `Path' by `Concurrency' processes over connections of `Module' for `Seconds', after a short warm-up.
%% `cpu_us' is the VM's CPU time for one request.
-spec run(module(), map(), {binary(), non_neg_integer()}, {pos_integer(), number()}, each | shared) -> result().
run(Module, Options, Target, Load, each) ->
    load(Module, fun() -> open(Module, Options) end, fun Module:stop/1, Target, Load);
run(Module, Options, Target, Load, shared) ->
    Conn = open(Module, Options),
    Result = load(Module, fun() -> Conn end, fun(_) -> ok end, Target, Load),
    ok = Module:stop(Conn),
    Result.

open(Module, Options) ->
    {ok, Conn} = Module:start_link(Options),
    ok = Module:connect(Conn),
    Conn.

load(Module, Begin, End, {Path, Size}, {Concurrency, Seconds}) ->
    Histogram = counters:new(?BUCKETS, [write_concurrency]),
    Stop = atomics:new(1, []),
    Parent = self(),
    Workers = [spawn_monitor(fun() ->
                                     Conn = Begin(),
                                     Parent ! {self(), ready},
                                     loop(Module, Conn, Path, Size, Histogram, Stop),
                                     ok = End(Conn)
                             end)
               || _ <- lists:seq(1, Concurrency)],
    [receive {Pid, ready} -> ok; {'DOWN', Monitor, process, _, Reason} -> error(Reason) end
     || {Pid, Monitor} <- Workers],
    try
        measured(Workers, Histogram, Stop, Seconds)
    after
        atomics:put(Stop, 1, 1)
    end.

measured(Workers, Histogram, Stop, Seconds) ->
    timer:sleep(?WARM_UP_MS),
    {Before, CpuBefore, Started} = {snapshot(Histogram), hansom_bench_vm:cpu_us(), erlang:monotonic_time(microsecond)},
    timer:sleep(round(Seconds * 1000)),
    {After, CpuAfter, Ended} = {snapshot(Histogram), hansom_bench_vm:cpu_us(), erlang:monotonic_time(microsecond)},
    ok = atomics:put(Stop, 1, 1),
    [receive {'DOWN', Monitor, process, _, normal} -> ok; {'DOWN', Monitor, process, _, Reason} -> error(Reason) end
     || {_, Monitor} <- Workers],
    Counts = lists:zipwith(fun(A, B) -> A - B end, After, Before),
    Total = lists:sum(Counts),
    true = Total > 0,
    #{rps => Total * 1000000 / (Ended - Started),
      p50_us => percentile(0.50, Total, Counts),
      p99_us => percentile(0.99, Total, Counts),
      cpu_us => (CpuAfter - CpuBefore) / Total}.

loop(Module, Conn, Path, Size, Histogram, Stop) ->
    Start = erlang:monotonic_time(microsecond),
    {ok, Body} = case Module:request(Conn, <<"GET">>, Path, [], <<>>) of
                     {ok, 200, _, Whole} -> {ok, Whole};
                     {ok, 200, _} -> Module:body(Conn)
                 end,
    Size = byte_size(Body),
    ok = counters:add(Histogram, bucket(erlang:monotonic_time(microsecond) - Start), 1),
    case atomics:get(Stop, 1) of
        0 -> loop(Module, Conn, Path, Size, Histogram, Stop);
        1 -> ok
    end.

bucket(Us) when Us < ?FINE -> Us + 1;
bucket(Us) when Us < ?MEDIUM -> ?FINE + (Us - ?FINE) div 32 + 1;
bucket(Us) when Us < ?COARSE -> ?FINE + (?MEDIUM - ?FINE) div 32 + (Us - ?MEDIUM) div 1024 + 1;
bucket(_) -> ?BUCKETS.

%% The upper edge of a bucket, in microseconds.
edge(Bucket) when Bucket =< ?FINE -> Bucket;
edge(Bucket) when Bucket =< ?FINE + (?MEDIUM - ?FINE) div 32 -> ?FINE + (Bucket - ?FINE) * 32;
edge(Bucket) -> ?MEDIUM + (Bucket - ?FINE - (?MEDIUM - ?FINE) div 32) * 1024.

snapshot(Histogram) -> [counters:get(Histogram, Bucket) || Bucket <- lists:seq(1, ?BUCKETS)].

percentile(Share, Total, Counts) -> percentile(Share * Total, Counts, 1, 0).

percentile(Wanted, [Count | Rest], Bucket, Seen) ->
    case Seen + Count >= Wanted of
        true -> edge(Bucket);
        false -> percentile(Wanted, Rest, Bucket + 1, Seen + Count)
    end.

%% @doc The same load from `wrk', one thread: how fast the server can be asked at all on this machine.
-spec wrk(file:filename(), iodata(), pos_integer(), number()) -> result().
wrk(Program, Url, Concurrency, Seconds) ->
    {Output, CpuUs} = timed([Program, " -t1 -c", integer_to_list(Concurrency), " -d", whole_seconds(Seconds),
                             "s --latency ", Url]),
    [Rps] = match(Output, "Requests/sec:\\s+([0-9.]+)"),
    [Total] = match(Output, "([0-9]+) requests in"),
    [P50, P50Unit] = match(Output, "50%\\s+([0-9.]+)(us|ms|s)"),
    [P99, P99Unit] = match(Output, "99%\\s+([0-9.]+)(us|ms|s)"),
    #{rps => number(Rps), p50_us => number(P50) * unit(P50Unit), p99_us => number(P99) * unit(P99Unit),
      cpu_us => CpuUs / number(Total)}.

%% @doc The load of `Concurrency' requests at a time on one connection from `h2load', one thread; it tells no
%% percentiles.
-spec h2load(file:filename(), iodata(), pos_integer(), number()) -> #{rps := float(), cpu_us := float()}.
h2load(Program, Url, Concurrency, Seconds) ->
    {Output, CpuUs} = timed([Program, " -t1 -c1 -m", integer_to_list(Concurrency), " --warm-up-time=300ms -D ",
                             whole_seconds(Seconds), " ", Url]),
    [Rps] = match(Output, "finished in [^,]*, ([0-9.]+) req/s"),
    [Total, "0"] = match(Output, "([0-9]+) succeeded, ([0-9]+) failed"),
    #{rps => number(Rps), cpu_us => CpuUs / number(Total)}.

whole_seconds(Seconds) -> integer_to_list(max(1, round(Seconds))).

%% What a command prints, and its CPU time: the shell's `times' tells on its last line what its child has used.
timed(Command) ->
    Output = os:cmd(unicode:characters_to_list([Command, "; times"])),
    [UserM, UserS, SystemM, SystemS] = match(Output, "([0-9]+)m([0-9.]+)s ([0-9]+)m([0-9.]+)s\\s*$"),
    {Output, ((number(UserM) + number(SystemM)) * 60 + number(UserS) + number(SystemS)) * 1000000}.

match(Output, Pattern) ->
    {match, Values} = re:run(Output, Pattern, [{capture, all_but_first, list}]),
    Values.

number(Text) ->
    try list_to_float(Text) catch error:badarg -> float(list_to_integer(Text)) end.

unit("us") -> 1;
unit("ms") -> 1000;
unit("s") -> 1000000.
