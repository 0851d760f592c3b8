%% @doc Certificates nobody should make: of any validity and version, signed in any way, and
%% with extensions as a test wants them. Written in DER directly, so that they are the same
%% whatever the version of OTP.
-module(hansom_authority).

-include_lib("public_key/include/public_key.hrl").

-export([issue/1, issue/2, day/1]).
-export_type([identity/0]).

-type identity() :: #{cert := public_key:der_encoded(), key := {atom(), public_key:der_encoded()}, _ => _}.

-type spec() :: #{name => string(),
                  %% Default a new one on curve P-256. `{same, Identity}' takes that of another.
                  key => ec | {rsa, Bits :: pos_integer()} | {same, identity()},
                  dns => [string()], ips => [binary()],
                  %% Default: an end entity.
                  authority => boolean(),
                  %% Days from now. Default `{-1, 3650}'.
                  valid => {integer(), integer()},
                  version => 1 | 3,
                  purpose => server | client | any,
                  digest => sha | sha256,
                  %% Whether the identifier of an ECDSA signature names the curve, against RFC 5758, section 3.2.
                  signature_parameters => boolean(),
                  %% An extension nobody knows, marked critical.
                  unknown_critical => boolean()}.

%% @doc A certificate signed by itself.
-spec issue(spec()) -> identity().
issue(Spec) ->
    Key = key(maps:get(key, Spec, ec)),
    sign(Spec, Key, maps:get(name, Spec, ""), Key).

