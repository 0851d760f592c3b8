%% @doc The connection against nghttpd, the server of the nghttp2 library: sizes, uploads, trailers, and the limits it
%% sets its clients.
-module(hansom_nghttpd_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [state/1, async/1, result/2, payloads/1, body_of/1]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hansom_server_case:init_suite(nghttpd, fun serve/0, Config).
end_per_suite(Config) -> hansom_server_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

serve() ->
    hansom_server_case:publish([{"hello.txt", <<"hello, world">>}, {"large", large()}],
                               hansom_servers:nghttpd(["--echo-upload", "--trailer", "x-after: it", "-m", "10"])).

large() -> << <<N:32>> || N <- lists:seq(1, 2097152) >>.

open(Config) ->
    hansom_case:connect_over(http2, hansom_server_case:options(http2, https, hansom_server_case:server(Config))).

get(Pid, Path) -> ?CONN:request(Pid, <<"GET">>, Path, [], <<>>).

%% Clauses: H2-3, H2-5
h2_03_sizes(Config) ->
    Pid = open(Config),
    ?assertMatch({ok, 200, _, <<"hello, world">>}, get(Pid, <<"/hello.txt">>)),
    {ok, 200, _, Large} = get(Pid, <<"/large">>),
    ?assert(Large =:= large()),
    ?assertMatch({ok, 200, _, <<>>}, ?CONN:request(Pid, <<"HEAD">>, <<"/large">>, [], <<>>)),
    ?assertMatch({ok, 404, _, _}, get(Pid, <<"/nowhere">>)).

%% It allows ten streams at a time.
%% Clauses: H2-4, H2-3
h2_04_more_users_than_streams(Config) ->
    Pid = open(Config),
    Running = [async(fun() -> [get(Pid, <<"/hello.txt">>) || _ <- lists:seq(1, 50)] end) || _ <- lists:seq(1, 30)],
    [begin
         {ok, Answers} = result(Handle, 60000),
         ?assertMatch([{ok, 200, <<"hello, world">>}],
                      lists:usort([{ok, Status, Body} || {ok, Status, _, Body} <- Answers])),
         ?assertEqual(50, length(Answers))
     end || Handle <- Running],
    ?assertEqual(connected, state(Pid)).

%% Clauses: H2-5, H2-10
h2_05_trailers(Config) ->
    Pid = open(Config),
    {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/hello.txt">>, [], <<>>, true, self(), false, [{trailers, true}]),
    [{status, 200, <<>>}, {headers, _} | Rest] = payloads(Pid),
    ?assertEqual(<<"hello, world">>, body_of(Rest)),
    ?assertEqual([{trailers, [{<<"x-after">>, <<"it">>}]}, done], [Other || Other <- Rest, not is_binary(Other)]).

%% Clauses: H2-11, TRAP-30
h2_11_large_upload(Config) ->
    Pid = open(Config),
    Large = large(),
    {ok, 200, _, Echo} = ?CONN:request(Pid, <<"POST">>, <<"/echo">>, [], Large),
    ?assert(Echo =:= Large).
