%% @doc HAProxy before the bundled origin, which it asks over HTTP/2.
-module(hansom_haproxy).

-export([start/0, reload/1]).

%% @doc Starts both. HAProxy's ports:
%% <ul>
%% <li>`https': HTTP/2 and HTTP/1.1, ten streams at a time</li>
%% <li>`h2c': HTTP/2 without TLS</li>
%% <li>`expiring': HTTP/2; closes a connection that is idle for 300 ms</li>
%% </ul>
%% `/deny' is answered with 403 by HAProxy itself, and `/reject' not at all.
-spec start() -> hansom_servers:server().
start() ->
    {ok, Program} = hansom_servers:find(haproxy),
    #{ports := #{http := Origin}} = Upstream = hansom_servers:origin(),
    Dir = hansom_servers:identity_dir("haproxy"),
    {ok, Certificate} = file:read_file(filename:join(Dir, "server.pem")),
    {ok, Key} = file:read_file(filename:join(Dir, "server-key.pem")),
    ok = file:write_file(filename:join(Dir, "both.pem"), [Certificate, Key]),
    Config = filename:join(Dir, "haproxy.cfg"),
    Server = hansom_servers:listening(
               Dir, [https, h2c, expiring],
               fun(Ports) ->
                       ok = file:write_file(Config, config(Dir, Ports, Origin)),
                       Args = ["-W", "-S", master_socket(Dir), "-f", Config],
                       hansom_program:start(hansom_program:guarded(Program, Args), [])
               end),
    Server#{upstream => Upstream}.

%% @doc Makes HAProxy load its configuration again: a new worker takes over, and the old one says goodbye to its clients.
-spec reload(hansom_servers:server()) -> ok.
reload(#{dir := Dir}) ->
    {ok, Socket} = gen_tcp:connect({local, master_socket(Dir)}, 0, [local, binary, {active, false}]),
    ok = gen_tcp:send(Socket, "reload\n"),
    %% It hangs up as it begins anew.
    _ = gen_tcp:recv(Socket, 0, 15000),
    gen_tcp:close(Socket).

master_socket(Dir) -> filename:join(Dir, "master.sock").

config(Dir, Ports, Origin) ->
    Port = fun(Name) -> integer_to_list(maps:get(Name, Ports)) end,
    Bind = fun(Name, More) -> ["  bind 127.0.0.1:", Port(Name), More, "\n"] end,
    Tls = [" ssl crt ", Dir, "/both.pem alpn h2,http/1.1"],
    ["global\n  maxconn 1000\n  nbthread 1\n  hard-stop-after 20s\n  tune.h2.max-concurrent-streams 10\n"
     %% A head has to fit into it.
     "  tune.bufsize 65536\n"
     "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
     "  default_backend origin\n"
     "frontend lasting\n", Bind(https, Tls), Bind(h2c, " proto h2"),
     "  http-request deny if { path /deny }\n  http-request reject if { path /reject }\n"
     "frontend expiring\n", Bind(expiring, Tls), "  timeout http-keep-alive 300ms\n"
     "backend origin\n  server origin 127.0.0.1:", integer_to_list(Origin), " proto h2\n"].
