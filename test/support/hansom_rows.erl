%% @doc Responses and what they mean, as data: used whole, split and cut.
%%
%% A row is a map:
%% <ul>
%% <li>`send': the bytes of the response</li>
%% <li>`ends': `open' (default) or `close', what the server does after them</li>
%% <li>`method': of the request, `GET' by default</li>
%% <li>`gives': `{Status, Headers, Body}' with Body as `body/1' answers, or the answer
%%     `{error, Reason}' of the request. `any' stands for whatever</li>
%% <li>`left': what is left of a connection without a pool: `connected', `closed' or
%%     `gone' (stopped); `safe' where the framing is ambiguous: hansom reads it as the
%%     others do, but does not use the connection again</li>
%% <li>`only': `whole' keeps the row out of the split tests of other implementations,
%%     `hansom' marks a row in which hansom differs on purpose</li>
%% </ul>
-module(hansom_rows).

-export([names/0, rows/1]).

names() ->
    [line_ends, blank_lines, status_line, status_code, long_line, not_http, fields, folding, order,
     head, no_body, chunked, content_length, until_close, chunk_details, bad_chunks, left_over,
     keep_alive].

rows(Name) ->
    [maps:merge(#{ends => open, method => <<"GET">>, only => all}, Row#{name => Name})
     || Row <- table(Name)].

ok(Body) -> {200, any, {ok, Body}}.

two(Head) -> [Head, "Content-Length: 2\r\n\r\nhi"].

repeat(Count, What) -> lists:duplicate(Count, What).

table(line_ends) ->
    [#{send => "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi", left => connected,
       gives => {200, [{<<"A">>, <<"b">>}, {<<"Content-Length">>, <<"2">>}], {ok, <<"hi">>}}},
     #{send => "HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nhi", left => connected,
       gives => {200, [{<<"A">>, <<"b">>}, {<<"Content-Length">>, <<"2">>}], {ok, <<"hi">>}}}];
table(blank_lines) ->
    [#{send => [repeat(N, "\r\n"), two("HTTP/1.1 200 OK\r\n")], left => connected,
       gives => ok(<<"hi">>)} || N <- [1, 9]]
        ++ [#{send => [repeat(10, "\r\n"), two("HTTP/1.1 200 OK\r\n")], left => closed,
              only => whole, gives => {error, bad_request}}];
table(status_line) ->
    [#{send => two([Line, "\r\n"]), left => connected, gives => ok(<<"hi">>)}
     || Line <- ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 Quite  all right"]]
        ++ [#{send => two([Line, "\r\n"]), left => gone, gives => ok(<<"hi">>)}
            || Line <- ["HTTP/1.0 200 OK", "HTTP/2.0 200 OK", "HTTP/9.7 200 OK"]]
        ++ [#{send => two([Line, "\r\n"]), left => closed, gives => {error, bad_request}}
            || Line <- ["HTTP/1.1200 OK", "HTTP/x.1 200 OK", "HTTP/11 200 OK", "HTTP/1 200 OK",
                        "HTTP/1.1", "HTTP/"]];
table(status_code) ->
    [#{send => two(["HTTP/1.1 ", Text, " X\r\n"]), left => connected,
       gives => {Code, any, {ok, <<"hi">>}}}
     || {Text, Code} <- [{"401.1", 401}, {"999", 999}, {"600", 600}]]
        ++ [#{send => two(["HTTP/1.1 ", Text, "\r\n"]), left => closed, only => hansom,
              gives => {error, bad_request}}
            || Text <- ["abc OK", " 200 OK", "2x0 OK", "-200 OK", ".1 OK"]];
table(long_line) ->
    [#{send => ["HTTP/1.1 200 ", binary:copy(<<"a">>, 5000)], left => closed,
       gives => {error, line_too_long}}];
table(not_http) ->
    [#{send => Bytes, left => closed, gives => {error, {bad_response, not_http}}}
     || Bytes <- ["220 smtp ready", "HTTX", "\r\n\r\n<html>", <<22, 3, 1, 2>>, "HTTP 200"]];
table(fields) ->
    [#{send => ["HTTP/1.1 200 OK\r\n", Line, "\r\nContent-Length: 2\r\n\r\nhi"], left => connected,
       gives => {200, [Field, {<<"Content-Length">>, <<"2">>}], {ok, <<"hi">>}}}
     || {Line, Field} <- [{"A:b", {<<"A">>, <<"b">>}},
                          {"A:\t b \t", {<<"A">>, <<"b">>}},
                          {"a-B_c: d", {<<"a-B_c">>, <<"d">>}},
                          {"A: b: c", {<<"A">>, <<"b: c">>}},
                          {"A:", {<<"A">>, <<>>}},
                          {"A : b", {<<"A ">>, <<"b">>}},
                          {"no colon", {<<"no colon">>, <<>>}},
                          {["A: ", [200, 255]], {<<"A">>, <<200, 255>>}}]]
        ++ [#{send => two(["HTTP/1.1 200 OK\r\n", repeat(2000, "A: b\r\n")]), only => whole,
              left => connected, gives => ok(<<"hi">>)},
            #{send => two(["HTTP/1.1 200 OK\r\nA: ", binary:copy(<<"x">>, 200000), "\r\n"]),
              only => whole, left => connected, gives => ok(<<"hi">>)}];
table(folding) ->
    [#{send => two("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\td\r\n"), only => whole, left => connected,
       gives => {200, [{<<"A">>, <<"b c d">>}, {<<"Content-Length">>, <<"2">>}], {ok, <<"hi">>}}}];
table(order) ->
    [#{send => two("HTTP/1.1 200 OK\r\nb: 1\r\nA: 2\r\nB: 3\r\nb: 1\r\n"), left => connected,
       gives => {200, [{<<"b">>, <<"1">>}, {<<"A">>, <<"2">>}, {<<"B">>, <<"3">>}, {<<"b">>, <<"1">>},
                       {<<"Content-Length">>, <<"2">>}], {ok, <<"hi">>}}}];
table(head) ->
    [#{send => ["HTTP/1.1 200 OK\r\n", Framing, "\r\n\r\n"], method => <<"HEAD">>, left => connected,
       gives => ok(<<>>)} || Framing <- ["Content-Length: 10", "Transfer-Encoding: chunked", "A: b"]]
        ++ [#{send => two("HTTP/1.1 200 OK\r\n"), method => <<"head">>, left => connected,
              gives => ok(<<"hi">>)}];
table(no_body) ->
    [#{send => ["HTTP/1.1 ", Status, " X\r\n", Framing, "\r\n"], left => gone,
       gives => {list_to_integer(Status), any, {ok, <<>>}}}
     || Status <- ["204", "304"],
        Framing <- ["", "Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"]];
table(chunked) ->
    [#{send => ["HTTP/1.1 200 OK\r\n", Framing, "\r\n\r\n2\r\nhi\r\n0\r\n\r\n"], left => connected,
       gives => ok(<<"hi">>)}
     || Framing <- ["Transfer-Encoding: chunked", "transfer-encoding:  CHUNKED ",
                    "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"]]
        ++ [#{send => ["HTTP/1.1 200 OK\r\n", Framing, "\r\n\r\n2\r\nhi\r\n0\r\n\r\n"], left => safe,
              gives => ok(<<"hi">>)}
            || Framing <- ["Transfer-Encoding: chunked\r\nContent-Length: 1",
                           "Content-Length: 1000\r\nTransfer-Encoding: chunked"]]
        ++ [#{send => two("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n"), left => any,
              gives => ok(<<"hi">>)}];
table(content_length) ->
    [#{send => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", left => connected, gives => ok(<<>>)}]
        ++ [#{send => ["HTTP/1.1 200 OK\r\n", Framing, "\r\n\r\n"], left => Left, gives => ok(<<>>)}
            || {Framing, Left} <- [{"Content-Length: none", any},
                                   {"Content-Length: 5\r\nContent-Length: 0", safe}]]
        ++ [#{send => two("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n"), left => safe,
              gives => ok(<<"hi">>)},
            #{send => "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi", left => any, only => hansom,
              gives => malformed}];
table(until_close) ->
    [#{send => ["HTTP/1.1 200 OK\r\n", Framing, "\r\nhello"], ends => close, left => gone,
       gives => ok(<<"hello">>)}
     || Framing <- ["", "Connection: close\r\n", "Connection: keep-alive\r\n",
                    "Transfer-Encoding: identity\r\n"]]
        ++ [#{send => "HTTP/1.1 200 OK\r\n\r\n", ends => close, left => gone, gives => ok(<<>>)}];
table(chunk_details) ->
    [#{send => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Chunks], left => connected,
       gives => ok(<<"hello, world">>)}
     || Chunks <- ["c\r\nhello, world\r\n0\r\n\r\n",
                   "C\r\nhello, world\r\n0\r\n\r\n",
                   "000C\r\nhello, world\r\n0000\r\n\r\n",
                   "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n",
                   "5;a=b\r\nhello\r\n7 ; c=\"d\"\r\n, world\r\n0;e\r\n\r\n",
                   "5 \r\nhello\r\n7  \r\n, world\r\n0 \r\n\r\n",
                   "C\r\nhello, world\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n"]]
        ++ [#{send => "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nC\nhello, world\r\n0\n\n",
              left => connected, only => hansom, gives => ok(<<"hello, world">>)},
            #{send => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n",
              ends => close, left => gone, gives => ok(<<>>)}];
table(bad_chunks) ->
    [#{send => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Chunks], left => gone,
       gives => {200, any, {error, Reason}}}
     || {Chunks, Reason} <- [{"x\r\nhello\r\n", invalid_chunk_size},
                             {"5x\r\nhello\r\n0\r\n\r\n", invalid_chunk_size},
                             {"-5\r\nhello\r\n0\r\n\r\n", invalid_chunk_size},
                             {"5\r\nhelloXX0\r\n\r\n", poorly_formatted_chunked_size},
                             {"4\r\nhello\r\n0\r\n\r\n", poorly_formatted_chunked_size}]];
table(left_over) ->
    [#{send => Bytes, left => gone, only => hansom, gives => ok(<<"hi">>)}
     || Bytes <- [two("HTTP/1.1 200 OK\r\n") ++ "more",
                  two("HTTP/1.1 200 OK\r\n") ++ two("HTTP/1.1 200 Evil\r\n"),
                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nmore"]];
table(keep_alive) ->
    [#{send => two([Version, " 200 OK\r\n", Lines]), left => Left, gives => ok(<<"hi">>)}
     || {Version, Lines, Left} <-
            [{"HTTP/1.1", "Connection: close\r\n", gone},
             {"HTTP/1.1", "connection: CLOSE\r\n", gone},
             {"HTTP/1.1", "Connection: keep-alive, x , Close\r\n", gone},
             {"HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", gone},
             {"HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", gone},
             {"HTTP/1.1", "Connection: closed\r\n", connected},
             {"HTTP/1.1", "Connection: keep-alive\r\n", connected},
             {"HTTP/1.1", "Connection: upgrade\r\n", connected},
             {"HTTP/1.0", "Connection: keep-alive\r\n", connected},
             {"HTTP/1.0", "Connection: x, Keep-Alive\r\n", connected},
             {"HTTP/1.0", "Connection: keep-alive, close\r\n", gone},
             {"HTTP/1.0", "", gone},
             {"HTTP/1.2", "Connection: keep-alive\r\n", gone}]].
