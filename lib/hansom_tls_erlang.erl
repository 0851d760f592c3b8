%% @private The options with which Erlang's `ssl' speaks TLS where the engine's cannot.
%%
%% What protects the connection is never less than with the engine: certificates are verified
%% unless the user says otherwise, by the same roots, the name is always checked, and no session is
%% resumed that may have been made under other options, as `ssl' would do on its own account.
-module(hansom_tls_erlang).

-include_lib("public_key/include/public_key.hrl").

-export([honours/2, options/2]).
%% Called by `ssl'.
-export([verify/3, partial_chain/2]).

%% Whether `ssl' can do what the engine refuses under this name.
-spec honours(atom(), map()) -> boolean().
honours(Key, Map) ->
    lists:member(Key, [verify_fun, partial_chain, customize_hostname_check, versions, ciphers,
                       supported_groups, eccs, signature_algs, key, keyfile, certfile, certs_keys,
                       session_tickets])
        orelse (lists:member(Key, only_here()) andalso is_map_key(Key, Map)).

%% Options that have no meaning for the engine.
only_here() ->
    [allow_any_ca_purpose, beast_mitigation, cert_policy_opts, certificate_authorities,
     client_renegotiation, crl_cache, crl_check, early_data, fallback, key_update_at,
     max_fragment_length, max_handshake_size, middlebox_comp_mode, ocsp_nonce,
     ocsp_responder_certs, ocsp_stapling, padding_check, psk_identity, renegotiate_at,
     reuse_session, secure_renegotiate, signature_algs_cert, srp_identity, stapling, use_srtp,
     use_ticket, user_lookup_fun].

%% Those that are handed on as they are.
passed() ->
    [cert, certfile, certs_keys, depth, eccs, hibernate_after, honor_cipher_order,
     honor_ecc_order, keep_secrets, key, keyfile, log_alert, log_level, partial_chain, password,
     receiver_spawn_opts, sender_spawn_opts, signature_algs, supported_groups, verify_fun,
     versions | only_here()].

%% The complete list for `ssl:connect/3'.
-spec options(map(), hansom_tls_options:trust()) -> list().
options(Map, #{verify := Verify, roots := Roots, alpn := Alpn} = Trust) ->
    maps:foreach(fun(Key, Value) -> check(Key, Value) end, Map),
    Passed = [{Key, Value} || {Key, Value} <- maps:to_list(maps:with(passed(), Map)),
                              Value =/= undefined],
    Own = [{verify, case Verify of
                        true -> verify_peer;
                        false -> verify_none
                    end},
           {reuse_sessions, false}, {log_level, none},
           {mode, binary}, {active, false}, {packet, raw}],
    replace(Passed,
            Own ++ names(Map, Trust) ++ trusted(Verify, Roots, Map) ++ tickets(Map) ++ ciphers(Map)
            ++ [{alpn_advertised_protocols, offered(Alpn, Map)} || Alpn =/= []]).

%% An option of the user comes before ours, but what ours depend on was worked into them.
replace(Passed, Own) ->
    Replaced = [Option || {Key, _} = Option <- Own,
                          Key =/= log_level orelse not lists:keymember(Key, 1, Passed)],
    [Option || {Key, _} = Option <- Passed, not lists:keymember(Key, 1, Replaced)] ++ Replaced.

check(Key, Value) ->
    Known = [alpn_advertised_protocols, cacertfile, cacerts, ciphers, customize_hostname_check,
             insecure, protocols, reuse_sessions, server_name_indication, session_tickets, tls,
             verify, mode, active, packet | passed()],
    lists:member(Key, Known) orelse Value =:= undefined orelse off(Key, Value)
        orelse throw({refused, {unsupported, Key}}).

off(handshake, full) -> true;
off(erl_dist, false) -> true;
off(_Key, _Value) -> false.

%% What `ssl' itself checks is the name it sends. An address is never sent (RFC 6066, section 3),
%% and what is not sent `ssl' would not check.
names(Map, #{verify := Verify, sni := Sni, server_name := Name}) ->
    Match = case maps:get(customize_hostname_check, Map, undefined) of
        undefined -> [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}];
        Customized -> Customized
    end,
    Customize = [{customize_hostname_check, Match} || Verify],
    case inet:parse_strict_address(Name) of
        {error, einval} when Sni ->
            [{server_name_indication, Name} | Customize];
        {error, einval} ->
            [{server_name_indication, disable}
             | Customize ++ [checking({dns_id, Name}, Match, Map) || Verify]];
        {ok, Address} ->
            [{server_name_indication, disable}
             | Customize ++ [checking({ip, Address}, Match, Map) || Verify]]
    end.

checking(Id, Match, Map) ->
    {verify_fun, {fun ?MODULE:verify/3, {Id, Match, maps:get(verify_fun, Map, undefined)}}}.

%% A verify function that checks the name, then does what the user's function does.
-spec verify(#'OTPCertificate'{}, term(), term()) -> term().
verify(Cert, valid_peer, {Id, Match, _} = State) ->
    case public_key:pkix_verify_hostname(Cert, [Id], Match) of
        true -> verified(Cert, valid_peer, State);
        false -> verified(Cert, {bad_cert, hostname_check_failed}, State)
    end;
verify(Cert, Event, State) ->
    verified(Cert, Event, State).

verified(_Cert, {bad_cert, _} = Reason, {_, _, undefined}) -> {fail, Reason};
verified(_Cert, {extension, _}, {_, _, undefined} = State) -> {unknown, State};
verified(_Cert, _Valid, {_, _, undefined} = State) -> {valid, State};
verified(Cert, Event, {Id, Match, {Fun, UserState}}) when is_function(Fun, 3) ->
    case Fun(Cert, Event, UserState) of
        {Verdict, NewState} when Verdict =:= valid; Verdict =:= unknown ->
            {Verdict, {Id, Match, {Fun, NewState}}};
        Fail ->
            Fail
    end.

trusted(false, _Roots, _Map) ->
    [];
trusted(true, Roots, Map) ->
    Ders = case Roots of
        mozilla -> hansom_nif:mozilla_roots();
        system -> hansom_tls_identity:ders(cacerts, public_key:cacerts_get());
        {der, Given} -> Given
    end,
    [{cacerts, Ders}
     | [{partial_chain, fun(Chain) -> ?MODULE:partial_chain(Chain, Ders) end}
        || maps:get(partial_chain, Map, undefined) =:= undefined]].

%% As for the engine, a root is a name and a key: a chain that holds both is trusted from there
%% on, whatever other certificate of that root comes after it.
-spec partial_chain([binary()], [binary()]) -> {trusted_ca, binary()} | unknown_ca.
partial_chain(Chain, Roots) ->
    case [Der || Der <- Chain, lists:member(Der, Roots)] of
        [Der | _] ->
            {trusted_ca, Der};
        [] ->
            Anchors = lists:flatmap(fun anchor/1, Roots),
            case [Der || Der <- lists:reverse(Chain), [Anchor] <- [anchor(Der)],
                         is_authority(Der), lists:member(Anchor, Anchors)] of
                [Der | _] -> {trusted_ca, Der};
                [] -> unknown_ca
            end
    end.

anchor(Der) ->
    try public_key:pkix_decode_cert(Der, otp) of
        #'OTPCertificate'{tbsCertificate = #'OTPTBSCertificate'{subject = Subject,
                                                               subjectPublicKeyInfo = Key}} ->
            [{Subject, Key}]
    catch
        error:_ -> []
    end.

