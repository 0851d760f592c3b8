%% @private Certificates and private keys of TLS options, from terms and PEM files, as DER.
-module(hansom_tls_identity).

-export([identities/1, certificates_of/2, ders/2]).
-export_type([identity/0]).

-type identity() :: {Chain :: [binary()], {pkcs8 | pkcs1 | sec1, Key :: binary()}}.

%% Client certificates with their keys, in order of preference. `certs_keys' replaces the
%% options for a single pair, as in `ssl'.
-spec identities(map()) -> [identity()].
identities(#{certs_keys := [_ | _] = Pairs}) ->
    [case is_map(Pair) andalso identity(Pair) of
         false -> throw({refused, {certs_keys, not_a_map}});
         none -> throw({refused, {certs_keys, incomplete}});
         Identity -> Identity
     end || Pair <- Pairs];
identities(#{certs_keys := Other}) when Other =/= [], Other =/= undefined ->
    throw({refused, {certs_keys, not_a_list}});
identities(Map) ->
    case identity(Map) of
        none -> [];
        Identity -> [Identity]
    end.

identity(Map) ->
    case chain(Map) of
        [] -> none;
        Chain -> {Chain, key(Map)}
    end.

chain(#{cert := Cert}) when is_binary(Cert) -> [Cert];
chain(#{cert := Certs}) when Certs =/= undefined -> ders(cert, Certs);
chain(#{certfile := File}) when File =/= undefined, File =/= [], File =/= <<>> ->
    certificates_of(certfile, File);
chain(_Map) -> [].

%% A key without a file of its own is in that of the certificate.
key(#{key := {Type, Der}}) when is_atom(Type), is_binary(Der) -> {key_format(key, Type), Der};
key(#{key := Key}) when Key =/= undefined -> throw({refused, {unsupported, key}});
key(#{keyfile := File} = Map) when File =/= undefined, File =/= [], File =/= <<>> ->
    key_of(keyfile, File, Map);
key(#{certfile := File} = Map) when File =/= undefined, File =/= [], File =/= <<>> ->
    key_of(certfile, File, Map);
key(_Map) -> throw({refused, {key, missing}}).

key_format(_Option, 'PrivateKeyInfo') -> pkcs8;
key_format(_Option, 'OneAsymmetricKey') -> pkcs8;
key_format(_Option, 'RSAPrivateKey') -> pkcs1;
key_format(_Option, 'ECPrivateKey') -> sec1;
key_format(Option, _Other) -> throw({refused, {unsupported, Option}}).

key_of(Option, File, Map) ->
    Entries = [Entry || {Type, _, _} = Entry <- pem(Option, File), is_key(Type)],
    case Entries of
        [{Type, Der, not_encrypted} | _] -> {key_format(Option, Type), Der};
        [Entry | _] -> {pkcs8, decrypted(Option, File, Entry, password(Map))};
        [] -> throw({refused, {Option, File, no_private_key}})
    end.

is_key(Type) ->
    lists:member(Type, ['PrivateKeyInfo', 'OneAsymmetricKey', 'RSAPrivateKey', 'ECPrivateKey',
                        'DSAPrivateKey']).

%% public_key raises errors of many kinds for a wrong password.
decrypted(Option, File, Entry, Password) ->
    try public_key:der_encode('PrivateKeyInfo', public_key:pem_entry_decode(Entry, Password))
    catch error:_ -> throw({refused, {Option, File, wrong_password}})
    end.

password(#{password := Password}) when is_function(Password, 0) ->
    try Password() of
        Value -> password(#{password => Value})
    catch _:_ -> throw({refused, {password, not_available}})
    end;
password(#{password := Password}) when is_list(Password); is_binary(Password) ->
    try binary_to_list(iolist_to_binary(Password))
    catch error:badarg -> throw({refused, {password, not_a_string}})
    end;
password(#{password := Other}) when Other =/= undefined ->
    throw({refused, {password, not_a_string}});
password(_Map) ->
    "".

%% All certificates of a PEM file.
-spec certificates_of(Option :: atom(), file:name_all()) -> [binary()].
certificates_of(Option, File) ->
    case [Der || {'Certificate', Der, not_encrypted} <- pem(Option, File)] of
        [] -> throw({refused, {Option, File, no_certificate}});
        Ders -> Ders
    end.

pem(Option, File) when is_list(File); is_binary(File) ->
    case file:read_file(File) of
        {ok, Content} ->
            try public_key:pem_decode(Content)
            catch error:_ -> throw({refused, {Option, File, not_pem}})
            end;
        {error, Reason} ->
            throw({refused, {Option, File, Reason}})
    end;
pem(Option, File) ->
    throw({refused, {Option, File}}).

%% Certificates given as DER, or as public_key's records of both encodings.
-spec ders(Option :: atom(), term()) -> [binary()].
ders(Option, Certificates) when is_list(Certificates) ->
    [case Certificate of
         Der when is_binary(Der) -> Der;
         {cert, Der, _Decoded} when is_binary(Der) -> Der;
         _ -> throw({refused, {Option, not_der}})
     end || Certificate <- Certificates];
ders(Option, _Other) ->
    throw({refused, {Option, not_der}}).
