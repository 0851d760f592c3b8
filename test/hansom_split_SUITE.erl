%% @doc The bytes of a response may arrive in any portions, and may stop anywhere: the
%% rows of `hansom_rows', split at every byte, byte by byte, and cut at every byte.
-module(hansom_split_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{rsp_22_cut_at_every_byte_is_an_error, "a truncated body is an error by default"},
     {rsp_04_any_flawed_byte_gets_an_answer, "RSP-4 and RSP-19: a crash is marked wrong"},
     {rsp_11_reset_at_every_byte, "hackney loses data that came before a reset"}].

%% Rows short enough for work that grows with the square of their size.
short_rows() ->
    [late(Row#{send := Bytes})
     || Name <- hansom_rows:names(),
        #{send := Send, only := Only} = Row <- hansom_play:rows(Name),
        Only =:= all orelse hansom_case:is_hansom(),
        Bytes <- [iolist_to_binary(Send)],
        byte_size(Bytes) < 300].

%% Left-over bytes that come later are bytes on an idle connection, which it notices when
%% they come.
late(#{name := left_over} = Row) -> Row#{left := any};
late(Row) -> Row.

%% Clauses: RSP-1, RSP-3, RSP-6, RSP-8, RSP-9, RSP-18, RSP-20, TRAP-20, TRAP-34
rsp_01_split_at_every_byte(_) ->
    [begin
         <<First:At/binary, Second/binary>> = Bytes,
         Step = {pieces, [First, Second]},
         hansom_play:check(Row, Step, hansom_play:row(Row, Step))
     end
     || #{send := Bytes} = Row <- short_rows(), At <- lists:seq(1, byte_size(Bytes) - 1)].

%% Clauses: RSP-1, RSP-3, RSP-6, RSP-8, RSP-9, RSP-18, RSP-20, TRAP-20, TRAP-34
rsp_01_dripped_byte_by_byte(_) ->
    [begin
         Step = {drip, Bytes},
         hansom_play:check(Row, Step, hansom_play:row(Row, Step))
     end
     || #{send := Bytes} = Row <- short_rows()].

%% Responses whose every beginning is cut off.
cut_rows() ->
    [hd(hansom_rows:rows(line_ends)),
     #{name => chunked, method => <<"GET">>,
       send => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n"},
     #{name => interim, method => <<"GET">>,
       send => "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}].

cut(Row, At, Last, Options) ->
    #{send := Send} = Row,
    Bytes = binary:part(iolist_to_binary(Send), 0, At),
    case Last of
        close -> hansom_play:row(Row#{ends => close, options => Options}, {send, Bytes});
        reset -> hansom_play:row(Row#{ends => reset, options => Options}, {send, Bytes})
    end.

%% The size of everything before the body of the final response.
head_size(#{send := Send}) ->
    Bytes = iolist_to_binary(Send),
    {Final, _} = binary:match(Bytes, <<" 200 ">>),
    {End, 4} = binary:match(Bytes, <<"\r\n\r\n">>, [{scope, {Final, byte_size(Bytes) - Final}}]),
    End + 4.

%% Clauses: RSP-11, RSP-22, ST-15, ST-18, TRAP-41
rsp_22_cut_at_every_byte_gives_what_came(_) ->
    [begin
         Got = cut(Row, At, close, #{truncated_body => ok}),
         case Got of
             {{error, closed}, closed} -> ?assert(At < Head);
             {{200, _, {ok, Body}}, gone} ->
                 ?assert(At >= Head),
                 ?assertEqual(<<>>, remainder(Body, [<<"hi">>, <<"hello, world">>]))
         end
     end
     || #{send := Send} = Row <- cut_rows(), Head <- [head_size(Row)],
        At <- lists:seq(0, iolist_size(Send) - 3)].

%% Clauses: RSP-22, ST-19, TRAP-41
rsp_22_cut_at_every_byte_is_an_error(_) ->
    [begin
         Got = cut(Row, At, close, #{}),
         case Got of
             {{error, closed}, closed} -> ?assert(At < Head);
             {{200, _, {error, {closed, Partial}}}, gone} ->
                 ?assert(At >= Head),
                 ?assertEqual(<<>>, remainder(Partial, [<<"hi">>, <<"hello, world">>]));
             %% "0" CRLF is the end of the data: a missing end of the trailers is not.
             {{200, _, {ok, <<"hello, world">>}}, gone} ->
                 ?assert(At >= iolist_size(Send) - 3)
         end
     end
     || #{send := Send} = Row <- cut_rows(), Head <- [head_size(Row)],
        At <- lists:seq(0, iolist_size(Send) - 1)].

%% Clauses: RSP-11, RSP-30
rsp_11_reset_at_every_byte(_) ->
    [begin
         Got = cut(Row, At, reset, #{}),
         case Got of
             {{error, Reason}, closed} -> ?assert(lists:member(Reason, [closed, econnreset]));
             {{200, _, {error, {closed, _}}}, gone} -> ok;
             {{200, _, {error, Reason}}, gone} ->
                 ?assert(lists:member(Reason, [closed, econnreset]))
         end
     end
     || #{send := Send} = Row <- cut_rows(), At <- lists:seq(0, iolist_size(Send) - 6)].

%% What follows `Body' is no matter if one of the texts begins with it.
remainder(Body, Texts) ->
    case [Text || Text <- Texts, Body =:= binary:part(Text, 0, min(byte_size(Body), byte_size(Text)))] of
        [] -> Body;
        _ -> <<>>
    end.

%% Clauses: RSP-3, RSP-4, RSP-8, RSP-18, RSP-19, RSP-20, TRAP-35
rsp_04_any_flawed_byte_gets_an_answer(_) ->
    [begin
         <<Before:At/binary, Byte, After/binary>> = Bytes,
         Flawed = <<Before/binary, (flaw(Flaw, Byte))/binary, After/binary>>,
         {Answer, Left} = hansom_play:row(Row#{ends => close, options => #{}}, {send, Flawed}),
         %% Good or bad, it is an answer, and a connection whose peer has closed is not kept.
         case Answer of
             {error, _} -> ?assertEqual({Flawed, closed}, {Flawed, Left});
             {Status, _, {Result, _}} when is_integer(Status), Result =:= ok orelse Result =:= error ->
                 ?assert(lists:member(Left, [gone, closed, connected]))
         end
     end
     || #{send := Send} = Row <- cut_rows(),
        Bytes <- [iolist_to_binary(Send)],
        At <- lists:seq(0, byte_size(Bytes) - 1),
        Flaw <- [nul, line_feed, high, missing, twice]].

flaw(nul, _) -> <<0>>;
flaw(line_feed, _) -> <<"\n">>;
flaw(high, _) -> <<255>>;
flaw(missing, _) -> <<>>;
flaw(twice, Byte) -> <<Byte, Byte>>.
