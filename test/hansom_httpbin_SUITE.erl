%% @doc The connection against httpbin: content codings, redirects, status codes, bodies
%% that arrive little by little, and uploads echoed back.
-module(hansom_httpbin_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [state/1, exchange/2, pieces/1, payload/1, payloads/1, pulled/2, body_of/1]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hansom_server_case:init_suite(python, fun hansom_servers:httpbin/0, Config).
end_per_suite(Config) -> hansom_server_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{rsp_21_brotli, "more codings are decompressed"}].

open(Config) -> open(#{}, Config).

open(More, Config) ->
    Pid = hansom_case:start_with(More#{host => "127.0.0.1", port => hansom_server_case:port(http, Config)}),
    ok = ?CONN:connect(Pid),
    Pid.

get(Pid, Path) -> ?CONN:request(Pid, <<"GET">>, Path, [], <<>>).

%% httpbin writes the name of a header field as it likes.
header(Name, Headers) ->
    case [Value || {Key, Value} <- Headers, string:equal(Key, Name, true)] of
        [] -> undefined;
        [Value | _] -> Value
    end.

says(Body, Pattern) -> ?assertMatch({match, _}, re:run(Body, Pattern)).

decompressed(Path, Pattern, Config) ->
    Pid = open(Config),
    {ok, 200, Headers} = ?CONN:request(Pid, <<"GET">>, Path, [], <<>>, infinity, [{auto_decompress, true}]),
    {ok, Body} = ?CONN:body(Pid),
    says(Body, Pattern),
    %% The headers stay as they came, and without the option so does the body.
    {ok, 200, _} = get(Pid, Path),
    {ok, Raw} = ?CONN:body(Pid),
    ?assertEqual(header("content-length", Headers), integer_to_binary(byte_size(Raw))),
    ?assertEqual(nomatch, re:run(Raw, Pattern)),
    header("content-encoding", Headers).

%% Clauses: RSP-21
rsp_21_gzip(Config) ->
    ?assertEqual(<<"gzip">>, decompressed(<<"/gzip">>, "\"gzipped\": ?true", Config)).

%% Clauses: RSP-21
rsp_21_deflate(Config) ->
    ?assertEqual(<<"deflate">>, decompressed(<<"/deflate">>, "\"deflated\": ?true", Config)).

%% Clauses: RSP-21
rsp_21_brotli(Config) ->
    ?assertEqual(<<"br">>, decompressed(<<"/brotli">>, "\"brotli\": ?true", Config)).

%% Clauses: RSP-3, RSP-4, RSP-17
rsp_04_status_codes(Config) ->
    [begin
         Pid = open(Config),
         {ok, Status, _} = get(Pid, <<"/status/", (integer_to_binary(Status))/binary>>),
         ?assertMatch({ok, _}, ?CONN:body(Pid))
     end || Status <- [200, 201, 202, 204, 206, 226, 300, 304, 400, 401, 403, 404, 405, 410, 418, 422, 429, 451,
                       500, 501, 502, 503, 504, 511]].

%% Clauses: REQ-1, REQ-9
req_09_methods_and_bodies(Config) ->
    Pid = open(Config),
    [begin
         Path = <<"/anything/", Method/binary>>,
         {ok, 200, _} = ?CONN:request(Pid, Method, Path, [{<<"Content-Type">>, <<"text/plain">>}], Sent),
         {ok, Body} = ?CONN:body(Pid),
         says(Body, ["\"method\": ?\"", Method, "\""]),
         says(Body, ["\"data\": ?\"", Sent, "\""])
     end || {Method, Sent} <- [{<<"GET">>, <<>>}, {<<"POST">>, <<"posted">>}, {<<"PUT">>, <<"put">>},
                               {<<"PATCH">>, <<"patched">>}, {<<"DELETE">>, <<>>}, {<<"POST">>, <<>>}]],
    ?assertEqual(connected, state(Pid)).

%% Clauses: REQ-6, REQ-7
req_06_headers_as_the_server_sees_them(Config) ->
    Pid = open(Config),
    {ok, 200, _} = ?CONN:request(Pid, <<"GET">>, <<"/headers">>, [{<<"X-One">>, <<"1">>}, {<<"X-Two">>, 2}], <<>>),
    {ok, Body} = ?CONN:body(Pid),
    {ok, {_, Port}} = ?CONN:peername(Pid),
    says(Body, ["\"Host\": ?\"127.0.0.1:", integer_to_list(Port), "\""]),
    says(Body, ["\"User-Agent\": ?\"", atom_to_list(hansom_case:application()), "/[0-9]"]),
    says(Body, "\"X-One\": ?\"1\""),
    says(Body, "\"X-Two\": ?\"2\"").

%% Clauses: RSP-10
rsp_10_repeated_fields(Config) ->
    Pid = open(Config),
    {ok, 200, Headers} = get(Pid, <<"/response-headers?X-Many=first&X-Many=second">>),
    {ok, _} = ?CONN:body(Pid),
    ?assertEqual([<<"first">>, <<"second">>], proplists:get_all_values(<<"X-Many">>, Headers)).

%% Clauses: REQ-9
req_09_large_upload_is_echoed(Config) ->
    Pid = open(Config),
    Sent = binary:copy(<<"0123456789abcdef">>, 65536),
    {ok, 200, _} = ?CONN:request(Pid, <<"POST">>, <<"/post">>, [{<<"Content-Type">>, <<"text/plain">>}], Sent),
    {ok, Body} = ?CONN:body(Pid),
    ?assert(binary:match(Body, Sent) =/= nomatch).

%% Clauses: REQ-10, REQ-11, API-11, API-12, API-13, API-14
req_10_streamed_upload_is_echoed(Config) ->
    Pid = open(Config),
    Headers = [{<<"Host">>, <<"localhost">>}, {<<"Content-Type">>, <<"text/plain">>}],
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, <<"/post">>, Headers),
    [ok = ?CONN:send_body_chunk(Pid, Piece) || Piece <- [<<"one, ">>, ["two", <<", ">>], <<"three">>]],
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, Body} = ?CONN:body(Pid),
    says(Body, "\"data\": ?\"one, two, three\""),
    says(Body, "\"Transfer-Encoding\": ?\"chunked\"").

