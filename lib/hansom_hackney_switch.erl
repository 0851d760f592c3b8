%% @private Changes which code hackney's connections have, one change at a time.
-module(hansom_hackney_switch).
-behaviour(gen_server).

-export([start_link/0, install/1, uninstall/0, status/0, start_options/1, leave/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% The defaults of connections while hackney is to open hansom's; `off' otherwise.
-define(DEFAULTS, {?MODULE, defaults}).

%% How often hackney is looked for that is not there yet, or whether its module can go back, in milliseconds.
-define(LOOK_AGAIN, 200).

-record(state, {wanted = off :: off | map(),
                refused :: undefined | hansom_hackney:reason()}).

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec install(hansom_hackney:options()) -> ok | {error, hansom_hackney:reason()}.
install(Options) ->
    gen_server:call(?MODULE, {install, Options}, infinity).

-spec uninstall() -> ok.
uninstall() ->
    try gen_server:call(?MODULE, uninstall, infinity)
    catch exit:{noproc, _} -> leave()
    end.

-spec status() -> hansom_hackney:status().
status() ->
    try gen_server:call(?MODULE, status, infinity)
    catch exit:{noproc, _} -> status(#state{})
    end.

%% @doc Without hansom nothing of it may be needed: called when the application stops. Connections open then are
%% closed with it.
-spec leave() -> ok.
leave() ->
    _ = persistent_term:erase(?DEFAULTS),
    case hansom_hackney_code:restore() of
        ok -> ok;
        %% The replacement passes everything on to the original.
        {error, _} -> ok
    end.

%% @doc The options of a new connection, or `original' if it is to be one of hackney's own.
-spec start_options(map()) -> map() | original.
start_options(Options) ->
    case persistent_term:get(?DEFAULTS, off) of
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
    case application:get_env(hansom, hackney, false) of
        false -> {ok, #state{}};
        true -> {ok, wanted(#{})};
        Options -> {ok, wanted(Options)}
    end.

handle_call({install, Options}, _From, State) ->
    case try_install(Options) of
        ok -> {reply, ok, State#state{wanted = off, refused = undefined}};
        Error -> {reply, Error, State}
    end;
handle_call(uninstall, _From, _State) ->
    ok = leave(),
    look_again_if(hansom_hackney_code:current() =:= replacement),
    {reply, ok, #state{}};
handle_call(status, _From, State) ->
    {reply, status(State), State};
handle_call(_Request, _From, State) ->
    {reply, {error, invalid_call}, State}.

handle_cast(_Request, State) ->
    {noreply, State}.

handle_info(look_again, #state{wanted = off} = State) ->
    Leaving = persistent_term:get(?DEFAULTS, off) =:= off andalso hansom_hackney_code:current() =:= replacement,
    look_again_if(Leaving andalso hansom_hackney_code:restore() =/= ok),
    {noreply, State};
handle_info(look_again, #state{wanted = Options} = State) ->
    case hansom_hackney_code:is_present() of
        true ->
            {noreply, wanted(Options)};
        false ->
            look_again_if(true),
            {noreply, State}
    end;
handle_info(_Message, State) ->
    {noreply, State}.

%% As the setting says, as soon as it can be done.
wanted(Options) ->
    %% After a restart of this process nothing needs to be done again.
    Installed = persistent_term:get(?DEFAULTS, off) =/= off andalso hansom_hackney_code:current() =:= replacement,
    case Installed orelse try_install(Options) of
        true ->
            #state{};
        ok ->
            #state{};
        {error, {not_found, hackney_conn}} ->
            look_again_if(true),
            #state{wanted = Options};
        {error, Reason} ->
            logger:error("hansom: hackney keeps its own connections: ~tp", [Reason]),
            #state{refused = Reason}
    end.

try_install(Options) ->
    case hansom_hackney_options:check(Options) of
        {ok, Defaults} ->
            case hansom_hackney_code:current() of
                replacement -> persistent_term:put(?DEFAULTS, Defaults);
                _ -> install_with(Defaults)
            end;
        Error ->
            Error
    end.

install_with(Defaults) ->
    case hansom_hackney_code:prepare() of
        {ok, Prepared} ->
            %% First, for the replacement is in use as soon as it is loaded.
            ok = persistent_term:put(?DEFAULTS, Defaults),
            case hansom_hackney_code:load(Prepared) of
                ok ->
                    ok;
                Error ->
                    _ = persistent_term:erase(?DEFAULTS),
                    Error
            end;
        Error ->
            Error
    end.

look_again_if(true) ->
    _ = erlang:send_after(?LOOK_AGAIN, self(), look_again),
    ok;
look_again_if(false) ->
    ok.

status(#state{wanted = Wanted, refused = Refused}) ->
    {State, Options} = case {persistent_term:get(?DEFAULTS, off), hansom_hackney_code:current()} of
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
