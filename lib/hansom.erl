%% @doc What can be seen of connections and of the engine.
%%
%% Connections themselves are used through {@link hansom_conn}.
-module(hansom).

-export([info/1, stats/0]).

%% @doc What a connection holds and has done: its state, protocol, bytes read, written and
%% buffered, requests, and what is known of its TLS session. `undefined' if the
%% process is dead or no connection. The connection is neither asked nor disturbed.
-spec info(pid()) -> map() | undefined.
info(Pid) when node(Pid) =:= node() ->
    case hansom_nif:info(Pid) of
        noproc -> undefined;
        Info -> Info
    end;
info(Pid) ->
    erpc:call(node(Pid), ?MODULE, info, [Pid]).

%% @doc Totals of this node: connections by state and protocol, bytes moved and
%% buffered, handshakes, reuses.
-spec stats() -> map().
stats() ->
    hansom_nif:stats().
