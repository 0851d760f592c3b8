%% @doc Supervisor of connections that belong to nobody in particular.
%%
%% A connection started here without an `owner' is owned by this supervisor: it
%% lives until it is stopped, whoever uses it.
-module(hansom_conn_sup).
-behaviour(supervisor).

-export([start_link/0, start_conn/1]).
-export([init/1]).

%% @private
-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Starts a connection below this supervisor. Options and errors are those of
%% {@link hansom_conn:start_link/1}.
-spec start_conn(hansom_conn:start_options()) -> {ok, pid()} | {error, term()}.
start_conn(Options) ->
    try supervisor:start_child(?MODULE, [Options]) of
        {ok, Pid} when is_pid(Pid) -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    catch
        exit:{noproc, _} -> {error, {not_started, hansom}}
    end.

init([]) ->
    Connection = #{id => hansom_conn,
                   start => {hansom_conn, start_link, []},
                   restart => temporary,
                   shutdown => 5000,
                   type => worker,
                   modules => [hansom_conn_process]},
    {ok, {#{strategy => simple_one_for_one, intensity => 0, period => 1}, [Connection]}}.
