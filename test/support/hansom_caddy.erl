%% @doc Caddy, as a file server and as a reverse proxy before the bundled origin.
-module(hansom_caddy).

-export([start/0, reload/1]).

%% @doc Starts both. Caddy's ports: `https' (HTTP/1.1, HTTP/2 and, on the same port of UDP, HTTP/3) and `http' (HTTP/1.1
%% and HTTP/2 without TLS). It serves the folder `www' of `dir', and the origin below `/origin/'.
-spec start() -> hansom_servers:server().
start() ->
    {ok, Program} = hansom_servers:find(caddy),
    #{ports := #{http := Origin}} = Upstream = hansom_servers:origin(),
    Dir = hansom_servers:identity_dir("caddy"),
    ok = filelib:ensure_path(filename:join(Dir, "www")),
    %% What it would keep elsewhere.
    Environment = [{"XDG_DATA_HOME", Dir}, {"XDG_CONFIG_HOME", Dir}],
    Server = hansom_servers:listening(
               Dir, [http, https],
               fun(Ports) ->
                       ok = file:write_file(config_file(Dir), config(Dir, Ports, Origin)),
                       Command = hansom_program:guarded(Program, ["run" | config_arguments(Dir)]),
                       hansom_program:start(Command, [], Environment)
               end),
    Server#{upstream => Upstream}.

%% @doc Makes Caddy load its configuration again. The servers of the old one end when they have answered what they were
%% asked.
-spec reload(hansom_servers:server()) -> ok.
reload(#{dir := Dir}) ->
    {ok, Program} = hansom_servers:find(caddy),
    Arguments = ["reload", "--force", "--address", "unix/" ++ admin_socket(Dir) | config_arguments(Dir)],
    Port = open_port({spawn_executable, Program}, [{args, Arguments}, exit_status, stderr_to_stdout, hide]),
    reloaded(Port, []).

reloaded(Port, Output) ->
    receive
        {Port, {data, Text}} -> reloaded(Port, [Output, Text]);
        {Port, {exit_status, 0}} -> ok;
        {Port, {exit_status, Status}} -> error({caddy, Status, lists:flatten(Output)})
    after 15000 -> error(no_reload)
    end.

config_file(Dir) -> filename:join(Dir, "Caddyfile").

config_arguments(Dir) -> ["--adapter", "caddyfile", "--config", config_file(Dir)].

admin_socket(Dir) -> filename:join(Dir, "admin.sock").

config(Dir, Ports, Origin) ->
    Port = fun(Name) -> integer_to_list(maps:get(Name, Ports)) end,
    ["{\n  admin unix/", admin_socket(Dir), "\n  auto_https off\n  grace_period 20s\n  log {\n    level ERROR\n  }\n"
     "  servers {\n    protocols h1 h2 h2c h3\n  }\n}\n"
     "(site) {\n  bind 127.0.0.1\n  root * ", Dir, "/www\n  redir /moved /hello.txt\n"
     "  handle_path /origin/* {\n    reverse_proxy 127.0.0.1:", integer_to_list(Origin), " {\n"
     "      flush_interval -1\n    }\n  }\n  file_server\n}\n"
     "http://127.0.0.1:", Port(http), " {\n  import site\n}\n"
     "https://127.0.0.1:", Port(https), ", https://localhost:", Port(https), " {\n"
     "  tls ", Dir, "/server.pem ", Dir, "/server-key.pem\n  import site\n}\n"].
