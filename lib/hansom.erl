%% @doc What can be seen of connections and of the engine.
%%
%% Connections themselves are used through {@link hansom_conn}.
-module(hansom).

-export([info/1, stats/0]).

%% @doc What a connection holds and has done: its state and protocol, whether it is encrypted, bytes
%% received, sent and buffered, requests, reuses, dials and TLS handshakes. `undefined' if the process
%% is dead or no connection. The connection is neither asked nor disturbed.
-spec info(pid()) -> map() | undefined.
info(Pid) when node(Pid) =:= node() ->
    case hansom_nif:info(Pid) of
        noproc -> undefined;
        Info -> Info
    end;
info(Pid) ->
    erpc:call(node(Pid), ?MODULE, info, [Pid]).

%% @doc Totals of this node: connections by state, dials, TLS handshakes, requests, reuses, bytes
%% received and sent, and the threads of the engine.
-spec stats() -> map().
stats() ->
    hansom_nif:stats().
