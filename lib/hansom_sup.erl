%% @private
-module(hansom_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

init([]) ->
    %% Connections cannot outlive the engine they run on, and are stopped before it.
    Runtime = #{id => hansom_runtime,
                start => {hansom_runtime, start_link, []},
                shutdown => hansom_runtime:shutdown_timeout() + 2000},
    Connections = #{id => hansom_conn_sup,
                    start => {hansom_conn_sup, start_link, []},
                    shutdown => infinity,
                    type => supervisor},
    %% Last, so that their end is not that of connections.
    Descriptors = #{id => hansom_descriptors,
                    start => {hansom_descriptors, start_link, []}},
    Hackney = #{id => hansom_hackney_switch,
                start => {hansom_hackney_switch, start_link, []}},
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10},
          [Runtime, Connections, Descriptors, Hackney]}}.
