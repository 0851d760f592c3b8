%% @private Names of TLS versions, cipher suites, groups and signature schemes, in every
%% spelling of Erlang's `ssl', as the numbers of the IANA registries.
%%
%% A name of an algorithm the engine does not have narrows the choice; a choice narrowed to
%% nothing, and what is no name at all, is refused.
-module(hansom_tls_algorithms).

-export([versions/1, cipher_suites/1, groups/1, signature_schemes/1]).

%% What the engine has; it leaves out the rest.
-define(GROUPS, [16#11EC, 16#11EB, 16#0201, 29, 23, 24]).
-define(SCHEMES, [16#0401, 16#0501, 16#0601, 16#0403, 16#0503, 16#0603, 16#0804, 16#0805, 16#0806,
                  16#0807]).

-spec versions(map()) -> ['tlsv1.3' | 'tlsv1.2'].
versions(#{versions := Versions}) when is_list(Versions) ->
    Old = ['tlsv1.1', tlsv1, sslv3],
    [throw({refused, {versions, Version}})
     || Version <- Versions, not lists:member(Version, ['tlsv1.3', 'tlsv1.2' | Old])],
    some(versions, [Version || Version <- ['tlsv1.3', 'tlsv1.2'], lists:member(Version, Versions)]);
versions(#{versions := Other}) when Other =/= undefined ->
    throw({refused, {versions, Other}});
versions(_Map) ->
    ['tlsv1.3', 'tlsv1.2'].

-spec cipher_suites(map()) -> default | [0..65535].
cipher_suites(#{ciphers := Ciphers}) when Ciphers =/= undefined, Ciphers =/= [] ->
    some(ciphers, lists:flatmap(fun cipher_suite/1, cipher_list(Ciphers)));
cipher_suites(_Map) ->
    default.

%% One string with names between colons, or a list of suites.
cipher_list(Ciphers) when is_binary(Ciphers) ->
    string:split(binary_to_list(Ciphers), ":", all);
cipher_list([Char | _] = Ciphers) when is_integer(Char) ->
    string:split(Ciphers, ":", all);
cipher_list(Ciphers) when is_list(Ciphers) ->
    Ciphers;
cipher_list(Ciphers) ->
    throw({refused, {ciphers, Ciphers}}).

cipher_suite(#{key_exchange := KeyExchange, cipher := Cipher}) ->
    suite_number(KeyExchange, Cipher);
cipher_suite(Suite) when is_tuple(Suite), tuple_size(Suite) >= 3, tuple_size(Suite) =< 4,
                         is_atom(element(1, Suite)), is_atom(element(2, Suite)) ->
    suite_number(element(1, Suite), element(2, Suite));
cipher_suite(Name) when is_binary(Name) ->
    cipher_suite(binary_to_list(Name));
cipher_suite([Char | _] = Name) when is_integer(Char) ->
    try ssl:str_to_suite(Name) of
        #{} = Suite -> cipher_suite(Suite);
        {error, _} -> throw({refused, {ciphers, Name}})
    catch error:_ -> throw({refused, {ciphers, Name}})
    end;
cipher_suite(Other) ->
    throw({refused, {ciphers, Other}}).

%% `any' is the key exchange of the suites of TLS 1.3. Key exchange and cipher tell these
%% suites apart; the engine has no others.
suite_number(any, aes_128_gcm) -> [16#1301];
suite_number(any, aes_256_gcm) -> [16#1302];
suite_number(any, chacha20_poly1305) -> [16#1303];
suite_number(ecdhe_ecdsa, aes_128_gcm) -> [16#C02B];
suite_number(ecdhe_ecdsa, aes_256_gcm) -> [16#C02C];
suite_number(ecdhe_rsa, aes_128_gcm) -> [16#C02F];
suite_number(ecdhe_rsa, aes_256_gcm) -> [16#C030];
suite_number(ecdhe_rsa, chacha20_poly1305) -> [16#CCA8];
suite_number(ecdhe_ecdsa, chacha20_poly1305) -> [16#CCA9];
suite_number(_KeyExchange, _Cipher) -> [].

%% `eccs' is the older name, for TLS 1.2.
-spec groups(map()) -> default | [0..65535].
groups(#{supported_groups := Groups}) when Groups =/= undefined -> groups(supported_groups, Groups);
groups(#{eccs := Groups}) when Groups =/= undefined -> groups(eccs, Groups);
groups(_Map) -> default.

groups(Key, Groups) when is_list(Groups) ->
    Numbers = [group(Key, Group) || Group <- Groups],
    _ = some(Key, [Number || Number <- Numbers, lists:member(Number, ?GROUPS)]),
    Numbers;
groups(Key, Groups) ->
    throw({refused, {Key, Groups}}).

group(_, secp160k1) -> 15;
group(_, secp160r1) -> 16;
group(_, secp160r2) -> 17;
group(_, secp192k1) -> 18;
group(_, secp192r1) -> 19;
group(_, prime192v1) -> 19;
group(_, secp224k1) -> 20;
group(_, secp224r1) -> 21;
group(_, secp256k1) -> 22;
group(_, secp256r1) -> 23;
group(_, prime256v1) -> 23;
group(_, secp384r1) -> 24;
group(_, secp521r1) -> 25;
group(_, brainpoolP256r1) -> 26;
group(_, brainpoolP384r1) -> 27;
group(_, brainpoolP512r1) -> 28;
group(_, x25519) -> 29;
group(_, x448) -> 30;
group(_, ffdhe2048) -> 256;
group(_, ffdhe3072) -> 257;
group(_, ffdhe4096) -> 258;
group(_, ffdhe6144) -> 259;
group(_, ffdhe8192) -> 260;
group(_, mlkem512) -> 16#0200;
group(_, mlkem768) -> 16#0201;
group(_, mlkem1024) -> 16#0202;
group(_, secp256r1mlkem768) -> 16#11EB;
group(_, x25519mlkem768) -> 16#11EC;
group(_, secp384r1mlkem1024) -> 16#11ED;
group(Key, Other) -> throw({refused, {Key, Other}}).

-spec signature_schemes(map()) -> default | [0..65535].
signature_schemes(#{signature_algs := Schemes}) when is_list(Schemes) ->
    Numbers = [scheme(Scheme) || Scheme <- Schemes],
    _ = some(signature_algs, [Number || Number <- Numbers, lists:member(Number, ?SCHEMES)]),
    Numbers;
signature_schemes(#{signature_algs := Other}) when Other =/= undefined ->
    throw({refused, {signature_algs, Other}});
signature_schemes(_Map) ->
    default.

scheme({sha, rsa}) -> 16#0201;
scheme({sha, dsa}) -> 16#0202;
scheme({sha, ecdsa}) -> 16#0203;
scheme({sha224, rsa}) -> 16#0301;
scheme({sha224, dsa}) -> 16#0302;
scheme({sha224, ecdsa}) -> 16#0303;
scheme({sha256, rsa}) -> 16#0401;
scheme({sha256, dsa}) -> 16#0402;
scheme({sha256, ecdsa}) -> 16#0403;
scheme({sha384, rsa}) -> 16#0501;
scheme({sha384, dsa}) -> 16#0502;
scheme({sha384, ecdsa}) -> 16#0503;
scheme({sha512, rsa}) -> 16#0601;
scheme({sha512, dsa}) -> 16#0602;
scheme({sha512, ecdsa}) -> 16#0603;
scheme(rsa_pkcs1_sha1) -> 16#0201;
scheme(ecdsa_sha1) -> 16#0203;
scheme(rsa_pkcs1_sha256) -> 16#0401;
scheme(rsa_pkcs1_sha384) -> 16#0501;
scheme(rsa_pkcs1_sha512) -> 16#0601;
scheme(ecdsa_secp256r1_sha256) -> 16#0403;
scheme(ecdsa_secp384r1_sha384) -> 16#0503;
scheme(ecdsa_secp521r1_sha512) -> 16#0603;
scheme(ecdsa_secp512r1_sha512) -> 16#0603;
scheme(ecdsa_brainpoolP256r1tls13_sha256) -> 16#081A;
scheme(ecdsa_brainpoolP384r1tls13_sha384) -> 16#081B;
scheme(ecdsa_brainpoolP512r1tls13_sha512) -> 16#081C;
scheme(rsa_pss_rsae_sha256) -> 16#0804;
scheme(rsa_pss_rsae_sha384) -> 16#0805;
scheme(rsa_pss_rsae_sha512) -> 16#0806;
scheme(eddsa_ed25519) -> 16#0807;
scheme(eddsa_ed448) -> 16#0808;
scheme(rsa_pss_pss_sha256) -> 16#0809;
scheme(rsa_pss_pss_sha384) -> 16#080A;
scheme(rsa_pss_pss_sha512) -> 16#080B;
scheme(mldsa44) -> 16#0904;
scheme(mldsa65) -> 16#0905;
scheme(mldsa87) -> 16#0906;
scheme(Other) -> throw({refused, {signature_algs, Other}}).

some(Key, []) -> throw({refused, {unsupported, Key}});
some(_Key, List) -> List.
