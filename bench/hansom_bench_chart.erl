%% @doc One bar chart of a comparison: how many times better hansom did than hackney.
-module(hansom_bench_chart).

-export([svg/1, main/1]).

-define(WIDTH, 760).
-define(ROW, 22).
-define(TOP, 80).
-define(LEFT, 250).
-define(RIGHT, 90).

%% @doc Draws `results.term' again: `erl -run hansom_bench_chart main RESULTS SVG'.
-spec main([string()]) -> ok.
main([From, To]) ->
    {ok, [Results]} = file:consult(From),
    {ok, Svg} = svg(Results),
    ok = file:write_file(To, Svg).

%% @doc The chart; nothing when only one client was measured.
-spec svg(map()) -> {ok, iodata()} | nothing_compared.
svg(#{head := Head, results := Results}) ->
    case [Bar || {Case, Rounds} <- Results, Bar <- bars(Case, Rounds)] of
        [] -> nothing_compared;
        Bars -> {ok, draw(Bars, proplists:get_value(<<"Clients">>, Head, <<>>))}
    end.

bars({Part, _, _} = Case, Rounds) ->
    [{[hansom_bench_report:title(Case), suffix(Metric)], Metric, Times}
     || Metric <- metrics(Part), Times <- times(Metric, Rounds)].

metrics(Part) when Part =:= rate; Part =:= shared_rate -> [rps, cpu_us];
%% Of a few requests a second the CPU time is below what the system counts in.
metrics(delayed_rate) -> [rps];
metrics(connect) -> [per_second];
metrics(idle) -> [bytes];
metrics(_) -> [mbps].

suffix(cpu_us) -> ", CPU";
suffix(_) -> "".

colour(_, Times) when Times < 1.0 -> "#b07030";
colour(cpu_us, _) -> "#9dbad6";
colour(_, _) -> "#3a6ea5".

%% Always "times better", so that a longer bar is the better one for every metric.
times(Metric, Rounds) ->
    Pair = case hansom_bench_report:better(Metric) of
               more -> {hansom_conn, hackney_conn};
               less -> {hackney_conn, hansom_conn}
           end,
    case hansom_bench_report:ratio(Pair, Metric, Rounds) of
        {ok, Times} -> [Times];
        unknown -> []
    end.

draw(Bars, Clients) ->
    Times = [T || {_, _, T} <- Bars],
    %% From half as good to ten times as good at least, by whole steps beyond.
    From = math:log10(min(0.5, lists:min(Times))),
    To = math:ceil(math:log10(max(10.0, lists:max(Times)))),
    Place = fun(T) -> ?LEFT + (math:log10(T) - From) * (?WIDTH - ?LEFT - ?RIGHT) / (To - From) end,
    Height = ?TOP + length(Bars) * ?ROW + 16,
    [io_lib:format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"~b\" height=\"~b\" viewBox=\"0 0 ~b ~b\" "
                   "font-family=\"sans-serif\" font-size=\"12\">~n", [?WIDTH, Height, ?WIDTH, Height]),
     io_lib:format("<rect width=\"~b\" height=\"~b\" fill=\"#ffffff\"/>~n", [?WIDTH, Height]),
     text(16, 26, "font-size=\"16\" fill=\"#222222\"", "Times better than hackney_conn"),
     text(16, 46, "fill=\"#666666\"", [Clients, "; median of paired rounds; logarithmic scale"]),
     [grid(Place(math:pow(10, Step)), Step, Height) || Step <- lists:seq(0, round(To))],
     [bar(Index, Bar, Place) || {Index, Bar} <- lists:zip(lists:seq(0, length(Bars) - 1), Bars)],
     "</svg>\n"].

grid(X, Step, Height) ->
    Colour = case Step of 0 -> "#b03030"; _ -> "#dddddd" end,
    [io_lib:format("<line x1=\"~.1f\" y1=\"~b\" x2=\"~.1f\" y2=\"~b\" stroke=\"~s\"/>~n",
                   [X, ?TOP - 6, X, Height - 12, Colour]),
     text(round(X), ?TOP - 10, "text-anchor=\"middle\" fill=\"#666666\"", integer_to_list(round(math:pow(10, Step))))].

bar(Index, {Label, Metric, Times}, Place) ->
    Y = ?TOP + Index * ?ROW,
    {Left, Right} = {Place(min(1.0, Times)), Place(max(1.0, Times))},
    [text(?LEFT - 8, Y + 12, "text-anchor=\"end\" fill=\"#222222\"", Label),
     io_lib:format("<rect x=\"~.1f\" y=\"~b\" width=\"~.1f\" height=\"~b\" fill=\"~s\"/>~n",
                   [Left, Y, Right - Left, ?ROW - 6, colour(Metric, Times)]),
     text(round(Right) + 6, Y + 12, "fill=\"#222222\"", number(Times))].

number(Times) when Times >= 100 -> integer_to_list(round(Times));
number(Times) -> io_lib:format("~.1f", [Times]).

text(X, Y, Attributes, Text) ->
    io_lib:format("<text x=\"~b\" y=\"~b\" ~s>~ts</text>~n", [X, Y, Attributes, escape(Text)]).

escape(Text) ->
    lists:foldl(fun({From, To}, Acc) -> string:replace(Acc, From, To, all) end, unicode:characters_to_list(Text),
                [{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}]).
