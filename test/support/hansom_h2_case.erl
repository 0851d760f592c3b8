%% @doc What the HTTP/2 suites share: the bundled origin, scripted peers, and connections to both.
-module(hansom_h2_case).

-export([init_suite/1, end_suite/1, with_origin/3, with_script/2]).
-export([options/1, options/2, open/1, open/2, connect/1, get/2, get/3, post/3, stream_next/2]).

-define(CONN, (hansom_case:conn())).

-import(hansom_server_case, [server/1, port/2, roots/1]).

init_suite(Config) -> hansom_server_case:init_suite(origin, fun hansom_servers:origin/0, Config).
end_suite(Config) -> hansom_server_case:end_suite(Config).

%% @doc Runs `Fun' with start options for another origin, started with these options.
with_origin(Options, Config, Fun) ->
    #{ports := #{https := Port}} = Server = hansom_servers:origin(server(Config), Options),
    try Fun((options(Config))#{port := Port})
    after ok = hansom_servers:stop(Server)
    end.

%% @doc Runs `Fun' with start options for a peer that plays this script.
with_script(Lines, Fun) ->
    #{ports := #{http := Port}} = Server = hansom_servers:script(lists:join("\n", Lines ++ [""])),
    try Fun(#{host => "127.0.0.1", port => Port, h2c => true})
    after ok = hansom_servers:stop(Server)
    end.

%% @doc Start options for HTTP/2 over TLS with the suite's origin.
options(Config) -> options(#{}, Config).

options(More, Config) ->
    maps:merge((hansom_case:patient())#{host => "localhost", port => port(https, Config), transport => hackney_ssl,
                                        ssl_options => [{cacerts, roots(Config)}]}, More).

%% @doc A connection in `connected'.
open(Config) -> connect(options(Config)).

open(More, Config) -> connect(options(More, Config)).

connect(Options) -> hansom_case:connect_over(http2, Options).

get(Pid, Path) -> get(Pid, Path, []).

get(Pid, Path, Options) ->
    ?CONN:request(Pid, <<"GET">>, iolist_to_binary(Path), [], <<>>, infinity, Options).

post(Pid, Path, Body) ->
    ?CONN:request(Pid, <<"POST">>, iolist_to_binary(Path), [], Body).

%% @doc Pulls once in mode `once' and gives what comes.
stream_next(Pid, Ref) ->
    ok = ?CONN:stream_next(Pid),
    hansom_case:payload(Ref).
