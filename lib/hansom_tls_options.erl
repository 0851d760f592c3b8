%% @private The client options of Erlang's `ssl' as the engine's TLS settings.
%%
%% Every option is mapped, ignored because ignoring it changes nothing the peer or the user
%% can rely on, left to Erlang's `ssl' (see `hansom_tls_erlang'), or refused by name. Nothing that
%% checks a certificate is ever ignored. Errors carry names and file names, never values that may
%% be secrets.
%%
%% Who speaks TLS is decided here, before anything is dialled, and by the options alone: what a
%% server shows never changes it.
-module(hansom_tls_options).

-export([client/5, protocols/1, is_mode/1, is_ipv6/1, without_brackets/1]).
-export_type([tls/0, mode/0, by/0, trust/0]).

-type mode() :: auto | rustls | erlang.

-type by() :: {rustls, tls()} | {erlang, Why :: atom(), Options :: list()}.
%% `Why' names the option that only Erlang's `ssl' can honour, or is `tls'.

-type trust() :: #{verify := boolean(), roots := mozilla | system | {der, [binary()]},
                   sni := boolean(), server_name := string(), alpn := [binary()]}.
%% What does not depend on who speaks TLS.

-type tls() :: #{verify := boolean(),
                 roots := mozilla | system | {der, [binary()]},
                 identity := [hansom_tls_identity:identity()],
                 versions := ['tlsv1.3' | 'tlsv1.2'],
                 cipher_suites := default | [0..65535],
                 groups := default | [0..65535],
                 signature_schemes := default | [0..65535],
                 sni := boolean(),
                 alpn := [binary()],
                 depth := non_neg_integer() | infinity,
                 resumption := boolean(),
                 key_log := boolean()}.

-spec is_mode(term()) -> boolean().
is_mode(Mode) -> Mode =:= auto orelse Mode =:= rustls orelse Mode =:= erlang.

%% The settings for a server, and the name its certificate must be for. `Final' means that
%% the list is complete: `insecure' and `protocols' in it count for nothing, and its ALPN list
%% is offered as it is. `Mode' is overridden by the option `tls' in the list.
-spec client(string(), term(), list(), Final :: boolean(), mode()) ->
    {ok, by(), ServerName :: binary()} | {error, {options, term()}}.
client(Host, Options, ConnectOptions, Final, Default) ->
    try
        Map = to_map(Options, Final),
        Mode = maps:get(tls, Map, Default),
        is_mode(Mode) orelse throw({refused, {tls, Mode}}),
        Trust = #{server_name := ServerName} = trust(Host, Map, ConnectOptions, Final),
        {ok, by(Mode, Map, Trust), unicode:characters_to_binary(ServerName)}
    catch
        throw:{refused, Reason} -> {error, {options, Reason}}
    end.

by(rustls, Map, Trust) ->
    {rustls, rustls(Map, Trust)};
by(erlang, Map, Trust) ->
    {erlang, tls, hansom_tls_erlang:options(Map, Trust)};
by(auto, Map, Trust) ->
    try {rustls, rustls(Map, Trust)}
    catch
        throw:{refused, {unsupported, Why}} = Refusal ->
            case hansom_tls_erlang:honours(Why, Map) of
                true -> {erlang, Why, hansom_tls_erlang:options(Map, Trust)};
                false -> throw(Refusal)
            end
    end.

trust(Host, Map, ConnectOptions, Final) ->
    {Sni, ServerName} = server_name(Host, Map),
    Insecure = (not Final) andalso maps:get(insecure, Map, false) =:= true,
    #{verify => verify(Map, Insecure), roots => roots(Map, Final), sni => Sni,
      server_name => ServerName, alpn => alpn(Map, ConnectOptions, Final)}.

