%% @doc What the TLS suites share: the bundled origin with its certificates, TLS servers of
%% Erlang's own `ssl', and connections to both.
-module(hansom_tls_case).

-export([init_suite/1, end_suite/1, port/1, der/2, key/2, trust/1]).
-export([with_origin/3, server/1, server/2, session/1, answer/1]).
-export([options/2, start/2, open/2, connect/2, dial/1, alert/2, text/2, seen/1, seen/2]).
-export([in_node/3]).

-define(CONN, (hansom_case:conn())).

-import(hansom_server_case, [roots/1, file/2]).

%% The bundled origin

init_suite(Config) -> hansom_server_case:init_suite(origin, fun hansom_servers:origin/0, Config).
end_suite(Config) -> hansom_server_case:end_suite(Config).

%% @doc The TLS port of the suite's origin.
port(Config) -> hansom_server_case:port(https, Config).

%% @doc The options that make the origin trusted.
trust(Config) -> [{cacerts, roots(Config)}].

%% @doc The certificates in a PEM file of the origin.
der(Name, Config) ->
    [Der || {'Certificate', Der, not_encrypted} <- entries(Name, Config)].

%% @doc The key in a PEM file of the origin, as a value of the option `key'.
key(Name, Config) ->
    [{Type, Der, not_encrypted}] = entries(Name, Config),
    {Type, Der}.

entries(Name, Config) ->
    {ok, Text} = file:read_file(file(Name, Config)),
    public_key:pem_decode(Text).

%% @doc Runs `Fun' with the port of another origin, started with these options.
with_origin(Options, Config, Fun) ->
    #{ports := #{https := Port}} = Server = hansom_servers:origin(hansom_server_case:server(Config), Options),
    try Fun(Port)
    after ok = hansom_servers:stop(Server)
    end.

%% Servers of Erlang's ssl

%% @doc A server for one connection, on which it answers one request.
server(Options) -> server(Options, fun answer/1).

%% @doc A server for one connection: `Session' gets its socket. `session/1' tells what it gave.
server(Options, Session) ->
    Server = hansom_case:process(),
    {Listen, Port} = hansom_case:run_in(
                       Server,
                       fun() ->
                               {ok, Listen} = ssl:listen(0, [{ip, {127, 0, 0, 1}}, binary, {active, false},
                                                             {log_level, none}, {reuseaddr, true} | Options]),
                               {ok, {_, Port}} = ssl:sockname(Listen),
                               {Listen, Port}
                       end),
    ok = hansom_case:start_in(Server, fun() -> put(session, serve_one(Listen, Session)) end),
    {Port, Server}.

%% @doc What the session gave, `{error, Reason}' of a handshake that failed, or `{exception, Reason}'.
session(Server) ->
    hansom_case:run_in(Server, fun() -> get(session) end).

serve_one(Listen, Session) ->
    try
        {ok, Socket} = ssl:transport_accept(Listen, hansom_case:deadline()),
        case ssl:handshake(Socket, hansom_case:deadline()) of
            {ok, Tls} -> Session(Tls);
            Error -> Error
        end
    catch
        _:Reason -> {exception, Reason}
    end.

%% @doc Reads a request and answers `hello'; then waits for the client's close.
answer(Socket) ->
    {ok, Request} = ssl:recv(Socket, 0, hansom_case:deadline()),
    ok = ssl:send(Socket, hansom_case:response(<<"hello">>)),
    _ = ssl:recv(Socket, 0, hansom_case:deadline()),
    Request.

%% Connections

%% @doc Start options for TLS to `localhost'.
options(Port, SslOptions) ->
    (hansom_case:patient())#{host => "localhost", port => Port, transport => hackney_ssl,
                             connect_options => [{protocols, [http1]}], ssl_options => SslOptions}.

start(Port, SslOptions) ->
    hansom_case:start_with(options(Port, SslOptions)).

%% @doc What `connect' gives to a new connection.
connect(Port, SslOptions) ->
    dial(start(Port, SslOptions)).

%% @doc What `connect' gives. A connection that cannot be made ends.
dial(Pid) ->
    {monitor, Monitor} = Exit = hansom_case:monitor_exit(Pid),
    case ?CONN:connect(Pid) of
        ok ->
            demonitor(Monitor, [flush]),
            ok;
        {error, _} = Error ->
            normal = hansom_case:await(Exit),
            Error
    end.

%% @doc A connection in `connected'.
open(Port, SslOptions) ->
    Pid = start(Port, SslOptions),
    ok = ?CONN:connect(Pid),
    Pid.

%% @doc The name of the alert `connect' fails with.
alert(Port, SslOptions) ->
    {error, {tls_alert, {Alert, Text}}} = connect(Port, SslOptions),
    %% OTP's text is a string.
    true = io_lib:printable_unicode_list(Text),
    Alert.

%% @doc The text that comes with the alert.
text(Port, SslOptions) ->
    {error, {tls_alert, {_, Text}}} = connect(Port, SslOptions),
    Text.

%% @doc What the origin tells about the connection.
seen(Pid) ->
    {200, Body} = hansom_case:exchange(Pid, <<"/connection">>),
    maps:from_list([{binary_to_atom(Name), Value}
                    || Line <- binary:split(Body, <<"\n">>, [global, trim]),
                       [Name, Value] <- [binary:split(Line, <<": ">>)]]).

%% @doc The same of a new connection.
seen(Port, SslOptions) -> seen(open(Port, SslOptions)).

%% @doc Runs a function in a node of its own with these environment variables, for what is read
%% from the environment as the operating system has it.
in_node(Environment, Fun, Arguments) ->
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, env => Environment,
                                      args => ["-pa" | code:get_path()]}),
    try
        {ok, _} = peer:call(Peer, application, ensure_all_started, [hansom_case:application()]),
        peer:call(Peer, erlang, apply, [Fun, Arguments], 2 * hansom_case:deadline())
    after
        ok = peer:stop(Peer)
    end.
