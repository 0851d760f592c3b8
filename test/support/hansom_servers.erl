%% @doc Real servers for suites, demo and benchmarks: nginx, nghttpd, httpbin, gRPC, ngtcp2,
%% aioquic and the bundled origin, each on free ports of 127.0.0.1 and with its files in a folder of its own.
%% How long they live is told in `hansom_program'.
-module(hansom_servers).

-export([nginx/0, nghttpd/1, httpbin/0, httpbin/2, grpc/0, ngtcp2/1, aioquic/0, origin/0, origin/1, origin/2, script/1, script/2,
         stop/1]).
-export([find/1, missing/1, root/0]).
%% For servers that have a module of their own.
-export([identity_dir/1, listening/3]).

-import(hansom_program, [start/2, guarded/2, await_lines/1, await_listening/2, free_ports/1, refuse_tcp/2,
                         temporary_dir/1]).

-define(DEADLINE, 15000).
%% How often a server whose ports somebody else has taken is started.
-define(TRIES, 5).

-type server() :: #{pid := pid(), dir := file:filename(),
                    ports := #{atom() => inet:port_number()},
                    %% The authority of the server's certificate and of the client's.
                    cacerts := [public_key:der_encoded()],
                    %% A client certificate, as options of ssl; also in client.pem and client-key.pem of dir.
                    client := [{cert | key, term()}],
                    %% The server it is a proxy of.
                    upstream => server()}.
-export_type([server/0]).

%% @doc Starts nginx. Its ports:
%% <ul>
%% <li>`http', `https': TLS 1.2 and 1.3, connections stay open for as long as asked</li>
%% <li>`http2': TLS with HTTP/2, in whichever version of HTTP the client prefers</li>
%% <li>`tls12', `tls13': this version alone</li>
%% <li>`mutual': only with a client certificate</li>
%% <li>`expiring': closes a connection that is idle for 300 ms</li>
%% <li>`last': closes a connection after its second response</li>
%% </ul>
%% All serve the folder `www' of the server's `dir'; below `/dav/' files can be PUT,
%% `/proxied/' goes through a proxy that turns bodies into chunks, `/gzip/' compresses
%% on the fly, `/ssi/' is assembled on the fly.
-spec nginx() -> server().
nginx() ->
    {ok, Program} = find(nginx),
    Dir = identity_dir("nginx"),
    ok = filelib:ensure_path(filename:join(Dir, "www/dav")),
    Config = filename:join(Dir, "nginx.conf"),
    Args = ["-p", Dir, "-c", Config, "-e", "stderr", "-g", "daemon off;"],
    listening(Dir, [http, https, http2, tls12, tls13, mutual, expiring, last],
              fun(Ports) ->
                      ok = file:write_file(Config, nginx_config(Dir, Ports)),
                      start(guarded(Program, Args), [])
              end).

nginx_config(Dir, Ports) ->
    Port = fun(Name) -> integer_to_list(maps:get(Name, Ports)) end,
    %% Started by root, the workers would run as a user that may not read the folder.
    User = case os:cmd("id -u") of
               "0" ++ _ -> "user root;\n";
               _ -> ""
           end,
    Temporary = [["  ", Name, "_temp_path ", Dir, "/", Name, ";\n"]
                 || Name <- ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]],
    Tls = fun(Name, More) ->
                  ["  server {\n    listen 127.0.0.1:", Port(Name), " ssl;\n", More, "    include ", Dir,
                   "/locations;\n  }\n"]
          end,
    Plain = fun(Name, More) ->
                    ["  server {\n    listen 127.0.0.1:", Port(Name), ";\n", More, "    include ", Dir,
                     "/locations;\n  }\n"]
            end,
    ok = file:write_file(filename:join(Dir, "locations"), nginx_locations(Dir, Port(http))),
    [User,
     "worker_processes 1;\nworker_rlimit_nofile 20000;\npid ", Dir, "/nginx.pid;\n"
     "events { worker_connections 16384; }\n"
     "http {\n"
     "  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  root ", Dir, "/www;\n"
     "  types { text/html html; text/plain txt; }\n  default_type application/octet-stream;\n"
     %% A header whose value is empty is not sent.
     "  add_header Tls-Version $ssl_protocol;\n  add_header Client-Subject $ssl_client_s_dn;\n"
     "  add_header Connection-Requests $connection_requests;\n"
     "  keepalive_requests 1000000000;\n  client_max_body_size 0;\n", Temporary,
     "  ssl_certificate ", Dir, "/server.pem;\n  ssl_certificate_key ", Dir, "/server-key.pem;\n"
     "  ssl_protocols TLSv1.2 TLSv1.3;\n",
     Plain(http, ""),
     Tls(https, ""),
     ["  server {\n    listen 127.0.0.1:", Port(http2), " ssl http2;\n    include ", Dir, "/locations;\n  }\n"],
     Tls(tls12, "    ssl_protocols TLSv1.2;\n"),
     Tls(tls13, "    ssl_protocols TLSv1.3;\n"),
     Tls(mutual, ["    ssl_client_certificate ", Dir, "/ca.pem;\n    ssl_verify_client on;\n"]),
     Plain(expiring, "    keepalive_timeout 300ms;\n"),
     Plain(last, "    keepalive_requests 2;\n"),
     "}\n"].

nginx_locations(Dir, HttpPort) ->
    ["location /dav/ { dav_methods PUT DELETE; create_full_put_path on; }\n"
     "location /proxied/ { proxy_pass http://127.0.0.1:", HttpPort, "/ssi/; proxy_http_version 1.1; "
     "proxy_buffering off; }\n"
     "location /gzip/ { alias ", Dir, "/www/; gzip on; gzip_min_length 0; gzip_types *; }\n"
     "location /ssi/ { alias ", Dir, "/www/; ssi on; ssi_types *; }\n"
     "location /status/204 { return 204; }\n"
     "location /moved { return 302 /hello.txt; }\n"].

%% @doc Starts nghttpd, which speaks HTTP/2 only, with these options more. Its port `https' serves the folder `www' of
%% the server's `dir'.
-spec nghttpd([string()]) -> server().
nghttpd(Options) ->
    {ok, Program} = find(nghttpd),
    Dir = identity_dir("nghttpd"),
    Docs = filename:join(Dir, "www"),
    ok = filelib:ensure_path(Docs),
    Identity = [filename:join(Dir, Name) || Name <- ["server-key.pem", "server.pem"]],
    listening(Dir, [https],
              fun(#{https := Port}) ->
                      Place = ["-a", "127.0.0.1", "-d", Docs],
                      start(guarded(Program, Place ++ Options ++ [integer_to_list(Port) | Identity]), [])
              end).

%% @doc Starts httpbin from the virtual environment that `make setup' makes.
-spec httpbin() -> #{pid := pid(), ports := #{http := inet:port_number()}}.
httpbin() ->
    gunicorn(["--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "30"]).

%% @doc Starts httpbin as hackney's suites expect it: on a fixed port and a Unix socket, one request for each
%% connection.
-spec httpbin(inet:port_number(), file:filename()) ->
    #{pid := pid(), ports := #{http := inet:port_number()}}.
httpbin(Port, Socket) ->
    gunicorn(["--bind", "127.0.0.1:" ++ integer_to_list(Port), "--bind", "unix:" ++ Socket]).

gunicorn(Args) ->
    {ok, Python} = find(python),
    Pid = start(guarded(Python, ["-m", "gunicorn"] ++ Args ++ ["httpbin:app"]),
                ["Listening at: http://127.0.0.1:([0-9]+)"]),
    [Port] = await_lines(Pid),
    #{pid => Pid, ports => #{http => list_to_integer(Port)}}.

%% @doc Starts the gRPC server of `grpc_server.py'. Its ports: `tls', `plain'.
-spec grpc() -> server().
grpc() ->
    {ok, Python} = find(python),
    Dir = identity_dir("grpc"),
    Script = filename:join(root(), "test/support/grpc_server.py"),
    Pid = start(guarded(Python, ["-u", Script, Dir]), ["^plain ([0-9]+)$", "^tls ([0-9]+)$", "^(ready)$"]),
    [Plain, Tls, "ready"] = await_lines(Pid),
    described(Pid, Dir, #{plain => list_to_integer(Plain), tls => list_to_integer(Tls)}).

%% @doc Starts ngtcp2's server with these options more. Its port `http3' serves the folder `www' of the server's `dir',
%% and as many bytes as a path of digits says.
-spec ngtcp2([string()]) -> server().
ngtcp2(Options) ->
    {ok, Program} = find(ngtcp2),
    Dir = identity_dir("ngtcp2"),
    Docs = filename:join(Dir, "www"),
    ok = filelib:ensure_path(Docs),
    %% A datagram that comes too early comes again, so it need not be listening yet.
    {ok, Socket} = gen_udp:open(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_udp:close(Socket),
    Place = ["127.0.0.1", integer_to_list(Port), filename:join(Dir, "server-key.pem"), filename:join(Dir, "server.pem")],
    Pid = start(guarded(Program, ["-q", "-d", Docs] ++ Options ++ Place), ["^(Using document root)"]),
    [_] = await_lines(Pid),
    described(Pid, Dir, #{http3 => Port}).

%% @doc Starts the server of `aioquic_server.py', which says what it has. Its port: `http3'.
-spec aioquic() -> server().
aioquic() ->
    {ok, Python} = find(python),
    Dir = identity_dir("aioquic"),
    Script = filename:join(root(), "test/support/aioquic_server.py"),
    Pid = start(guarded(Python, ["-u", Script, Dir]), ["^http3 ([0-9]+)$", "^(ready)$"]),
    [Port, "ready"] = await_lines(Pid),
    described(Pid, Dir, #{http3 => list_to_integer(Port)}).

%% @doc Starts the bundled origin. Its ports: `http', `https', `http3'.
-spec origin() -> server().
origin() -> origin([]).

%% @doc The same with more options of its `serve' command: native/hansom_origin/README.md.
-spec origin([string()]) -> server().
origin(Options) ->
    {ok, Program} = find(origin),
    Dir = identity_dir("origin"),
    Names = [http, https, http3],
    Listen = lists:append([["--" ++ atom_to_list(Name), "127.0.0.1:0"] || Name <- Names]),
    %% It watches its standard input itself.
    #{pid := Pid, ports := Ports} =
        serving({Program, ["serve", "--certs", Dir | Listen ++ Options]}, Names, ?TRIES),
    described(Pid, Dir, Ports).

%% @doc Starts the bundled origin on the certificates of another server and with more options of its `serve' command:
%% with TLS alone, unless these say where to listen.
-spec origin(server(), [string()]) -> #{pid := pid(), ports := #{https | http3 => inet:port_number()}}.
origin(#{dir := Dir}, Options) ->
    {ok, Program} = find(origin),
    Given = [Name || Name <- [https, http3], lists:member("--" ++ atom_to_list(Name), Options)],
    {Names, Listen} = case Given of
                          [] -> {[https], ["--https", "127.0.0.1:0"]};
                          _ -> {Given, []}
                      end,
    serving({Program, ["serve" | Listen] ++ ["--certs", Dir | Options]}, Names, ?TRIES).

%% Nothing may listen on the TCP port of HTTP/3, where a client falls back, but what the origin itself has there.
serving(Command, Names, Tries) ->
    Pid = start(Command, announced(Names)),
    Ports = announced_ports(Names, Pid),
    case Ports of
        #{http3 := Port, https := Port} -> #{pid => Pid, ports => Ports};
        #{http3 := Port} ->
            case refuse_tcp(Port, Pid) of
                ok -> #{pid => Pid, ports => Ports};
                {error, eaddrinuse} when Tries > 1 ->
                    ok = hansom_program:stop(Pid),
                    serving(Command, Names, Tries - 1)
            end;
        #{} -> #{pid => Pid, ports => Ports}
    end.

announced(Names) -> ["^" ++ atom_to_list(Name) ++ " .*:([0-9]+)$" || Name <- Names] ++ ["^(ready)$"].

announced_ports(Names, Pid) ->
    Lines = await_lines(Pid),
    "ready" = lists:last(Lines),
    maps:from_list(lists:zip(Names, [list_to_integer(Port) || Port <- lists:droplast(Lines)])).

%% @doc Plays sections of steps to connections in turn; see native/hansom_origin/README.md. Plain TCP.
-spec script(iodata()) -> #{pid := pid(), dir := file:filename(), ports := #{http := inet:port_number()}}.
script(Text) ->
    play(Text, []).

%% @doc The same over TLS, with the certificates of another server.
-spec script(iodata(), server()) ->
          #{pid := pid(), dir := file:filename(), ports := #{http := inet:port_number()}}.
script(Text, #{dir := Dir}) ->
    play(Text, ["--tls", "--certs", Dir]).

play(Text, Options) ->
    {ok, Program} = find(origin),
    Dir = temporary_dir("script"),
    File = filename:join(Dir, "script"),
    ok = file:write_file(File, Text),
    Pid = start({Program, ["script", File | Options]}, ["^listening .*:([0-9]+)$", "^(ready)$"]),
    [Port, "ready"] = await_lines(Pid),
    #{pid => Pid, dir => Dir, ports => #{http => list_to_integer(Port)}}.

%% @doc A new folder with the certificates of the bundled origin.
-spec identity_dir(Server :: string()) -> file:filename().
identity_dir(Server) ->
    Dir = temporary_dir(Server),
    ok = certificates(Dir),
    Dir.

%% @doc Starts a server that has to be told its ports. They were free, but somebody else may take one before it does:
%% then it is started again with others.
-spec listening(file:filename(), [atom()], fun((#{atom() => inet:port_number()}) -> pid())) -> server().
listening(Dir, Names, Start) -> listening(Dir, Names, Start, ?TRIES).

listening(Dir, Names, Start, Tries) ->
    Ports = maps:from_list(lists:zip(Names, free_ports(length(Names)))),
    Pid = Start(Ports),
    case await_listening(Pid, maps:values(Ports)) of
        ok ->
            described(Pid, Dir, Ports);
        {error, Reason} ->
            ok = hansom_program:stop(Pid),
            Tries > 1 orelse error({server, Dir, Reason}),
            listening(Dir, Names, Start, Tries - 1)
    end.

%% @doc Tells a server to end and removes its files; and that it is a proxy of, if any.
-spec stop(#{pid := pid(), _ => _}) -> ok.
stop(#{pid := Pid} = Server) ->
    ok = hansom_program:stop(Pid),
    case Server of
        #{dir := Dir} -> ok = file:del_dir_r(Dir);
        #{} -> ok
    end,
    case Server of
        #{upstream := Upstream} -> stop(Upstream);
        #{} -> ok
    end.

%% @doc Where a server's program is.
-spec find(nginx | nghttpd | caddy | haproxy | ngtcp2 | python | origin) -> {ok, file:filename()} | missing.
find(nginx) ->
    first_file([os:find_executable("nginx"), "/usr/sbin/nginx", "/usr/local/sbin/nginx"]);
find(nghttpd) ->
    first_file([os:find_executable("nghttpd"), "/usr/sbin/nghttpd"]);
find(caddy) ->
    first_file([os:find_executable("caddy"), "/usr/bin/caddy"]);
find(haproxy) ->
    first_file([os:find_executable("haproxy"), "/usr/sbin/haproxy"]);
find(ngtcp2) ->
    first_file([os:find_executable("gtlsserver"), "/usr/sbin/gtlsserver"]);
find(python) ->
    first_file([filename:join(root(), "_build/python-venv/bin/python")]);
find(origin) ->
    Target = case os:getenv("CARGO_TARGET_DIR") of
                 false -> filename:join(root(), "target");
                 Path -> Path
             end,
    first_file([os:getenv("HANSOM_ORIGIN"), filename:join(Target, "release/hansom_origin"),
                filename:join(Target, "debug/hansom_origin")]).

first_file([]) -> missing;
first_file([false | Rest]) -> first_file(Rest);
first_file([Path | Rest]) ->
    case filelib:is_regular(Path) of
        true -> {ok, Path};
        false -> first_file(Rest)
    end.

%% @doc What `init_per_suite/1' gives when a server is not installed: on a developer's
%% machine its suite is skipped and says so; in CI that is a failure.
-spec missing(atom()) -> {skip, string()}.
missing(Name) ->
    Text = atom_to_list(Name) ++ " is not installed: `make setup' installs it",
    case os:getenv("CI") of
        "true" -> error({not_installed, Name, Text});
        _ -> {skip, Text}
    end.

%% @doc The project's top folder.
-spec root() -> file:filename().
root() ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    root(filename:dirname(filename:absname(Source))).

root(Dir) ->
    case {filelib:is_regular(filename:join(Dir, "Cargo.lock")), filename:dirname(Dir)} of
        {true, _} -> Dir;
        {false, Dir} -> error(not_in_the_project);
        {false, Parent} -> root(Parent)
    end.

%% Certificates

%% The bundled origin makes them: `server.pem' for localhost and 127.0.0.1, `client.pem', and the authority of both,
%% `ca.pem'.
certificates(Dir) ->
    Program = case find(origin) of
                  {ok, Path} -> Path;
                  missing -> error("the bundled origin is not built: `make origin' builds it")
              end,
    Port = open_port({spawn_executable, Program}, [{args, ["certs", Dir]}, exit_status, hide, stderr_to_stdout]),
    receive {Port, {exit_status, Status}} -> 0 = Status, ok
    after ?DEADLINE -> error(no_certificates)
    end.

described(Pid, Dir, Ports) ->
    Pem = fun(Name) ->
                  {ok, Text} = file:read_file(filename:join(Dir, Name)),
                  [{Type, Der} || {Type, Der, not_encrypted} <- public_key:pem_decode(Text)]
          end,
    [{'Certificate', Root}] = Pem("ca.pem"),
    [{'Certificate', Client}] = Pem("client.pem"),
    [Key] = Pem("client-key.pem"),
    #{pid => Pid, dir => Dir, ports => Ports, cacerts => [Root], client => [{cert, Client}, {key, Key}]}.