rustls(Map, #{verify := Verify, roots := Roots, sni := Sni, server_name := ServerName,
              alpn := Alpn}) ->
    maps:foreach(fun known/2, Map),
    check_functions(Map, ServerName),
    #{verify => Verify,
      roots => Roots,
      identity => hansom_tls_identity:identities(Map),
      versions => hansom_tls_algorithms:versions(Map),
      cipher_suites => hansom_tls_algorithms:cipher_suites(Map),
      groups => hansom_tls_algorithms:groups(Map),
      signature_schemes => hansom_tls_algorithms:signature_schemes(Map),
      sni => Sni,
      alpn => Alpn,
      depth => depth(Map),
      resumption => resumption(Map),
      key_log => boolean(keep_secrets, Map, false)}.

%% The last of several values counts, as in hackney; in a final list the first, as in `ssl'.
to_map(Options, Final) when is_list(Options) ->
    Ordered = case Final of
        true -> lists:reverse(Options);
        false -> Options
    end,
    lists:foldl(
      fun({Key, Value}, Map) when is_atom(Key) -> Map#{Key => Value};
         (Other, _Map) -> throw({refused, Other})
      end, #{}, Ordered);
to_map(Options, _Final) ->
    throw({refused, Options}).

%% Options that have no value are as good as absent.
known(Key, Value) ->
    case class(Key) of
        mapped -> ok;
        ignored -> ok;
        refused ->
            case is_neutral(Key, Value) of
                true -> ok;
                false -> throw({refused, {unsupported, Key}})
            end
    end.

class(Key) when Key =:= verify; Key =:= cacerts; Key =:= cacertfile; Key =:= cert; Key =:= certfile;
                Key =:= key; Key =:= keyfile; Key =:= password; Key =:= certs_keys;
                Key =:= server_name_indication; Key =:= alpn_advertised_protocols;
                Key =:= versions; Key =:= ciphers; Key =:= supported_groups; Key =:= eccs;
                Key =:= signature_algs; Key =:= session_tickets; Key =:= reuse_sessions;
                Key =:= depth; Key =:= verify_fun; Key =:= partial_chain;
                Key =:= customize_hostname_check; Key =:= keep_secrets; Key =:= insecure;
                Key =:= tls ->
    mapped;
class(Key) when Key =:= protocols; Key =:= log_level; Key =:= log_alert; Key =:= hibernate_after;
                Key =:= receiver_spawn_opts; Key =:= sender_spawn_opts; Key =:= mode;
                Key =:= active; Key =:= packet ->
    ignored;
class(Key) ->
    case atom_to_list(Key) of
        "honor_" ++ _ -> ignored;
        _ -> refused
    end.

%% Values by which `ssl' says that a refused option is off.
is_neutral(_Key, undefined) -> true;
is_neutral(handshake, full) -> true;
is_neutral(crl_check, false) -> true;
is_neutral(ocsp_stapling, false) -> true;
is_neutral(stapling, no_staple) -> true;
is_neutral(erl_dist, false) -> true;
is_neutral(early_data, disabled) -> true;
is_neutral(secure_renegotiate, true) -> true;
is_neutral(client_renegotiation, false) -> true;
is_neutral(fallback, false) -> true;
is_neutral(_Key, _Value) -> false.

%% Trust

