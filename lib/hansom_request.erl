%% @private Checks what a request is made of, before anything is sent.
-module(hansom_request).

-export([head/2, stream/3, content/1, bytes/1, options/1, upload_options/3, to_list/1, with_inform/1,
         without_inform/1, mode/1, submit/3, ask/3]).
-export_type([options/0, content/0]).

-type options() :: default
                 | {RecvTimeout :: default | timeout(), Inform :: boolean(),
                    Decompress :: boolean(), SendTimeout :: default | nonblock | timeout(),
                    Trailers :: boolean(), Interim :: boolean()}.
-type content() :: binary() | stream | [].

%% Fields may take the NIF too long for a scheduler that others wait for; they are then read
%% on a dirty one. This is what may be read at once, in elements of a list, of about 9 ns each;
%% a field takes as long as 20 of them, 8 bytes of a binary as long as one.
-define(READ_AT_ONCE, 20000).
-define(FIELD, 20).

%% Method and target as binaries. Bytes that could end the request line are refused: a
%% caller that builds targets from foreign input must not be able to smuggle in headers
%% or requests.
-spec head(term(), term()) -> {ok, binary(), binary()} | {error, term()}.
head(Method, Path) when is_binary(Method), is_binary(Path) ->
    case Method =/= <<>> andalso is_clean(Method) of
        false -> {error, {invalid_method, Method}};
        true ->
            case is_clean(Path) of
                false -> {error, {invalid_request_target, Path}};
                true when Path =:= <<>> -> {ok, Method, <<"/">>};
                true -> {ok, Method, Path}
            end
    end;
head(Method, Path) ->
    case to_binary(Method) of
        error -> {error, {invalid_method, Method}};
        MethodBin ->
            case {to_binary(Path), head(MethodBin, <<"/">>)} of
                {_, {error, _}} -> {error, {invalid_method, Method}};
                {error, _} -> {error, {invalid_request_target, Path}};
                {PathBin, _} -> head(MethodBin, PathBin)
            end
    end.

%% The same for a stream of one's own, and whether its window is reopened by hand.
-spec stream(term(), term(), map()) -> {ok, binary(), binary(), Manual :: boolean()} | {error, term()}.
stream(Method, Path, Options) ->
    case {head(Method, Path), maps:get(flow_control, Options, auto)} of
        {{ok, M, P}, Flow} when Flow =:= auto; Flow =:= manual -> {ok, M, P, Flow =:= manual};
        {{ok, _, _}, Flow} -> {error, {options, {flow_control, Flow}}};
        {Error, _} -> Error
    end.

is_clean(<<Byte, Rest/binary>>) when Byte =/= $\r, Byte =/= $\n, Byte =/= 0 -> is_clean(Rest);
is_clean(Rest) -> Rest =:= <<>>.

