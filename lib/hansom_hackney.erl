%% @doc Makes hackney run on hansom, and undoes it.
%%
%% ```
%% ok = hansom_hackney:install(),
%% {ok, 200, _, _} = hackney:get(<<"https://www.example.org/">>),
%% #{state := installed} = hansom_hackney:status(),
%% ok = hansom_hackney:uninstall().
%% '''
%%
%% From `install' on every connection that hackney opens is a {@link hansom_conn}. hackney itself, its
%% pools, redirects, cookies and proxies, is unchanged, and so is everything on disk: a module of
%% hansom's takes the place of `hackney_conn' in memory. Connections that are open at that moment
%% are finished by the code they began with, and those that hansom has open at `uninstall' by hansom.
%%
%% The setting `{hansom, [{hackney, true}]}' does the same when the application starts, or options
%% as in {@link install/1} in the place of `true'. If hackney is not there yet, it is done as soon
%% as it is loaded; if hackney is one that hansom does not know, it keeps its own connection, and
%% {@link status/0} and the log say why.
%%
%% docs/hackney.md says more.
-module(hansom_hackney).

-export([install/0, install/1, uninstall/0, status/0]).
-export_type([options/0, reason/0, status/0]).

%% Start options of {@link hansom_conn:start_link/1} that every connection has unless hackney gives
%% them, such as `truncated_body' (here `ok' by default), `unpulled' (here `drop') or `stream_window'.
%% docs/hackney.md names them all.
-type options() :: #{atom() => term()} | [{atom(), term()}].

%% `{not_found, hackney_conn}': hackney is not on the code path. `{hackney_version, Version}': not 4.0.1 or a later
%% 4.x. `{missing, Functions}': hackney calls functions that hansom does not have. `{modified, hackney_conn}': the
%% module in use is not the one on disk. `{no_object_code, Module}': the module's file cannot be read, or is not one
%% that can be used. `{busy, Pids}': these processes run code of hackney that was replaced before, and would be killed.
%% `{options, Option}': this option is bad, unknown, or one that is always hackney's affair. `{load, Reason}': the code server refuses.
-type reason() :: {not_found, hackney_conn}
                | {hackney_version, string() | undefined}
                | {missing, [{atom(), arity()}]}
                | {modified, hackney_conn}
                | {no_object_code, module()}
                | {busy, [pid()]}
                | {options, term()}
                | {load, term()}
                | {not_started, hansom}.

%% `installed': hackney opens connections of hansom's. `waiting': the setting says so, and hackney is not there yet.
%% `leaving': hackney opens connections of its own; its module goes back into its place as soon as no process runs
%% older code of it. `replaced': somebody has loaded another `hackney_conn' since. `not_installed': none of it.
-type status() :: #{state := installed | waiting | leaving | replaced | not_installed,
                    hackney := string() | undefined,
                    options := map(),
                    refused => reason()}.

%% @equiv install(#{})
-spec install() -> ok | {error, reason()}.
install() ->
    install(#{}).

%% @doc Lets hackney open connections of hansom's. Starts the application `hansom' if need be. Called again, it
%% changes the options, and after a hot upgrade of hansom has connections opened by the code that is there now.
-spec install(options()) -> ok | {error, reason()}.
install(Options) ->
    case application:ensure_all_started(hansom) of
        {ok, _} -> hansom_hackney_switch:install(Options);
        {error, _} -> {error, {not_started, hansom}}
    end.

%% @doc Lets hackney open connections of its own again, whatever the setting says, until {@link install/1} or the next
%% start of the application `hansom'.
-spec uninstall() -> ok.
uninstall() ->
    hansom_hackney_switch:uninstall().

%% @doc What is the case, and with `refused' why hackney does not run on hansom although the setting says so.
-spec status() -> status().
status() ->
    hansom_hackney_switch:status().
