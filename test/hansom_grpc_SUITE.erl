%% @doc Streams of one's own against a real gRPC server: the four kinds of calls, metadata and status, deadlines,
%% cancellation; over TLS and, as gRPC is often spoken, without.
-module(hansom_grpc_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).
-define(MIB, 1048576).

-import(hansom_case, [async/1, result/2, process/0, run_in/2, kill/1, state/1]).
-import(hansom_grpc, [start/3, send/2, send_last/2, close/1, recv/1, all/1, call/3, call/4]).

all() -> [{group, tls}, {group, plain}].

groups() -> [{Transport, [], hansom_case:cases(?MODULE)} || Transport <- [tls, plain]].

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    case hansom_case:is_hansom() of
        false -> {skip, "the functions on a stream are those of hansom_h2_stream"};
        true -> hansom_server_case:init_suite(python, fun hansom_servers:grpc/0, Config)
    end.

end_per_suite(Config) -> hansom_server_case:end_suite(Config).

init_per_group(Transport, Config) -> [{transport, Transport} | Config].
end_per_group(_, Config) -> Config.

init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

open(Config) ->
    Options = case proplists:get_value(transport, Config) of
                  tls -> hansom_server_case:options(http2, tls, hansom_server_case:server(Config));
                  plain -> #{host => "127.0.0.1", port => hansom_server_case:port(plain, Config), h2c => true}
              end,
    hansom_case:connect_over(http2, Options).

field(Name, Fields) -> proplists:get_value(Name, Fields).

%% Clauses: API-37, TRAP-13
api_37_unary(Config) ->
    Pid = open(Config),
    [begin
         Message = binary:copy(<<"m">>, Size),
         Call = start(Pid, "Unary", []),
         ok = send_last(Call, Message),
         {head, Head, Next} = recv(Call),
         ?assertEqual(<<"first">>, field(<<"x-initial">>, Head)),
         {[Answer], {status, 0, <<>>, Trailers}} = all(Next),
         ?assert(Answer =:= Message, Size),
         ?assertEqual(<<"last">>, field(<<"x-trailing">>, Trailers)),
         ?assertEqual(<<0, 1, 255>>, base64_value(field(<<"x-binary-bin">>, Trailers)))
     end || Size <- [0, 1, 16384, 3 * ?MIB]].

%% gRPC leaves the padding out.
base64_value(Value) ->
    base64:decode(<<Value/binary, (binary:copy(<<"=">>, -byte_size(Value) band 3))/binary>>).

%% Clauses: API-37
api_37_statuses(Config) ->
    Pid = open(Config),
    ?assertMatch({[], {status, 5, <<"not here: it">>, _}}, call(Pid, "Fail", <<"it">>)),
    ?assertMatch({[], {status, 12, _, _}}, call(Pid, "Nothing", <<>>)),
    {[Seen], {status, 0, _, _}} = call(Pid, "Metadata", <<>>, [{<<"x-mine">>, <<"value">>}]),
    ?assertMatch({match, _}, re:run(Seen, "x-mine: value")).

%% Clauses: API-37
api_37_client_streaming(Config) ->
    Call = start(open(Config), "Collect", []),
    Pieces = [integer_to_binary(N) || N <- lists:seq(1, 500)],
    [ok = send(Call, Piece) || Piece <- Pieces],
    ok = close(Call),
    Whole = iolist_to_binary(Pieces),
    ?assertMatch({[Whole], {status, 0, _, _}}, all(Call)).

%% Clauses: API-37
api_37_server_streaming(Config) ->
    Pid = open(Config),
    {Messages, {status, 0, _, _}} = call(Pid, "Count", <<"1000">>),
    ?assertEqual([integer_to_binary(N) || N <- lists:seq(0, 999)], Messages),
    Large = hansom_interop:bytes(?MIB),
    {Many, {status, 0, _, _}} = call(Pid, "Large", <<"20">>),
    ?assertEqual(20, length(Many)),
    ?assert(lists:all(fun(Message) -> Message =:= Large end, Many)).

