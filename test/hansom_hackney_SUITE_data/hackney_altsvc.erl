%% Stands in for hackney's memory of alternative services.
-module(hackney_altsvc).

-export([parse_and_cache/3, cached/0]).

parse_and_cache(Host, Port, Headers) ->
    persistent_term:put(?MODULE, [{Host, Port, Headers} | cached()]).

cached() -> persistent_term:get(?MODULE, []).
