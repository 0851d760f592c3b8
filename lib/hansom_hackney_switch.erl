%% @private Changes which code hackney's connections have, one change at a time.
%%
%% What was decided is kept outside of the process, and outlives it: a process that is started again makes it come true.
-module(hansom_hackney_switch).
-behaviour(gen_server).

-export([start_link/0, install/1, uninstall/0, status/0, start_options/1, follow_setting/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% What was decided since the application has started: the defaults of connections, when hackney is to open hansom's, or
%% `off'. Nothing as long as only the setting speaks, and it could not be followed.
-define(DECISION, {?MODULE, decision}).

%% How often hackney is looked for that is not there yet, or whether its module can go back, in milliseconds.
-define(LOOK_AGAIN, 200).

%% `wanted': options, while hackney is waited for. `busy': who keeps hackney's module from going back. `looking': a
%% message `look_again' is on its way.
-record(state, {wanted = off :: off | hansom_hackney:options(),
                refused :: undefined | hansom_hackney:reason(),
                busy = [] :: [pid()],
                looking = false :: boolean()}).

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec install(hansom_hackney:options()) -> ok | {error, hansom_hackney:reason()}.
install(Options) ->
    case ask({install, Options}) of
        {answer, Answer} -> Answer;
        nobody -> {error, {not_started, hansom}}
    end.

%% @doc Also called when the application stops: hackney is to go on without it.
-spec uninstall() -> ok.
uninstall() ->
    case ask(uninstall) of
        {answer, ok} ->
            ok;
        nobody ->
            ok = persistent_term:put(?DECISION, off),
            _ = hansom_hackney_code:restore(),
            %% One that starts now finds the decision. One that has started since may have looked before.
            case whereis(?MODULE) of
                undefined -> ok;
                _ -> uninstall()
            end
    end.

-spec status() -> hansom_hackney:status().
status() ->
    case ask(status) of
        {answer, Status} -> Status;
        nobody -> status(#state{})
    end.

%% Nobody is there before the application starts, after it stops, and while the supervisor starts the process again.
ask(Request) ->
    try {answer, gen_server:call(?MODULE, Request, infinity)}
    catch exit:{_, {gen_server, call, _}} -> nobody
    end.

%% @doc Forgets what was decided: called when the application starts.
-spec follow_setting() -> ok.
follow_setting() ->
    _ = persistent_term:erase(?DECISION),
    ok.

%% @doc The options of a new connection, or `original' if it is to be one of hackney's own.
-spec start_options(map()) -> map() | original.
start_options(Options) ->
    case persistent_term:get(?DECISION, off) of
        off ->
            original;
        Defaults ->
            case whereis(hansom_runtime) of
                undefined -> original;
                _ -> hansom_hackney_options:start(Defaults, Options)
            end
    end.

%% Before the supervisor goes on: applications that start after this one find it done.
init([]) ->
    {ok, case persistent_term:get(?DECISION, application:get_env(hansom, hackney, false)) of
             %% What an earlier life of the application has left is to go back.
             Off when Off =:= off; Off =:= false -> go_back(#state{});
             true -> want(#{}, #state{});
             Options -> want(Options, #state{})
         end}.

handle_call({install, Options}, _From, State) ->
    case try_install(Options) of
        ok -> {reply, ok, State#state{wanted = off, refused = undefined}};
        Error -> {reply, Error, State}
    end;
handle_call(uninstall, _From, State) ->
    ok = persistent_term:put(?DECISION, off),
    {reply, ok, go_back(State#state{wanted = off, refused = undefined, busy = []})};
handle_call(status, _From, State) ->
    {reply, status(State), State};
handle_call(_Request, _From, State) ->
    {reply, {error, invalid_call}, State}.

handle_cast(_Request, State) ->
    {noreply, State}.

handle_info(look_again, State) ->
    {noreply, look_again(State#state{looking = false})};
handle_info(_Message, State) ->
    {noreply, State}.

look_again(#state{wanted = off} = State) ->
    go_back(State);
look_again(#state{wanted = Options} = State) ->
    case hansom_hackney_code:is_present() of
        true -> want(Options, State);
        false -> later(State)
    end.

later(#state{looking = true} = State) ->
    State;
later(State) ->
    _ = erlang:send_after(?LOOK_AGAIN, self(), look_again),
    State#state{looking = true}.

%% What the setting says, or was decided before this process has started, as soon as it can be done.
want(Options, State) ->
    case is_installed() orelse try_install(Options) of
        true ->
            State#state{wanted = off};
        ok ->
            State#state{wanted = off};
        {error, {not_found, hackney_conn}} ->
            later(State#state{wanted = Options});
        {error, Reason} ->
            logger:error("hansom: hackney keeps its own connections: ~tp", [Reason]),
            go_back(State#state{wanted = off, refused = Reason})
    end.

try_install(Options) ->
    case hansom_hackney_options:check(Options) of
        {ok, Defaults} ->
            case hansom_hackney_code:current() of
                replacement -> change(Defaults);
                _ -> install_with(Defaults)
            end;
        Error ->
            Error
    end.

change(Defaults) ->
    case hansom_hackney_code:refresh() of
        ok -> persistent_term:put(?DECISION, Defaults);
        Error -> Error
    end.

install_with(Defaults) ->
    case hansom_hackney_code:prepare() of
        {ok, Prepared} ->
            Before = persistent_term:get(?DECISION, undecided),
            %% First, for the replacement is in use as soon as it is loaded.
            ok = persistent_term:put(?DECISION, Defaults),
            case hansom_hackney_code:load(Prepared) of
                ok ->
                    ok;
                Error when Before =:= undecided ->
                    ok = follow_setting(),
                    Error;
                Error ->
                    ok = persistent_term:put(?DECISION, Before),
                    Error
            end;
        Error ->
            Error
    end.

%% Lets hackney's module back into its place, if it is to go there and nobody is in the way. To find out who is takes a
%% look at every process of the node; from then on only these few are looked at.
go_back(#state{busy = Busy} = State) ->
    case is_leaving() andalso hansom_hackney_code:still_busy(Busy) of
        false -> State#state{busy = []};
        [] -> restored(hansom_hackney_code:restore(), State);
        Left -> later(State#state{busy = Left})
    end.

restored(ok, State) -> State#state{busy = []};
restored({error, {busy, Pids}}, State) -> later(State#state{busy = Pids});
restored({error, _}, State) -> later(State#state{busy = []}).

is_installed() ->
    persistent_term:get(?DECISION, off) =/= off andalso hansom_hackney_code:current() =:= replacement.

is_leaving() ->
    persistent_term:get(?DECISION, off) =:= off andalso hansom_hackney_code:current() =:= replacement.

status(#state{wanted = Wanted, refused = Refused}) ->
    {State, Options} = case {persistent_term:get(?DECISION, off), hansom_hackney_code:current()} of
        {off, replacement} -> {leaving, #{}};
        {off, _} when Wanted =/= off -> {waiting, #{}};
        {off, _} -> {not_installed, #{}};
        {Defaults, replacement} -> {installed, Defaults};
        {Defaults, _} -> {replaced, Defaults}
    end,
    Status = #{state => State, hackney => hansom_hackney_code:version(), options => Options},
    case Refused of
        undefined -> Status;
        _ -> Status#{refused => Refused}
    end.