%% Each answer is awaited before the next question is sent; several calls take turns.
%% Clauses: API-37, TRAP-13
api_37_bidirectional(Config) ->
    Pid = open(Config),
    Talk = fun(Call, _, 0) -> ok = close(Call), {[], {status, 0, _, _}} = all(Call), ok;
              (Call, Continue, N) ->
                   Message = integer_to_binary(N),
                   ok = send(Call, Message),
                   Answered = case recv(Call) of
                                  {head, _, Next} -> recv(Next);
                                  Other -> Other
                              end,
                   {message, Message, After} = Answered,
                   Continue(After, Continue, N - 1)
           end,
    Running = [async(fun() -> Talk(start(Pid, "Echo", []), Talk, 100) end) || _ <- lists:seq(1, 10)],
    [?assertEqual({ok, ok}, result(Handle, 60000)) || Handle <- Running],
    ?assertEqual(connected, state(Pid)).

%% What is sent is ahead of what comes back, on two calls of one process.
%% Clauses: API-37
api_37_interleaved(Config) ->
    Pid = open(Config),
    Calls = [start(Pid, "Echo", []), start(Pid, "Echo", [])],
    [ok = send(Call, [integer_to_binary(N), binary:copy(<<".">>, 5000)]) || N <- lists:seq(1, 20), Call <- Calls],
    [ok = close(Call) || Call <- Calls],
    [begin
         {Messages, {status, 0, _, _}} = all(Call),
         ?assertEqual([<<(integer_to_binary(N))/binary, (binary:copy(<<".">>, 5000))/binary>>
                       || N <- lists:seq(1, 20)], Messages)
     end || Call <- Calls].

%% Clauses: API-37
api_37_manual_flow_control(Config) ->
    Pid = open(Config),
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/hansom.Test/Large">>,
                                          [{<<"te">>, <<"trailers">>}, {<<"content-type">>, <<"application/grpc">>}],
                                          #{flow_control => manual}),
    ok = hansom_h2_stream:send(Pid, Id, <<0, 2:32, "12">>, fin),
    ?assertEqual(12 * (?MIB + 5), consumed(Pid, Id, 0)).

consumed(Pid, Id, Got) ->
    case hansom_h2_stream:recv(Pid, Id, 15000) of
        {response, Id, 200, _} ->
            consumed(Pid, Id, Got);
        {data, Id, Data, false} ->
            ok = hansom_h2_stream:consume(Pid, Id, byte_size(Data)),
            consumed(Pid, Id, Got + byte_size(Data));
        {trailers, Id, Trailers} ->
            ?assertEqual(<<"0">>, field(<<"grpc-status">>, Trailers)),
            Got
    end.

%% The server keeps the time the client gave it.
%% Clauses: API-37
api_37_deadlines(Config) ->
    Pid = open(Config),
    {[Left], {status, 0, _, _}} = call(Pid, "Remaining", <<>>, [{<<"grpc-timeout">>, <<"30S">>}]),
    ?assert(binary_to_integer(Left) > 10000),
    ?assert(binary_to_integer(Left) =< 30000),
    ?assertMatch({[], End} when element(1, End) =:= status andalso element(2, End) =:= 4;
                                element(1, End) =:= stream_reset,
                 call(Pid, "Wait", <<>>, [{<<"grpc-timeout">>, <<"200m">>}])),
    ?assertMatch({[<<"yes">>], {status, 0, _, _}}, call(Pid, "WasCancelled", <<>>)).

%% Clauses: API-37
api_37_cancelled(Config) ->
    Pid = open(Config),
    Begin = fun() ->
                    Call = start(Pid, "Wait", []),
                    ok = send_last(Call, <<>>),
                    %% The server is at it.
                    {head, _, Begun} = recv(Call),
                    Begun
            end,
    ok = hansom_grpc:cancel(Begin()),
    ?assertMatch({[<<"yes">>], {status, 0, _, _}}, call(Pid, "WasCancelled", <<>>)),
    Handler = process(),
    _ = run_in(Handler, Begin),
    kill(Handler),
    ?assertMatch({[<<"yes">>], {status, 0, _, _}}, call(Pid, "WasCancelled", <<>>)).
