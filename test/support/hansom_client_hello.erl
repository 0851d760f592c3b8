%% @doc The first message of a TLS client (RFC 8446, section 4.1.2), taken apart.
-module(hansom_client_hello).

-export([of_options/1, parse/1]).

-type hello() :: #{cipher_suites := [0..65535],
                   extensions := [0..65535],
                   server_name => binary(), groups => [0..65535], key_shares => [0..65535],
                   signature_schemes => [0..65535], versions => [0..65535], alpn => [binary()]}.
-export_type([hello/0]).

%% @doc What a connection with these start options sends to its server, which then hangs up.
-spec of_options(map()) -> hello().
of_options(Options) ->
    Server = hansom_case:serve([{read, 5}]),
    Pid = hansom_case:start(Server, Options),
    Dial = hansom_case:async(fun() -> (hansom_case:conn()):connect(Pid) end),
    Peer = hansom_script:accept(Server),
    <<22, _:16, Length:16, _/binary>> = hansom_script:received(Peer),
    Message = hansom_script:step(Peer, {read, Length}),
    ok = hansom_script:step(Peer, close),
    {ok, {error, _}} = hansom_case:result(Dial),
    parse(Message).

-spec parse(binary()) -> hello().
parse(<<1, Length:24, Hello:Length/binary, _/binary>>) ->
    <<_Version:16, _Random:32/binary, SessionLength, _Session:SessionLength/binary,
      SuitesLength:16, Suites:SuitesLength/binary, MethodsLength, _Methods:MethodsLength/binary,
      ExtensionsLength:16, Extensions:ExtensionsLength/binary>> = Hello,
    List = [{Id, Data} || <<Id:16, Size:16, Data:Size/binary>> <= Extensions],
    lists:foldl(fun extension/2,
                #{cipher_suites => numbers(Suites), extensions => [Id || {Id, _} <- List]}, List).

extension({0, <<_:16, 0, Length:16, Name:Length/binary>>}, Hello) -> Hello#{server_name => Name};
extension({10, <<_:16, Groups/binary>>}, Hello) -> Hello#{groups => numbers(Groups)};
extension({13, <<_:16, Schemes/binary>>}, Hello) -> Hello#{signature_schemes => numbers(Schemes)};
extension({16, <<_:16, Names/binary>>}, Hello) ->
    Hello#{alpn => [Name || <<Size, Name:Size/binary>> <= Names]};
extension({43, <<_, Versions/binary>>}, Hello) -> Hello#{versions => numbers(Versions)};
extension({51, <<_:16, Shares/binary>>}, Hello) ->
    Hello#{key_shares => [Group || <<Group:16, Size:16, _:Size/binary>> <= Shares]};
extension(_, Hello) -> Hello.

numbers(List) -> [Number || <<Number:16>> <= List].
