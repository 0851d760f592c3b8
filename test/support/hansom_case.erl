%% @doc What every case of the contract suites starts with and must leave behind.
%%
%% The suites test `hansom_conn'. Its contract is the interface of `hackney_conn', so
%% they can be run against another module with that interface: name it in the
%% environment variable `HANSOM_TEST_CONN' and put it on the code path. A suite lists
%% in `deviations/0' the cases in which hansom differs from that interface on purpose,
%% or in `deviations/1', given the configuration, if they are not the same in each of its
%% groups; against another module these are skipped. `HANSOM_TEST_DEVIATIONS=1' runs them
%% all the same.
%%
%% A case fails if it leaves a message in its mailbox, or a connection that cannot be
%% stopped. All waiting has a deadline of `deadline/0' milliseconds.
-module(hansom_case).

-export([conn/0, is_hansom/0, application/0, deadline/0]).
-export([cases/1, init_suite/1, end_suite/1, init_case/3, end_case/1]).
-export([serve/1, serve_each/1, serve_on/3, local_path/0, full_listener/0]).
-export([options/2, patient/0, start/2, start_with/1, connect/2, connect_over/2, connected/1, connected/2,
         adopt/1]).
-export([request/1, request/2, exchange/1, exchange/2, state/1, is_state/2, is_gone/1, monitor_exit/1]).
-export([other_node/0, await/1, async/1, result/1, result/2, at_once/2, process/0, run_in/2, start_in/2, kill/1]).
-export([payload/1, payloads/1, pulled/2, body_of/1, no_message/0, flush_to/1]).
-export([wait_for/1, descriptors/0, affordable/1, hold/1]).
-export([response/1, response/2, chunked/1, pieces/1]).

-define(DEADLINE, 20000).
-define(TRACKED, hansom_case_started).

%% @doc The module under test.
-spec conn() -> module().
conn() ->
    list_to_atom(os:getenv("HANSOM_TEST_CONN", "hansom_conn")).

-spec is_hansom() -> boolean().
is_hansom() -> conn() =:= hansom_conn.

%% @doc The application of the module under test: `hansom' for `hansom_conn'.
-spec application() -> atom().
application() ->
    [Name | _] = string:split(atom_to_list(conn()), "_conn"),
    list_to_atom(Name).

-spec deadline() -> pos_integer().
deadline() -> ?DEADLINE.

%% @doc The cases of a suite: its exported functions named after a clause.
-spec cases(module()) -> [atom()].
cases(Suite) ->
    lists:sort([Name || {Name, 1} <- Suite:module_info(exports),
                        re:run(atom_to_list(Name), "^[a-z][a-z0-9]*_[0-9]{2}_") =/= nomatch]).

init_suite(Config) ->
    {ok, _} = application:ensure_all_started(application()),
    Config.

end_suite(Config) ->
    Config.

%% @doc Skips what the module under test does not promise.
init_case(Suite, Case, Config) ->
    Forced = os:getenv("HANSOM_TEST_DEVIATIONS") =/= false,
    case lists:keyfind(Case, 1, deviations(Suite, Config)) of
        {Case, Reason} when not Forced ->
            case is_hansom() of
                true -> begin_case(Config);
                false -> {skip, Reason}
            end;
        _ ->
            begin_case(Config)
    end.

deviations(Suite, Config) ->
    case [erlang:function_exported(Suite, deviations, Arity) || Arity <- [0, 1]] of
        [true, _] -> Suite:deviations();
        [_, true] -> Suite:deviations(Config);
        _ -> []
    end.

begin_case(Config) ->
    put(?TRACKED, []),
    flush_to([]),
    Config.

%% @doc Stops what the case started; fails if a message is left over.
end_case(Config) ->
    Left = flush_to([]),
    lists:foreach(fun stop_tracked/1, get(?TRACKED)),
    case {proplists:get_value(tc_status, Config), Left ++ flush_to([])} of
        {_, []} -> ok;
        {ok, Messages} -> {fail, {stray_messages, Messages}};
        {_, _} -> ok
    end.

