%% @private The way of a call past the connection process: one NIF call in, one message back.
%%
%% Each of these functions makes its reference and receives the answer in one body. The
%% compiler then sees that no earlier message can match, and the receive does not scan the
%% messages that were in the mailbox before the call.
%%
%% `Gone' says what a dead process means (hackney since 4.2.0): `answer' gives
%% `{error, closed}' unless the process crashed or was killed, `exit' exits as
%% `gen_statem:call/3' does.
-module(hansom_direct).

-export([call/4, request/7, request_async/8, open_stream/6, start_response/1, relay/4, check_wait/1]).
-export_type([gone/0]).

-type gone() :: answer | exit.

%% That a process died is told by a thread of the library, within this time (ms).
-define(ANSWER_OF_THE_DEAD, 1000).

%% Looked at before anything is asked for: a `receive' that fails would leave its answer to come.
-spec check_wait(term()) -> ok.
check_wait(Timeout) -> hansom_options:is_time(Timeout) orelse error(timeout_value), ok.

-spec call(pid(), Operation :: term(), timeout(), gone()) -> term().
call(Pid, Operation, Timeout, Gone) ->
    ok = check_wait(Timeout),
    Ref = make_ref(),
    case hansom_request:ask(Pid, Ref, Operation) of
        wait ->
            receive
                {Ref, {'$down', Reason}} -> down(Reason, Gone, [Pid, Operation, Timeout]);
                {Ref, '$transport'} -> relay(Pid, {transport, Operation}, Timeout, Gone);
                {Ref, Answer} -> Answer
            after Timeout ->
                expired(Pid, Ref, Gone, [Pid, Operation, Timeout])
            end;
        noproc -> relay(Pid, Operation, Timeout, Gone);
        '$transport' -> relay(Pid, {transport, Operation}, Timeout, Gone);
        {'$down', Reason} -> down(Reason, Gone, [Pid, Operation, Timeout]);
        Answer -> Answer
    end.

-spec request(pid(), binary(), binary(), list(), hansom_request:content(),
              hansom_request:options(), timeout()) -> term().
request(Pid, Method, Path, Headers, Body, Options, Timeout) ->
    ok = check_wait(Timeout),
    Ref = make_ref(),
    case hansom_request:submit(Pid, Ref, {request, {Method, Path, Headers}, Body, Options}) of
        wait ->
            receive
                {Ref, {'$down', Reason}} ->
                    down(Reason, answer, [Pid, {request, Method, Path}, Timeout]);
                {Ref, Answer} ->
                    Answer
            after Timeout ->
                expired(Pid, Ref, answer, [Pid, {request, Method, Path}, Timeout])
            end;
        noproc ->
            ReqOpts = hansom_request:to_list(Options),
            relay(Pid, {request, Method, Path, Headers, Body, ReqOpts}, Timeout, answer);
        {'$down', Reason} ->
            down(Reason, answer, [Pid, {request, Method, Path}, Timeout]);
        Answer ->
            Answer
    end.

-spec request_async(pid(), binary(), binary(), list(), hansom_request:content(),
                    hansom_request:options(), {pid(), true | once, boolean()}, list()) -> term().
request_async(Pid, Method, Path, Headers, Body, Options, Delivery, ReqOpts) ->
    Ref = make_ref(),
    case hansom_request:submit(Pid, Ref, {request_async, {Method, Path, Headers}, Body, Options, Delivery}) of
        wait ->
            receive
                {Ref, {'$down', Reason}} ->
                    down(Reason, answer, [Pid, {request_async, Method, Path}, infinity]);
                {Ref, ok} -> {ok, Pid};
                {Ref, Answer} -> Answer
            end;
        noproc ->
            {StreamTo, Mode, FollowRedirect} = Delivery,
            relay(Pid, {request_async, Method, Path, Headers, Body, Mode, StreamTo, FollowRedirect,
                        ReqOpts}, infinity, answer);
        {'$down', Reason} ->
            down(Reason, answer, [Pid, {request_async, Method, Path}, infinity]);
        ok -> {ok, Pid};
        Answer -> Answer
    end.

-spec open_stream(pid(), binary(), binary(), list(), pid(), boolean()) ->
    {ok, pid(), StreamId :: pos_integer()} | {error, term()}.
