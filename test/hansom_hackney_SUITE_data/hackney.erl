%% Stands in for hackney: its application, and requests over connections of its own or of the pool's.
-module(hackney).
-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1, init/1]).
-export([open/1, get/2, pooled_get/2]).

start(_Type, _Arguments) -> supervisor:start_link(?MODULE, []).
stop(_State) -> ok.

init([]) ->
    {ok, {#{}, [#{id => Module, start => {Module, start_link, []}} || Module <- [hackney_conn_sup, hackney_pool]]}}.

open(Options) ->
    {ok, Pid} = hackney_conn_sup:start_conn(Options),
    ok = hackney_conn:connect(Pid, 8000),
    {ok, Pid}.

get(Pid, Path) ->
    case hackney_conn:request(Pid, <<"GET">>, Path, [], <<>>) of
        {ok, Status, Headers} ->
            {ok, Body} = hackney_conn:body(Pid),
            {ok, Status, Headers, Body};
        Other ->
            Other
    end.

pooled_get(Options, Path) ->
    {ok, Pid} = hackney_pool:checkout(Options),
    get(Pid, Path).
