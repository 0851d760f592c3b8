%% @doc The connection against HAProxy, which speaks HTTP/2 on both of its sides: few streams, refusals, connections
%% that expire, and a worker that is replaced while it serves.
-module(hansom_haproxy_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [is_state/2, state/1]).
-import(hansom_interop, [open/1, get/2]).
-import(hansom_server_case, [server/1, port/2, options/3]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hansom_server_case:init_suite(haproxy, fun hansom_haproxy:start/0, Config).
end_per_suite(Config) -> hansom_server_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{h2_08_drained_by_a_reload, "an option of hansom"},
     {h2_04_more_users_than_streams, "an immediate error"},
     {h2_05_response_trailers, "an option of hansom"},
     {h2_05_request_trailers, "an option of hansom"},
     {neg_02_without_tls, "an option of hansom"}].

site(Config) -> site(https, Config).

site(Name, Config) -> hansom_interop:site(http2, options(http2, Name, server(Config))).

reload(Config) -> hansom_haproxy:reload(server(Config)).

%% Clauses: H2-3
h2_03_long_lived(Config) -> hansom_interop:long_lived(site(Config)).

%% Clauses: H2-3
h2_03_sizes(Config) -> hansom_interop:sizes(site(Config)).

%% Clauses: H2-3
h2_03_statuses(Config) -> hansom_interop:statuses(site(Config)).

%% Thirty users, ten streams.
%% Clauses: H2-3, H2-4
h2_04_more_users_than_streams(Config) -> hansom_interop:many_users(site(Config)).

%% Clauses: H2-1, H2-4
h2_04_large_heads(Config) -> hansom_interop:large_heads(site(Config)).

%% Clauses: H2-5
h2_05_response_trailers(Config) -> hansom_interop:trailers(site(Config)).

%% Clauses: H2-5, H2-13
h2_05_request_trailers(Config) -> hansom_interop:request_trailers(site(Config)).

%% Clauses: H2-6
h2_06_refusals(Config) ->
    Pid = open(site(Config)),
    ?assertMatch({ok, 403, _, _}, get(Pid, <<"/deny">>)),
    %% What the origin breaks, HAProxy breaks.
    [?assertMatch({error, {stream_error, _}}, get(Pid, Path)) || Path <- [<<"/reset/before-head">>, <<"/reset/after/100">>]],
    ?assertEqual(connected, state(Pid)),
    %% The last thing it says on this connection.
    ?assertMatch({error, _}, get(Pid, <<"/reject">>)),
    is_state(Pid, closed).

%% Clauses: H2-6, ST-26
h2_06_given_up(Config) -> hansom_interop:given_up(site(Config)).

%% Clauses: H2-8
h2_08_drained_by_a_reload(Config) ->
    hansom_interop:drained(site(Config), <<"/bytes/16777216">>, fun() -> reload(Config) end).

%% Clauses: H2-8, H2-9
h2_08_expired(Config) ->
    Pid = open(site(expiring, Config)),
    ?assertMatch({ok, 200, _, _}, get(Pid, <<"/hello">>)),
    is_state(Pid, closed),
    ?assertEqual({error, invalid_state}, get(Pid, <<"/hello">>)),
    ok = ?CONN:connect(Pid),
    ?assertMatch({ok, 200, _, _}, get(Pid, <<"/hello">>)).

%% Clauses: H2-10
h2_10_pushed(Config) -> hansom_interop:pushed(site(Config)).

%% Clauses: H2-10, ASY-2
h2_10_pulled(Config) -> hansom_interop:pulled(site(Config)).

%% Clauses: H2-11, H2-13, TRAP-30
h2_11_uploads(Config) -> hansom_interop:uploads(site(Config)).

%% Clauses: H2-14
h2_14_uploads_side_by_side(Config) -> hansom_interop:uploads_side_by_side(site(Config)).

%% Clauses: NEG-2
neg_02_without_tls(Config) ->
    Site = hansom_interop:site(http2, #{host => "127.0.0.1", port => port(h2c, Config), h2c => true}),
    hansom_interop:sizes(Site),
    hansom_interop:many_users(Site),
    hansom_interop:uploads(Site).