stop_tracked({conn, Pid}) ->
    unlink(Pid),
    ok = (conn()):stop(Pid);
stop_tracked({file, Path}) ->
    _ = file:delete(Path);
stop_tracked({peer, Pid}) ->
    peer:stop(Pid);
stop_tracked({server, Pid}) ->
    hansom_script:stop(Pid);
stop_tracked({process, Pid}) ->
    kill(Pid).

track(Kind, Thing) ->
    put(?TRACKED, [{Kind, Thing} | get(?TRACKED)]),
    Thing.

%% Servers

%% @doc As `hansom_script:serve/1'; stopped at the end of the case.
serve(Steps) -> track(server, hansom_script:serve(Steps)).

serve_each(Scripts) -> track(server, hansom_script:serve_each(Scripts)).

%% @doc As `hansom_script:serve_on/3'.
serve_on(Address, Port, Steps) ->
    case hansom_script:serve_on(Address, Port, [Steps]) of
        {ok, Server} -> {ok, track(server, Server)};
        Error -> Error
    end.

%% @doc An address at which a dial gets no answer: a listening socket whose backlog is
%% full. The fun at the end gives everything back.
full_listener() ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {backlog, 0}]),
    {ok, Port} = inet:port(Listen),
    Fillers = fill(Port, []),
    {"127.0.0.1", Port, fun() -> [gen_tcp:close(Socket) || Socket <- [Listen | Fillers]], ok end}.

fill(Port, Fillers) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, [], 50) of
        {ok, Socket} -> fill(Port, [Socket | Fillers]);
        {error, timeout} -> Fillers
    end.

%% @doc A path for a local socket, short enough for the 108 bytes it may have.
local_path() ->
    Path = filename:join("/tmp", "hansom-" ++ os:getpid() ++ "-"
                         ++ integer_to_list(erlang:unique_integer([positive]))),
    track(file, Path).

%% Connections

%% @doc Start options for a connection to the server, overridden by `Options'.
options(Server, Options) ->
    maps:merge((patient())#{host => "127.0.0.1", port => hansom_script:port(Server)}, Options).

%% @doc Start options of a connection that waits longer than by default: a machine may stand still for seconds.
patient() -> #{connect_timeout => 30000, recv_timeout => 30000}.

%% @doc A connection in `idle', linked to the case and stopped at its end.
start(Server, Options) ->
    start_with(options(Server, Options)).

start_with(Options) ->
    {ok, Pid} = (conn()):start_link(Options),
    track(conn, Pid).

%% @doc A connection in `connected'.
connect(Server, Options) ->
    Pid = start(Server, Options),
    ok = (conn()):connect(Pid),
    Pid.

%% @doc The same, from start options, and one that speaks this protocol.
connect_over(Protocol, Options) ->
    Pid = start_with(Options),
    ok = (conn()):connect(Pid),
    Protocol = (conn()):get_protocol(Pid),
    Pid.

connected(Server) -> connected(Server, #{}).

%% @doc A connection in `connected' and the server's side of it.
connected(Server, Options) ->
    Pid = connect(Server, Options),
    {Pid, hansom_script:accept(Server)}.

%% @doc Stops `Pid' too at the end of the case.
adopt(Pid) -> track(conn, Pid).

%% @doc A GET request; leaves the connection in `receiving'.
request(Pid) -> request(Pid, <<"/">>).

request(Pid, Path) -> (conn()):request(Pid, <<"GET">>, Path, [], <<>>).

%% @doc A GET exchange: `{Status, Body}' or what failed.
exchange(Pid) -> exchange(Pid, <<"/">>).

exchange(Pid, Path) ->
    case request(Pid, Path) of
        {ok, Status, _} ->
            case (conn()):body(Pid) of
                {ok, Body} -> {Status, Body};
                Error -> Error
            end;
        Error ->
            Error
    end.

%% @doc The state name.
state(Pid) ->
    {ok, State} = (conn()):get_state(Pid),
    State.

%% @doc Waits until `get_state' gives `State'.
is_state(Pid, State) ->
    wait_for(fun() -> {ok, State} =:= (conn()):get_state(Pid) end).

