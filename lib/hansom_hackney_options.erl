%% @private What makes a connection of hansom's one that hackney expects.
-module(hansom_hackney_options).

-export([check/1, start/2, tls/1]).

%% Start options that hackney leaves open, at least of some connections: of those out of its pool `send_timeout', of the
%% others `idle_timeout'. What it says of every connection, or what belongs to a single one, would have no effect as a
%% default, or a bad one.
-define(OPEN, [truncated_body, unpulled, user_agent, tls, h2c, http3, quic_idle_timeout, early_data, trailers,
               auto_decompress, inform_fun, no_reuse, idle_timeout, send_timeout,
               connection_window, stream_window, max_streams, ping_interval, ping_timeout, drain_on_goaway,
               push_allowance, push_queue_limit, max_header_bytes, max_headers, max_interim_responses,
               max_chunk_extension_bytes, max_trailer_bytes, max_body_bytes, max_decompressed_bytes,
               max_decompress_ratio]).

%% @doc The defaults for every connection, from the options of `hansom_hackney:install/1'.
-spec check(term()) -> {ok, map()} | {error, {options, term()}}.
check(Options) when is_map(Options) ->
    Defaults = maps:merge(#{truncated_body => ok, unpulled => drop, user_agent => user_agent()}, Options),
    case maps:next(maps:iterator(maps:without(?OPEN, Options))) of
        none ->
            case hansom_options:start(Defaults#{host => "localhost"}, self()) of
                {ok, _} -> {ok, Defaults};
                {error, {options, _} = Reason} -> {error, Reason}
            end;
        {Key, Value, _} ->
            {error, {options, {Key, Value}}}
    end;
check(Options) when is_list(Options) ->
    try maps:from_list(Options) of
        Map -> check(Map)
    catch error:badarg -> {error, {options, Options}}
    end;
check(Options) ->
    {error, {options, Options}}.

user_agent() ->
    Version = case hansom_hackney_code:version() of
        undefined -> "0.0.0";
        Known -> hd(string:split(Known, "-"))
    end,
    iolist_to_binary(["hackney/", Version]).

%% @doc The start options of one connection, from hackney's.
-spec start(map(), map()) -> map().
start(Defaults, Options) ->
    with_protocols(with_roots(maps:merge(Defaults, Options))).

with_protocols(Options) ->
    case maps:get(connect_options, Options, []) of
        ConnectOptions when is_list(ConnectOptions) ->
            case lists:keyfind(protocols, 1, ConnectOptions) of
                %% hackney asks for HTTP/3 alone, and takes it for missing when something else comes of it: QUIC must
                %% not lose a race for being the slower one.
                {protocols, [http3]} -> Options#{http3 => first};
                {protocols, _} -> Options;
                false -> Options#{connect_options => [{protocols, default_protocols()} | ConnectOptions]}
            end;
        _ ->
            Options
    end.

%% hackney's setting, which may change at any time, and its default.
default_protocols() ->
    case application:get_env(hackney, default_protocols) of
        {ok, Protocols} when is_list(Protocols) -> Protocols;
        _ -> [http2, http1]
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