verify(#{verify := verify_peer}, _Insecure) -> true;
verify(#{verify := verify_none}, _Insecure) -> false;
verify(#{verify := Other}, _Insecure) -> throw({refused, {verify, Other}});
verify(_Map, Insecure) -> not Insecure.

%% A file replaces the list, as in hackney; in a final list it is the other way, as in `ssl'.
roots(#{cacertfile := _, cacerts := Roots} = Map, true) when Roots =/= undefined ->
    roots(maps:remove(cacertfile, Map), true);
roots(#{cacertfile := File}, _Final) when File =/= undefined, File =/= [], File =/= <<>> ->
    {der, hansom_tls_identity:certificates_of(cacertfile, File)};
roots(#{cacerts := Roots}, _Final) when Roots =:= mozilla; Roots =:= system ->
    Roots;
roots(#{cacerts := Roots}, _Final) when Roots =/= undefined ->
    {der, hansom_tls_identity:ders(cacerts, Roots)};
roots(_Map, _Final) ->
    mozilla.

depth(#{depth := Depth}) when is_integer(Depth), Depth >= 0 -> Depth;
depth(#{depth := Depth}) -> throw({refused, {depth, Depth}});
depth(_Map) -> infinity.

%% The name for the certificate check, and whether it is sent. A name of the user is both.
%% The engine never sends an address literal as a name (RFC 6066, section 3).
server_name(Host, Map) ->
    case maps:get(server_name_indication, Map, undefined) of
        undefined -> {true, plain_name(Host)};
        disable -> {false, plain_name(Host)};
        Name ->
            case chars(Name) of
                [_ | _] = Chars -> {true, plain_name(Chars)};
                _ -> throw({refused, {server_name_indication, Name}})
            end
    end.

plain_name(Host) ->
    string:trim(without_brackets(Host), trailing, ".").

%% User functions decide about certificates, so only those are accepted whose work the
%% engine does itself; any other would be silently disregarded.
check_functions(Map, ServerName) ->
    maps:foreach(
      fun(verify_fun, Value) -> refuse_unless(is_known_verify_fun(Value, ServerName), verify_fun);
         (partial_chain, Value) -> refuse_unless(is_known_partial_chain(Value), partial_chain);
         (customize_hostname_check, Value) ->
              refuse_unless(is_known_hostname_check(Value), customize_hostname_check);
         (_Key, _Value) -> ok
      end, Map).

refuse_unless(true, _Key) -> ok;
refuse_unless(false, Key) -> throw({refused, {unsupported, Key}}).

is_known_verify_fun(undefined, _ServerName) -> true;
is_known_verify_fun({Fun, State}, ServerName) when is_function(Fun, 3), is_list(State) ->
    Origin = origin(Fun),
    (Origin =:= {external, ssl_verify_hostname, verify_fun}
     orelse is_made_by(Origin, hackney_ssl, "-check_hostname_opts/"))
        andalso is_same_name(proplists:get_value(check_hostname, State), ServerName);
is_known_verify_fun(_Other, _ServerName) -> false.

%% Two names to be checked, the server's and the function's, are one too many.
is_same_name(undefined, _ServerName) -> true;
is_same_name(Name, ServerName) ->
    case chars(Name) of
        error -> false;
        Chars -> string:lowercase(plain_name(Chars)) =:= string:lowercase(ServerName)
    end.

%% hackney's trusts a chain that holds the key of one of its roots, which is what anchors of
%% a name and a key do.
is_known_partial_chain(undefined) -> true;
is_known_partial_chain(Fun) when is_function(Fun, 1) ->
    case origin(Fun) of
        {local, hackney_ssl, partial_chain} -> true;
        {external, hackney_ssl, partial_chain} -> true;
        Origin -> is_made_by(Origin, hackney_ssl, "-fun.partial_chain/1-")
    end;
is_known_partial_chain(_Other) -> false.

is_known_hostname_check(undefined) -> true;
is_known_hostname_check([]) -> true;
is_known_hostname_check([{match_fun, Fun}]) ->
    Fun =:= public_key:pkix_verify_hostname_match_fun(https);
is_known_hostname_check(_Other) -> false.

origin(Fun) ->
    {type, Type} = erlang:fun_info(Fun, type),
    {module, Module} = erlang:fun_info(Fun, module),
    {name, Name} = erlang:fun_info(Fun, name),
    {Type, Module, Name}.

is_made_by({local, Module, Name}, Module, Prefix) -> lists:prefix(Prefix, atom_to_list(Name));
is_made_by(_Origin, _Module, _Prefix) -> false.

%% Protocols

%% A list of `protocols' stands for an ALPN list and replaces the user's unless it stands for
%% none. HTTP/3 is not spoken over TCP, so it is never offered here.
alpn(Map, ConnectOptions, Final) ->
    Offered = offered(Map),
    Lists = [maps:get(protocols, Map, []), protocols(ConnectOptions)],
    case [Protocols || Protocols <- Lists, names_alpn(Protocols)] of
        _ when Final, Offered =/= none -> Offered;
        [Protocols | _] -> of_protocols(Protocols);
        [] when Offered =:= none -> [];
        [] -> Offered
    end.

%% The protocols to be tried, in order of preference, as far as `connect_options' know.
-spec protocols(list()) -> term().
protocols(ConnectOptions) ->
    case lists:keyfind(protocols, 1, ConnectOptions) of
        {protocols, Protocols} -> Protocols;
        false -> application:get_env(hansom, default_protocols, [http2, http1])
    end.

names_alpn(Protocols) when is_list(Protocols) ->
    lists:foreach(
      fun(Protocol) ->
              lists:member(Protocol, [http1, http11, http2, http3])
                  orelse throw({refused, {protocols, Protocols}})
      end, Protocols),
    lists:any(fun(Protocol) -> Protocol =/= http3 end, Protocols);
names_alpn(Protocols) ->
    throw({refused, {protocols, Protocols}}).

%% In the order of preference, each once.
of_protocols(Protocols) ->
    lists:foldl(
      fun(http3, Offered) -> Offered;
         (Protocol, Offered) ->
              Name = alpn_name(Protocol),
              Offered ++ [Name || not lists:member(Name, Offered)]
      end, [], Protocols).

alpn_name(http2) -> <<"h2">>;
alpn_name(_) -> <<"http/1.1">>.

offered(#{alpn_advertised_protocols := Protocols}) when is_list(Protocols) ->
    [Protocol || Protocol <- Protocols, is_alpn(Protocol)];
offered(#{alpn_advertised_protocols := undefined}) ->
    none;
offered(#{alpn_advertised_protocols := Other}) ->
    throw({refused, {alpn_advertised_protocols, Other}});
offered(_Map) ->
    none.

is_alpn(Protocol) when is_binary(Protocol), byte_size(Protocol) > 0, byte_size(Protocol) < 256 -> true;
is_alpn(Protocol) -> throw({refused, {alpn_advertised_protocols, Protocol}}).

%% Sessions

resumption(Map) ->
    tickets(maps:get(session_tickets, Map, auto)) andalso reuse(maps:get(reuse_sessions, Map, true)).

tickets(auto) -> true;
tickets(disabled) -> false;
tickets(manual) -> throw({refused, {unsupported, session_tickets}});
tickets(Other) -> throw({refused, {session_tickets, Other}}).

reuse(save) -> true;
reuse(Value) when is_boolean(Value) -> Value;
reuse(Other) -> throw({refused, {reuse_sessions, Other}}).

boolean(Key, Map, Default) ->
    case maps:get(Key, Map, Default) of
        Value when is_boolean(Value) -> Value;
        Other -> throw({refused, {Key, Other}})
    end.

%% Names

chars(Text) when is_list(Text); is_binary(Text) ->
    try unicode:characters_to_list(Text) of
        Chars when is_list(Chars) -> Chars;
        _ -> error
    catch error:badarg -> error
    end;
chars(_Other) ->
    error.

%% Whether a host is an IPv6 address literal, in brackets or not.
-spec is_ipv6(string()) -> boolean().
is_ipv6(Host) ->
    case inet:parse_ipv6strict_address(without_brackets(Host)) of
        {ok, _} -> true;
        {error, einval} -> false
    end.

-spec without_brackets(string()) -> string().
without_brackets([$[ | Rest] = Host) ->
    case lists:reverse(Rest) of
        [$] | Reversed] -> lists:reverse(Reversed);
        _ -> Host
    end;
without_brackets(Host) ->
    Host.
