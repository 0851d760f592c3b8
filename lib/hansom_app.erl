%% @private
-module(hansom_app).
-behaviour(application).

-export([start/2, prep_stop/1, stop/1]).

start(_Type, _Args) ->
    ok = hansom_hackney_switch:follow_setting(),
    hansom_sup:start_link().

%% hackney is to go on without hansom, and not to open connections that cannot be opened any more.
prep_stop(State) ->
    ok = hansom_hackney_switch:uninstall(),
    State.

%% Not every end is prepared: that of the supervisor is not.
stop(_State) ->
    hansom_hackney_switch:uninstall().
