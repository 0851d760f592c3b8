%% @private The socket options of `connect_options' and `setopts/2', in one spelling.
%%
%% Options are applied, or named in an error: an option that says where packets go must
%% never be ignored. Ignored are only those that describe what the engine does anyway
%% (binary, passive, raw packets) and those that size the buffers of Erlang's driver.
-module(hansom_socket_options).

-export([connect/1, set/1, send_timeout/1]).
-export_type([option/0]).

-type option() :: {nodelay | keepalive | reuseaddr, boolean()}
                | {linger, {boolean(), non_neg_integer()}}
                | {sndbuf | recbuf, pos_integer()}
                | {tos | tclass | priority, byte()}
                | {ip, inet:ip_address()} | {port, inet:port_number()}
                | {bind_to_device, binary()} | {family, inet | inet6}.

%% For a socket to be opened. Options that are not of the socket (`protocols',
%% `send_timeout' and what hackney reads for HTTP/3) are dealt with elsewhere.
-spec connect([term()]) -> {ok, [option()]} | {error, {options, term()}}.
connect(Options) ->
    normalise(Options, fun connect_option/1).

%% For a socket that is open.
-spec set(term()) -> {ok, [option()]} | {error, {options, term()}}.
set(Options) when is_list(Options) ->
    normalise(Options, fun set_option/1);
set(Options) ->
    {error, {options, Options}}.

%% How long a write may take. The engine has it for all of a connection's life, which is
%% why it is read at the start; a bad value is named when the socket is opened.
-spec send_timeout(term()) -> timeout().
send_timeout(Options) when is_list(Options) ->
    case lists:keyfind(send_timeout, 1, Options) of
        {send_timeout, Timeout} ->
            case hansom_options:is_time(Timeout) of
                true -> Timeout;
                false -> infinity
            end;
        _ ->
            infinity
    end;
send_timeout(_Options) ->
    infinity.

normalise(Options, Normalise) ->
    try {ok, lists:flatmap(Normalise, Options)}
    catch
        throw:{malformed, Option} -> {error, {options, Option}};
        throw:{unsupported, Option} -> {error, {options, {unsupported, Option}}}
    end.

connect_option({protocols, _}) -> [];
connect_option({insecure, _}) -> [];
connect_option({session_ticket, _}) -> [];
connect_option({happy_eyeballs, _}) -> [];
connect_option({send_timeout, Timeout} = Option) ->
    hansom_options:is_time(Timeout) orelse throw({malformed, Option}),
    [];
%% A connection whose write timed out is closed in any case.
connect_option({send_timeout_close, Boolean}) when is_boolean(Boolean) -> [];
connect_option(inet) -> [{family, inet}];
connect_option(inet6) -> [{family, inet6}];
connect_option({family, Family}) when Family =:= inet; Family =:= inet6 -> [{family, Family}];
connect_option({ip, any}) -> [];
connect_option({ip, Address} = Option) -> address(Address, Option);
connect_option({ifaddr, any}) -> [];
connect_option({ifaddr, #{family := Family, addr := Address} = Map} = Option)
  when Family =:= inet; Family =:= inet6 ->
    address(Address, Option) ++ [{port, Port} || {ok, Port} <- [maps:find(port, Map)]];
connect_option({ifaddr, Address} = Option) -> address(Address, Option);
connect_option({port, Port}) when is_integer(Port), Port >= 0, Port =< 65535 -> [{port, Port}];
connect_option({bind_to_device, Device} = Option) when is_binary(Device); is_list(Device) ->
    try iolist_to_binary(Device) of
        <<>> -> throw({malformed, Option});
        Name -> [{bind_to_device, Name}]
    catch error:badarg -> throw({malformed, Option})
    end;
connect_option({reuseaddr, Boolean} = Option) when is_boolean(Boolean) -> [Option];
connect_option(Option) -> common_option(Option).

set_option({Name, _} = Option)
  when Name =:= ip; Name =:= ifaddr; Name =:= port; Name =:= bind_to_device; Name =:= family;
       Name =:= reuseaddr; Name =:= send_timeout; Name =:= send_timeout_close ->
    throw({unsupported, Option});
set_option(Option) ->
    common_option(Option).

common_option({Name, Boolean} = Option)
  when (Name =:= nodelay orelse Name =:= keepalive), is_boolean(Boolean) -> [Option];
common_option({linger, {Boolean, Seconds}} = Option)
  when is_boolean(Boolean), is_integer(Seconds), Seconds >= 0 -> [Option];
common_option({Name, Bytes} = Option)
  when (Name =:= sndbuf orelse Name =:= recbuf), is_integer(Bytes), Bytes > 0 -> [Option];
common_option({Name, Value} = Option)
  when (Name =:= tos orelse Name =:= tclass orelse Name =:= priority),
       is_integer(Value), Value >= 0, Value =< 255 -> [Option];
common_option(binary) -> [];
common_option({mode, binary}) -> [];
common_option({active, false}) -> [];
common_option({packet, Packet}) when Packet =:= raw; Packet =:= 0 -> [];
common_option({Name, Value})
  when (Name =:= buffer orelse Name =:= high_watermark orelse Name =:= low_watermark
        orelse Name =:= high_msgq_watermark orelse Name =:= low_msgq_watermark),
       is_integer(Value), Value > 0 -> [];
common_option({Name, Boolean})
  when (Name =:= delay_send orelse Name =:= show_econnreset orelse Name =:= exit_on_close),
       is_boolean(Boolean) -> [];
common_option(list) -> throw({unsupported, list});
common_option({raw, _, _, _} = Option) -> throw({unsupported, Option});
common_option({Name, _} = Option)
  when Name =:= netns; Name =:= fd; Name =:= raw; Name =:= ttl; Name =:= reuseport;
       Name =:= reuseport_lb; Name =:= ipv6_v6only; Name =:= nopush; Name =:= mode;
       Name =:= packet; Name =:= active; Name =:= header; Name =:= line_delimiter;
       Name =:= packet_size; Name =:= recvtos; Name =:= recvtclass; Name =:= recvttl;
       Name =:= pktoptions; Name =:= inet_backend; Name =:= tcp_module; Name =:= dontroute;
       Name =:= exclusiveaddruse; Name =:= keepidle; Name =:= keepintvl; Name =:= keepcnt;
       Name =:= user_timeout ->
    throw({unsupported, Option});
common_option(Option) ->
    throw({malformed, Option}).

address(Address, Option) ->
    case inet:ntoa(Address) of
        {error, einval} -> throw({malformed, Option});
        _ -> [{ip, Address}]
    end.
