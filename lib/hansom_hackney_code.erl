%% @private Which module stands under the name `hackney_conn'.
%%
%% {@link hansom_hackney_conn} is loaded under that name, and the original under `hansom_hackney_original', to which
%% everything goes that concerns connections of its own: those that were open keep their state, their process and, under
%% another name, their code. Nothing but these two names changes, and only in memory.
%%
%% A process that is busy in the original at that moment goes on in its old code, and `hackney_conn' can then not be
%% loaded once more without killing that process: {@link restore/0} refuses that.
-module(hansom_hackney_code).

-export([prepare/0, load/1, refresh/0, restore/0, still_busy/1, current/0, is_present/0, version/0]).
-export_type([prepared/0]).

-define(NAME, hackney_conn).
-define(REPLACEMENT, hansom_hackney_conn).
-define(ORIGINAL, hansom_hackney_original).

%% Where the original is kept, for as long as it is replaced. It does not change with the files on disk: what goes back
%% is what the rest of the running hackney was used with.
-define(KEPT, {?MODULE, original}).

-define(OLDEST, [4, 0, 1]).
-define(NEWEST, [4]).

%% Modules to be loaded, with their names in error messages.
-type object() :: {File :: file:filename(), Beam :: binary()}.
-opaque prepared() :: #{original := object(), renamed := object(), replacement := object()}.

%% @doc Checks whether the hackney that is there can be served, without changing anything.
-spec prepare() -> {ok, prepared()} | {error, hansom_hackney:reason()}.
prepare() ->
    try
        code:ensure_loaded(?NAME) =:= {module, ?NAME} orelse throw({not_found, ?NAME}),
        ok = check_version(),
        {_, Original} = Object = object(?NAME),
        is_unmodified(Original) orelse throw({modified, ?NAME}),
        Replacement = replacement(),
        %% What is looked for later, to see whether it is there, may not have been loaded yet.
        _ = [code:ensure_loaded(Module) || Module <- [hackney_altsvc, hackney_headers, certifi]],
        {ok, #{original => Object,
               renamed => {element(1, Object), renamed(?NAME, Original, ?ORIGINAL)},
               replacement => Replacement}}
    catch
        throw:Reason -> {error, Reason}
    end.

%% The replacement as it is on disk, under its other name, if it has all that hackney calls.
replacement() ->
    {File, Beam} = object(?REPLACEMENT),
    Missing = expected() -- exports(Beam),
    Missing =:= [] orelse throw({missing, Missing}),
    {File, renamed(?REPLACEMENT, Beam, ?NAME)}.

check_version() ->
    Version = version(),
    is_supported(Version) orelse throw({hackney_version, Version}),
    ok.

%% @doc hackney's version, from its application.
-spec version() -> string() | undefined.
version() ->
    _ = application:load(hackney),
    case application:get_key(hackney, vsn) of
        {ok, Version} -> Version;
        undefined -> undefined
    end.

is_supported(undefined) ->
    false;
is_supported(Version) ->
    [Release | _] = string:lexemes(Version, "-+"),
    try [list_to_integer(Number) || Number <- string:lexemes(Release, ".")] of
        Numbers -> Numbers >= ?OLDEST andalso lists:prefix(?NEWEST, Numbers)
    catch error:badarg -> false
    end.

object(Module) ->
    case code:get_object_code(Module) of
        {Module, Beam, File} -> {File, Beam};
        error -> throw({no_object_code, Module})
    end.

%% A module that was patched or mocked at run time would be lost. One compiled for coverage is the same source.
is_unmodified(Beam) ->
    code:which(?NAME) =:= cover_compiled
        orelse info(?NAME, md5) =:= hansom_hackney_beam:md5(Beam).

%% What the modules of hackney call in hackney_conn. Its other exports are reached through
%% '$handle_undefined_function'/2.
expected() ->
    {ok, Modules} = application:get_key(hackney, modules),
    lists:usort([{Function, Arity} || Module <- Modules, Module =/= ?NAME,
                                      {?NAME, Function, Arity} <- imports(Module)]).

imports(Module) ->
    {_, Beam} = object(Module),
    case beam_lib:chunks(Beam, [imports]) of
        {ok, {Module, [{imports, Imports}]}} -> Imports;
        _ -> throw({no_object_code, Module})
    end.

exports(Beam) ->
    {ok, {_, [{exports, Exports}]}} = beam_lib:chunks(Beam, [exports]),
    Exports.

renamed(Module, Beam, Name) ->
    case hansom_hackney_beam:rename(Beam, Name) of
        {ok, Renamed} -> Renamed;
        error -> throw({no_object_code, Module})
    end.

%% @doc Puts the replacement in its place. From the answer on it is what everybody calls.
-spec load(prepared()) -> ok | {error, hansom_hackney:reason()}.
load(#{original := Original, renamed := Renamed, replacement := Replacement}) ->
    %% In this order: each finds what it refers to.
    case load(?ORIGINAL, Renamed) of
        ok ->
            ok = persistent_term:put(?KEPT, Original),
            load(?NAME, Replacement);
        Error ->
            Error
    end.

%% @doc Puts the replacement that is on disk into the place of the one in use: that may be of an earlier release of
%% hansom.
-spec refresh() -> ok | {error, hansom_hackney:reason()}.
refresh() ->
    try
        ok = check_version(),
        load(?NAME, replacement())
    catch
        throw:Reason -> {error, Reason}
    end.

%% @doc Puts the original back. `{busy, _}' leaves the replacement where it is.
-spec restore() -> ok | {error, hansom_hackney:reason()}.
restore() ->
    case {current(), persistent_term:get(?KEPT, none)} of
        {replacement, Original} when Original =/= none ->
            case load(?NAME, Original) of
                ok ->
                    %% Nobody stays in the replacement: it only passes calls on.
                    _ = code:soft_purge(?NAME),
                    ok;
                Error ->
                    Error
            end;
        _ ->
            ok
    end.