%% @doc A certificate signed by another's key.
-spec issue(spec(), identity()) -> identity().
issue(Spec, #{name := Issuer, private := IssuerKey}) ->
    sign(Spec, key(maps:get(key, Spec, ec)), Issuer, IssuerKey).

%% @doc The ASN.1 time so many days from now.
day(Days) ->
    Seconds = erlang:system_time(second) + Days * 86400,
    {{Year, Month, Day}, {Hour, Minute, Second}} = calendar:system_time_to_universal_time(Seconds, second),
    lists:flatten(io_lib:format("~4..0w~2..0w~2..0w~2..0w~2..0w~2..0wZ",
                                [Year, Month, Day, Hour, Minute, Second])).

sign(Spec, Key, Issuer, IssuerKey) ->
    Name = maps:get(name, Spec, ""),
    {NotBefore, NotAfter} = maps:get(valid, Spec, {-1, 3650}),
    Algorithm = algorithm(IssuerKey, Spec),
    Version = maps:get(version, Spec, 3),
    ToBeSigned = sequence([[explicit(0, integer(Version - 1)) || Version > 1],
                           integer(erlang:unique_integer([positive])),
                           Algorithm, name(Issuer),
                           sequence([der(16#18, day(NotBefore)), der(16#18, day(NotAfter))]),
                           name(Name), public_key_info(Key),
                           [explicit(3, sequence(extensions(Spec))) || Version =:= 3]]),
    Signature = signature(IssuerKey, maps:get(digest, Spec, sha256), ToBeSigned),
    #{name => Name, private => Key, key => private_key(Key),
      cert => sequence([ToBeSigned, Algorithm, bits(Signature)])}.

%% Keys

key(ec) ->
    {Public, Private} = crypto:generate_key(ecdh, secp256r1),
    {ec, Public, Private};
key({rsa, Bits}) ->
    {_, Private} = crypto:generate_key(rsa, {Bits, 65537}),
    {rsa, [binary:decode_unsigned(Number) || Number <- Private]};
key({same, #{private := Key}}) ->
    Key.

public_key_info({ec, Public, _}) ->
    sequence([sequence([oid(?'id-ecPublicKey'), oid(?secp256r1)]), bits(Public)]);
public_key_info({rsa, [E, N | _]}) ->
    sequence([sequence([oid(?rsaEncryption), null()]), bits(sequence([integer(N), integer(E)]))]).

private_key({ec, Public, Private}) ->
    {'ECPrivateKey', sequence([integer(1), der(16#04, Private), explicit(0, oid(?secp256r1)),
                               explicit(1, bits(Public))])};
private_key({rsa, [E, N | Rest]}) ->
    {'RSAPrivateKey', sequence([integer(Number) || Number <- [0, N, E | Rest]])}.

algorithm({ec, _, _}, #{signature_parameters := true}) ->
    sequence([oid(?'ecdsa-with-SHA256'), oid(?secp256r1)]);
algorithm({ec, _, _}, #{digest := sha}) ->
    sequence([oid(?'ecdsa-with-SHA1')]);
algorithm({ec, _, _}, _) ->
    sequence([oid(?'ecdsa-with-SHA256')]);
algorithm({rsa, _}, #{digest := sha}) ->
    sequence([oid(?sha1WithRSAEncryption), null()]);
algorithm({rsa, _}, _) ->
    sequence([oid(?sha256WithRSAEncryption), null()]).

signature({ec, _, Private}, Digest, Message) ->
    crypto:sign(ecdsa, Digest, Message, [Private, secp256r1]);
signature({rsa, Private}, Digest, Message) ->
    crypto:sign(rsa, Digest, Message, Private).

%% Extensions

extensions(Spec) ->
    Authority = maps:get(authority, Spec, false),
    [extension(?'id-ce-basicConstraints', true, sequence([der(16#01, <<255>>) || Authority])),
     extension(?'id-ce-keyUsage', true,
               case Authority of
                   true -> der(16#03, <<1, 2#00000110>>);
                   false -> der(16#03, <<7, 2#10000000>>)
               end),
     [extension(?'id-ce-extKeyUsage', false, sequence([oid(Purpose)]))
      || Purpose <- case maps:get(purpose, Spec, any) of
                        any -> [];
                        server -> [?'id-kp-serverAuth'];
                        client -> [?'id-kp-clientAuth']
                    end],
     case [der(16#82, Dns) || Dns <- maps:get(dns, Spec, [])]
         ++ [der(16#87, Ip) || Ip <- maps:get(ips, Spec, [])] of
         [] -> [];
         Names -> extension(?'id-ce-subjectAltName', false, sequence(Names))
     end,
     [extension({1, 3, 6, 1, 4, 1, 99999, 1}, true, null()) || maps:get(unknown_critical, Spec, false)]].

extension(Id, Critical, Value) ->
    sequence([oid(Id), [der(16#01, <<255>>) || Critical], der(16#04, Value)]).

name(CommonName) ->
    sequence([der(16#31, sequence([oid(?'id-at-commonName'), der(16#0C, CommonName)]))
              || CommonName =/= ""]).

%% DER (ITU-T X.690)

der(Tag, Content) ->
    Bytes = iolist_to_binary(Content),
    [Tag, length_octets(byte_size(Bytes)), Bytes].

length_octets(Length) when Length < 128 -> Length;
length_octets(Length) ->
    Octets = binary:encode_unsigned(Length),
    [16#80 + byte_size(Octets), Octets].

sequence(Elements) -> iolist_to_binary(der(16#30, Elements)).

explicit(Number, Content) -> der(16#A0 + Number, Content).

bits(Bytes) -> der(16#03, [0, Bytes]).

null() -> der(16#05, []).

%% A leading bit that is set would make the number negative.
integer(Number) ->
    case binary:encode_unsigned(Number) of
        <<1:1, _/bits>> = Octets -> der(16#02, [0, Octets]);
        Octets -> der(16#02, Octets)
    end.

oid(Id) ->
    [First, Second | Rest] = tuple_to_list(Id),
    der(16#06, [First * 40 + Second | [base128(Arc) || Arc <- Rest]]).

base128(Arc) when Arc < 128 -> Arc;
base128(Arc) -> [continued(Arc bsr 7), Arc band 127].

continued(0) -> [];
continued(Arc) -> [continued(Arc bsr 7), 128 bor (Arc band 127)].
