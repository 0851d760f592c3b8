%% @doc What the suites share that test against a real server: it is started with the suite and stopped with it.
-module(hansom_server_case).

-export([init_suite/3, end_suite/1]).
-export([server/1, port/2, roots/1, file/2, publish/2, options/3]).

%% @doc Starts what the cases need. They are skipped where the server's program is not installed.
-spec init_suite(atom(), fun(() -> hansom_servers:server()), Config) -> Config | {skip, string()} when Config :: list().
init_suite(Program, Start, Config) ->
    case hansom_servers:find(Program) of
        missing -> hansom_servers:missing(Program);
        {ok, _} -> [{server, Start()} | hansom_case:init_suite(Config)]
    end.

end_suite(Config) ->
    ok = hansom_servers:stop(server(Config)),
    hansom_case:end_suite(Config).

%% @doc The suite's server.
server(Config) -> proplists:get_value(server, Config).

%% @doc A port of the server, by its name in `hansom_servers'.
port(Name, Config) ->
    #{ports := #{Name := Port}} = server(Config),
    Port.

%% @doc The authority behind the server's certificates.
roots(Config) ->
    #{cacerts := Roots} = server(Config),
    Roots.

%% @doc Path of a PEM file of the server.
file(Name, Config) ->
    #{dir := Dir} = server(Config),
    filename:join(Dir, Name ++ ".pem").

%% @doc Makes a server that serves the folder `www' serve these files.
publish(Files, #{dir := Dir} = Server) ->
    [ok = file:write_file(filename:join([Dir, "www", Name]), Content) || {Name, Content} <- Files],
    Server.

%% @doc Start options of a client that speaks this protocol to a port of a server. HTTP/2 is what it begins with if
%% nothing else is asked for.
options(Protocol, Name, #{ports := Ports, cacerts := Roots}) ->
    #{host => "127.0.0.1", port => maps:get(Name, Ports), transport => hackney_ssl,
      connect_options => [{protocols, [Protocol]} || Protocol =/= http2],
      ssl_options => [{cacerts, Roots}, {server_name_indication, "localhost"}]}.
