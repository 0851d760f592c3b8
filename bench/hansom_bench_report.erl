%% @doc Turns measurements into medians, ratios and a Markdown table.
%%
%% A ratio is the median of the ratios of the single rounds, in which the two measurements are neighbours in time:
%% far steadier on a shared machine than the ratio of two medians.
-module(hansom_bench_report).

-export([markdown/1, lines/2, title/1, ratio/3, better/1]).

-type bench_case() :: {atom(), plain | tls | http2 | http3, term()}.
-type rounds() :: [#{atom() => #{atom() => number()}}].
-export_type([bench_case/0, rounds/0]).

%% @doc The report, as Markdown.
-spec markdown(map()) -> iodata().
markdown(#{head := Head, results := Results}) ->
    Parts = lists:uniq([Part || {{Part, _, _}, _} <- Results]),
    [[["- ", Name, ": ", Value, "\n"] || {Name, Value} <- Head],
     [table(Part, [Result || {{P, _, _}, _} = Result <- Results, P =:= Part]) || Part <- Parts]].

table(Part, Results) ->
    Metrics = metrics(Part),
    ["\n### ", part_title(Part), "\n\n| | client |", [[" ", column(Metric), " |"] || Metric <- Metrics],
     [[" ", column(Metric), ", x hackney |"] || Metric <- Metrics], "\n|---|---|",
     ["---|" || _ <- Metrics ++ Metrics], "\n",
     [row(Case, Variant, Rounds, Metrics) || {Case, Rounds} <- Results, Variant <- variants(Rounds)]].

row(Case, Variant, Rounds, Metrics) ->
    ["| ", title(Case), " | ", atom_to_list(Variant), " |",
     [[" ", format(median(values(Variant, Metric, Rounds))), " |"] || Metric <- Metrics],
     [[" ", compared(Variant, Metric, Rounds), " |"] || Metric <- Metrics], "\n"].

compared(hackney_conn, _, _) -> "";
compared(Variant, Metric, Rounds) ->
    case ratio({Variant, hackney_conn}, Metric, Rounds) of
        {ok, Ratio} -> io_lib:format("~.2f", [Ratio]);
        unknown -> ""
    end.

%% @doc One case, for the terminal.
-spec lines(bench_case(), rounds()) -> iodata().
lines({Part, _, _} = Case, Rounds) ->
    [io_lib:format("~-38ts ~-13s~ts~n",
                   [title(Case), Variant,
                    [io_lib:format(" ~ts ~ts~ts", [column(Metric), format(median(values(Variant, Metric, Rounds))),
                                                   bracket(compared(Variant, Metric, Rounds))])
                     || Metric <- metrics(Part)]])
     || Variant <- variants(Rounds)].

bracket("") -> "";
bracket(Ratio) -> [" (x", Ratio, ")"].

%% @doc The median of A / B over the rounds.
-spec ratio({atom(), atom()}, atom(), rounds()) -> {ok, float()} | unknown.
ratio({A, B}, Metric, Rounds) ->
    case [ValueA / ValueB || #{A := #{Metric := ValueA}, B := #{Metric := ValueB}} <- Rounds, ValueB > 0] of
        [] -> unknown;
        Ratios -> {ok, float(median(Ratios))}
    end.

values(Variant, Metric, Rounds) -> [Value || #{Variant := #{Metric := Value}} <- Rounds].

variants(Rounds) ->
    [Variant || Variant <- [hansom_conn, hackney_conn, hansom_http1, wrk, h2load],
                lists:any(fun(Round) -> maps:is_key(Variant, Round) end, Rounds)].

median([]) -> unknown;
median(Values) ->
    Sorted = lists:sort(Values),
    Length = length(Sorted),
    case Length rem 2 of
        1 -> lists:nth(Length div 2 + 1, Sorted);
        0 -> (lists:nth(Length div 2, Sorted) + lists:nth(Length div 2 + 1, Sorted)) / 2
    end.

format(unknown) -> "";
format(Value) when is_integer(Value); Value >= 100 -> integer_to_list(round(Value));
format(Value) -> io_lib:format("~.1f", [Value]).

metrics(Part) when Part =:= rate; Part =:= shared_rate; Part =:= delayed_rate -> [rps, p50_us, p99_us, cpu_us];
metrics(connect) -> [per_second, cpu_us];
metrics(idle) -> [bytes];
metrics(_) -> [mbps, cpu_us_mib].

%% @doc Whether more of a metric is better, or less.
-spec better(atom()) -> more | less.
better(Metric) when Metric =:= rps; Metric =:= per_second; Metric =:= mbps -> more;
better(_) -> less.

column(rps) -> "requests/s";
column(per_second) -> "connections/s";
column(mbps) -> "MB/s";
column(p50_us) -> "p50 us";
column(p99_us) -> "p99 us";
column(cpu_us) -> "CPU us";
column(cpu_us_mib) -> "CPU us/MiB";
column(bytes) -> "bytes".

part_title(shared_rate) -> "Requests: GET, 1 KiB, all on one connection";
part_title(delayed_rate) -> "Requests: GET, 1 KiB, all on one connection, 30 ms away";
part_title(delayed_download) -> "Response body of 16 MiB, 30 ms away";
part_title(delayed_upload) -> "Request body of 16 MiB, 30 ms away";
part_title(rate) -> "Requests: GET, 1 KiB, keep-alive";
part_title(download) -> "Response body of 100 MiB";
part_title(upload) -> "Request body of 100 MiB";
part_title(connect) -> "Connections opened and closed";
part_title(idle) -> "Memory of an idle connection".

%% @doc What a case is called.
-spec title(bench_case()) -> iodata().
title({rate, Security, Concurrency}) -> ["requests, ", security(Security), ", c=", integer_to_list(Concurrency)];
title({shared_rate, Protocol, Concurrency}) -> title({rate, Protocol, Concurrency});
title({delayed_rate, Protocol, Concurrency}) -> [title({rate, Protocol, Concurrency}), ", 30 ms"];
title({delayed_download, Protocol, How}) -> ["16 MiB down, ", security(Protocol), ", ", how(How), ", 30 ms"];
title({delayed_upload, Protocol, How}) -> ["16 MiB up, ", security(Protocol), ", ", how(How), ", 30 ms"];
title({download, Security, How}) -> ["100 MiB down, ", security(Security), ", ", how(How)];
title({upload, Security, How}) -> ["100 MiB up, ", security(Security), ", ", how(How)];
title({connect, Security, _}) -> ["connections, ", security(Security)];
title({idle, Security, _}) -> ["idle memory, ", security(Security)].

security(plain) -> "plain";
security(tls) -> "TLS";
security(http2) -> "HTTP/2";
security(http3) -> "HTTP/3".

how(async) -> "async true";
how(async_once) -> "async once";
how(How) -> atom_to_list(How).
