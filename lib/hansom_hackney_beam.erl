%% @private Object code under another name.
%%
%% The name of a module is the first entry of its table of atoms, and everything in the code that means the module
%% refers to that entry. So its code can be loaded under another name without its source and without a compiler, which
%% a release need not have. Literals keep the old name: a call through one leads to whatever has that name.
-module(hansom_hackney_beam).

-export([rename/2, md5/1]).
%% Exported for tests: the table has a newer form that not every OTP writes.
-export([rename_atom/2]).

-define(ATOMS, "AtU8").

%% Descriptions of the source, which are of no use under another name.
-define(DESCRIPTIONS, ["Dbgi", "Docs", "ExDp"]).

%% @doc The same code as module `Name'.
-spec rename(binary(), module()) -> {ok, binary()} | error.
rename(Beam, Name) ->
    case beam_lib:all_chunks(Beam) of
        {ok, _Module, Chunks} ->
            case lists:keyfind(?ATOMS, 1, Chunks) of
                {?ATOMS, Atoms} -> build(rename_atom(Atoms, Name), Chunks);
                false -> error
            end;
        {error, beam_lib, _} ->
            error
    end.

build(error, _Chunks) ->
    error;
build(Atoms, Chunks) ->
    Kept = [Chunk || {Id, _} = Chunk <- Chunks, not lists:member(Id, ?DESCRIPTIONS)],
    {ok, Beam} = beam_lib:build_module(lists:keyreplace(?ATOMS, 1, Kept, {?ATOMS, Atoms})),
    {ok, Beam}.

%% @doc The table of atoms with another first one. Since OTP 28 a negative count says that lengths have a variable
%% size.
-spec rename_atom(binary(), module()) -> binary() | error.
rename_atom(<<Count:32/signed, Size, _:Size/binary, Rest/binary>>, Name) when Count > 0 ->
    Text = atom_to_binary(Name),
    <<Count:32/signed, (byte_size(Text)), Text/binary, Rest/binary>>;
rename_atom(<<Count:32/signed, Size:4, 0:4, _:Size/binary, Rest/binary>>, Name) when Count < 0 ->
    long_table(Count, Name, Rest);
rename_atom(<<Count:32/signed, High:3, 2#01000:5, Low, Table/binary>>, Name) when Count < 0 ->
    Size = High bsl 8 bor Low,
    case Table of
        <<_:Size/binary, Rest/binary>> -> long_table(Count, Name, Rest);
        _ -> error
    end;
rename_atom(_Atoms, _Name) ->
    error.

long_table(Count, Name, Rest) ->
    Text = atom_to_binary(Name),
    Size = case byte_size(Text) of
        Short when Short < 16 -> <<Short:4, 0:4>>;
        Long -> <<(Long bsr 8):3, 2#01000:5, (Long band 255)>>
    end,
    <<Count:32/signed, Size/binary, Text/binary, Rest/binary>>.

%% @doc What `Module:module_info(md5)' is once this code is loaded.
-spec md5(binary()) -> binary() | undefined.
md5(Beam) ->
    code:module_md5(Beam).