%% @doc Waits for the end of the process and returns its reason.
is_gone(Pid) ->
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason
    after ?DEADLINE -> error({still_alive, Pid})
    end.

%% @doc Monitors now, so that `await/1' later tells the true exit reason.
monitor_exit(Pid) ->
    Monitor = monitor(process, Pid),
    %% The monitor is a signal that may be overtaken by those of others, such as the death of the
    %% owner. This question is answered after it has arrived.
    _ = [process_info(Pid, monitored_by) || node(Pid) =:= node()],
    {monitor, Monitor}.

%% @doc The exit reason for a handle of `monitor_exit/1'.
await({monitor, Monitor}) ->
    receive {'DOWN', Monitor, process, _, Reason} -> Reason
    after ?DEADLINE -> error(no_exit)
    end.

%% Other processes

%% @doc Runs `Fun' in a process of its own; `result/1' waits for what it gives:
%% `{ok, Value}' or `{Class, Reason}' of an exception.
async(Fun) ->
    Parent = self(),
    Ref = make_ref(),
    Pid = spawn(fun() ->
                        Result = try {ok, Fun()} catch Class:Reason -> {Class, Reason} end,
                        Left = flush_to([]),
                        Parent ! {Ref, Result, Left}
                end),
    track(process, Pid),
    {Pid, Ref}.

result(Handle) -> result(Handle, ?DEADLINE).

result({_, Ref}, Deadline) ->
    receive
        {Ref, Result, []} -> Result;
        {Ref, Result, Left} -> error({stray_messages, Left, Result})
    after Deadline -> error(no_result)
    end.

%% @doc Runs functions that each make a call to `Pid', which has all these calls, in this order,
%% before it looks at the first. What they give, as `result/1'.
at_once(Pid, Funs) ->
    ok = sys:suspend(Pid),
    Handles = [begin
                   Before = queue(Pid),
                   Handle = async(Fun),
                   ok = wait_for(fun() -> queue(Pid) > Before end),
                   Handle
               end || Fun <- Funs],
    ok = sys:resume(Pid),
    [result(Handle) || Handle <- Handles].

queue(Pid) ->
    {message_queue_len, Length} = process_info(Pid, message_queue_len),
    Length.

%% @doc A process that runs what `run_in/2' and `start_in/2' tell it, one after the other, and
%% lives until killed.
process() ->
    track(process, spawn(fun process_loop/0)).

process_loop() ->
    receive
        {run_in, From, Ref, Fun} ->
            From ! {Ref, try {ok, Fun()} catch Class:Reason -> {Class, Reason} end},
            process_loop();
        {start_in, Fun} ->
            _ = Fun(),
            process_loop()
    end.

%% @doc As `run_in/2', but does not wait for the end.
start_in(Pid, Fun) ->
    Pid ! {start_in, Fun},
    ok.

run_in(Pid, Fun) ->
    Ref = make_ref(),
    Pid ! {run_in, self(), Ref, Fun},
    receive
        {Ref, {ok, Value}} -> Value;
        {Ref, {Class, Reason}} -> error({Class, Reason})
    after ?DEADLINE -> error(no_result)
    end.

%% @doc A node that can load the module under test; it ends with the case.
-spec other_node() -> {ok, node()} | {error, term()}.
other_node() ->
    case distributed() of
        ok ->
            {ok, Peer, Node} = peer:start(#{name => peer:random_name(), connection => standard_io,
                                            args => ["-pa" | code:get_path()]}),
            track(peer, Peer),
            case net_kernel:connect_node(Node) of
                true -> {ok, Node};
                _ -> {error, {no_connection, Node}}
            end;
        Error ->
            Error
    end.

distributed() ->
    case is_alive() of
        true -> ok;
        false ->
            _ = os:cmd("epmd -daemon"),
            case net_kernel:start([list_to_atom(peer:random_name()), shortnames]) of
                {ok, _} -> ok;
                {error, Reason} -> {error, Reason}
            end
    end.

%% @doc Kills a process and waits for its end.
kill(Pid) ->
    unlink(Pid),
    exit(Pid, kill),
    _ = is_gone(Pid),
    ok.

%% Messages

%% @doc The next async payload of `Ref'.
payload(Ref) ->
    receive {hackney_response, Ref, Payload} -> Payload
    after ?DEADLINE -> error({no_payload, process_info(self(), messages)})
    end.

