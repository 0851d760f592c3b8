%% @private Start options: each is checked once, here, and a bad one is named.
%%
%% What a connection is dialled with (socket and TLS options) is checked when it is dialled,
%% by {@link dial/1} and {@link upgrade/3}.
-module(hansom_options).

-export([start/2, dial/1, adopt/4, upgrade/3, transport/1, is_time/1]).
-export_type([settings/0, target/0, dial/0, transport/0]).

-type transport() :: tcp | tls | unix | {module, module()}.
%% A module of others is called as it is.

%% What the connection process keeps for dialling.
-type target() :: #{host := string(), port := inet:port_number(), transport := transport(),
                    connect_timeout := timeout(), connect_options := list(),
                    ssl_options := list(), tls := hansom_tls_options:mode(), h2c := boolean(),
                    http3 := first | race}.

-type settings() :: #{target := target(),
                      owner := pid(), pool := pid() | undefined, no_reuse := boolean(),
                      inform_fun := undefined | fun((_, _, _) -> term()),
                      auto_decompress := boolean(),
                      push_allowance := pos_integer(),
                      push_queue_limit := pos_integer() | infinity,
                      alt_svc := module() | undefined,
                      socket := undefined | hansom_adopt:prepared(),
                      config := map()}.

-type dial() :: #{transport := tcp | tls | unix | carried | carried_tls | adopted, host := binary(), port := inet:port_number(),
                  socket_options := [hansom_socket_options:option()],
                  tls := hansom_tls_options:tls() | undefined, server_name := binary(),
                  carrier := hansom_nif:pipe() | undefined,
                  descriptor := {integer(), Unread :: binary()} | undefined,
                  connect_timeout := timeout(), h2c := boolean(),
                  quic := never | first | race, quic_tls := hansom_tls_options:tls() | undefined}.

%% What only HTTP/2 has a use for.
-define(HTTP2, [connection_window, stream_window, max_streams, send_timeout, ping_interval,
                ping_timeout, drain_on_goaway]).
%% What HTTP/3 has a use for, by the option each is taken from: QUIC has its own idle timeout and
%% keep-alive, and flow control with the same window for each stream.
-define(HTTP3, [{stream_window, stream_window}, {max_streams, max_streams},
                {send_timeout, send_timeout}, {idle_timeout, quic_idle_timeout},
                {keep_alive_interval, ping_interval}, {early_data, early_data}]).
