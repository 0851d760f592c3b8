%% @doc What a request looks like on the wire, byte for byte.
-module(hansom_request_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
-define(REPLY, {send, <<"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n">>}).

-import(hansom_case, [connected/1, connected/2, serve/1, exchange/1, state/1]).

all() -> hansom_case:cases(?MODULE).

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{req_01_empty_path_of_an_upload, "REQ-1: an empty target is marked wrong"},
     {req_02_path_and_method_may_be_iodata, "REQ-2: free to accept"},
     {req_06_default_host_of_an_ipv6_literal, "REQ-8: a literal without brackets is marked wrong"},
     {req_12_empty_chunk_writes_nothing, "REQ-12 is marked wrong"}].

%% The bytes of one request, for the arguments of `request/5'.
sent(Method, Path, Headers, Body) ->
    {Pid, Peer} = connected(serve([request, ?REPLY])),
    {ok, 200, _} = ?CONN:request(Pid, Method, Path, Headers, Body),
    {ok, <<>>} = ?CONN:body(Pid),
    Bytes = hansom_script:received(Peer),
    %% Nothing may follow what the server took for the request.
    [Bytes] = hansom_script:requests(Peer),
    {Bytes, authority(Peer)}.

authority(Peer) ->
    #{local := {ok, {_, Port}}} = hansom_script:socket_info(Peer),
    ["127.0.0.1:", integer_to_list(Port)].

%% The request expected when the defaults are added after `Lines'.
expected(Line, Lines, Authority, Rest) ->
    iolist_to_binary([Line, "\r\n", [[L, "\r\n"] || L <- Lines], "Host: ", Authority,
                      "\r\nUser-Agent: ", user_agent(), "\r\n", Rest]).

user_agent() ->
    App = hansom_case:application(),
    {ok, Version} = application:get_key(App, vsn),
    [Release | _] = string:split(Version, "-"),
    [atom_to_list(App), "/", Release].

