%% @doc Stands in for hackney's cache of alternative services, which need not be there.
-module(hansom_altsvc).

-export([with_cache/1]).

-define(KEY, {?MODULE, told}).

%% @doc Runs `Fun' while the cache is there. It gets a function that gives what the cache was told,
%% `{Host, Port, Headers}' each, the first thing first.
with_cache(Fun) ->
    persistent_term:put(?KEY, []),
    {ok, Module, Beam} = compile:forms([{attribute, 1, module, hackney_altsvc},
                                        {attribute, 1, export, [{parse_and_cache, 3}]},
                                        form("parse_and_cache(Host, Port, Headers) -> "
                                             "Key = {" ++ atom_to_list(?MODULE) ++ ", told}, "
                                             "persistent_term:put(Key, [{Host, Port, Headers} "
                                             "| persistent_term:get(Key)]).")]),
    {module, Module} = code:load_binary(Module, "hackney_altsvc.erl", Beam),
    try Fun(fun() -> lists:reverse(persistent_term:get(?KEY)) end)
    after
        true = persistent_term:erase(?KEY),
        true = code:delete(Module),
        code:purge(Module)
    end.

form(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Form} = erl_parse:parse_form(Tokens),
    Form.
