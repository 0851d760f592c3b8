%% @doc One bar chart of a comparison: how many times better hansom did than hackney.
-module(hansom_bench_chart).

-export([svg/1, main/1]).

-define(WIDTH, 760).
-define(ROW, 22).
-define(TOP, 64).
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
    [{[hansom_bench_report:title(Case), Suffix], Times}
     || {Metric, Suffix} <- metrics(Part), Times <- times(Metric, Rounds)].

metrics(Part) when Part =:= rate; Part =:= shared_rate; Part =:= delayed_rate -> [{rps, ""}, {cpu_us, ", CPU"}];
metrics(connect) -> [{per_second, ""}];
metrics(idle) -> [{bytes, ""}];
metrics(_) -> [{mbps, ""}].

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
    Longest = lists:max([1.0 | [Times || {_, Times} <- Bars]]),
    Scale = (?WIDTH - ?LEFT - ?RIGHT) / Longest,
    Height = ?TOP + length(Bars) * ?ROW + 16,
    [io_lib:format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"~b\" height=\"~b\" viewBox=\"0 0 ~b ~b\" "
                   "font-family=\"sans-serif\" font-size=\"12\">~n", [?WIDTH, Height, ?WIDTH, Height]),
     io_lib:format("<rect width=\"~b\" height=\"~b\" fill=\"#ffffff\"/>~n", [?WIDTH, Height]),
     text(16, 26, "font-size=\"16\" fill=\"#222222\"", "Times better than hackney_conn"),
     text(16, 46, "fill=\"#666666\"", [Clients, "; median of paired rounds; the line is 1.0"]),
     [bar(Index, Bar, Scale) || {Index, Bar} <- lists:zip(lists:seq(0, length(Bars) - 1), Bars)],
     io_lib:format("<line x1=\"~.1f\" y1=\"~b\" x2=\"~.1f\" y2=\"~b\" stroke=\"#b03030\" stroke-dasharray=\"4 3\"/>~n",
                   [?LEFT + Scale, ?TOP - 6, ?LEFT + Scale, Height - 12]),
     "</svg>\n"].

bar(Index, {Label, Times}, Scale) ->
    Y = ?TOP + Index * ?ROW,
    [text(?LEFT - 8, Y + 12, "text-anchor=\"end\" fill=\"#222222\"", Label),
     io_lib:format("<rect x=\"~b\" y=\"~b\" width=\"~.1f\" height=\"~b\" fill=\"#3a6ea5\"/>~n",
                   [?LEFT, Y, Times * Scale, ?ROW - 6]),
     %% Not on the line at 1.0.
     text(?LEFT + round(max(Times, 1.0) * Scale) + 6, Y + 12, "fill=\"#222222\"", io_lib:format("~.1f", [Times]))].

text(X, Y, Attributes, Text) ->
    io_lib:format("<text x=\"~b\" y=\"~b\" ~s>~ts</text>~n", [X, Y, Attributes, escape(Text)]).

escape(Text) ->
    lists:foldl(fun({From, To}, Acc) -> string:replace(Acc, From, To, all) end, unicode:characters_to_list(Text),
                [{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}]).
