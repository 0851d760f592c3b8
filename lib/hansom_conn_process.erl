%% @private The process behind a connection.
%%
%% It gives the connection what only a process can: a pid with links and monitors, an owner
%% whose death ends it, `sys' messages, the protocol with a pool, a place for functions of the
%% user, and a way in from other nodes. It holds no socket and parses nothing; plain calls go
%% past it, to the engine, which alone knows the state of the exchange.
%%
%% Its own states are about its life:
%% ```
%%   open ----- the socket is gone ---> closed --- 50 ms, if pooled ---> (stops)
%%    ^ |                                 |
%%    | |                                 |
%%    +-|------------ connect ------------+
%%      +-- of no further use --> finished --- all answers passed on --> (stops)
%% '''
%% It never waits: whatever takes time is submitted under a reference kept in `pending'.
-module(hansom_conn_process).
-behaviour(gen_statem).

-export([start_link/1]).
%% The body of a process of its own.
-export([exit_prepared/1]).
-export([init/1, callback_mode/0, handle_event/4, terminate/3, code_change/4, format_status/1]).

%% How long a closed connection of a pool answers calls that were already on their way.
-define(CLOSED_GRACE, 50).
%% How long to wait before looking again at a receiver whose mailbox is too full.
-define(FLOW_INTERVAL, 10).
%% An idle connection gives its working memory back.
-define(HIBERNATE_AFTER, 1000).

%% The engine closes a socket in microseconds; this only keeps a defect from hanging a stop.
-define(SHUTDOWN_TIMEOUT, 4000).
%% What a transport of others may take to close when the connection ends: a pool kills it after
%% 100 ms.
-define(CLOSE_AT_END, 50).

-record(data, {
    target :: hansom_options:target(),
    owner :: pid(),
    owner_monitor :: reference(),
    runtime_monitor :: reference(),
    pool :: pid() | undefined,
    no_reuse :: boolean(),
    %% TLS from the start, or by upgrade.
    tls = false :: boolean(),
    upgraded_ssl = false :: boolean(),
    pool_ssl = false :: boolean(),
    location :: binary() | undefined,
    start_options :: hansom_relay:start_options(),
    push_allowance :: pos_integer(),
    push_queue_limit :: pos_integer() | infinity,
    alt_svc :: module() | undefined,
    %% Processes of other nodes whose death matters or once did, with their monitors. Each is monitored once and
    %% until it dies; those of this node are the native library's concern.
    watched = #{} :: #{pid() => reference()},
    %% It ends for a reason that those who get messages cannot know of.
    orphaned = false :: boolean(),
    %% Calls submitted and not yet answered, by reference.
    pending = #{} :: #{reference() => own() | hansom_relay:entry()},
    %% What moves the bytes where the engine cannot.
    pipes = hansom_pipes:new() :: hansom_pipes:pipes(),
    %% A checkin the pool has not yet acknowledged, or that it has not yet been told of.
    checkin :: undefined | {prepared | gen_server:request_id(), [gen_statem:from()]}
}).

%% What the process itself waits for. `Origin' is the engine's state at the call of connect; the
%% pipe is what was opened for the dial or upgrade.
-type own() :: {asked, gen_statem:from()}
             | {checked, ready | verify, gen_statem:from()}
             | {prepare_dial, gen_statem:from(), Origin :: idle | closed}
             | {dial, gen_statem:from(), Origin :: idle | closed, hansom_pipe:pipe() | none}
             | {prepare_upgrade, [gen_statem:from()], PoolSsl :: boolean()}
             | {upgrade, [gen_statem:from()], PoolSsl :: boolean(), hansom_pipe:pipe() | none}
             | {ready | verify | checkin_info, gen_statem:from()}
             | release.

-spec start_link(hansom_options:settings()) -> {ok, pid()} | {error, term()}.
start_link(Settings) ->
    case gen_statem:start_link(?MODULE, Settings, [{hibernate_after, ?HIBERNATE_AFTER}]) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, Reason};
        ignore -> {error, {not_started, hansom}}
    end.

callback_mode() -> handle_event_function.

init(#{config := Config, owner := Owner} = Settings) ->
    process_flag(trap_exit, true),
    %% Without the engine this process is of no use; see handle_event/4 on its end.
    RuntimeMonitor = monitor(process, hansom_runtime),
    case hansom_nif:open(Config) of
        ok ->
            #{target := Target, pool := Pool, no_reuse := NoReuse, inform_fun := InformFun,
              auto_decompress := Decompress, push_allowance := Allowance,
              push_queue_limit := QueueLimit, alt_svc := AltSvc, socket := Socket} = Settings,
            adopt(Socket,
                  #data{target = Target, owner = Owner, owner_monitor = monitor(process, Owner),
                        runtime_monitor = RuntimeMonitor, pool = Pool, no_reuse = NoReuse,
                        start_options = #{inform_fun => InformFun, auto_decompress => Decompress},
                        push_allowance = Allowance, push_queue_limit = QueueLimit,
                        alt_svc = AltSvc});
        {error, not_running} ->
            ignore;
        {error, Reason} ->
            {stop, Reason}
    end.

code_change(_OldVsn, State, Data, _Extra) ->
    {ok, State, Data}.

%% Goes on with an open connection: the engine with its socket or, if it cannot have that, over
%% a pipe.
adopt(undefined, Data) ->
    {ok, open, Data};
adopt({descriptor, Socket, Unread}, #data{target = Target} = Data) ->
    Take = fun(Descriptor) ->
                   now({connect, hansom_options:adopt(Target, adopted, {Descriptor, Unread}, undefined)})
           end,
    case hansom_adopt:take(Socket, Take) of
        ok -> {ok, open, Data};
        {error, _} ->
            _ = now(close),
            adopt({carry, gen_tcp, Socket, Unread}, Data)
    end;
adopt({carry, Module, Socket, Unread},
      #data{target = #{transport := Transport} = Target, pipes = Pipes} = Data) ->
    {Pipe, NewPipes} = hansom_pipes:open(hansom_pipe:carry(Module, Socket, Unread), Pipes),
    case now({connect, hansom_options:adopt(Target, carried, undefined, hansom_pipe:handle(Pipe))}) of
        ok ->
            {ok, open, Data#data{pipes = NewPipes, tls = Transport =:= tls}};
        {error, _} ->
            %% The engine has been stopped.
            ok = hansom_pipes:end_within(0, NewPipes),
            ignore
    end.

%% The engine has nothing to wait for here.
now(Operation) ->
    Ref = make_ref(),
    case hansom_nif:call(self(), Ref, Operation) of
        wait -> receive {Ref, Answer} -> Answer end;
        Answer -> Answer
    end.

%% Whoever waits for the engine learns of the end from the engine. Of a stop that was asked for
%% receivers are not told: it is mostly they who asked.
terminate(Reason, _State, #data{orphaned = Orphaned, pipes = Pipes}) ->
    Ref = make_ref(),
    case hansom_nif:shutdown(self(), Ref, Reason, Orphaned orelse Reason =/= normal) of
        wait -> receive {Ref, _} -> ok after ?SHUTDOWN_TIMEOUT -> ok end;
        _ -> ok
    end,
    ok = hansom_pipes:end_within(?CLOSE_AT_END, Pipes),
    relay_rest().

%% The engine tells receivers of its end as it is stopped, but may not have come to this one.
close_stream() ->
    Ref = make_ref(),
    case hansom_nif:call(self(), Ref, close) of
        wait -> receive {Ref, _} -> ok after ?SHUTDOWN_TIMEOUT -> ok end;
        _ -> ok
    end.

%% The last message for a receiver on another node may be behind what made this process stop.
relay_rest() ->
    receive
        {'$hansom', {relay, Receiver, Message}} ->
            Receiver ! Message,
            relay_rest()
    after 0 ->
        ok
    end.

%% TLS options may hold keys and passwords, which have no place in a log.
format_status(#{data := #data{target = Target} = Data} = Status) ->
    Status#{data := Data#data{target = Target#{ssl_options := [redacted]}}};
format_status(Status) ->
    Status.

%% Calls

handle_event({call, From}, get_state, _State, #data{pending = Pending} = Data) ->
    %% What was cast before is done first.
    Add = fun(_, {steer, Froms}) -> {steer, [From | Froms]};
             (_, Entry) -> Entry
          end,
    case maps:map(Add, Pending) of
        Pending -> {keep_state_and_data, [{reply, From, {ok, engine_state()}}]};
        Waiting -> {keep_state, Data#data{pending = Waiting}}
    end;
handle_event({call, From}, connect, State, #data{target = Target} = Data) ->
    case not is_dialling(Data) andalso engine_state() of
        Origin when (Origin =:= idle orelse Origin =:= closed), State =/= finished ->
            NewData = prepare(Target, fun() -> hansom_options:dial(Target) end,
                              {prepare_dial, From, Origin}, Data),
            {next_state, open, NewData};
        _ ->
            invalid_state(From)
    end;
handle_event({call, From}, {upgrade_to_ssl, SslOptions, Options}, _State,
             #data{target = Target, tls = Tls} = Data) when is_map(Options) ->
    case engine_state() of
        connected when Tls ->
            {keep_state_and_data, [{reply, From, ok}]};
        connected ->
            case join_upgrade(From, Data) of
                {joined, NewData} ->
                    {keep_state, NewData};
                none ->
                    PoolSsl = maps:get(pool_ssl, Options, false) =:= true,
                    {keep_state,
                     prepare(Target#{transport := tls},
                             fun() -> hansom_options:upgrade(Target, SslOptions, Options) end,
                             {prepare_upgrade, [From], PoolSsl}, Data)}
            end;
        _ ->
            invalid_state(From)
    end;
handle_event({call, From}, is_ready, _State, Data) ->
    check(ready, From, Data);
handle_event({call, From}, verify_socket, _State, Data) ->
    check(verify, From, Data);
handle_event({call, From}, {setopts, Options}, _State,
             #data{target = #{transport := Transport}} = Data) ->
    relayed(hansom_relay:setopts(Options, From, Transport), Data);
handle_event({call, From}, {transport, Operation}, _State, Data) ->
    ask_transport(From, Operation, Data);
handle_event({call, From}, {opened, Number, Module, Socket}, _State, #data{pipes = Pipes} = Data) ->
    case hansom_pipes:opened(Number, Module, Socket, Pipes) of
        unused -> {keep_state_and_data, [{reply, From, {error, closed}}]};
        NewPipes -> {keep_state, Data#data{pipes = NewPipes}, [{reply, From, ok}]}
    end;
handle_event({call, From}, checkin_info, _State, Data) ->
    submit(reuse, {checkin_info, From}, Data);
handle_event({call, From}, release_to_pool, _State, #data{checkin = Checkin} = Data) ->
    case engine_state() of
        connected when Checkin =:= undefined ->
            %% From here on the death of the user is none of our business.
            NewData = own_by_pool(Data),
            ok = hansom_nif:cast(self(), watch_idle),
            submit(reuse, release, NewData#data{checkin = {prepared, [From]}});
        connected ->
            %% It is on its way to the pool: once is enough.
            {Stage, Releasers} = Checkin,
            {keep_state, Data#data{checkin = {Stage, [From | Releasers]}}};
        _ ->
            invalid_state(From)
    end;
handle_event({call, From}, {set_owner, NewOwner}, _State, Data) when is_pid(NewOwner) ->
    case engine_state() of
        Engine when Engine =:= connected; Engine =:= receiving; Engine =:= streaming ->
            {keep_state, taken(Engine, own(NewOwner, Data)), [{reply, From, ok}]};
        _ ->
            invalid_state(From)
    end;
handle_event({call, From}, get_location, _State, #data{location = Location}) ->
    {keep_state_and_data, [{reply, From, Location}]};
handle_event({call, From}, {set_location, Location}, _State, Data) ->
    {keep_state, Data#data{location = Location}, [{reply, From, ok}]};
handle_event({call, From}, is_upgraded_ssl, _State, #data{upgraded_ssl = Upgraded}) ->
    {keep_state_and_data, [{reply, From, Upgraded}]};
handle_event({call, From}, is_no_reuse, _State, #data{no_reuse = NoReuse}) ->
    {keep_state_and_data, [{reply, From, NoReuse}]};
handle_event({call, From}, get_protocol, _State, _Data) ->
    {keep_state_and_data, [{reply, From, protocol()}]};
handle_event({call, From}, Message, _State, #data{start_options = StartOptions} = Data) ->
    case hansom_relay:call(Message, From, StartOptions) of
        unknown -> invalid_state(From);
        Result -> relayed(Result, watch(element(1, From), Data))
    end;

%% Casts

%% A pool that does not want the connection may say so before it answers the release.
handle_event(cast, stop, _State, #data{checkin = {_, Releasers}}) ->
    {stop_and_reply, normal, reply_all(Releasers, ok)};
handle_event(cast, stop, _State, _Data) ->
    {stop, normal};
handle_event(cast, {set_owner, NewOwner}, State, #data{pool = Pool} = Data) when is_pid(NewOwner) ->
    case engine_state() of
        connected when NewOwner =:= Pool ->
            ok = hansom_nif:cast(self(), watch_idle),
            {keep_state, own(NewOwner, Data)};
        Engine when Engine =:= connected; Engine =:= receiving; Engine =:= streaming ->
            {keep_state, taken(Engine, own(NewOwner, Data))};
        Engine when Pool =/= undefined, Engine =:= closed orelse State =:= closed ->
            {stop, normal};
        _ ->
            keep_state_and_data
    end;
handle_event(cast, Message, _State, Data) ->
    case hansom_relay:cast(Message) of
        {pending, _, _} = Result -> relayed(Result, Data);
        _ -> keep_state_and_data
    end;

%% What the engine has to say

handle_event(info, {'$hansom', Notice}, State, Data) ->
    notice(Notice, State, Data);
handle_event(info, {Ref, Answer}, State, #data{pending = Pending} = Data)
  when is_map_key(Ref, Pending) ->
    {Entry, Rest} = maps:take(Ref, Pending),
    after_answer(State, answer(Ref, Answer, Entry, Data#data{pending = Rest}));
handle_event({timeout, {flow, Receiver}}, check, _State, Data) ->
    grant(Receiver, Data);
handle_event(state_timeout, grace, closed, _Data) ->
    {stop, normal};

%% What moves the bytes

handle_event(info, Message, _State, #data{pipes = Pipes} = Data)
  when element(1, Message) =:= '$pipe'; element(1, Message) =:= 'EXIT' ->
    {Closed, NewPipes} = hansom_pipes:info(Message, Pipes),
    {keep_state, Data#data{pipes = NewPipes}, reply_all(Closed, ok)};

%% The end of others

handle_event(info, {'DOWN', Monitor, process, _, _}, _State, #data{owner_monitor = Monitor} = Data) ->
    {stop, normal, Data#data{orphaned = true}};
handle_event(info, {'DOWN', Monitor, process, _, _}, _State, #data{runtime_monitor = Monitor}) ->
    case engine_state() of
        State when State =:= streaming; State =:= streaming_once -> close_stream();
        _ -> ok
    end,
    {stop, normal};
handle_event(info, {'DOWN', Monitor, process, Pid, _}, State, #data{watched = Watched} = Data)
  when map_get(Pid, Watched) =:= Monitor ->
    ok = hansom_nif:cast(self(), {receiver_gone, Pid}),
    ok = hansom_nif:cast(self(), {abandon, Pid}),
    after_answer(State, {keep_state, forget_caller(Pid, Data#data{watched = maps:remove(Pid, Watched)})});
handle_event(info, {'DOWN', Ref, process, _, Reason}, State, #data{pending = Pending} = Data)
  when is_map_key(Ref, Pending) ->
    {Entry, Rest} = maps:take(Ref, Pending),
    Prepared = case {Reason, Entry} of
        {{prepared, _}, _} -> Reason;
        {_, {asked, _}} -> {prepared, {error, closed}};
        {_, {checked, _, _}} -> {prepared, {error, closed}};
        {_, _} -> {prepared, {error, {options, Reason}}}
    end,
    after_answer(State, answer(Ref, Prepared, Entry, Data#data{pending = Rest}));
handle_event(info, Message, _State, #data{checkin = {RequestId, Releasers}} = Data)
  when RequestId =/= prepared ->
    case gen_server:check_response(Message, RequestId) of
        no_reply -> keep_state_and_data;
        %% A pool that died in the meantime was the owner, whose end comes as well.
        _ -> {keep_state, Data#data{checkin = undefined}, reply_all(Releasers, ok)}
    end;
handle_event(info, _Message, _State, _Data) ->
    keep_state_and_data.

%% Notices: each comes before the answer or message that announces the same change to a user.

notice(closed, finished, _Data) ->
    keep_state_and_data;
notice(closed, _State, #data{pool = undefined} = Data) ->
    {next_state, closed, Data};
notice(closed, _State, Data) ->
    {next_state, closed, Data, [{state_timeout, ?CLOSED_GRACE, grace}]};
notice(finished, _State, #data{pending = Pending}) when map_size(Pending) =:= 0 ->
    {stop, normal};
notice(finished, _State, Data) ->
    {next_state, finished, Data};
notice(released, _State, #data{pool = Pool} = Data) when is_pid(Pool) ->
    NewData = own_by_pool(Data),
    gen_server:cast(Pool, {checkin, nil, self()}),
    {keep_state, NewData};
notice({owner, Receiver}, _State, #data{pending = Pending} = Data) ->
    case lists:any(fun(Entry) -> hansom_relay:is_to_own_caller(Entry, Receiver) end,
                   maps:values(Pending)) of
        true -> keep_state_and_data;
        false -> {keep_state, own(Receiver, Data)}
    end;
notice({watch, Pid}, _State, Data) ->
    {keep_state, watch(Pid, Data)};
notice({flow, Receiver}, _State, Data) ->
    grant(Receiver, Data);
notice({relay, Receiver, Message}, _State, _Data) ->
    Receiver ! Message,
    keep_state_and_data;
notice({alt_svc, Headers}, _State, #data{alt_svc = Cache, target = #{host := Host, port := Port}})
  when Cache =/= undefined ->
    %% A cache that fails must not take the connection with it.
    _ = try Cache:parse_and_cache(Host, Port, Headers) catch _:_ -> error end,
    keep_state_and_data;
notice(_Notice, _State, _Data) ->
    keep_state_and_data.

%% A receiver that does not keep up gets no more until it does. Mailboxes of other nodes cannot
%% be seen; there the flow control of the distribution has to do.
grant(Receiver, #data{push_allowance = Allowance, push_queue_limit = Limit}) ->
    case node(Receiver) =:= node() andalso process_info(Receiver, message_queue_len) of
        {message_queue_len, Length} when Length > Limit ->
            {keep_state_and_data, [{{timeout, {flow, Receiver}}, ?FLOW_INTERVAL, check}]};
        _ ->
            ok = hansom_nif:cast(self(), {grant, Receiver, Allowance}),
            keep_state_and_data
    end.

%% Answers

answer(_Ref, {prepared, Result}, Entry, Data) -> prepared(Result, Entry, Data);
answer(_Ref, ok, {dial, From, Origin, _Pipe}, Data) ->
    dialled(ok, From, Origin, Data);
answer(_Ref, Error, {dial, From, Origin, Pipe}, #data{pipes = Pipes} = Data) ->
    dialled(Error, From, Origin, Data#data{pipes = hansom_pipes:discard(Pipe, Pipes)});
answer(_Ref, ok, {upgrade, Callers, PoolSsl, _Pipe}, Data) ->
    {keep_state, Data#data{tls = true, upgraded_ssl = true, pool_ssl = PoolSsl}, reply_all(Callers, ok)};
answer(_Ref, Error, {upgrade, Callers, _PoolSsl, Pipe}, #data{pipes = Pipes} = Data) ->
    {keep_state, Data#data{pipes = hansom_pipes:discard(Pipe, Pipes)}, reply_all(Callers, Error)};
answer(_Ref, Answer, {ready, From}, Data) ->
    Reply = case Answer of
        ok -> {ok, connected};
        {error, invalid_state} -> Answer;
        {error, _} -> {ok, closed}
    end,
    {keep_state, Data, [{reply, From, Reply}]};
answer(_Ref, Answer, {verify, From}, Data) when Answer =:= ok; Answer =:= {error, invalid_state} ->
    {keep_state, Data, [{reply, From, Answer}]};
answer(_Ref, Error, {verify, From}, Data) ->
    %% A socket found unusable is closed before that is said.
    relayed(hansom_relay:close_and_reply(From, Error), Data);
answer(_Ref, Answer, {checkin_info, From}, Data) ->
    {ShouldClose, Ready} = reusable(Answer),
    #data{upgraded_ssl = Upgraded, pool_ssl = PoolSsl, no_reuse = NoReuse} = Data,
    Info = #{upgraded_ssl => Upgraded, no_reuse => NoReuse, pool_ssl => PoolSsl,
             protocol => protocol(), should_close => ShouldClose, ready => Ready},
    {keep_state, Data, [{reply, From, Info}]};
answer(_Ref, _Answer, release, #data{pool = undefined, checkin = {prepared, Releasers}} = Data) ->
    {keep_state, Data#data{checkin = undefined}, reply_all(Releasers, ok)};
answer(_Ref, Answer, release, #data{pool = Pool, checkin = {prepared, Releasers}} = Data) ->
    {ShouldClose, Ready} = reusable(Answer),
    #data{upgraded_ssl = Upgraded, pool_ssl = PoolSsl, no_reuse = NoReuse} = Data,
    Unfit = NoReuse orelse (Upgraded andalso not PoolSsl) orelse ShouldClose orelse not Ready
        orelse protocol() =/= http1,
    %% Not a call: probes are answered while the pool makes up its mind.
    RequestId = gen_server:send_request(Pool, {checkin_sync, self(), Unfit}),
    {keep_state, Data#data{checkin = {RequestId, Releasers}}};
answer(_Ref, _Answer, {steer, Froms}, #data{pending = Pending} = Data) ->
    Later = lists:append([Waiting || {steer, Waiting} <- maps:values(Pending)]),
    {keep_state, Data, [{reply, From, {ok, engine_state()}} || From <- Froms -- Later]};
answer(Ref, Answer, Entry, Data) ->
    relayed(hansom_relay:answer(Ref, Answer, Entry), Data).

reusable({reuse, ShouldClose, Ready}) -> {ShouldClose, Ready};
reusable({error, _}) -> {true, false}.

%% A dial that fails ends a connection that never was open; one that was stays `closed'.
dialled(ok, From, _Origin, #data{target = #{transport := Transport}} = Data) ->
    {keep_state, Data#data{tls = Transport =:= tls, upgraded_ssl = false, pool_ssl = false},
     [{reply, From, ok}]};
dialled({error, invalid_state} = Error, From, _Origin, Data) ->
    {keep_state, Data, [{reply, From, Error}]};
dialled({error, _} = Error, From, idle, Data) ->
    {stop_and_reply, normal, [{reply, From, Error}], Data};
dialled({error, _} = Error, From, closed, Data) ->
    Grace = [{state_timeout, ?CLOSED_GRACE, grace} || Data#data.pool =/= undefined],
    {next_state, closed, Data, [{reply, From, Error} | Grace]}.

%% TLS options may name files and encrypted keys, which take a while to read; modules have to be
%% loaded.
prepare(#{transport := Transport}, Prepare, Entry, #data{pending = Pending} = Data)
  when Transport =:= tls; is_tuple(Transport) ->
    {_, Monitor} = spawn_monitor(?MODULE, exit_prepared, [Prepare]),
    Data#data{pending = Pending#{Monitor => Entry}};
prepare(_Target, Prepare, Entry, #data{pending = Pending} = Data) ->
    Ref = make_ref(),
    self() ! {Ref, {prepared, Prepare()}},
    Data#data{pending = Pending#{Ref => Entry}}.

-spec exit_prepared(fun(() -> term())) -> no_return().
exit_prepared(Prepare) ->
    exit({prepared, Prepare()}).

prepared({ok, Dial}, {prepare_dial, From, Origin}, Data) ->
    submit({connect, Dial}, {dial, From, Origin, none}, Data);
prepared({ok, Dial, Job}, {prepare_dial, From, Origin}, #data{pipes = Pipes} = Data) ->
    {Pipe, NewPipes} = hansom_pipes:open(Job, Pipes),
    submit({connect, Dial#{carrier := hansom_pipe:handle(Pipe)}}, {dial, From, Origin, Pipe},
           Data#data{pipes = NewPipes});
prepared({error, _} = Error, {prepare_dial, From, Origin}, Data) ->
    dialled(Error, From, Origin, Data);
prepared({ok, {rustls, Tls}, ServerName}, {prepare_upgrade, Callers, PoolSsl}, Data) ->
    submit({upgrade, Tls, ServerName}, {upgrade, Callers, PoolSsl, none}, Data);
prepared({ok, {erlang, Why, SslOptions}, _}, {prepare_upgrade, Callers, PoolSsl},
         #data{pipes = Pipes} = Data) ->
    case {engine_state(), hansom_pipes:is_used(Pipes)} of
        {connected, false} ->
            {Pipe, NewPipes} = hansom_pipes:open(hansom_pipe:secure(SslOptions), Pipes),
            submit({upgrade, hansom_pipe:handle(Pipe)}, {upgrade, Callers, PoolSsl, Pipe},
                   Data#data{pipes = NewPipes});
        {connected, true} ->
            %% The socket is another module's.
            {keep_state, Data, reply_all(Callers, {error, {options, {unsupported, Why}}})};
        _ ->
            {keep_state, Data, reply_all(Callers, {error, invalid_state})}
    end;
prepared({error, _} = Error, {prepare_upgrade, Callers, _PoolSsl}, Data) ->
    {keep_state, Data, reply_all(Callers, Error)};
prepared(Answer, {asked, From}, Data) ->
    {keep_state, Data, [{reply, From, Answer}]};
prepared({ok, _}, {checked, Question, From}, Data) ->
    probe(Question, From, Data);
prepared({error, _}, {checked, ready, From}, Data) ->
    relayed(hansom_relay:close_and_reply(From, {ok, closed}), Data);
prepared({error, _} = Error, {checked, verify, From}, Data) ->
    relayed(hansom_relay:close_and_reply(From, Error), Data).

%% From the call of connect to its answer.
is_dialling(#data{pending = Pending}) ->
    lists:any(fun({prepare_dial, _, _}) -> true;
                 ({dial, _, _, _}) -> true;
                 (_) -> false
              end, maps:values(Pending)).

%% Who asks for an upgrade while one is under way gets the same answer.
join_upgrade(From, #data{pending = Pending} = Data) ->
    case [{Ref, Entry} || {Ref, Entry} <- maps:to_list(Pending), is_tuple(Entry),
                          element(1, Entry) =:= prepare_upgrade orelse element(1, Entry) =:= upgrade] of
        [{Ref, Entry}] ->
            Joined = setelement(2, Entry, [From | element(2, Entry)]),
            {joined, Data#data{pending = Pending#{Ref := Joined}}};
        [] ->
            none
    end.

%% Questions to the transport

%% Whether the socket of a `connected' connection is sound: of a transport of others it is as
%% long as it can tell the peer's address.
check(Question, From, #data{pipes = Pipes, pending = Pending} = Data) ->
    case hansom_pipes:is_open(Pipes) andalso engine_state() of
        connected ->
            Monitor = hansom_pipes:ask(peername, Pipes),
            {keep_state, Data#data{pending = Pending#{Monitor => {checked, Question, From}}}};
        _ ->
            probe(Question, From, Data)
    end.

probe(ready, From, Data) -> submit({probe, true}, {ready, From}, Data);
probe(verify, From, Data) -> submit({probe, false}, {verify, From}, Data).

ask_transport(From, close, #data{pipes = Pipes} = Data) ->
    case hansom_pipes:await_closed(From, Pipes) of
        {closed, NewPipes} -> {keep_state, Data#data{pipes = NewPipes}, [{reply, From, ok}]};
        {waiting, NewPipes} -> {keep_state, Data#data{pipes = NewPipes}}
    end;
ask_transport(From, Operation, #data{pipes = Pipes, pending = Pending} = Data) ->
    case hansom_pipes:is_open(Pipes) of
        true ->
            Monitor = hansom_pipes:ask(Operation, Pipes),
            {keep_state, Data#data{pending = Pending#{Monitor => {asked, From}}}};
        false ->
            {keep_state, Data, [{reply, From, {error, not_connected}}]}
    end.

%% Ownership

own(Owner, #data{owner = Owner} = Data) ->
    Data;
own(Owner, #data{owner_monitor = Monitor} = Data) ->
    demonitor(Monitor, [flush]),
    Data#data{owner = Owner, owner_monitor = monitor(process, Owner)}.

own_by_pool(#data{pool = undefined} = Data) -> Data;
own_by_pool(#data{pool = Pool} = Data) -> own(Pool, Data).

%% An idle connection that changes hands starts to be idle anew.
taken(connected, #data{owner = Owner, pool = Owner} = Data) ->
    Data;
taken(connected, #data{pending = Pending} = Data) ->
    {pending, Ref, Entry} = hansom_relay:operation({probe, true}, forget),
    Data#data{pending = Pending#{Ref => Entry}};
taken(_State, Data) ->
    Data.

%% Processes of other nodes

watch(Pid, #data{watched = Watched} = Data)
  when node(Pid) =:= node(); is_map_key(Pid, Watched) ->
    Data;
watch(Pid, #data{watched = Watched} = Data) ->
    Data#data{watched = Watched#{Pid => monitor(process, Pid)}}.

%% The engine need not work for a caller that is dead.
forget_caller(Caller, #data{pending = Pending} = Data) ->
    {Dead, Alive} = maps:fold(fun(Ref, Entry, {Of, Others}) ->
                                      case hansom_relay:is_of(Caller, Entry) of
                                          true -> {[Ref | Of], Others};
                                          false -> {Of, Others#{Ref => Entry}}
                                      end
                              end, {[], #{}}, Pending),
    _ = [hansom_nif:cancel(self(), make_ref(), Ref) || Ref <- Dead],
    Data#data{pending = Alive}.

%% Results

submit(Operation, Entry, #data{pending = Pending} = Data) ->
    {pending, Ref, Entry} = hansom_relay:operation(Operation, Entry),
    {keep_state, Data#data{pending = Pending#{Ref => Entry}}}.

relayed({pending, Ref, Entry}, #data{pending = Pending} = Data) ->
    {keep_state, Data#data{pending = Pending#{Ref => Entry}}};
relayed({reply, From, Answer}, Data) ->
    {keep_state, Data, [{reply, From, Answer}]};
relayed({transport, From, Operation}, Data) ->
    ask_transport(From, Operation, Data);
relayed(none, Data) ->
    {keep_state, Data}.

%% In `finished' the last answer is the end.
after_answer(finished, {keep_state, #data{pending = Pending} = Data})
  when map_size(Pending) =:= 0 ->
    {stop, normal, Data};
after_answer(finished, {keep_state, #data{pending = Pending} = Data, Replies})
  when map_size(Pending) =:= 0 ->
    {stop_and_reply, normal, Replies, Data};
after_answer(_State, Result) ->
    Result.

invalid_state(From) ->
    {keep_state_and_data, [{reply, From, {error, invalid_state}}]}.

reply_all(Callers, Answer) -> [{reply, From, Answer} || From <- Callers].

%% The engine's word; `closed' when it has been stopped under this process.
engine_state() ->
    case hansom_nif:state(self()) of
        noproc -> closed;
        State -> State
    end.

protocol() ->
    case hansom_nif:protocol(self()) of
        noproc -> http1;
        Protocol -> Protocol
    end.
