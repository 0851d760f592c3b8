%% @doc Responses: every row of `hansom_rows' read in every way, and some of them cut, divided, dripped
%% and reset.
-module(hansom_scenarios_response).

-export([scenarios/0]).

scenarios() ->
    rows() ++ cuts() ++ truncated() ++ divided() ++ drips() ++ resets() ++ codings() ++ interim() ++ again().

%% How a response can be read.
ways() -> [body, pieces, push, pull].

read(body, Method) -> [connect, {request, Method, <<"/">>, [], <<>>}, body];
read(pieces, Method) -> [connect, {request, Method, <<"/">>, [], <<>>}, pieces];
read(push, Method) -> [connect, {request_async, Method, <<"/">>, [], <<>>, true}, messages];
read(pull, Method) -> [connect, {request_async, Method, <<"/">>, [], <<>>, once}, {messages, 2}, pull_all];
%% As `push', by hackney's rule that a body cut short is a body.
read(follow, Method) ->
    [connect, {request_async, Method, <<"/">>, [], <<>>, true, {actor, main}, true}, messages].

ends(open) -> [];
ends(close) -> [half_close];
ends(reset) -> [reset].

%% Rows

rows() ->
    [hansom_deviations:mark(
       #{id => {row, Name, Index, Way}, script => [request, {send, Send} | ends(Ends)],
         do => row(Way, Name, Method, Gives), row => Row})
     || Name <- hansom_rows:names(),
        {Index, #{send := Send, ends := Ends, method := Method, gives := Gives} = Row}
            <- numbered(hansom_rows:rows(Name)),
        Way <- ways()].