-define(LARGEST_WINDOW, 16#7fffffff).
%% Times are those of `receive ... after', counts what the engine can count.
-define(LONGEST_TIME, 16#ffffffff).
-define(LARGEST_COUNT, 16#ffffffffffffffff).

-define(LIMITS, [max_header_bytes, max_headers, max_interim_responses, max_chunk_extension_bytes,
                 max_trailer_bytes, max_body_bytes, max_decompressed_bytes,
                 max_decompress_ratio]).

%% Checks the start options; `Starter' owns the connection unless they say otherwise.
-spec start(term(), pid()) -> {ok, settings()} | {error, term()}.
start(Options, Starter) when is_map(Options), is_map_key(host, Options) ->
    try {ok, settings(maps:merge(#{owner => Starter}, Options))}
    catch throw:{bad_option, Key, Value} -> {error, {options, {Key, Value}}}
    end;
start(Options, _Starter) when is_map(Options) ->
    {error, {{badkey, host}, [{hansom_conn, start_link, 1, []}]}};
start(Options, _Starter) ->
    {error, {options, Options}}.

settings(Options) ->
    Get = fun(Key) -> checked(Key, Options) end,
    Host = host(Get(host)),
    Port = Get(port),
    Transport = transport(Get(transport)),
    ConnectOptions = Get(connect_options),
    Pool = Get(pool_pid),
    NoReuse = Get(no_reuse),
    PushAllowance = Get(push_allowance),
    AltSvc = alt_svc(),
    %% hackney's store of session tickets is not used, but a bad value is a mistake.
    _ = Get(pool_handler),
    Config = #{pooled => Pool =/= undefined,
               no_reuse => NoReuse,
               truncated_body_ok => Get(truncated_body) =:= ok,
               drop_unpulled => Get(unpulled) =:= drop,
               alt_svc => AltSvc =/= undefined,
               host_header => host_header(Transport, Host, Port),
               user_agent => iolist_to_binary(Get(user_agent)),
               recv_timeout => Get(recv_timeout),
               idle_timeout => Get(idle_timeout),
               send_timeout => hansom_socket_options:send_timeout(ConnectOptions),
               limits => maps:from_list([{Limit, Get(Limit)} || Limit <- ?LIMITS]),
               push_allowance => PushAllowance,
               trailers => Get(trailers),
               http2 => maps:from_list([{Key, Get(Key)} || Key <- ?HTTP2]),
               http3 => maps:from_list([{Key, Get(Option)} || {Key, Option} <- ?HTTP3])},
    #{target => #{host => Host, port => Port, transport => Transport,
                  connect_timeout => Get(connect_timeout), connect_options => ConnectOptions,
                  ssl_options => Get(ssl_options), tls => Get(tls), h2c => Get(h2c),
                  http3 => Get(http3)},
      socket => socket(Transport, maps:get(socket, Options, undefined)),
      owner => Get(owner), pool => Pool, no_reuse => NoReuse,
      inform_fun => Get(inform_fun), auto_decompress => Get(auto_decompress),
      push_allowance => PushAllowance, push_queue_limit => Get(push_queue_limit),
      alt_svc => AltSvc, config => Config}.

socket(_Transport, undefined) ->
    undefined;
socket(Transport, Socket) ->
    case hansom_adopt:prepare(Transport, Socket) of
        {ok, Prepared} -> Prepared;
        error -> throw({bad_option, socket, Socket})
    end.

checked(Key, Options) ->
    Value = case Options of
        #{Key := Given} -> Given;
        _ -> default(Key)
    end,
    is_valid(Key, Value) orelse throw({bad_option, Key, Value}),
    Value.

default(port) -> 80;
default(transport) -> hackney_tcp;
default(connect_timeout) -> 8000;
default(recv_timeout) -> 5000;
default(idle_timeout) -> infinity;
default(send_timeout) -> 30000;
default(connect_options) -> [];
default(ssl_options) -> [];
default(pool_pid) -> undefined;
default(pool_handler) -> undefined;
default(no_reuse) -> false;
default(inform_fun) -> undefined;
default(auto_decompress) -> false;
default(user_agent) -> user_agent();
%% The rest are settings of the application, which gives every one of them.
default(Key) -> application:get_env(hansom, Key, undefined).

is_valid(host, Host) -> host(Host) =/= error;
is_valid(port, Port) -> is_integer(Port) andalso Port >= 0 andalso Port =< 65535;
is_valid(transport, Transport) -> is_atom(Transport) andalso Transport =/= undefined;
is_valid(send_timeout, nonblock) -> true;
is_valid(Key, Value)
  when Key =:= connect_timeout; Key =:= recv_timeout; Key =:= idle_timeout; Key =:= send_timeout ->
    is_time(Value);
is_valid(Key, Value)
  when Key =:= ping_interval; Key =:= ping_timeout; Key =:= quic_idle_timeout ->
    is_time(Value) andalso Value > 0;
is_valid(Key, Value) when Key =:= connect_options; Key =:= ssl_options -> is_proper_list(Value);
is_valid(pool_pid, Value) -> Value =:= undefined orelse is_pid(Value);
is_valid(owner, Value) -> is_pid(Value);
is_valid(pool_handler, Value) -> is_atom(Value);
is_valid(Key, Value) when Key =:= no_reuse; Key =:= auto_decompress -> is_boolean(Value);
is_valid(inform_fun, Value) -> Value =:= undefined orelse is_function(Value, 3);
is_valid(user_agent, Value) -> is_field_value(Value);
is_valid(truncated_body, Value) -> Value =:= error orelse Value =:= ok;
is_valid(unpulled, Value) -> Value =:= keep orelse Value =:= drop;
is_valid(Key, Value)
  when Key =:= h2c; Key =:= trailers; Key =:= drain_on_goaway; Key =:= early_data ->
    is_boolean(Value);
is_valid(http3, Value) -> Value =:= first orelse Value =:= race;
is_valid(tls, Value) -> hansom_tls_options:is_mode(Value);
is_valid(max_streams, Value) -> Value =:= wait orelse Value =:= error;
is_valid(stream_window, Value) ->
    is_integer(Value) andalso Value >= 0 andalso Value =< ?LARGEST_WINDOW;
is_valid(connection_window, Value) ->
    is_integer(Value) andalso Value >= 65535 andalso Value =< ?LARGEST_WINDOW;
is_valid(push_allowance, Value) -> is_count(Value);
%% Limits, in bytes, fields, responses, times or messages.
is_valid(_Limit, Value) -> Value =:= infinity orelse is_count(Value).

%% Whether it is a time that can be waited for.
-spec is_time(term()) -> boolean().
is_time(infinity) -> true;
is_time(Value) -> is_integer(Value) andalso Value >= 0 andalso Value =< ?LONGEST_TIME.

is_count(Value) -> is_integer(Value) andalso Value > 0 andalso Value =< ?LARGEST_COUNT.

%% Line ends would make a field of its own, or a request.
is_field_value(Value) ->
    try iolist_to_binary(Value) of
        Binary -> binary:match(Binary, [<<"\r">>, <<"\n">>, <<0>>]) =:= nomatch
    catch error:badarg -> false
    end.

is_proper_list(Value) -> is_list(Value) andalso length_of(Value) =/= improper.

length_of(List) ->
    try length(List)
    catch error:badarg -> improper
    end.

%% A name, a literal address (IPv6 with or without brackets), an address tuple, or the path of
%% a Unix socket. It becomes part of a header, so it cannot hold line ends.
host(Host) when is_list(Host), Host =/= [] ->
    case is_proper_list(Host) andalso lists:all(fun is_host_char/1, Host) of
        true -> Host;
        false -> error
    end;
host(Host) when is_binary(Host) ->
    case unicode:characters_to_list(Host) of
        List when is_list(List) -> host(List);
        _ -> error
    end;
host(Host) when is_tuple(Host) ->
    case inet:ntoa(Host) of
        {error, einval} -> error;
        Text -> Text
    end;
host(_Host) ->
    error.

%% Surrogates are no characters: they cannot be written in UTF-8.
is_host_char(Char) ->
    is_integer(Char) andalso Char >= $\s andalso Char =/= 127 andalso Char =< 16#10ffff
        andalso (Char < 16#d800 orelse Char > 16#dfff).

%% The transport a module name of hackney or Erlang stands for.
-spec transport(module()) -> transport().
transport(Module) when Module =:= hackney_tcp; Module =:= gen_tcp; Module =:= tcp -> tcp;
transport(Module) when Module =:= hackney_ssl; Module =:= ssl; Module =:= tls -> tls;
transport(Module) when Module =:= hackney_local_tcp; Module =:= local; Module =:= unix -> unix;
transport(Module) -> {module, Module}.

host_header(Transport, Host, Port) ->
    Name = case hansom_tls_options:is_ipv6(Host) of
        true -> [$[, hansom_tls_options:without_brackets(Host), $]];
        false -> Host
    end,
    Default = case Transport of
        tcp -> 80;
        tls -> 443;
        _ -> none
    end,
    unicode:characters_to_binary(
      case Port of
          Default -> Name;
          _ -> [Name, $:, integer_to_list(Port)]
      end).

user_agent() ->
    Version = case application:get_key(hansom, vsn) of
        {ok, Vsn} -> hd(string:split(Vsn, "-"));
        undefined -> "0.0.0"
    end,
    iolist_to_binary(["hansom/", Version]).

%% Alternative services (RFC 7838) are remembered by hackney, where it is present.
alt_svc() ->
    case erlang:function_exported(hackney_altsvc, parse_and_cache, 3) of
        true -> hackney_altsvc;
        false -> undefined
    end.

%% What the engine needs for dialling and, where it cannot do all of it, what else is to be done.
%% May read files and load modules.
-spec dial(target()) -> {ok, dial()} | {ok, dial(), hansom_pipe:job()} | {error, term()}.
dial(#{transport := {module, Module}, host := Host, port := Port, connect_options := ConnectOptions,
       connect_timeout := Timeout} = Target) ->
    case hansom_pipe:can_dial(Module) of
        true ->
            %% `protocols' is no option of a socket.
            Options = proplists:delete(protocols, ConnectOptions),
            {ok, to_carrier(Target, carried, undefined),
             hansom_pipe:dial(Module, Host, Port, Options, Timeout)};
        false ->
            {error, {unsupported_transport, Module}}
    end;
dial(#{host := Host, port := Port, transport := Transport, connect_timeout := Timeout,
       connect_options := ConnectOptions, h2c := H2c} = Target) ->
    case hansom_socket_options:connect(ConnectOptions) of
        {ok, SocketOptions} ->
            Dial = #{transport => Transport,
                     host => unicode:characters_to_binary(Host),
                     port => Port,
                     socket_options => SocketOptions,
                     tls => undefined,
                     server_name => unicode:characters_to_binary(Host),
                     carrier => undefined,
                     descriptor => undefined,
                     connect_timeout => Timeout,
                     h2c => H2c,
                     quic => never,
                     quic_tls => undefined},
            secured(Transport, Target, Dial);
        {error, Reason} -> {error, Reason}
    end.

secured(tls, #{host := Host, ssl_options := SslOptions, connect_options := ConnectOptions,
               tls := Mode, http3 := Http3}, Dial) ->
    case hansom_tls_options:client(Host, SslOptions, ConnectOptions, false, Mode) of
        {ok, {rustls, Tls}, ServerName} ->
            Quic = quic(ConnectOptions, Http3),
            {ok, Dial#{tls := Tls, server_name := ServerName, quic := Quic,
                       quic_tls := quic_tls(Quic, Tls, SslOptions, ConnectOptions)}};
        %% Options the engine cannot honour over TCP it cannot honour over QUIC: that is not tried.
        {ok, {erlang, _Why, Options}, ServerName} ->
            {ok, Dial#{transport := carried_tls, server_name := ServerName},
             hansom_pipe:secure(Options)};
        {error, Reason} -> {error, Reason}
    end;
secured(_Transport, _Target, Dial) ->
    {ok, Dial}.

quic(ConnectOptions, Http3) ->
    case lists:member(http3, hansom_tls_options:protocols(ConnectOptions)) of
        true -> Http3;
        false -> never
    end.

%% Among the options of the socket `insecure' is about QUIC only, as in hackney: what TCP
%% verifies is for the TLS options to say.
quic_tls(Quic, #{verify := true} = Tls, SslOptions, ConnectOptions) when Quic =/= never ->
    case lists:keyfind(insecure, 1, ConnectOptions) of
        {insecure, true} ->
            case lists:keymember(verify, 1, SslOptions) of
                true -> undefined;
                false -> Tls#{verify := false}
            end;
        _ -> undefined
    end;
quic_tls(_Quic, _Tls, _SslOptions, _ConnectOptions) ->
    undefined.

%% What the engine needs for going on with an open connection.
-spec adopt(target(), adopted, {integer(), binary()}, undefined) -> dial();
           (target(), carried, undefined, hansom_nif:pipe()) -> dial().
adopt(Target, adopted, Descriptor, undefined) ->
    Dial = to_carrier(Target, adopted, undefined),
    Dial#{descriptor := Descriptor, h2c := false};
adopt(Target, carried, undefined, Carrier) ->
    Dial = to_carrier(Target, carried, Carrier),
    Dial#{h2c := false}.

to_carrier(#{host := Host, port := Port, connect_timeout := Timeout, h2c := H2c}, Transport, Carrier) ->
    #{transport => Transport, host => unicode:characters_to_binary(Host), port => Port,
      socket_options => [], tls => undefined, server_name => unicode:characters_to_binary(Host),
      carrier => Carrier, descriptor => undefined, connect_timeout => Timeout, h2c => H2c,
      quic => never, quic_tls => undefined}.

%% What is needed for starting TLS on an open connection. May read files.
-spec upgrade(target(), term(), map()) ->
    {ok, hansom_tls_options:by(), ServerName :: binary()} | {error, term()}.
upgrade(#{host := Host, connect_options := ConnectOptions, tls := Default}, SslOptions, Options) ->
    Final = maps:get(final, Options, false) =:= true,
    Mode = maps:get(tls, Options, Default),
    case hansom_tls_options:is_mode(Mode) of
        true -> hansom_tls_options:client(Host, SslOptions, ConnectOptions, Final, Mode);
        false -> {error, {options, {tls, Mode}}}
    end.