to_binary(Binary) when is_binary(Binary) -> Binary;
to_binary(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
to_binary(List) when is_list(List) ->
    try iolist_to_binary(List)
    catch error:badarg ->
        case unicode_to_binary(List) of
            Binary when is_binary(Binary) -> Binary;
            _ -> error
        end
    end;
to_binary(_) -> error.

unicode_to_binary(List) ->
    try unicode:characters_to_binary(List)
    catch error:badarg -> error
    end.

%% The body as one binary, which the engine can keep without copying it.
-spec content(term()) -> {ok, content()} | {error, {badarg, {body, term()}}}.
content(Body) when is_binary(Body); Body =:= []; Body =:= stream ->
    {ok, Body};
content(Body) ->
    bytes(Body).

-spec bytes(term()) -> {ok, binary()} | {error, {badarg, {body, term()}}}.
bytes(Data) when is_binary(Data) ->
    {ok, Data};
bytes(Data) ->
    try {ok, iolist_to_binary(Data)}
    catch error:badarg -> {error, {badarg, {body, Data}}}
    end.

%% The options of one request; others than these are ignored.
-spec options(term()) ->
    {ok, options(), InformFun :: undefined | fun((_, _, _) -> term())} | {error, {options, term()}}.
options([]) ->
    {ok, default, undefined};
options(Options) when length(Options) >= 0 ->
    Get = fun(Key, Default) ->
                  Value = proplists:get_value(Key, Options, Default),
                  is_valid(Key, Value) orelse throw({bad_option, Key, Value}),
                  Value
          end,
    try {Get(recv_timeout, default), Get(inform_fun, undefined), Get(auto_decompress, false),
         Get(send_timeout, default), Get(trailers, false), Get(interim, false)} of
        {default, undefined, false, default, false, false} ->
            {ok, default, undefined};
        {RecvTimeout, InformFun, Decompress, SendTimeout, Trailers, Interim} ->
            {ok, {RecvTimeout, InformFun =/= undefined, Decompress, SendTimeout, Trailers, Interim},
             InformFun}
    catch
        throw:{bad_option, Key, Value} -> {error, {options, {Key, Value}}}
    end;
options(Options) ->
    {error, {options, Options}}.

is_valid(Key, default) when Key =:= recv_timeout; Key =:= send_timeout -> true;
is_valid(send_timeout, nonblock) -> true;
is_valid(Key, Value) when Key =:= recv_timeout; Key =:= send_timeout ->
    hansom_options:is_time(Value);
is_valid(inform_fun, Value) -> Value =:= undefined orelse is_function(Value, 3);
is_valid(_Switch, Value) -> is_boolean(Value).

%% The options of a request sent in pieces: its own time-outs and interim responses, the rest is of
%% the connection.
-spec upload_options(term(), InformFun :: undefined | fun((_, _, _) -> term()), Decompress :: boolean()) ->
    {ok, options()} | {error, {options, term()}}.
upload_options(Options, InformFun, Decompress) ->
    case options(Options) of
        {ok, default, _} ->
            {ok, {default, InformFun =/= undefined, Decompress, default, false, false}};
        {ok, {RecvTimeout, _Inform, _Decompress, SendTimeout, _Trailers, Interim}, _} ->
            {ok, {RecvTimeout, InformFun =/= undefined, Decompress, SendTimeout, false, Interim}};
        Error ->
            Error
    end.

%% The options given with the request, for another node.
-spec to_list(options()) -> list().
to_list(default) ->
    [];
to_list({RecvTimeout, _Inform, Decompress, SendTimeout, Trailers, Interim}) ->
    [Option || {_, Value} = Option <- [{recv_timeout, RecvTimeout}, {send_timeout, SendTimeout}],
               Value =/= default]
        ++ [{auto_decompress, Decompress}, {trailers, Trailers}, {interim, Interim}].

%% Of a synchronous request: without a function nobody is to be told of interim responses.
-spec with_inform(options()) -> options().
with_inform({RecvTimeout, false, Decompress, SendTimeout, Trailers, true}) ->
    {RecvTimeout, false, Decompress, SendTimeout, Trailers, false};
with_inform(Options) ->
    Options.

%% Of an asynchronous request: its interim responses come as messages.
-spec without_inform(options()) -> options().
without_inform(default) -> default;
without_inform(Options) -> setelement(2, Options, false).

%% How an asynchronous response is delivered.
-spec mode(term()) -> ok | {error, {badarg, {async, term()}}}.
mode(true) -> ok;
mode(once) -> ok;
mode(Mode) -> {error, {badarg, {async, Mode}}}.

%% Gives an exchange to the engine, on the kind of scheduler that fits its head.
-spec submit(pid(), reference(), hansom_nif:exchange()) -> hansom_nif:answer() | wait | noproc.
submit(Pid, Ref, Exchange) ->
    {_Method, Path, Headers} = element(2, Exchange),
    case is_large(Path, Headers) of
        false -> hansom_nif:exchange(Pid, Ref, Exchange);
        true -> hansom_nif:exchange_dirty(Pid, Ref, Exchange)
    end.

%% Gives the engine whatever else a connection is asked, in the same way.
-spec ask(pid(), reference(), Operation :: term()) -> hansom_nif:answer() | wait | noproc.
ask(Pid, Ref, Operation) ->
    case is_large(<<>>, trailers(Operation)) of
        false -> hansom_nif:call(Pid, Ref, Operation);
        true -> hansom_nif:call_dirty(Pid, Ref, Operation)
    end.

trailers({finish_send_body, Trailers}) -> Trailers;
trailers({stream_trailers, _StreamId, Trailers}) -> Trailers;
trailers({on_behalf, _Process, Operation}) -> trailers(Operation);
trailers(_) -> [].

%% Whether the fields are to be read on a dirty scheduler. What is no header list is refused by the
%% engine.
-spec is_large(binary(), term()) -> boolean().
is_large(Path, Headers) ->
    exceeds(Headers, ?READ_AT_ONCE - (byte_size(Path) bsr 3)).

exceeds(_, Left) when Left < 0 ->
    true;
exceeds([{Name, Value} | Rest], Left) when is_binary(Name), is_binary(Value) ->
    exceeds(Rest, Left - ?FIELD - ((byte_size(Name) + byte_size(Value)) bsr 3));
exceeds([{Name, Value} | Rest], Left) ->
    exceeds(Rest, Left - ?FIELD - elements(Name) - elements(Value));
exceeds(_, _) ->
    false.

elements(Text) when is_list(Text) -> cells(Text, 0);
elements({Value, Params}) when length(Params) >= 0 ->
    lists:foldl(fun({K, V}, Sum) -> Sum + ?FIELD + elements(K) + elements(V);
                   (Param, Sum) -> Sum + ?FIELD + elements(Param)
                end, elements(Value), Params);
elements(Text) when is_binary(Text) -> byte_size(Text) bsr 3;
elements(_) -> 0.

%% Of a list in a list too, as iodata has it.
cells([Head | Tail], Sum) when is_list(Head) -> cells(Tail, cells(Head, Sum + 1));
cells([Head | Tail], Sum) when is_binary(Head) -> cells(Tail, Sum + 1 + (byte_size(Head) bsr 3));
cells([_ | Tail], Sum) -> cells(Tail, Sum + 1);
cells(Tail, Sum) when is_binary(Tail) -> Sum + (byte_size(Tail) bsr 3);
cells(_End, Sum) -> Sum.
