%% Stands in for hackney's pool: of one host, with the messages of the real one in both directions.
-module(hackney_pool).
-behaviour(gen_server).

-export([start_link/0, checkout/1, idle/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% A connection for the caller, dialled or taken from the idle ones.
checkout(Options) -> gen_server:call(?MODULE, {checkout, Options}).

idle() -> gen_server:call(?MODULE, idle).

init([]) -> {ok, #{idle => [], used => #{}}}.

handle_call(idle, _From, #{idle := Idle} = State) ->
    {reply, Idle, State};
handle_call({checkout, Options}, {Requester, _}, #{idle := Idle, used := Used} = State) ->
    {Pid, Rest} = take(Idle, Options, Requester),
    {reply, {ok, Pid}, State#{idle := Rest, used := Used#{Pid => Requester}}};
handle_call({checkin_sync, Pid, Close}, _From, State) ->
    {reply, ok, checkin(Pid, Close, State)}.

handle_cast({checkin, nil, Pid}, State) ->
    #{no_reuse := NoReuse, should_close := Close, ready := Ready} = hackney_conn:checkin_info(Pid),
    {noreply, checkin(Pid, NoReuse orelse Close orelse not Ready, State)}.

handle_info({'DOWN', _, process, Pid, _}, #{idle := Idle, used := Used} = State) ->
    {noreply, State#{idle := lists:delete(Pid, Idle), used := maps:remove(Pid, Used)}}.

take([Pid | Rest], Options, Requester) ->
    case hackney_conn:is_ready(Pid) of
        {ok, connected} -> ok = hackney_conn:set_owner(Pid, Requester), {Pid, Rest};
        _ -> take(Rest, Options, Requester)
    end;
take([], Options, Requester) ->
    {ok, Pid} = hackney_conn_sup:start_conn(Options#{pool_pid => self(), owner => Requester}),
    ok = hackney_conn:connect(Pid, 8000),
    monitor(process, Pid),
    {Pid, []}.

checkin(Pid, Close, #{idle := Idle, used := Used} = State) when is_map_key(Pid, Used) ->
    case Close of
        true ->
            gen_statem:cast(Pid, stop),
            State#{used := maps:remove(Pid, Used)};
        false ->
            hackney_conn:set_owner_async(Pid, self()),
            State#{idle := [Pid | Idle], used := maps:remove(Pid, Used)}
    end;
checkin(_Pid, _Close, State) ->
    State.
