%% @private Engine calls the connection process makes for others: for callers of other
%% nodes, and for whatever involves a function of the user, which runs in the process.
%%
%% Nothing here waits. A call is submitted under a reference, `{Ref, Answer}' comes to the
%% process as a message, and {@link answer/3} says what to do with it.
%%
%% The messages are those of hackney's module, where it has them: so its functions work on
%% connections of hansom's too, from another node or after hackney has gone back to them.
-module(hansom_relay).

-export([call/3, cast/1, operation/2, setopts/3, answer/3, close_and_reply/2, is_to_own_caller/2, is_of/2]).
-export_type([entry/0, start_options/0]).

-type producer() :: fun(() -> term()) | {fun((term()) -> term()), State :: term()}.
-type inform_fun() :: undefined | fun((_, _, _) -> term()).

%% What is to be done with the answers for one reference.
-type entry() :: {reply, gen_statem:from()}
                 | {async, gen_statem:from(), StreamTo :: pid()}
                 | {stream, gen_statem:from()}
                 | {inform, gen_statem:from(), inform_fun()}
                 | {response, gen_statem:from(), inform_fun()}
                 | {produce, gen_statem:from(), producer()}
                 | {failed, gen_statem:from(), Error :: term()}
                 %% What a transport of others may have to be asked.
                 | {ask, gen_statem:from(), Operation :: term()}
                 %% What was cast to change the state, and who has asked for the state since.
                 | {steer, [gen_statem:from()]}
                 | forget.

%% The start options that act on requests sent in pieces.
-type start_options() :: #{inform_fun := inform_fun(), auto_decompress := boolean()}.

-type result() :: {pending, reference(), entry()} | {reply, gen_statem:from(), term()}
                | {transport, gen_statem:from(), Operation :: term()} | none.

%% Makes the call a message stands for; `unknown' is no call of the engine.
-spec call(term(), gen_statem:from(), start_options()) -> result() | unknown.
call({request, Method, Path, Headers, Body, ReqOpts}, From, _Start) ->
    request(Method, Path, Body, ReqOpts, From,
            fun(M, P, Content, Options, InformFun) ->
                    Own = hansom_request:with_inform(Options),
                    {{request, {M, P, Headers}, Content, Own},
                     {inform, From, InformFun}}
            end);
call({request_async, Method, Path, Headers, Body, Mode, StreamTo}, From, Start) ->
    call({request_async, Method, Path, Headers, Body, Mode, StreamTo, false, []}, From, Start);
call({request_async, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect}, From, Start) ->
    call({request_async, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect, []}, From, Start);
call({request_async, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect, ReqOpts}, From, _Start)
  when is_pid(StreamTo), is_boolean(FollowRedirect) ->
    case hansom_request:mode(Mode) of
        ok ->
            Delivery = {StreamTo, Mode, FollowRedirect},
            request(Method, Path, Body, ReqOpts, From,
                    fun(M, P, Content, Options, _InformFun) ->
                            {{request_async, {M, P, Headers}, Content, hansom_request:without_inform(Options), Delivery},
                             {async, From, StreamTo}}
                    end);
        Error ->
            {reply, From, Error}
    end;
call({send_headers, Method, Path, Headers}, From, Start) ->
    call({send_headers, Method, Path, Headers, []}, From, Start);
