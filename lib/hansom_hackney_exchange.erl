%% @private The end of an exchange over a connection of hackney's pool.
%%
%% The connection is back with its pool before whoever read the body to its end goes on: a user who asks the pool at
%% once for the next connection then gets this one, instead of another, or of waiting for one in vain.
%%
%% A module of its own, because its callers wait in it; see {@link hansom_hackney_conn}.
-module(hansom_hackney_exchange).

-export([body/2, stream_body/1]).

-spec body(pid(), timeout()) -> {ok, binary()} | {error, term()}.
body(Pid, Timeout) ->
    Answer = hansom_conn:body(Pid, Timeout),
    ok = let_go(Pid),
    Answer.

-spec stream_body(pid()) -> {ok, binary()} | done | {error, term()}.
stream_body(Pid) ->
    case hansom_conn:stream_body(Pid) of
        done ->
            ok = let_go(Pid),
            done;
        Answer ->
            Answer
    end.

%% The engine tells the process that the exchange is over before it answers the caller, and the process tells the
%% pool, or ends: so it has done that when it answers this, or does not.
let_go(Pid) ->
    _ = try hansom_conn:get_state(Pid, infinity) catch exit:_ -> gone end,
    ok.
