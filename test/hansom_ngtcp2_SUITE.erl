%% @doc The connection over HTTP/3 against the server of ngtcp2 and nghttp3.
-module(hansom_ngtcp2_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [state/1, async/1, result/2, payloads/1, body_of/1]).
-import(hansom_interop, [get/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    case hansom_servers:find(ngtcp2) of
        missing ->
            hansom_servers:missing(ngtcp2);
        {ok, _} ->
            Plain = serve([]),
            %% A path that loses datagrams both ways, and clients that have to prove their address.
            Hard = serve(["--validate-addr", "--tx-loss=0.03", "--rx-loss=0.03"]),
            [{plain, Plain}, {hard, Hard} | hansom_case:init_suite(Config)]
    end.

serve(Options) ->
    hansom_server_case:publish(files(), hansom_servers:ngtcp2(["--send-trailers", "--max-dyn-length=64M" | Options])).

end_per_suite(Config) ->
    [ok = hansom_servers:stop(proplists:get_value(Name, Config)) || Name <- [plain, hard]],
    hansom_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{h3_11_trailers, "an option of hansom"}].

%% An empty file it does not serve: 404.
files() ->
    [{"hello.txt", <<"hello, world">>}, {"large", hansom_interop:bytes(4194304)}].

open(Config) -> open(plain, Config).

open(Name, Config) ->
    hansom_case:connect_over(http3, hansom_server_case:options(http3, http3, proplists:get_value(Name, Config))).

fetch(Pid) ->
    [begin
         {ok, 200, _, Body} = get(Pid, <<"/", (list_to_binary(Name))/binary>>),
         ?assert(Body =:= Content, Name)
     end || {Name, Content} <- files()].

%% Clauses: H3-1
h3_01_files(Config) ->
    Pid = open(Config),
    fetch(Pid),
    ?assertMatch({ok, 200, _, <<>>}, ?CONN:request(Pid, <<"HEAD">>, <<"/large">>, [], <<>>)),
    ?assertMatch({ok, 404, _, _}, get(Pid, <<"/nowhere">>)),
    fetch(Pid).

%% Clauses: H3-1
h3_01_many_users(Config) ->
    Pid = open(Config),
    Running = [async(fun() -> [get(Pid, <<"/hello.txt">>) || _ <- lists:seq(1, 20)] end) || _ <- lists:seq(1, 20)],
    [begin
         {ok, Answers} = result(Handle, 60000),
         ?assertEqual([<<"hello, world">>], lists:usort([Body || {ok, 200, _, Body} <- Answers])),
         ?assertEqual(20, length(Answers))
     end || Handle <- Running],
    ?assertEqual(connected, state(Pid)).

%% Clauses: H3-1, TRAP-27
h3_01_large_bodies(Config) ->
    Pid = open(Config),
    {ok, 200, _, Body} = get(Pid, <<"/20000000">>),
    ?assertEqual(20000000, byte_size(Body)),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/20000000">>, [], <<>>, true),
    ?assertEqual(20000000, byte_size(body_of(payloads(Ref)))).

%% Clauses: H3-7
h3_07_uploads(Config) ->
    Pid = open(Config),
    Large = hansom_interop:bytes(4194304),
    [?assertMatch({ok, 200, _, <<"hello, world">>}, ?CONN:request(Pid, <<"POST">>, <<"/hello.txt">>, [], Body))
     || Body <- [<<>>, <<"x">>, Large]].

%% Clauses: H3-1, TRAP-27
h3_01_lossy_path(Config) ->
    Pid = open(hard, Config),
    fetch(Pid),
    ?assertMatch({ok, 200, _, <<"hello, world">>},
                 ?CONN:request(Pid, <<"POST">>, <<"/hello.txt">>, [], hansom_interop:bytes(500000))).

%% Clauses: H3-11
h3_11_trailers(Config) ->
    Pid = open(Config),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, <<"/hello.txt">>, [], <<>>, true, self(), false, [{trailers, true}]),
    [{status, 200, _}, {headers, _} | Rest] = payloads(Ref),
    ?assertEqual(<<"hello, world">>, body_of(Rest)),
    ?assertMatch([{trailers, [_ | _]}, done], [Other || Other <- Rest, not is_binary(Other)]).
