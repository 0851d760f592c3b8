%% Stands in for the supervisor of hackney's connections.
-module(hackney_conn_sup).
-behaviour(supervisor).

-export([start_link/0, start_conn/1, init/1]).

start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

start_conn(Options) -> supervisor:start_child(?MODULE, [Options]).

init([]) ->
    {ok, {#{strategy => simple_one_for_one},
          [#{id => hackney_conn, start => {hackney_conn, start_link, []}, restart => temporary}]}}.
