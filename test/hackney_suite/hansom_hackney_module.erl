%% @private One test module of hackney, in a virtual machine of its own: runs it and writes what became of each test
%% to a file, as it happens, so that a module that hangs still tells of what came before.
-module(hansom_hackney_module).
-behaviour(eunit_listener).

-export([main/0]).
-export([start/0, start/1, init/1, handle_begin/3, handle_end/3, handle_cancel/3, terminate/2]).

-type how() :: original | hansom.
%% The function that holds the test or makes it, what the test says of itself, and a number among its namesakes.
-type name() :: binary().
-export_type([how/0, name/0]).

-spec main() -> no_return().
main() ->
    [Module, How, File] = init:get_plain_arguments(),
    ok = prepare(list_to_atom(How)),
    ok = file:write_file(File, ""),
    _ = eunit:test(list_to_atom(Module), [{report, {?MODULE, [{file, File}]}}]),
    erlang:halt(0).

prepare(original) ->
    ok;
prepare(hansom) ->
    ok = hansom_hackney:install(),
    #{state := installed} = hansom_hackney:status(),
    ok.

start() ->
    start([]).

start(Options) ->
    eunit_listener:start(?MODULE, Options).

init(Options) ->
    #{file => proplists:get_value(file, Options), seen => #{}}.

handle_begin(_Kind, _Data, State) ->
    State.

handle_end(test, Data, State) ->
    note(Data, outcome(proplists:get_value(status, Data)), State);
handle_end(_Kind, _Data, State) ->
    State.

%% A group whose setup fails tells of no test in it: those count as not run.
handle_cancel(test, Data, State) ->
    note(Data, failed(proplists:get_value(reason, Data)), State);
handle_cancel(_Kind, _Data, State) ->
    State.

terminate(_Result, _State) ->
    ok.

outcome(ok) -> passed;
outcome({skipped, _Reason}) -> skipped;
outcome({error, Exception}) -> failed(Exception).

failed(Reason) ->
    {failed, unicode:characters_to_binary(io_lib:format("~0tP", [Reason, 60]))}.

note(Data, Outcome, #{file := File, seen := Seen} = State) ->
    Name = name(proplists:get_value(source, Data), proplists:get_value(desc, Data)),
    Number = maps:get(Name, Seen, 0) + 1,
    Numbered = case Number of
        1 -> Name;
        _ -> <<Name/binary, " #", (integer_to_binary(Number))/binary>>
    end,
    Line = unicode:characters_to_binary(io_lib:format("~0tp.~n", [{Numbered, Outcome}])),
    ok = file:write_file(File, Line, [append]),
    State#{seen := Seen#{Name => Number}}.

name({_Module, Function, _Arity}, Description) ->
    %% A fun is called -function/arity-fun-number-.
    [Base | _] = string:lexemes(atom_to_list(Function), "-/"),
    unicode:characters_to_binary([Base | description(Description)]).

description(Text) when Text =:= undefined; Text =:= ""; Text =:= <<>> -> "";
description(Text) -> [" ", Text].