call({send_headers, Method, Path, Headers, ReqOpts}, {Sender, _} = From,
     #{inform_fun := InformFun, auto_decompress := Decompress}) ->
    case {hansom_request:head(Method, Path),
          hansom_request:upload_options(ReqOpts, InformFun, Decompress)} of
        {{ok, M, P}, {ok, Options}} ->
            exchange({send_headers, {M, P, Headers}, hansom_request:with_inform(Options), Sender}, {reply, From});
        {{error, _} = Error, _} -> {reply, From, Error};
        {_, Error} -> {reply, From, Error}
    end;
call({request_streaming, Method, Path, Headers, Body}, {Sender, _} = From, _Start) ->
    request(Method, Path, Body, [], From,
            fun(M, P, Content, _Options, _InformFun) ->
                    {{request_streaming, {M, P, Headers}, Content, Sender}, {reply, From}}
            end);
call({open_h2_stream, Method, Path, Headers, Handler, Options}, From, _Start)
  when is_pid(Handler), is_map(Options) ->
    case hansom_request:stream(Method, Path, Options) of
        {ok, M, P, Manual} ->
            exchange({open_stream, {M, P, Headers}, {Handler, Manual}}, {stream, From});
        Error ->
            {reply, From, Error}
    end;
call(start_response, From, #{inform_fun := InformFun}) ->
    for_caller(start_response, From, {response, From, InformFun});
call({inform, Status, Reason, Headers}, From, #{inform_fun := InformFun}) ->
    inform(InformFun, Status, Reason, Headers),
    {reply, From, ok};
call({send_body_chunk, Producer}, From, _Start)
  when is_function(Producer, 0); is_function(element(1, Producer), 1), tuple_size(Producer) =:= 2 ->
    %% The user's function is not run in vain.
    case {hansom_nif:state(self()), hansom_nif:protocol(self())} of
        {streaming_body, _} -> produce(From, Producer);
        {connected, Protocol} when Protocol =/= http1 ->
            for_caller({send_body_chunk, <<>>}, From, {produce, From, Producer});
        _ -> {reply, From, {error, invalid_state}}
    end;
call({Operation, Data}, From, _Start) when Operation =:= send_body_chunk; Operation =:= send ->
    case hansom_request:bytes(Data) of
        {ok, Bytes} -> for_caller({Operation, Bytes}, From, {reply, From});
        Error -> {reply, From, Error}
    end;
call({finish_send_body, Trailers} = Operation, From, _Start) when is_list(Trailers) ->
    for_caller(Operation, From, {reply, From});
call({Operation, StreamId, _} = Message, From, _Start)
  when (Operation =:= stream_trailers orelse Operation =:= stream_cancel), is_integer(StreamId) ->
    operation(Message, {reply, From});
call({stream_send, StreamId, Data, End}, From, _Start) when is_integer(StreamId), is_boolean(End) ->
    case hansom_request:bytes(Data) of
        {ok, Bytes} -> operation({stream_send, StreamId, Bytes, End}, {reply, From});
        Error -> {reply, From, Error}
    end;
%% The calls of the library that hackney has for HTTP/2, to what `open_h2_stream' gives.
call({send_data, StreamId, Data, End}, From, Start) ->
    call({send_data_blocking, StreamId, Data, End, nonblock}, From, Start);
call({send_data_blocking, StreamId, Data, End, Timeout}, From, _Start)
  when is_integer(StreamId), is_boolean(End) ->
    case hansom_request:bytes(Data) of
        {ok, Bytes} -> operation({stream_send, StreamId, Bytes, End, Timeout}, {reply, From});
        Error -> {reply, From, Error}
    end;
call({send_trailers, StreamId, Trailers}, From, _Start) when is_integer(StreamId) ->
    operation({stream_trailers, StreamId, Trailers}, {reply, From});
call({consume, StreamId, Bytes}, From, _Start)
  when is_integer(StreamId), StreamId > 0, is_integer(Bytes), Bytes >= 0 ->
    {reply, From, hansom_h2_stream:consume(self(), StreamId, Bytes)};
call({cancel_stream, StreamId, Code}, From, _Start) when is_integer(StreamId) ->
    case hansom_h2_stream:number(Code) of
        {ok, Number} -> operation({stream_cancel, StreamId, Number}, {reply, From});
        Error -> {reply, From, Error}
    end;
call({recv, Length, Timeout} = Operation, From, _Start)
  when is_integer(Length), Length >= 0, (Timeout =:= infinity orelse is_integer(Timeout)) ->
    operation(Operation, {reply, From});
%% As hackney's module names it.
call(close_socket, From, Start) ->
    call(close, From, Start);
call(Operation, From, _Start)
  when Operation =:= peername; Operation =:= sockname; Operation =:= peercert; Operation =:= close ->
    for_caller(Operation, From, {ask, From, Operation});
call(Operation, From, _Start)
  when Operation =:= body; Operation =:= stream_body; Operation =:= finish_send_body;
       Operation =:= stop_async; Operation =:= response_headers; Operation =:= migrate ->
    for_caller(Operation, From, {reply, From});
call(_Message, _From, _Start) ->
    unknown.

%% A transport of others has options of its own, which nobody else can judge.
-spec setopts(term(), gen_statem:from(), hansom_options:transport()) -> result().
setopts(Options, From, {module, _}) ->
    operation({setopts, []}, {ask, From, {setopts, Options}});
setopts(Options, From, _Transport) ->
    case hansom_socket_options:set(Options) of
        {ok, Known} -> operation({setopts, Known}, {ask, From, {setopts, Known}});
        Error -> {reply, From, Error}
    end.

%% The same for a message that wants no answer.
-spec cast(term()) -> {pending, reference(), entry()} | none | unknown.
cast(stream_next) ->
    ok = hansom_nif:cast(self(), stream_next),
    none;
cast({stream_next, Caller} = Operation) when is_pid(Caller) ->
    ok = hansom_nif:cast(self(), Operation),
    none;
cast({stream_consume, StreamId, Bytes})
  when is_integer(StreamId), StreamId > 0, is_integer(Bytes), Bytes >= 0 ->
    ok = hansom_h2_stream:consume(self(), StreamId, Bytes),
    none;
cast(Operation) when Operation =:= pause_stream; Operation =:= resume_stream; Operation =:= close ->
    operation(Operation, {steer, []});
cast(_Message) ->
    unknown.

request(Method, Path, Body, ReqOpts, From, Make) ->
    case {hansom_request:head(Method, Path), hansom_request:content(Body),
          hansom_request:options(ReqOpts)} of
        {{ok, M, P}, {ok, Content}, {ok, Options, InformFun}} ->
            {Exchange, Entry} = Make(M, P, Content, Options, InformFun),
            exchange(Exchange, Entry);
        {{error, _} = Error, _, _} -> {reply, From, Error};
        {_, {error, _} = Error, _} -> {reply, From, Error};
        {_, _, Error} -> {reply, From, Error}
    end.

exchange(Exchange, Entry) ->
    {pending, submit(fun(Ref) -> hansom_request:submit(self(), Ref, Exchange) end), Entry}.

%% The same for what concerns the caller's own stream on a connection of many.
for_caller(Operation, {Caller, _Tag}, Entry) ->
    operation({on_behalf, Caller, Operation}, Entry).

%% Asks the engine; `Entry' comes back for its answer.
-spec operation(term(), Entry) -> {pending, reference(), Entry}.
operation(Operation, Entry) ->
    {pending, submit(fun(Ref) -> hansom_request:ask(self(), Ref, Operation) end), Entry}.

%% Every answer comes as a message, also one that is there at once: so there is one way to
%% deal with answers, and other events get their turn between the pieces of an upload.
submit(Submit) ->
    Ref = make_ref(),
    _ = case Submit(Ref) of
        wait -> ok;
        %% Only when the engine has been stopped under a connection that is alive.
        noproc -> self() ! {Ref, {error, closed}};
        Answer -> self() ! {Ref, Answer}
    end,
    Ref.

%% What an answer means for the call it belongs to.
-spec answer(reference(), term(), entry()) -> result().
answer(Ref, {'$inform', Status, Reason, Headers}, {Kind, _From, InformFun} = Entry)
  when Kind =:= inform; Kind =:= response ->
    inform(InformFun, Status, Reason, Headers),
    {pending, Ref, Entry};
answer(_Ref, '$transport', {ask, From, Operation}) -> {transport, From, Operation};
answer(_Ref, Answer, {ask, From, _Operation}) -> {reply, From, Answer};
answer(_Ref, Answer, {reply, From}) -> {reply, From, Answer};
answer(_Ref, Answer, {inform, From, _InformFun}) -> {reply, From, Answer};
answer(_Ref, ok, {async, From, _StreamTo}) -> {reply, From, {ok, self()}};
answer(_Ref, Error, {async, From, _StreamTo}) -> {reply, From, Error};
answer(_Ref, {ok, StreamId}, {stream, From}) -> {reply, From, {ok, self(), StreamId}};
answer(_Ref, Error, {stream, From}) -> {reply, From, Error};
answer(_Ref, {ok, Status, Headers}, {response, From, _InformFun}) ->
    {reply, From, {ok, Status, Headers, self()}};
answer(_Ref, Error, {response, From, _InformFun}) -> {reply, From, Error};
answer(_Ref, ok, {produce, From, Producer}) -> produce(From, Producer);
answer(_Ref, Error, {produce, From, _Producer}) -> {reply, From, Error};
answer(_Ref, _Answer, {failed, From, Error}) -> {reply, From, Error};
answer(_Ref, _Answer, forget) -> none.

%% Whether the call is an asynchronous request whose caller gets the messages itself. To the
%% engine the caller is always this process, so it cannot tell.
-spec is_to_own_caller(entry() | term(), pid()) -> boolean().
is_to_own_caller({async, {Caller, _Tag}, StreamTo}, Receiver) ->
    Caller =:= StreamTo andalso StreamTo =:= Receiver;
is_to_own_caller(_Entry, _Receiver) ->
    false.

%% Whether the answer is for this process.
-spec is_of(pid(), entry() | term()) -> boolean().
is_of(Caller, {Kind, {Caller, _Tag}}) -> Kind =:= reply;
is_of(Caller, {Kind, {Caller, _Tag}, _}) ->
    lists:member(Kind, [async, inform, response, produce, failed]);
is_of(_Caller, _Entry) -> false.

inform(undefined, _Status, _Reason, _Headers) -> ok;
inform(InformFun, Status, Reason, Headers) ->
    _ = InformFun(Status, Reason, Headers),
    ok.

%% One step of a body that the user's function makes.
produce(From, Producer) ->
    {Product, Next} = case Producer of
        {Fun, State} -> {Fun(State), fun(NewState) -> {Fun, NewState} end};
        Fun -> {Fun(), none}
    end,
    case Product of
        eof -> {reply, From, ok};
        {ok, Data} when Next =:= none -> produced(From, Data, Producer);
        {ok, Data, NewState} when is_function(Next) -> produced(From, Data, Next(NewState));
        {error, _} = Error -> give_up_body(From, Error);
        Other -> give_up_body(From, {error, {badarg, {body, Other}}})
    end.

produced(From, Data, Producer) ->
    case hansom_request:bytes(Data) of
        {ok, Bytes} -> for_caller({send_body_chunk, Bytes}, From, {produce, From, Producer});
        Error -> give_up_body(From, Error)
    end.

%% A body that cannot be completed ends its stream or, where there is only one exchange, the
%% connection.
give_up_body({Sender, _Tag} = From, Error) ->
    case hansom_nif:protocol(self()) of
        http1 ->
            close_and_reply(From, Error);
        _ ->
            ok = hansom_nif:cast(self(), {abandon, Sender}),
            {reply, From, Error}
    end.

%% Closes the connection, then answers.
-spec close_and_reply(gen_statem:from(), term()) -> result().
close_and_reply(From, Error) ->
    operation(close, {failed, From, Error}).