%% @doc What is loaded under the name of hackney's module.
-spec current() -> replacement | other | none.
current() ->
    case erlang:module_loaded(?NAME) of
        false -> none;
        true ->
            %% The replacement is the only one to have the attributes of hansom's module.
            case lists:keyfind(?REPLACEMENT, 1, info(?NAME, attributes)) of
                false -> other;
                _ -> replacement
            end
    end.

%% @doc Whether hackney has come to be known, without looking for it on disk.
-spec is_present() -> boolean().
is_present() ->
    application:get_key(hackney, vsn) =/= undefined.

load(Module, {File, Beam}) ->
    case is_loaded(Module, Beam) orelse not erlang:check_old_code(Module) orelse code:soft_purge(Module) of
        true -> load_new(Module, File, Beam);
        false -> {error, {busy, busy(Module, processes())}}
    end.

load_new(Module, File, Beam) ->
    case is_loaded(Module, Beam) of
        true ->
            ok;
        false ->
            %% Some releases keep all their code from being replaced by accident. This is none.
            Sticky = code:is_sticky(Module),
            _ = Sticky andalso code:unstick_mod(Module),
            Result = code:load_binary(Module, File, Beam),
            _ = Sticky andalso code:stick_mod(Module),
            case Result of
                {module, Module} -> ok;
                {error, not_purged} -> {error, {busy, busy(Module, processes())}};
                {error, Reason} -> {error, {load, Reason}}
            end
    end.

is_loaded(Module, Beam) ->
    erlang:module_loaded(Module) andalso info(Module, md5) =:= hansom_hackney_beam:md5(Beam).

info(Module, Key) ->
    Module:module_info(Key).

%% @doc Those of them because of whom {@link restore/0} refused, and would again.
-spec still_busy([pid()]) -> [pid()].
still_busy(Pids) ->
    busy(?NAME, Pids).

busy(Module, Pids) ->
    [Pid || Pid <- Pids, erlang:check_process_code(Pid, Module) =:= true].