%% The bytes of an upload, head and body, for the steps of `Send'.
uploaded(Headers, Send) -> uploaded(<<"/up">>, Headers, Send).

uploaded(Path, Headers, Send) ->
    {Pid, Peer} = connected(serve([request, ?REPLY])),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, Path, Headers),
    Send(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, <<>>} = ?CONN:body(Pid),
    hansom_script:received(Peer).

%% Request line

%% Clauses: REQ-1, REQ-6, REQ-7
req_01_request_line_and_defaults(_) ->
    {Bytes, Authority} = sent(<<"GET">>, <<"/a?b=c">>, [], <<>>),
    ?assertEqual(expected("GET /a?b=c HTTP/1.1", [], Authority, "\r\n"), Bytes).

%% Clauses: REQ-1
req_01_method_is_not_changed(_) ->
    {Bytes, Authority} = sent(<<"get">>, <<"/">>, [], <<>>),
    ?assertEqual(expected("get / HTTP/1.1", [], Authority, "\r\n"), Bytes).

%% Clauses: REQ-1
req_01_empty_path_becomes_a_slash(_) ->
    {Bytes, Authority} = sent(<<"GET">>, <<>>, [], <<>>),
    ?assertEqual(expected("GET / HTTP/1.1", [], Authority, "\r\n"), Bytes).

%% Clauses: REQ-1
req_01_empty_path_of_an_upload(_) ->
    ?assertMatch(<<"POST / HTTP/1.1\r\n", _/binary>>,
                 uploaded(<<>>, [], fun(Pid) -> ok = ?CONN:finish_send_body(Pid) end)).

%% Clauses: REQ-2
req_02_path_and_method_may_be_iodata(_) ->
    {Bytes, Authority} = sent('OPTIONS', ["/a", <<"/b">>], [], <<>>),
    ?assertEqual(expected("OPTIONS /a/b HTTP/1.1", [], Authority, "\r\n"), Bytes).

%% Clauses: REQ-15
req_15_absolute_target_is_sent_verbatim(_) ->
    {Bytes, Authority} = sent(<<"GET">>, <<"http://example.com/a">>, [], <<>>),
    ?assertEqual(expected("GET http://example.com/a HTTP/1.1", [], Authority, "\r\n"), Bytes).

%% Headers

%% Clauses: REQ-3
req_03_types_of_names_and_values(_) ->
    {Bytes, Authority} =
        sent(<<"GET">>, <<"/">>,
             [{<<"A">>, <<"1">>}, {"B", "2"}, {'C', three}, {<<"D">>, 4},
              {<<"E">>, {<<"text/x">>, [{<<"q">>, <<"1">>}, <<"flag">>, {"k", "v"}]}}], <<>>),
    ?assertEqual(expected("GET / HTTP/1.1",
                          ["A: 1", "B: 2", "C: three", "D: 4", "E: text/x;q=1;flag;k=v"],
                          Authority, "\r\n"), Bytes).

%% Clauses: REQ-4
req_04_order_case_and_duplicates_are_kept(_) ->
    {Bytes, Authority} = sent(<<"GET">>, <<"/">>,
                              [{<<"zZ">>, <<"1">>}, {<<"aA">>, <<"2">>}, {<<"ZZ">>, <<"3">>},
                               {<<"zZ">>, <<"1">>}], <<>>),
    ?assertEqual(expected("GET / HTTP/1.1", ["zZ: 1", "aA: 2", "ZZ: 3", "zZ: 1"], Authority, "\r\n"),
                 Bytes).

%% Clauses: REQ-5, TRAP-40
req_05_line_ends_are_deleted_from_headers(_) ->
    Headers = [{<<"A\r\nX">>, <<"a\r\nB: c">>}, {<<"P">>, {<<"v">>, [{<<"k\r">>, <<"w\n">>}]}}],
    {Bytes, Authority} = sent(<<"GET">>, <<"/">>, Headers, <<>>),
    ?assertEqual(expected("GET / HTTP/1.1", ["AX: aB: c", "P: v;k=w"], Authority, "\r\n"), Bytes).

%% Clauses: REQ-5, REQ-10, TRAP-40
req_05_line_ends_are_deleted_from_headers_of_an_upload(_) ->
    Bytes = uploaded([{<<"A\r\nX">>, <<"a\r\nB: c">>}],
                     fun(Pid) -> ok = ?CONN:finish_send_body(Pid) end),
    ?assertEqual(<<"POST /up HTTP/1.1\r\nAX: aB: c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n">>,
                 Bytes).

%% Clauses: REQ-4, REQ-6
req_06_defaults_are_added_only_if_absent(_) ->
    {Bytes, _} = sent(<<"POST">>, <<"/">>,
                      [{<<"host">>, <<"h">>}, {<<"USER-AGENT">>, <<"u">>},
                       {<<"content-LENGTH">>, <<"2">>}], <<"ab">>),
    ?assertEqual(<<"POST / HTTP/1.1\r\nhost: h\r\nUSER-AGENT: u\r\ncontent-LENGTH: 2\r\n\r\nab">>,
                 Bytes).

%% Clauses: REQ-6, REQ-9
req_06_content_length_of_a_body(_) ->
    [begin
         {Bytes, Authority} = sent(<<"PUT">>, <<"/">>, [], Body),
         ?assertEqual(expected("PUT / HTTP/1.1", [], Authority,
                               "Content-Length: 5\r\n\r\nhello"), Bytes)
     end
     || Body <- [<<"hello">>, "hello", ["he", [<<"ll">>], $o]]].

%% Clauses: REQ-6, TRAP-39
req_06_content_length_of_an_empty_body(_) ->
    [begin
         {Bytes, Authority} = sent(Method, <<"/">>, [], Body),
         ?assertEqual(expected([Method, " / HTTP/1.1"], [], Authority,
                               "Content-Length: 0\r\n\r\n"), Bytes)
     end
     || Method <- [<<"POST">>, <<"PUT">>, <<"PATCH">>, <<"post">>, <<"pAtCh">>],
        Body <- [<<>>, []]].

%% Clauses: REQ-6, REQ-14, TRAP-39
req_06_no_content_length_for_other_methods(_) ->
    [begin
         {Bytes, Authority} = sent(Method, <<"/">>, [], <<>>),
         ?assertEqual(expected([Method, " / HTTP/1.1"], [], Authority, "\r\n"), Bytes)
     end
     || Method <- [<<"GET">>, <<"DELETE">>, <<"OPTIONS">>, <<"QUERY">>, <<"TRACE">>]].

%% Clauses: REQ-6, TRAP-39
req_06_content_length_is_never_written_twice(_) ->
    {Bytes, Authority} = sent(<<"POST">>, <<"/">>, [{<<"Content-Length">>, <<"0">>}], <<>>),
    ?assertEqual(expected("POST / HTTP/1.1", ["Content-Length: 0"], Authority, "\r\n"), Bytes).

%% Clauses: REQ-6
req_06_default_host_without_the_default_port(_) ->
    %% Loopback has 2^24 addresses: a random one keeps port 80 free of neighbours.
    Address = {127, rand:uniform(254), rand:uniform(254), rand:uniform(254)},
    case hansom_case:serve_on(Address, 80, [request, ?REPLY]) of
        {ok, Server} ->
            Host = inet:ntoa(Address),
            Pid = hansom_case:start_with(#{host => Host, port => 80}),
            ok = ?CONN:connect(Pid),
            {200, <<>>} = exchange(Pid),
            [Bytes] = hansom_script:requests(hansom_script:accept(Server)),
            ?assertEqual(expected("GET / HTTP/1.1", [], Host, "\r\n"), Bytes);
        {error, eacces} ->
            {skip, "no right to listen on port 80"}
    end.

%% Clauses: REQ-6, REQ-8, LOW-9
req_06_default_host_of_a_local_socket(_) ->
    Path = hansom_case:local_path(),
    {ok, Server} = hansom_case:serve_on({local, Path}, 0, [request, ?REPLY]),
    Pid = hansom_case:start_with(#{host => Path, port => 0, transport => hackney_local_tcp}),
    ok = ?CONN:connect(Pid),
    ?assertEqual({200, <<>>}, exchange(Pid)),
    [Bytes] = hansom_script:requests(hansom_script:accept(Server)),
    ?assertEqual(expected("GET / HTTP/1.1", [], [Path, ":0"], "\r\n"), Bytes).

%% Clauses: REQ-8
req_06_default_host_of_an_ipv6_literal(_) ->
    case hansom_case:serve_on({0, 0, 0, 0, 0, 0, 0, 1}, 0, [request, ?REPLY]) of
        {ok, Server} ->
            Port = hansom_script:port(Server),
            Pid = hansom_case:start_with(#{host => "::1", port => Port}),
            ok = ?CONN:connect(Pid),
            {200, <<>>} = exchange(Pid),
            [Bytes] = hansom_script:requests(hansom_script:accept(Server)),
            ?assertEqual(expected("GET / HTTP/1.1", [],
                                  ["[::1]:", integer_to_list(Port)], "\r\n"), Bytes);
        {error, Reason} ->
            {skip, {no_ipv6, Reason}}
    end.

%% Body

%% Clauses: REQ-9
req_09_lengths_of_the_user_are_trusted(_) ->
    {Bytes, Authority} = sent(<<"POST">>, <<"/">>, [{<<"Transfer-Encoding">>, <<"chunked">>},
                                                    {<<"Content-Length">>, <<"8">>}],
                              <<"1\r\na\r\n0\r\n\r\n">>),
    ?assertEqual(expected("POST / HTTP/1.1", ["Transfer-Encoding: chunked", "Content-Length: 8"],
                          Authority, "\r\n1\r\na\r\n0\r\n\r\n"), Bytes).

%% Clauses: REQ-9
req_09_stream_sends_the_head_only(_) ->
    {Pid, Peer} = connected(serve([request, ?REPLY])),
    %% The head announces no body, so that the server sees a whole request.
    {ok, 200, _} = ?CONN:request(Pid, <<"POST">>, <<"/">>, [], stream),
    {ok, <<>>} = ?CONN:body(Pid),
    ok = ?CONN:close(Pid),
    closed = hansom_script:await_closed(Peer),
    ?assertEqual(expected("POST / HTTP/1.1", [], authority(Peer), "\r\n"),
                 hansom_script:received(Peer)).

%% Clauses: REQ-9
req_09_a_large_body_arrives_whole(_) ->
    Body = binary:copy(<<"0123456789abcdef">>, 256 * 1024),
    {Pid, Peer} = connected(serve([request, ?REPLY])),
    {ok, 200, _} = ?CONN:request(Pid, <<"POST">>, <<"/">>, [], Body),
    {ok, <<>>} = ?CONN:body(Pid),
    [Request] = hansom_script:requests(Peer),
    ?assertEqual(erlang:md5(Body),
                 erlang:md5(binary:part(Request, byte_size(Request), -byte_size(Body)))).

%% Clauses: REQ-14, TRAP-24
req_14_query_is_an_ordinary_method(_) ->
    {Bytes, Authority} = sent(<<"QUERY">>, <<"/">>, [], <<"q">>),
    ?assertEqual(expected("QUERY / HTTP/1.1", [], Authority, "Content-Length: 1\r\n\r\nq"), Bytes),
    {Pid, Peer} = connected(serve([request, ?REPLY])),
    ok = ?CONN:send_request_headers(Pid, <<"QUERY">>, <<"/">>, []),
    ok = ?CONN:send_body_chunk(Pid, <<"q">>),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, <<>>} = ?CONN:body(Pid),
    ?assertEqual(<<"QUERY / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nq\r\n0\r\n\r\n">>,
                 hansom_script:received(Peer)).

%% Streaming upload

%% Clauses: REQ-10
req_10_upload_is_chunked(_) ->
    Bytes = uploaded([{<<"X">>, <<"y">>}, {<<"Content-Length">>, <<"3">>}],
                     fun(Pid) ->
                             ok = ?CONN:send_body_chunk(Pid, binary:copy(<<"a">>, 27)),
                             ok = ?CONN:send_body_chunk(Pid, ["b", [<<"c">>, $d]]),
                             ?assertEqual(streaming_body, state(Pid)),
                             ok = ?CONN:finish_send_body(Pid),
                             ?assertEqual(streaming_body, state(Pid))
                     end),
    ?assertEqual(iolist_to_binary(
                   ["POST /up HTTP/1.1\r\nX: y\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"
                    "\r\n\r\n1B\r\n", binary:copy(<<"a">>, 27), "\r\n3\r\nbcd\r\n0\r\n\r\n"]), Bytes).

%% Clauses: REQ-10
req_10_transfer_encoding_of_the_user_is_not_repeated(_) ->
    Bytes = uploaded([{<<"transfer-encoding">>, <<"chunked">>}],
                     fun(Pid) -> ok = ?CONN:finish_send_body(Pid) end),
    ?assertEqual(<<"POST /up HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n">>, Bytes).

%% Clauses: REQ-10
req_10_response_may_be_started_without_finish(_) ->
    {Pid, Peer} = connected(serve([head, ?REPLY])),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
    ?assertMatch({ok, 200, _, Pid}, ?CONN:start_response(Pid)),
    ?assertEqual({ok, <<>>}, ?CONN:body(Pid)),
    ok = hansom_script:await_script(Peer).

%% Clauses: REQ-11
req_11_body_from_a_fun(_) ->
    Bytes = uploaded([], fun(Pid) ->
                                 ok = ?CONN:send_body_chunk(Pid, counter([<<"ab">>, "c"])),
                                 ok = ?CONN:finish_send_body(Pid)
                         end),
    ?assertMatch({_, <<"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n">>}, split_head(Bytes)).

%% A fun without arguments that gives the pieces one by one.
counter(Pieces) ->
    Key = make_ref(),
    fun() ->
            case case get(Key) of undefined -> Pieces; Left -> Left end of
                [] -> eof;
                [Piece | Rest] -> put(Key, Rest), {ok, Piece}
            end
    end.

split_head(Bytes) ->
    {At, _} = binary:match(Bytes, <<"\r\n\r\n">>),
    <<Head:At/binary, Rest/binary>> = Bytes,
    {Head, Rest}.

%% Clauses: REQ-11
req_11_body_from_a_fun_with_state(_) ->
    Fun = fun(0) -> eof; (N) -> {ok, integer_to_binary(N), N - 1} end,
    Bytes = uploaded([], fun(Pid) ->
                                 ok = ?CONN:send_body_chunk(Pid, {Fun, 3}),
                                 ok = ?CONN:finish_send_body(Pid)
                         end),
    ?assertMatch({_, <<"\r\n\r\n1\r\n3\r\n1\r\n2\r\n1\r\n1\r\n0\r\n\r\n">>}, split_head(Bytes)).

%% Clauses: REQ-11
req_11_error_of_a_fun_closes(_) ->
    Funs = [fun() -> {error, no_more} end,
            {fun(0) -> {error, no_more}; (N) -> {ok, <<"x">>, N - 1} end, 2}],
    [begin
         {Pid, Peer} = connected(serve([head])),
         ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
         ?assertEqual({error, no_more}, ?CONN:send_body_chunk(Pid, Fun)),
         ?assertEqual(closed, state(Pid)),
         ?assertEqual(closed, hansom_script:await_closed(Peer))
     end
     || Fun <- Funs].

%% Clauses: REQ-11, ST-32, EXIT-4
req_11_exception_of_a_fun_does_not_unwind_the_caller(_) ->
    {Pid, Peer} = connected(serve([head])),
    unlink(Pid),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/">>, []),
    ?assertMatch({exit, {_, {gen_statem, call, _}}},
                 try ?CONN:send_body_chunk(Pid, fun() -> error(oops) end)
                 catch Class:Reason -> {Class, Reason}
                 end),
    _ = hansom_case:is_gone(Pid),
    ?assertEqual(closed, hansom_script:await_closed(Peer)).

%% Clauses: REQ-11, ST-32
req_11_funs_run_in_the_connection_process(_) ->
    Self = self(),
    Bytes = uploaded([], fun(Pid) ->
                                 ok = ?CONN:send_body_chunk(Pid, fun() -> Self ! {ran_in, self()}, eof end),
                                 receive {ran_in, Where} -> ?assertEqual(Pid, Where) after 0 -> error(not_run) end,
                                 ok = ?CONN:finish_send_body(Pid)
                         end),
    ?assertMatch({_, <<"\r\n\r\n0\r\n\r\n">>}, split_head(Bytes)).

%% Clauses: REQ-12
req_12_empty_chunk_writes_nothing(_) ->
    Empty = [<<>>, [], [<<>>, []], fun() -> eof end],
    Bytes = uploaded([], fun(Pid) ->
                                 [ok = ?CONN:send_body_chunk(Pid, Data) || Data <- Empty],
                                 ok = ?CONN:send_body_chunk(Pid, {fun(0) -> eof; (N) -> {ok, <<>>, N - 1} end, 3}),
                                 ok = ?CONN:send_body_chunk(Pid, <<"x">>),
                                 ok = ?CONN:finish_send_body(Pid)
                         end),
    ?assertMatch({_, <<"\r\n\r\n1\r\nx\r\n0\r\n\r\n">>}, split_head(Bytes)).

%% Clauses: REQ-13
req_13_content_length_of_an_upload_is_not_enforced(_) ->
    Bytes = uploaded([{<<"Content-Length">>, <<"1">>}, {<<"Transfer-Encoding">>, <<"chunked">>}],
                     fun(Pid) ->
                             ok = ?CONN:send_body_chunk(Pid, <<"much more">>),
                             ok = ?CONN:finish_send_body(Pid)
                     end),
    ?assertMatch({_, <<"\r\n\r\n9\r\nmuch more\r\n0\r\n\r\n">>}, split_head(Bytes)).