%% Of a failure before the head there is one message at most; without a body `done' comes unasked.
row(pull, _, Method, {error, _}) -> read(push, Method);
row(pull, _, Method, malformed) -> read(push, Method);
row(pull, Name, Method, _) when Name =:= head; Name =:= no_body ->
    case Method of
        <<"head">> -> read(pull, Method);
        _ -> [connect, {request_async, Method, <<"/">>, [], <<>>, once}, {messages, 3}]
    end;
row(Way, _, Method, _) -> read(Way, Method).

numbered(List) -> lists:zip(lists:seq(1, length(List)), List).

%% Parts

response(length) ->
    <<"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello">>;
response(chunked) ->
    <<"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x\r\nyou\r\n0\r\nT: v\r\n\r\n">>;
response(until_close) ->
    <<"HTTP/1.1 200 OK\r\n\r\nhello">>;
response(interim) ->
    <<"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi">>;
response(no_content) ->
    <<"HTTP/1.1 204 None\r\nA: b\r\n\r\n">>;
response(folded) ->
    <<"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi">>;
response(line_feeds) ->
    <<"HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nhi">>;
response(redirect) ->
    <<"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 2\r\n\r\nhi">>.

%% The end of the stream after every byte. A body that is cut is an error to hansom unless it is
%% told otherwise; hackney knows no such option.
cuts() ->
    [hansom_deviations:mark(
       #{id => {cut, Name, Way, Truncated, At}, start => #{truncated_body => Truncated},
         script => [request, {send, binary:part(Response, 0, At)}, half_close],
         cut_body => At >= body_at(Name), do => read(Way, <<"GET">>)})
     || {Name, Ways} <- [{length, [body, pieces, push, pull]}, {chunked, [body, pieces, push, pull]},
                         {until_close, [body, push]}, {interim, [body]}, {no_content, [body]},
                         {folded, [body]}, {line_feeds, [body]}, {redirect, [follow]}],
        Response <- [response(Name)], Way <- Ways, Truncated <- [error, ok],
        %% Whether the end of the stream is seen with the end of a whole response is a matter of luck.
        At <- lists:seq(first_cut(Way, Truncated, Name), byte_size(Response) - 1)
                  ++ [byte_size(Response) || Name =:= until_close]].

%% In the head there is nothing to choose.
first_cut(Way, error, _) when Way =:= body; Way =:= push; Way =:= follow -> 0;
first_cut(_, _, Name) -> body_at(Name).

%% Where the body begins.
body_at(Name) ->
    byte_size(response(Name)) - case Name of
                                    chunked -> 31;
                                    no_content -> 0;
                                    Name when Name =:= length; Name =:= until_close -> 5;
                                    _ -> 2
                                end.

%% A body that ends early, on every way to a body.
truncated() ->
    Gzip = zlib:gzip(binary:copy(<<"hello ">>, 50)),
    Deflate = zlib:compress(binary:copy(<<"hello ">>, 50)),
    Chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    Coded = fun(Coding, Body) ->
                    ["HTTP/1.1 200 OK\r\nContent-Encoding: ", Coding, "\r\nContent-Length: 1000\r\n\r\n", Body]
            end,
    Upload = [{send_request_headers, <<"POST">>, <<"/">>, []}, finish_send_body, start_response],
    Decompress = [{get, <<"/">>, [{auto_decompress, true}]}, body],
    [hansom_deviations:mark(
       #{id => {truncated, Name, Truncated, Pooled, End}, script => [request | sent(Sent, End)],
         start => maps:merge(#{truncated_body => Truncated},
                             case Pooled of pooled -> #{pool_pid => {actor, pool}}; alone -> #{} end),
         do => [connect | Do]})
     || {Name, Sent, Do} <- [{body, Chunked, [get, body]}, {pieces, Chunked, [get, pieces]},
                             {length, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", [get, body]},
                             {upload_body, Chunked, Upload ++ [body]}, {upload_pieces, Chunked, Upload ++ [pieces]},
                             {after_stop_async, Chunked, [{async, once}, {messages, 2}, stop_async, body]},
                             {pieces_then_body, Chunked, [get, stream_body, body]},
                             {push, Chunked, [{async, true}, messages]},
                             {pull, Chunked, [{async, once}, {messages, 2}, pull_all]},
                             {gzip, Coded("gzip", Gzip), Decompress},
                             {gzip_cut, Coded("gzip", binary:part(Gzip, 0, 20)), Decompress},
                             {deflate, Coded("deflate", Deflate), Decompress},
                             {deflate_cut, Coded("deflate", binary:part(Deflate, 0, 10)), Decompress}],
        Truncated <- [error, ok], Pooled <- [alone, pooled], End <- [half_close, reset]].

%% What was sent before a reset has been taken by the client.
sent(Bytes, half_close) -> [{send, Bytes}, half_close];
sent(Bytes, reset) -> [{pieces, [Bytes, <<>>]}, reset].

divided() ->
    [hansom_deviations:mark(
       #{id => {divided, Name, At}, do => read(body, <<"GET">>),
         script => [request, {pieces, [binary:part(Response, 0, At),
                                       binary:part(Response, At, byte_size(Response) - At)]}]})
     || Name <- [length, chunked, interim, folded, line_feeds],
        Response <- [response(Name)], At <- lists:seq(1, byte_size(Response) - 1)].

drips() ->
    [hansom_deviations:mark(
       #{id => {drip, Name, Way},
         do => case Name of interim -> read_interim(Way, 1); _ -> read(Way, <<"GET">>) end,
         script => [request, {drip, response(Name)} | [half_close || Name =:= until_close]]})
     || Name <- [length, chunked, until_close, interim, folded, line_feeds], Way <- ways()]
    ++ [hansom_deviations:mark(
          #{id => {drip, Name, Way}, script => [request, {drip, response(Name)}], do => read(Way, <<"GET">>)})
        || {Name, Way} <- [{no_content, body}, {no_content, push}, {redirect, follow}, {redirect, push}]].

%% A reset once the client has taken all that was sent.
resets() ->
    [hansom_deviations:mark(
       #{id => {reset, Name, Way, At}, do => read(Way, <<"GET">>),
         script => [request, {pieces, [binary:part(response(Name), 0, At), <<>>]}, reset]})
     || {Name, Places} <- [{length, [0, 8, 20, 46]}, {chunked, [0, 9, 44]}, {until_close, [9]}],
        At <- Places, Way <- [body, push]].

%% Content codings

codings() ->
    Gzip = zlib:gzip(<<"hello">>),
    Deflate = zlib:compress(<<"hello">>),
    Raw = zlib:zip(<<"hello">>),
    [hansom_deviations:mark(
       #{id => {coding, Name, Way, Asked},
         script => [request, {send, ["HTTP/1.1 200 OK\r\nContent-Encoding: ", Coding, "\r\nContent-Length: ",
                                     integer_to_list(byte_size(Body)), "\r\n\r\n", Body]}],
         do => [connect, {get, <<"/">>, [{auto_decompress, Asked}]}, Way]})
     || {Name, Coding, Body} <- [{gzip, "gzip", Gzip}, {x_gzip, "x-gzip", Gzip}, {upper, "GZIP", Gzip},
                                 {two_members, "gzip", <<Gzip/binary, Gzip/binary>>},
                                 {deflate, "deflate", Deflate}, {raw_deflate, "deflate", Raw},
                                 {identity, "identity", <<"hello">>}, {unknown, "compress", <<"hello">>},
                                 {not_gzip, "gzip", <<"hello">>}, {not_deflate, "deflate", <<"hello">>},
                                 {cut_gzip, "gzip", binary:part(Gzip, 0, byte_size(Gzip) - 9)},
                                 {empty_gzip, "gzip", <<>>}],
        {Way, Asked} <- [{body, true}, {body, false}, {pieces, true}]].

%% Interim responses

interim() ->
    [hansom_deviations:mark(
       #{id => {interim, Name, Way}, do => read_interim(Way, Count),
         script => [request, {send, [Interim, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"]}]})
     || {Name, Count, Interim} <- [{one, 1, "HTTP/1.1 100 Continue\r\n\r\n"},
                            {two, 2, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"},
                            {switching, 1, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"},
                            {no_reason, 1, "HTTP/1.1 199\r\n\r\n"},
                            {with_length, 1, "HTTP/1.1 102 Wait\r\nContent-Length: 0\r\n\r\n"}],
        Way <- ways()]
    ++ [hansom_deviations:mark(
          #{id => {interim, told, Count}, script => [request, {send, [interim(Count), response(length)]}],
            do => [connect, {inform_request, []}, body]})
        || Count <- [0, 1, 3]]
    ++ [hansom_deviations:mark(
          #{id => {interim, only, Way}, script => [request, {send, interim(2)}, half_close],
            do => read(Way, <<"GET">>)})
        || Way <- [body, push]].

read_interim(pull, Count) -> [connect, {async, once}, {messages, 2 + Count}, pull_all];
read_interim(Way, _) -> read(Way, <<"GET">>).

interim(Count) -> lists:duplicate(Count, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").

%% A second exchange

again() ->
    [hansom_deviations:mark(
       #{id => {again, Name, Pooled},
         start => case Pooled of pooled -> #{pool_pid => {actor, pool}}; alone -> #{} end,
         scripts => [[request, {send, First}, request, {send, hansom_case:response(<<"two">>)}]],
         do => [connect, {request, Method, <<"/">>, Headers, <<>>}, body, get_state, get, body]})
     || Pooled <- [pooled, alone],
        {Name, Method, Headers, First} <-
            [{plain, <<"GET">>, [], hansom_case:response(<<"one">>)},
             {chunked, <<"GET">>, [], hansom_case:chunked(["o", "ne"])},
             {empty, <<"GET">>, [], hansom_case:response(<<>>)},
             {head, <<"HEAD">>, [], "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"},
             {client_error, <<"GET">>, [], "HTTP/1.1 404 None\r\nContent-Length: 1\r\n\r\nx"},
             {asked_to_close, <<"GET">>, [{<<"Connection">>, <<"close">>}], hansom_case:response(<<"one">>)},
             {asked_in_a_list, <<"GET">>, [{<<"connection">>, <<"x, CLOSE">>}], hansom_case:response(<<"one">>)},
             {asked_in_atoms, <<"GET">>, [{connection, close}], hansom_case:response(<<"one">>)},
             {asked_in_strings, <<"GET">>, [{"Connection", "close"}], hansom_case:response(<<"one">>)},
             {keep_alive, <<"GET">>, [{<<"Connection">>, <<"keep-alive">>}], hansom_case:response(<<"one">>)},
             {head_asked_to_close, <<"HEAD">>, [{<<"Connection">>, <<"close">>}],
              "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"}]].
