%% @doc The connection against Caddy, as a file server and as a proxy: HTTP/2 with and without TLS, HTTP/1.1 kept alive,
%% and a server that is replaced while it serves.
-module(hansom_caddy_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
-define(LARGE, 16777216).

-import(hansom_case, [exchange/2, state/1]).
-import(hansom_interop, [open/1, get/2]).
-import(hansom_server_case, [server/1, port/2, publish/2, options/3]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    hansom_server_case:init_suite(caddy, fun() -> publish(files(), hansom_caddy:start()) end, Config).

end_per_suite(Config) -> hansom_server_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{h2_08_drained_by_a_reload, "an option of hansom"},
     {h2_05_response_trailers, "an option of hansom"},
     {h2_10_slow_readers, "an option of hansom"},
     {neg_02_without_tls, "an option of hansom"}].

files() ->
    [{"empty", <<>>}, {"hello.txt", <<"hello, world">>}, {"large", hansom_interop:bytes(?LARGE)}].

%% The same port, TCP's and UDP's, for each protocol.
site(Config) -> site(http2, Config).

site(Protocol, Config) -> site_by(Protocol, options(Protocol, https, server(Config))).

site_by(Protocol, Options) -> (hansom_interop:site(Protocol, Options))#{prefix := <<"/origin">>}.

reload(Config) -> hansom_caddy:reload(server(Config)).

%% Clauses: H2-3
h2_03_files(Config) ->
    Pid = open(site(Config)),
    [begin
         Path = <<"/", (list_to_binary(Name))/binary>>,
         {ok, 200, Headers, Body} = get(Pid, Path),
         ?assert(Body =:= Content, Name),
         ?assertEqual(integer_to_binary(byte_size(Content)), proplists:get_value(<<"content-length">>, Headers)),
         ?assertMatch({ok, 200, _, <<>>}, ?CONN:request(Pid, <<"HEAD">>, Path, [], <<>>))
     end || {Name, Content} <- files()],
    ?assertMatch({ok, 206, _, <<"world">>},
                 ?CONN:request(Pid, <<"GET">>, <<"/hello.txt">>, [{<<"range">>, <<"bytes=7-">>}], <<>>)),
    ?assertMatch({ok, 302, _, _}, get(Pid, <<"/moved">>)),
    ?assertMatch({ok, 404, _, _}, get(Pid, <<"/nowhere">>)).

%% Clauses: H2-3
h2_03_long_lived(Config) -> hansom_interop:long_lived(site(Config)).

%% Clauses: H2-3
h2_03_sizes(Config) -> hansom_interop:sizes(site(Config)).

%% Clauses: H2-3
h2_03_statuses(Config) -> hansom_interop:statuses(site(Config)).

%% Clauses: H2-3
h2_03_many_users(Config) -> hansom_interop:many_users(site(Config)).

%% Clauses: H2-1, H2-4
h2_04_large_heads(Config) -> hansom_interop:large_heads(site(Config)).

%% Clauses: H2-5
h2_05_response_trailers(Config) -> hansom_interop:trailers(site(Config)).

%% Clauses: H2-8
h2_08_drained_by_a_reload(Config) ->
    hansom_interop:drained(site(Config), <<"/large">>, fun() -> reload(Config) end).

%% Clauses: H2-8, TRAP-17
h2_08_cut_short_by_a_reload(Config) ->
    hansom_interop:cut_short(site(Config), <<"/large">>, fun() -> reload(Config) end).

%% Clauses: H2-10
h2_10_pushed(Config) -> hansom_interop:pushed(site(Config)).

%% Clauses: H2-10, ASY-2
h2_10_pulled(Config) -> hansom_interop:pulled(site(Config)).

%% Clauses: H2-10, ASY-13
h2_10_slow_readers(Config) -> hansom_interop:slow_readers(site(Config)).

%% Clauses: H2-6, ST-26
h2_06_given_up(Config) -> hansom_interop:given_up(site(Config)).

%% Clauses: H2-11, H2-13, TRAP-30
h2_11_uploads(Config) -> hansom_interop:uploads(site(Config)).

%% Clauses: H2-14
h2_14_uploads_side_by_side(Config) -> hansom_interop:uploads_side_by_side(site(Config)).

%% Clauses: NEG-2
neg_02_without_tls(Config) ->
    Site = site_by(http2, #{host => "127.0.0.1", port => port(http, Config), h2c => true}),
    hansom_interop:sizes(Site),
    hansom_interop:many_users(Site),
    hansom_interop:uploads(Site).

%% HTTP/3

%% The proxy of Caddy 2.6 passes on no content of an HTTP/3 request that does not say its length.
http3_site(Config) -> (site(http3, Config))#{lengths => true}.

%% Clauses: H3-1
h3_01_files(Config) ->
    Pid = open(http3_site(Config)),
    [begin
         {ok, 200, _, Body} = get(Pid, <<"/", (list_to_binary(Name))/binary>>),
         ?assert(Body =:= Content, Name)
     end || {Name, Content} <- files()],
    ?assertMatch({ok, 404, _, _}, get(Pid, <<"/nowhere">>)).

%% Clauses: H3-1
h3_01_sizes(Config) -> hansom_interop:sizes(http3_site(Config)).

%% Clauses: H3-1
h3_01_many_users(Config) -> hansom_interop:many_users(http3_site(Config)).

%% Clauses: H3-1, H3-8
h3_08_pushed(Config) -> hansom_interop:pushed(http3_site(Config)).

%% Clauses: H3-8
h3_08_pulled(Config) -> hansom_interop:pulled(http3_site(Config)).

%% Clauses: H3-7
h3_07_uploads(Config) -> hansom_interop:uploads(http3_site(Config)).

%% Clauses: H3-7
h3_07_uploads_side_by_side(Config) -> hansom_interop:uploads_side_by_side(http3_site(Config)).

%% Clauses: H3-9
h3_09_given_up(Config) -> hansom_interop:given_up(http3_site(Config)).

%% Clauses: NEG-1, RSP-20, RSP-27
neg_01_the_older_protocol(Config) ->
    Pid = open(site(http1, Config)),
    Large = hansom_interop:bytes(?LARGE),
    [begin
         ?assertEqual({200, <<"hello, world">>}, exchange(Pid, <<"/hello.txt">>)),
         ?assert({200, Large} =:= exchange(Pid, <<"/large">>)),
         {ok, 200, _} = ?CONN:request(Pid, <<"POST">>, <<"/origin/upload">>, [], Large),
         ?assertMatch({ok, <<"bytes: 16777216\n", _/binary>>}, ?CONN:body(Pid))
     end || _ <- lists:seq(1, 3)],
    ?assertEqual(connected, state(Pid)).
