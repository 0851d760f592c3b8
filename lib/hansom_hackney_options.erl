%% @private What makes a connection of hansom's one that hackney expects.
-module(hansom_hackney_options).

-export([check/1, start/2, tls/1]).

%% @doc The defaults for every connection, from the options of `hansom_hackney:install/1'.
-spec check(term()) -> {ok, map()} | {error, {options, term()}}.
check(Options) when is_map(Options) ->
    Defaults = maps:merge(#{truncated_body => ok, unpulled => drop, user_agent => user_agent()}, Options),
    case hansom_options:start(maps:merge(#{host => "localhost"}, Defaults), self()) of
        {ok, _} -> {ok, Defaults};
        {error, {options, _} = Reason} -> {error, Reason}
    end;
check(Options) when is_list(Options) ->
    try maps:from_list(Options) of
        Map -> check(Map)
    catch error:badarg -> {error, {options, Options}}
    end;
check(Options) ->
    {error, {options, Options}}.

user_agent() ->
    Version = case application:get_key(hackney, vsn) of
        {ok, Vsn} -> hd(string:split(Vsn, "-"));
        undefined -> "0.0.0"
    end,
    iolist_to_binary(["hackney/", Version]).

%% @doc The start options of one connection, from hackney's.
-spec start(map(), map()) -> map().
start(Defaults, Options) ->
    with_protocols(with_roots(maps:merge(Defaults, Options))).

%% hackney's setting may change at any time.
with_protocols(Options) ->
    ConnectOptions = maps:get(connect_options, Options, []),
    case application:get_env(hackney, default_protocols) of
        {ok, Protocols} when is_list(ConnectOptions) ->
            case lists:keymember(protocols, 1, ConnectOptions) of
                true -> Options;
                false -> Options#{connect_options => [{protocols, Protocols} | ConnectOptions]}
            end;
        _ ->
            Options
    end.

with_roots(Options) ->
    case hansom_options:transport(maps:get(transport, Options, hackney_tcp)) of
        tls -> Options#{ssl_options => tls(maps:get(ssl_options, Options, []))};
        _ -> Options
    end.

%% @doc TLS options with hackney's choice of roots, unless they have one of their own.
-spec tls(term()) -> term().
tls(Options) when is_list(Options) ->
    case erlang:function_exported(certifi, cacerts, 0) andalso not lists:any(fun is_about_trust/1, Options) of
        true ->
            Certifi = certifi,
            [{cacerts, Certifi:cacerts()} | Options];
        false -> Options
    end;
tls(Options) ->
    Options.

is_about_trust({Key, _}) when Key =:= cacerts; Key =:= cacertfile -> true;
is_about_trust({insecure, true}) -> true;
is_about_trust(_Option) -> false.