open_stream(Pid, Method, Path, Headers, Handler, Manual) ->
    Ref = make_ref(),
    case hansom_request:submit(Pid, Ref, {open_stream, {Method, Path, Headers}, {Handler, Manual}}) of
        wait ->
            receive
                {Ref, {'$down', Reason}} ->
                    down(Reason, answer, [Pid, {open_h2_stream, Method, Path}, infinity]);
                {Ref, Answer} ->
                    stream(Pid, Answer)
            end;
        noproc ->
            Flow = case Manual of true -> manual; false -> auto end,
            relay(Pid, {open_h2_stream, Method, Path, Headers, Handler, #{flow_control => Flow}}, infinity, answer);
        {'$down', Reason} ->
            down(Reason, answer, [Pid, {open_h2_stream, Method, Path}, infinity]);
        Answer ->
            stream(Pid, Answer)
    end.

stream(Pid, {ok, StreamId}) -> {ok, Pid, StreamId};
stream(_Pid, Error) -> Error.

%% Interim responses are told to whoever waits for the final one. The connection's
%% `inform_fun' belongs to the connection process, so they are passed on to it.
-spec start_response(pid()) -> {ok, non_neg_integer(), list(), pid()} | {error, term()}.
start_response(Pid) ->
    Ref = make_ref(),
    case hansom_nif:call(Pid, Ref, start_response) of
        wait -> await_response(Pid, Ref);
        noproc -> relay(Pid, start_response, infinity, answer);
        Answer -> response(Pid, Answer)
    end.

await_response(Pid, Ref) ->
    receive
        {Ref, {'$inform', Status, Reason, Headers}} ->
            ok = inform(Pid, Ref, {inform, Status, Reason, Headers}),
            await_response(Pid, Ref);
        {Ref, Answer} ->
            response(Pid, Answer)
    end.

%% A function that raises ends the connection, and so the answer comes that says so.
inform(Pid, Ref, Message) ->
    try relay(Pid, Message, infinity, answer) of
        _ -> ok
    catch
        exit:Reason:Stack ->
            ok = await_end(Ref),
            erlang:raise(exit, Reason, Stack)
    end.

await_end(Ref) ->
    receive
        {Ref, {'$inform', _, _, _}} -> await_end(Ref);
        {Ref, _} -> ok
    after ?ANSWER_OF_THE_DEAD ->
        ok
    end.

response(Pid, {ok, Status, Headers}) -> {ok, Status, Headers, Pid};
response(Pid, {'$down', Reason}) -> down(Reason, answer, [Pid, start_response, infinity]);
response(_Pid, Error) -> Error.

%% Through the process: for a process of another node, or one that is dead.
-spec relay(pid(), term(), timeout(), gone()) -> term().
relay(Pid, Message, Timeout, exit) ->
    ok = check_wait(Timeout),
    gen_statem:call(Pid, Message, Timeout);
relay(Pid, Message, Timeout, answer) ->
    ok = check_wait(Timeout),
    try gen_statem:call(Pid, Message, Timeout)
    catch
        exit:{Reason, {gen_statem, call, _}}
          when Reason =:= noproc; Reason =:= normal; Reason =:= shutdown ->
            {error, closed};
        exit:{{shutdown, _}, {gen_statem, call, _}} ->
            {error, closed}
    end.

down(Reason, answer, _Call) when Reason =:= normal; Reason =:= shutdown; Reason =:= noproc ->
    {error, closed};
down({shutdown, _}, answer, _Call) ->
    {error, closed};
down(Reason, _Gone, Call) ->
    exit({Reason, {gen_statem, call, Call}}).

%% The engine forgets the caller; nothing for `Ref' comes after its word. What came before
%% is used, for it cannot be asked for a second time.
expired(Pid, Ref, Gone, Call) ->
    CancelRef = make_ref(),
    case hansom_nif:cancel(Pid, CancelRef, Ref) of
        wait -> receive {CancelRef, _} -> late_answer(Ref, Gone, Call, 0) end;
        ok -> late_answer(Ref, Gone, Call, 0);
        %% The process died just now: the answer that says so is on its way.
        noproc -> late_answer(Ref, Gone, Call, ?ANSWER_OF_THE_DEAD)
    end.

late_answer(Ref, Gone, Call, Wait) ->
    receive
        {Ref, {'$down', Reason}} -> down(Reason, Gone, Call);
        {Ref, Answer} -> Answer
    after Wait ->
        exit({timeout, {gen_statem, call, Call}})
    end.
