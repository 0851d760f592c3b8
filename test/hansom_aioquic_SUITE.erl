%% @doc The connection over HTTP/3 against aioquic: what has to work, and a peer that does what it should not.
-module(hansom_aioquic_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [state/1, is_state/2]).
-import(hansom_interop, [get/2]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hansom_server_case:init_suite(python, fun hansom_servers:aioquic/0, Config).
end_per_suite(Config) -> hansom_server_case:end_suite(Config).

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{Case, "hackney leaves callers waiting"} || Case <- [h3_09_resets, h3_10_closes, h3_10_violations, h3_11_messages]]
        ++ [{h3_11_trailers, "an option of hansom"}, {h3_07_request_trailers, "an option of hansom"}].

%% Python takes its time.
site(Config) ->
    Options = hansom_server_case:options(http3, http3, hansom_server_case:server(Config)),
    (hansom_interop:site(http3, Options#{recv_timeout => 10000}))#{large => 2097152}.

open(Config) -> hansom_interop:open(site(Config)).

post(Pid, Path, Body) -> ?CONN:request(Pid, <<"POST">>, Path, [], Body).

%% Clauses: H3-1
h3_01_long_lived(Config) -> hansom_interop:long_lived(site(Config)).

%% Clauses: H3-1
h3_01_sizes(Config) -> hansom_interop:sizes(site(Config)).

%% Clauses: H3-1
h3_01_statuses(Config) -> hansom_interop:statuses(site(Config)).

%% Clauses: H3-1
h3_01_large_heads(Config) -> hansom_interop:large_heads(site(Config)).

%% Clauses: H3-8
h3_08_pushed(Config) -> hansom_interop:pushed(site(Config)).

%% Clauses: H3-8
h3_08_pulled(Config) -> hansom_interop:pulled(site(Config)).

%% Clauses: H3-7
h3_07_uploads(Config) -> hansom_interop:uploads(site(Config)).

%% Clauses: H3-7
h3_07_request_trailers(Config) -> hansom_interop:request_trailers(site(Config)).

%% Clauses: H3-9
h3_09_given_up(Config) -> hansom_interop:given_up(site(Config)).

%% Clauses: H3-11
h3_11_trailers(Config) -> hansom_interop:trailers(site(Config)).

%% Clauses: H3-9
h3_09_resets(Config) ->
    Pid = open(Config),
    [?assertEqual({error, {stream_reset, Code}}, get(Pid, iolist_to_binary([Path, integer_to_list(Code)])))
     || Path <- [<<"/reset/before-head?code=">>, <<"/reset?code=">>], Code <- [258, 268, 99999]],
    ?assertEqual(connected, state(Pid)).

%% Clauses: H3-10
h3_10_closes(Config) ->
    [begin
         Pid = open(Config),
         ?assertMatch({error, _}, get(Pid, <<"/close?code=", (integer_to_binary(Code))/binary>>)),
         is_state(Pid, closed)
     end || Code <- [256, 258]].

%% What may stand in place of a response, and what may not (RFC 9114, section 4). QPACK of the static table alone.
%% Clauses: H3-10, H3-11
h3_11_messages(Config) ->
    Ok = frame(1, <<0, 0, 16#d9>>),
    NoStatus = frame(1, <<0, 0, 16#c4>>),
    Upper = frame(1, <<0, 0, 16#d9, 16#21, "X", 1, "y">>),
    Switching = frame(1, <<0, 0, 16#5f, 9, 3, "101">>),
    Trailers = frame(1, <<0, 0, 16#21, "x", 1, "y">>),
    Data = frame(0, <<"x">>),
    Grease = frame(16#21, <<"whatever">>),
    Stream = [{whole, [Ok, Data], {ok, <<"x">>}},
              {nothing_but_a_head, [Ok], {ok, <<>>}},
              {unknown_frames, [Grease, Ok, Grease, Data, Grease], {ok, <<"x">>}},
              {trailers, [Ok, Data, Trailers], {ok, <<"x">>}},
              {nothing, [], stream},
              {no_status, [NoStatus, Data], stream},
              {upper_case, [Upper, Data], stream},
              {switching_protocols, [Switching, Ok, Data], stream}],
    Connection = [{data_before_head, [Data]},
                  {data_after_trailers, [Ok, Data, Trailers, Data]},
                  {settings_on_a_request, [Ok, frame(4, <<>>)]},
                  {goaway_on_a_request, [Ok, frame(7, <<0>>)]},
                  {frame_of_http2, [Ok, frame(2, <<>>)]},
                  {frame_cut_off, [Ok, <<0, 10, "x">>]},
                  {no_such_index, [frame(1, <<0, 0, 16#ff, 16#ff, 16#ff, 1>>)]},
                  {dynamic_table_never_offered, [frame(1, <<2, 0, 16#80>>)]}],
    Pid = open(Config),
    [case {Expected, post(Pid, <<"/raw">>, Bytes)} of
         {{ok, Body}, Answer} -> ?assertMatch({Name, {ok, 200, _, Body}}, {Name, Answer});
         {stream, Answer} -> ?assertMatch({Name, {error, _}}, {Name, Answer})
     end || {Name, Bytes, Expected} <- Stream],
    ?assertEqual(connected, state(Pid)),
    [begin
         Each = open(Config),
         ?assertMatch({Name, {error, _}}, {Name, post(Each, <<"/raw">>, Bytes)}),
         is_state(Each, closed)
     end || {Name, Bytes} <- Connection].

%% Clauses: H3-10, TRAP-27
h3_10_violations(Config) ->
    Rows = [{second_settings, <<"/control">>, frame(4, <<>>)},
            {data_on_control, <<"/control">>, frame(0, <<"x">>)},
            {head_on_control, <<"/control">>, frame(1, <<0, 0, 16#d9>>)},
            {frame_of_http2, <<"/control">>, frame(6, <<"12345678">>)},
            {goaway_of_a_push, <<"/control">>, frame(7, <<1>>)},
            {end_of_control, <<"/control?end=1">>, <<>>},
            {second_control, <<"/unidirectional">>, [0, frame(4, <<>>)]},
            {second_encoder, <<"/unidirectional">>, [2, 16#20]},
            {push_never_allowed, <<"/unidirectional">>, [1, 0, frame(1, <<0, 0, 16#d9>>)]}],
    [begin
         Pid = open(Config),
         ?assertMatch({Name, {error, _}}, {Name, post(Pid, Path, Bytes)}),
         is_state(Pid, closed)
     end || {Name, Path, Bytes} <- Rows],
    %% What may be there is passed over.
    Pid = open(Config),
    {ok, Ref} = ?CONN:request_async(Pid, <<"POST">>, <<"/unidirectional">>, [], <<16#21, "whatever">>, true),
    ?assertMatch({ok, 200, _, _}, get(Pid, <<"/hello">>)),
    {ok, Other} = ?CONN:request_async(Pid, <<"POST">>, <<"/control">>, [], frame(16#21, <<"whatever">>), true),
    ?assertMatch({ok, 200, _, _}, get(Pid, <<"/hello">>)),
    ok = ?CONN:close(Pid),
    _ = hansom_case:flush_to([]),
    ?assertEqual(Ref, Other).

frame(Type, Payload) when byte_size(Payload) < 64 -> <<Type, (byte_size(Payload)), Payload/binary>>.
