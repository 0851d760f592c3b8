%% @private The pipes of a connection: the one in use, and those on their way out.
%%
%% They are linked to the connection's process, to which all of this belongs. It passes on what
%% comes of them: the messages `{'$pipe', _, _}' and `{'EXIT', _, _}'.
-module(hansom_pipes).

-export([new/0, open/2, opened/4, is_open/1, is_used/1, ask/2, discard/2, close/1, await_closed/2,
         info/2, end_within/2]).
-export_type([pipes/0]).

-record(pipes, {used :: undefined | hansom_pipe:pipe(),
                closing = [] :: [hansom_pipe:pipe()],
                %% Who waits until none is left that closes.
                waiting = [] :: [gen_statem:from()]}).

-opaque pipes() :: #pipes{}.

-spec new() -> pipes().
new() -> #pipes{}.

%% Puts a new pipe into use, instead of the one before.
-spec open(hansom_pipe:job(), pipes()) -> {hansom_pipe:pipe(), pipes()}.
open(Job, Pipes) ->
    Pipe = hansom_pipe:start(Job),
    {Pipe, (close(Pipes))#pipes{used = Pipe}}.

%% What the writer of the pipe in use has connected; `unused' if it is of another one.
-spec opened(Number :: pos_integer(), module(), Socket :: term(), pipes()) -> pipes() | unused.
opened(Number, Module, Socket, #pipes{used = Pipe} = Pipes) ->
    case has_number(Number, Pipe) of
        true -> Pipes#pipes{used = hansom_pipe:opened(Module, Socket, Pipe)};
        false -> unused
    end.

-spec is_used(pipes()) -> boolean().
is_used(#pipes{used = Pipe}) -> Pipe =/= undefined.

%% Whether there is a connection to be asked about.
-spec is_open(pipes()) -> boolean().
is_open(#pipes{used = Pipe}) -> Pipe =/= undefined andalso hansom_pipe:is_open(Pipe).

%% Of an open one; see `hansom_pipe'.
-spec ask(hansom_pipe:operation(), pipes()) -> Monitor :: reference().
ask(Operation, #pipes{used = Pipe}) -> hansom_pipe:ask(Operation, Pipe).

%% The engine did not come to use this pipe.
-spec discard(hansom_pipe:pipe() | none, pipes()) -> pipes().
discard(none, Pipes) ->
    Pipes;
discard(Pipe, Pipes) ->
    unused(hansom_pipe:number(Pipe), Pipes).

%% The engine has no more use for the pipe.
-spec close(pipes()) -> pipes().
close(#pipes{used = undefined} = Pipes) ->
    Pipes;
close(#pipes{used = Pipe, closing = Closing} = Pipes) ->
    ok = hansom_pipe:close(Pipe),
    Pipes#pipes{used = undefined, closing = [Pipe | Closing]}.

%% Closes; `From' comes back from {@link info/2} when that is done, unless it is done already.
-spec await_closed(gen_statem:from(), pipes()) -> {closed | waiting, pipes()}.
await_closed(From, Pipes) ->
    case close(Pipes) of
        #pipes{closing = []} = Closed -> {closed, Closed};
        #pipes{waiting = Waiting} = Closing -> {waiting, Closing#pipes{waiting = [From | Waiting]}}
    end.

%% What a message means: who need not wait any more.
-spec info({'$pipe', pos_integer(), close | kill} | {'EXIT', pid(), term()}, pipes()) ->
    {Closed :: [gen_statem:from()], pipes()}.
info({'$pipe', Number, close}, Pipes) ->
    {[], unused(Number, Pipes)};
info({'$pipe', Number, kill}, #pipes{closing = Closing} = Pipes) ->
    ok = hansom_pipe:end_within(0, [Pipe || Pipe <- Closing, has_number(Number, Pipe)]),
    {[], Pipes};
info({'EXIT', Pid, _Reason}, Pipes) ->
    ended(Pid, broken(Pid, Pipes)).

unused(Number, #pipes{used = Pipe} = Pipes) ->
    case has_number(Number, Pipe) of
        true -> close(Pipes);
        false -> Pipes
    end.

has_number(_Number, undefined) -> false;
has_number(Number, Pipe) -> hansom_pipe:number(Pipe) =:= Number.

%% A pipe whose processes do not both live moves nothing.
broken(_Pid, #pipes{used = undefined} = Pipes) ->
    Pipes;
broken(Pid, #pipes{used = Pipe} = Pipes) ->
    case hansom_pipe:has(Pid, Pipe) of
        none ->
            Pipes;
        _ ->
            ok = hansom_pipe:break(Pipe),
            close(Pipes)
    end.

%% The writer is the last.
ended(Pid, #pipes{closing = Closing, waiting = Waiting} = Pipes) ->
    case [Pipe || Pipe <- Closing, hansom_pipe:has(Pid, Pipe) =/= writer] of
        [] -> {Waiting, Pipes#pipes{closing = [], waiting = []}};
        Rest -> {[], Pipes#pipes{closing = Rest}}
    end.

%% Closes, waits so long for the end of all, then kills what is left.
-spec end_within(timeout(), pipes()) -> ok.
end_within(Timeout, Pipes) ->
    #pipes{closing = Closing} = close(Pipes),
    hansom_pipe:end_within(Timeout, Closing).
