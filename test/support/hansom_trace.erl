%% @doc Takes out of a trace what differs from run to run, or says nothing about behaviour.
-module(hansom_trace).

-export([clean/3, join/1, reason/1]).

%% Longer binaries are represented by size and checksum.
-define(LONG, 200).

%% @doc Names instead of pids, `PORT' for the server's port; no dates and texts.
-spec clean(term(), #{pid() => term()}, inet:port_number()) -> term().
clean(Pid, Names, _) when is_pid(Pid) -> maps:get(Pid, Names, pid);
clean(Ref, _, _) when is_reference(Ref) -> ref;
clean(Fun, _, _) when is_function(Fun) -> 'fun';
clean(Binary, _, Port) when is_binary(Binary) -> clean_binary(Binary, Port);
clean({{127, 0, 0, 1}, Port}, _, Port) -> server_address;
clean({{127, 0, 0, 1}, Other}, _, _) when is_integer(Other) -> local_address;
clean({tls_alert, {Alert, _Text}}, _, _) -> {tls_alert, Alert};
clean({Name, _}, _, _) when Name =:= <<"date">>; Name =:= <<"Date">> -> date;
clean({Count, Dict}, _, _) when is_integer(Count), is_tuple(Dict), element(1, Dict) =:= dict -> opaque;
clean(Tuple, Names, Port) when is_tuple(Tuple) ->
    list_to_tuple([clean(Element, Names, Port) || Element <- tuple_to_list(Tuple)]);
clean([First | Rest], Names, Port) ->
    [clean(First, Names, Port) | clean(Rest, Names, Port)];
clean(Map, Names, Port) when is_map(Map) ->
    maps:map(fun(_, Value) -> clean(Value, Names, Port) end, Map);
clean(Term, _, _) ->
    Term.

%% A certificate, made anew for each run.
clean_binary(<<16#30, 16#82, Length:16, Der/binary>>, _) when byte_size(Der) =:= Length ->
    certificate;
%% A TLS handshake.
clean_binary(<<22, 3, _/binary>>, _) ->
    handshake;
clean_binary(Binary, Port) ->
    Named = lists:foldl(fun({Pattern, Replacement}, Text) ->
                                re:replace(Text, Pattern, Replacement, [{return, binary}, global])
                        end, Binary,
                        [{":" ++ integer_to_list(Port), ":PORT"},
                         {"User-Agent: (hackney|hansom)/[0-9.]+\r\n", "User-Agent: OWN\r\n"}]),
    case byte_size(Named) > ?LONG andalso binary:match(Named, <<"HTTP/1">>) =:= nomatch of
        true -> {bytes, byte_size(Named), erlang:crc32(Named)};
        false -> Named
    end.

%% @doc Pieces that follow each other as one: where a body is divided is up to the network.
-spec join([term()]) -> [term()].
join([One, Two | Rest]) when is_binary(One), is_binary(Two) -> join([<<One/binary, Two/binary>> | Rest]);
join([First | Rest]) -> [First | join(Rest)];
join([]) -> [].

%% @doc The reason of an exit without what is inside of a crash.
-spec reason(term()) -> term().
reason({shutdown, _}) -> shutdown;
reason(Reason) when is_atom(Reason) -> Reason;
reason(_) -> crash.
