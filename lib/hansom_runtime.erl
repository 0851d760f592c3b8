%% @private Owns the engine's threads: they start and end with this process.
-module(hansom_runtime).
-behaviour(gen_server).

-export([start_link/0, shutdown_timeout/0]).
-export([init/1, handle_call/3, handle_cast/2, terminate/2]).

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% There has to be an end to it, and a little more than that is waited for.
-define(LONGEST_SHUTDOWN, 16#ffffffff - 10000).

%% How long the engine may take to end, in milliseconds.
-spec shutdown_timeout() -> non_neg_integer().
shutdown_timeout() ->
    case application:get_env(hansom, shutdown_timeout, 5000) of
        Time when is_integer(Time), Time >= 0, Time =< ?LONGEST_SHUTDOWN -> Time;
        Other -> error({options, {shutdown_timeout, Other}})
    end.

init([]) ->
    %% So that terminate/2 runs when the supervisor stops this process.
    process_flag(trap_exit, true),
    case hansom_nif:runtime_start(threads()) of
        {ok, Runtime} -> {ok, Runtime};
        {error, Reason} -> {stop, Reason}
    end.

handle_call(_Request, _From, Runtime) ->
    {reply, {error, invalid_call}, Runtime}.

handle_cast(_Request, Runtime) ->
    {noreply, Runtime}.

terminate(_Reason, Runtime) ->
    Deadline = shutdown_timeout(),
    Ref = make_ref(),
    ok = hansom_nif:runtime_stop(Runtime, Ref, Deadline),
    receive
        {Ref, stopped} -> ok
    after Deadline + 1000 ->
        logger:warning("hansom: the engine did not end within ~b ms", [Deadline])
    end.

threads() ->
    case application:get_env(hansom, threads, auto) of
        auto -> max(1, erlang:system_info(schedulers_online) div 2);
        Threads when is_integer(Threads), Threads > 0 -> Threads;
        Other -> error({options, {threads, Other}})
    end.