is_authority(Der) ->
    #'OTPCertificate'{tbsCertificate = #'OTPTBSCertificate'{extensions = Extensions}} =
        public_key:pkix_decode_cert(Der, otp),
    is_list(Extensions)
        andalso lists:any(fun(#'Extension'{extnID = Id, extnValue = Value}) ->
                                  Id =:= ?'id-ce-basicConstraints' andalso
                                      case Value of
                                          #'BasicConstraints'{cA = Authority} -> Authority;
                                          _ -> false
                                      end
                          end, Extensions).

%% Tickets that `ssl' keeps itself are of no use to us: it tells them apart by name only, not by
%% the options they were made under.
tickets(#{session_tickets := manual}) -> [{session_tickets, manual}];
tickets(_Map) -> [].

%% In OTP a resumed session does not say which protocol was agreed on, so there is no choice.
offered(Alpn, Map) ->
    case is_map_key(use_ticket, Map) orelse is_map_key(reuse_session, Map) of
        true -> [<<"http/1.1">>];
        false -> Alpn
    end.

ciphers(#{ciphers := Ciphers}) when is_binary(Ciphers) -> [{ciphers, binary_to_list(Ciphers)}];
ciphers(#{ciphers := Ciphers}) when Ciphers =/= undefined, Ciphers =/= [] -> [{ciphers, Ciphers}];
ciphers(_Map) -> [].
