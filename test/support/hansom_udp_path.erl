%% @doc A path for UDP packets between one client and a server on 127.0.0.1 that can be cut, without either end being told.
-module(hansom_udp_path).

-export([open/1, cut/1, mend/1]).

%% @doc A path to this port of a server, and the port to send to. It ends with the case.
open(ServerPort) ->
    Path = hansom_case:process(),
    Port = hansom_case:run_in(Path, fun() ->
                                            {ok, Front} = socket(),
                                            {ok, Back} = socket(),
                                            put(ends, {Front, Back, ServerPort}),
                                            {ok, Port} = inet:port(Front),
                                            Port
                                    end),
    ok = hansom_case:start_in(Path, fun() -> forward(get(ends), none, open) end),
    {Path, Port}.

socket() -> gen_udp:open(0, [binary, {ip, {127, 0, 0, 1}}, {active, true}, {recbuf, 4194304}]).

%% @doc From now on every packet is lost.
cut(Path) -> set(Path, cut).

%% @doc From now on packets get through again.
mend(Path) -> set(Path, open).

set(Path, State) ->
    Ref = make_ref(),
    Path ! {set, self(), Ref, State},
    receive Ref -> ok after hansom_case:deadline() -> error(no_path) end.

forward({Front, Back, ServerPort} = Ends, Client, State) ->
    receive
        {set, From, Ref, New} ->
            From ! Ref,
            forward(Ends, Client, New);
        {udp, Front, Address, Port, Packet} ->
            _ = [gen_udp:send(Back, {127, 0, 0, 1}, ServerPort, Packet) || State =:= open],
            forward(Ends, {Address, Port}, State);
        {udp, Back, _, _, Packet} ->
            _ = [gen_udp:send(Front, Address, Port, Packet) || {Address, Port} <- [Client], State =:= open],
            forward(Ends, Client, State)
    end.
