%% @doc `make demo': one connection process after another against the bundled server, every answer and every message
%% shown as it comes.
-module(hansom_demo).

-export([main/0]).

-define(DEADLINE, 5000).

%% @doc Runs the demo and ends the VM.
-spec main() -> no_return().
main() ->
    try demo() of
        ok -> erlang:halt(0)
    catch Class:Reason:Stack ->
            io:format(standard_error, "~p: ~p~n~p~n", [Class, Reason, Stack]),
            erlang:halt(1)
    end.

demo() ->
    {ok, _} = application:ensure_all_started(hansom),
    Origin = hansom_servers:origin(),
    [over(Title, Options) || {Title, Options} <- protocols(Origin)],
    say("hansom:stats() after it all:~n  ~p", [hansom:stats()]),
    ok = hansom_servers:stop(Origin),
    application:stop(hansom).

%% Each protocol is a set of start options; what is done over it is the same.
protocols(#{ports := #{http := Http, https := Https, http3 := Http3}, cacerts := Roots}) ->
    Secure = #{host => "localhost", port => Https, transport => hackney_ssl, ssl_options => [{cacerts, Roots}]},
    [{"HTTP/1.1", #{host => "localhost", port => Http}},
     {"HTTP/1.1 over TLS", Secure#{connect_options => [{protocols, [http1]}]}},
     {"HTTP/2 over TLS", Secure},
     {"HTTP/2 without TLS", #{host => "localhost", port => Http, h2c => true}},
     {"HTTP/3", Secure#{port => Http3, connect_options => [{protocols, [http3]}]}}].

over("HTTP/2" ++ _ = Title, Options) ->
    say("~n=== ~ts ===", [Title]),
    steps("A request and its whole answer", Options, fun whole/1),
    steps("A hundred processes with a request each, at once", Options, fun many/1),
    steps("The answer as messages, as it comes", Options, fun pushed/1),
    steps("The answer as messages, one for each stream_next", Options, fun pulled/1),
    steps("A request body sent in pieces", Options, fun upload/1),
    steps("Both directions at once, on a stream of one's own", Options, fun duplex/1);
over("HTTP/3" ++ _ = Title, Options) ->
    say("~n=== ~ts ===", [Title]),
    steps("A request and its whole answer", Options, fun whole/1),
    steps("A hundred processes with a request each, at once", Options, fun many/1),
    steps("The body piece by piece, when asked for", Options, fun streamed/1),
    steps("The answer as messages, as it comes", Options, fun pushed/1),
    steps("The answer as messages, one for each stream_next", Options, fun pulled/1),
    steps("A request body sent in pieces", Options, fun upload/1),
    steps("To another local address in the middle of it", Options, fun move/1);
over(Title, Options) ->
    say("~n=== ~ts ===", [Title]),
    steps("A request, its answer, and a second request on the same connection", Options, fun sync/1),
    steps("The body piece by piece, when asked for", Options, fun pieces/1),
    steps("The answer as messages, as it comes", Options, fun pushed/1),
    steps("The answer as messages, one for each stream_next", Options, fun pulled/1),
    steps("A request body sent in pieces", Options, fun upload/1).

steps(Title, Options, Steps) ->
    say("~n--- ~ts", [Title]),
    {ok, Conn} = hansom_conn:start_link(Options),
    ok = hansom_conn:connect(Conn),
    {ok, Peer} = hansom_conn:peername(Conn),
    say("connected to ~p with ~p", [Peer, hansom_conn:get_protocol(Conn)]),
    ok = Steps(Conn),
    ok = hansom_conn:stop(Conn).

sync(Conn) ->
    show("request", hansom_conn:request(Conn, <<"GET">>, <<"/hello">>, [], <<>>)),
    show("body", hansom_conn:body(Conn)),
    Inform = fun(Status, Reason, Headers) -> show("inform_fun", {Status, Reason, Headers}) end,
    show("request", hansom_conn:request(Conn, <<"GET">>, <<"/interim/103">>, [], <<>>, ?DEADLINE,
                                        [{inform_fun, Inform}])),
    show("body", hansom_conn:body(Conn)),
    {ok, connected} = show("get_state", hansom_conn:get_state(Conn)),
    ok.

whole(Conn) ->
    show("request", hansom_conn:request(Conn, <<"GET">>, <<"/hello">>, [], <<>>)),
    {ok, connected} = show("get_state", hansom_conn:get_state(Conn)),
    ok.

many(Conn) ->
    Self = self(),
    Start = erlang:monotonic_time(millisecond),
    Askers = [spawn_link(fun() ->
                                 {ok, 200, _, _} = hansom_conn:request(Conn, <<"GET">>, <<"/delay/100">>, [], <<>>),
                                 Self ! {answered, self()}
                         end) || _ <- lists:seq(1, 100)],
    [receive {answered, Asker} -> ok after ?DEADLINE -> error(no_answer) end || Asker <- Askers],
    say("100 answers that take the server 100 ms each came within ~b ms",
        [erlang:monotonic_time(millisecond) - Start]).

duplex(Conn) ->
    {ok, Conn, Id} = show("open", hansom_h2_stream:open(Conn, <<"POST">>, <<"/echo">>, [{<<"te">>, <<"trailers">>}])),
    show("send", hansom_h2_stream:send(Conn, Id, <<"one">>)),
    [show("recv", hansom_h2_stream:recv(Conn, Id, ?DEADLINE)) || _ <- [response, one]],
    show("send", hansom_h2_stream:send(Conn, Id, <<"two">>)),
    show("recv", hansom_h2_stream:recv(Conn, Id, ?DEADLINE)),
    show("send_trailers", hansom_h2_stream:send_trailers(Conn, Id, [{<<"checksum">>, <<"none">>}])),
    show("recv", hansom_h2_stream:recv(Conn, Id, ?DEADLINE)),
    ok.

pieces(Conn) ->
    show("request", hansom_conn:request(Conn, <<"GET">>, <<"/chunks/3/16">>, [], <<>>)),
    until_done(fun() -> show("stream_body", hansom_conn:stream_body(Conn)) end).

streamed(Conn) ->
    show("request_streaming", hansom_conn:request_streaming(Conn, <<"GET">>, <<"/stream/3">>, [], <<>>)),
    until_done(fun() -> show("stream_body", hansom_conn:stream_body(Conn)) end).

move(Conn) ->
    show("sockname", hansom_conn:sockname(Conn)),
    show("migrate", hansom_conn:migrate(Conn)),
    show("sockname", hansom_conn:sockname(Conn)),
    show("request", hansom_conn:request(Conn, <<"GET">>, <<"/hello">>, [], <<>>)),
    ok.

until_done(Pull) ->
    case Pull() of
        {ok, _} -> until_done(Pull);
        done -> ok
    end.

pushed(Conn) ->
    {ok, Ref} = show("request_async", hansom_conn:request_async(Conn, <<"GET">>, <<"/stream/3">>, [], <<>>, true)),
    messages(Ref, fun(_) -> ok end).

pulled(Conn) ->
    {ok, Ref} = show("request_async", hansom_conn:request_async(Conn, <<"GET">>, <<"/stream/3">>, [], <<>>, once)),
    messages(Ref, fun({status, _, _}) -> ok;
                     (_) -> show("stream_next", hansom_conn:stream_next(Conn))
                  end).

%% Shows every message up to the last one; After says what to do on each of the others.
messages(Ref, After) ->
    receive
        {hackney_response, Ref, Payload} = Message ->
            show("message", Message),
            case Payload of
                done -> ok;
                _ -> After(Payload), messages(Ref, After)
            end
    after ?DEADLINE -> error(no_message)
    end.

upload(Conn) ->
    Headers = [{<<"Host">>, <<"localhost">>}, {<<"Content-Type">>, <<"text/plain">>}],
    show("send_request_headers", hansom_conn:send_request_headers(Conn, <<"POST">>, <<"/echo">>, Headers)),
    [show("send_body_chunk", hansom_conn:send_body_chunk(Conn, Chunk))
     || Chunk <- [<<"one, ">>, ["two", <<", ">>], "three"]],
    show("finish_send_body", hansom_conn:finish_send_body(Conn)),
    show("start_response", hansom_conn:start_response(Conn)),
    show("body", hansom_conn:body(Conn)),
    ok.

show(What, Answer) ->
    say("~-22ts ~ts", [What, indent(io_lib:format("~p", [Answer]))]),
    Answer.

indent(Text) -> string:replace(Text, "\n", "\n" ++ lists:duplicate(23, $\s), all).

say(Format, Arguments) -> io:format(Format ++ "~n", Arguments).