%% Clauses: RSP-18, API-10
rsp_18_lines_as_chunks(Config) ->
    Pid = open(Config),
    {ok, 200, Headers} = get(Pid, <<"/stream/50">>),
    ?assertEqual(<<"chunked">>, header("transfer-encoding", Headers)),
    Pieces = pieces(Pid),
    ?assertEqual(done, lists:last(Pieces)),
    Lines = binary:split(iolist_to_binary(lists:droplast(Pieces)), <<"\n">>, [global, trim]),
    ?assertEqual(50, length(Lines)),
    [says(Line, ["\"id\": ?", integer_to_list(N), "[,}]"]) || {N, Line} <- lists:zip(lists:seq(0, 49), Lines)].

%% Clauses: RSP-18, ASY-1, ASY-2
asy_02_chunks_pulled_are_those_pushed(Config) ->
    Path = <<"/stream-bytes/100000?seed=7&chunk_size=1000">>,
    Pushed = open(Config),
    {ok, Pushed} = ?CONN:request_async(Pushed, <<"GET">>, Path, [], <<>>, true),
    [{status, 200, _}, {headers, _} | Rest] = payloads(Pushed),
    ?assertEqual(done, lists:last(Rest)),
    Pulled = open(Config),
    {ok, Pulled} = ?CONN:request_async(Pulled, <<"GET">>, Path, [], <<>>, once),
    {status, 200, _} = payload(Pulled),
    {headers, _} = payload(Pulled),
    Body = body_of(pulled(Pulled, Pulled)),
    ?assertEqual(100000, byte_size(Body)),
    ?assertEqual(Body, body_of(Rest)).

%% Clauses: ST-8
st_08_timeout_is_for_each_read(Config) ->
    Pid = open(#{recv_timeout => 2500}, Config),
    %% Takes about three seconds, but never half a second without a byte.
    {ok, 200, _} = get(Pid, <<"/drip?numbytes=12&duration=3&delay=0">>),
    ?assertEqual({ok, <<"************">>}, ?CONN:body(Pid)).

%% Clauses: ST-8, ST-18
st_08_timeout_of_a_slow_answer(Config) ->
    Pid = open(#{recv_timeout => 200}, Config),
    ?assertEqual({error, timeout}, get(Pid, <<"/delay/2">>)),
    ?assertEqual(closed, state(Pid)).

%% Clauses: ASY-1, RSP-20
asy_01_drip_arrives_as_it_is_sent(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/drip?numbytes=5&duration=1&delay=0">>, [], <<>>, true),
    [{status, 200, _}, {headers, _} | Rest] = payloads(Pid),
    ?assertEqual(<<"*****">>, body_of(Rest)),
    %% Apart in time, so apart as messages: a client that gathers the body would send one.
    ?assert(length([Piece || Piece <- Rest, is_binary(Piece)]) > 1).

%% Clauses: RSP-10, RSP-16
rsp_16_head(Config) ->
    Pid = open(Config),
    {ok, 200, _} = ?CONN:request(Pid, <<"HEAD">>, <<"/range/4096">>, [], <<>>),
    ?assertEqual({ok, <<>>}, ?CONN:body(Pid)),
    {200, Body} = exchange(Pid, <<"/range/4096">>),
    ?assertEqual(4096, byte_size(Body)).

%% Clauses: ASY-5
asy_05_redirects_are_reported(Config) ->
    [begin
         Pid = open(Config),
         Target = <<"/redirect-to?url=%2Fget%3Fa%3D1&status_code=", Code/binary>>,
         {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, Target, [], <<>>, true, self(), true),
         ?assertMatch([{redirect, <<"/get?a=1">>, [_ | _]}], payloads(Pid)),
         %% The connection is free for the request the user makes next.
         hansom_case:is_state(Pid, connected),
         {200, Body} = exchange(Pid, <<"/get?a=1">>),
         says(Body, "\"a\": ?\"1\"")
     end || Code <- [<<"301">>, <<"302">>, <<"307">>, <<"308">>]].

%% Clauses: ASY-6
asy_06_see_other_after_post(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"POST">>, <<"/redirect-to?url=%2Fget&status_code=303">>, [], <<"a">>, true,
                                    self(), true),
    ?assertMatch([{see_other, <<"/get">>, [_ | _]}], payloads(Pid)).

%% Clauses: ASY-7
asy_07_redirects_are_responses_unless_asked(Config) ->
    Pid = open(Config),
    {ok, 302, Headers} = get(Pid, <<"/redirect/3">>),
    {ok, _} = ?CONN:body(Pid),
    ?assertEqual(<<"/relative-redirect/2">>, header("location", Headers)),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/redirect/3">>, [], <<>>, true),
    ?assertMatch([{status, 302, _}, {headers, _} | _], payloads(Pid)).