%% @doc All payloads up to and including the one that ends the exchange.
payloads(Ref) ->
    case payload(Ref) of
        done -> [done];
        {error, _} = Error -> [Error];
        {redirect, _, _} = Redirect -> [Redirect];
        {see_other, _, _} = SeeOther -> [SeeOther];
        Payload -> [Payload | payloads(Ref)]
    end.

%% @doc The pieces of a body in mode `once', each pulled, up to and including `done'.
pulled(Pid, Ref) ->
    ok = (conn()):stream_next(Pid),
    case payload(Ref) of
        done -> [done];
        Piece when is_binary(Piece) -> [Piece | pulled(Pid, Ref)]
    end.

%% @doc The body bytes among the payloads.
body_of(Payloads) ->
    iolist_to_binary([Bin || Bin <- Payloads, is_binary(Bin)]).

%% @doc Fails if a message is there. Call it after something that comes later than
%% any message the connection may still have sent.
no_message() ->
    case process_info(self(), messages) of
        {messages, []} -> ok;
        {messages, Messages} -> error({stray_messages, Messages})
    end.

flush_to(Messages) ->
    receive Message -> flush_to([Message | Messages])
    after 0 -> lists:reverse(Messages)
    end.

%% Waiting and counting

%% @doc Waits until `Fun' gives `true', for conditions nobody announces.
wait_for(Fun) ->
    wait_for(Fun, erlang:monotonic_time(millisecond) + ?DEADLINE).

wait_for(Fun, End) ->
    case Fun() of
        true -> ok;
        Other ->
            case erlang:monotonic_time(millisecond) < End of
                true -> hold(2), wait_for(Fun, End);
                false -> error({condition_not_met, Other})
            end
    end.

%% @doc Lets `Milliseconds' pass without consuming a message: for showing that nothing
%% happens in that time, and as the pace of `wait_for/1'.
hold(Milliseconds) ->
    receive after Milliseconds -> ok end.

%% @doc Sockets this operating system process has open.
descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length([Name || Name <- Names, is_socket("/proc/self/fd/" ++ Name)]).

is_socket(Path) ->
    case file:read_link(Path) of
        {ok, "socket:" ++ _} -> true;
        _ -> false
    end.

%% @doc As many connections as asked for, or fewer where the limit of open files is low:
%% both ends are in this process.
affordable(Count) ->
    {ok, File} = file:open("/proc/self/limits", [read, binary]),
    Limits = read_lines(File),
    ok = file:close(File),
    {match, [Limit]} = re:run(Limits, "Max open files +([0-9]+)", [{capture, all_but_first, list}]),
    min(Count, (list_to_integer(Limit) - 200) div 3).

read_lines(File) ->
    case file:read_line(File) of
        {ok, Line} -> [Line | read_lines(File)];
        eof -> []
    end.

%% Responses

%% @doc A 200 response with `Body' and its Content-Length.
response(Body) -> response([], Body).

response(Headers, Body) ->
    iolist_to_binary(["HTTP/1.1 200 OK\r\n", [[Header, "\r\n"] || Header <- Headers],
                      "Content-Length: ", integer_to_binary(iolist_size(Body)), "\r\n\r\n", Body]).

%% @doc A 200 response with `Chunks' in chunked coding.
chunked(Chunks) ->
    iolist_to_binary(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                      [[integer_to_binary(iolist_size(Chunk), 16), "\r\n", Chunk, "\r\n"]
                       || Chunk <- Chunks],
                      "0\r\n\r\n"]).

%% @doc What `stream_body/1' gives until it does not give a piece.
pieces(Pid) ->
    case (conn()):stream_body(Pid) of
        {ok, Piece} -> [Piece | pieces(Pid)];
        End -> [End]
    end.
