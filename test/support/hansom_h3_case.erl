%% @doc What the HTTP/3 suites share: the bundled origin, connections to it, and ports on which UDP leads nowhere.
%% Nothing listens on the TCP port of the origin's `http3', nor on the UDP port of its `https'.
-module(hansom_h3_case).

-export([init_suite/1, end_suite/1, with_origin/3, with_both/3, mute/1, tcp_only/2]).
-export([options/1, options/2, trying/2, open/1, open/2, connect/1, seen/1]).

-define(CONN, (hansom_case:conn())).
-define(TRIES, 20).

-import(hansom_server_case, [server/1, port/2, roots/1]).

init_suite(Config) -> hansom_h2_case:init_suite(Config).
end_suite(Config) -> hansom_h2_case:end_suite(Config).

%% @doc Runs `Fun' with the port of another origin, started with these options; HTTP/3 alone, unless they say otherwise.
with_origin(Options, Config, Fun) ->
    Listen = case [Option || "--http" ++ _ = Option <- Options] of
                 [] -> ["--http3", "127.0.0.1:0"];
                 _ -> []
             end,
    with_server(hansom_servers:origin(server(Config), Listen ++ Options), Fun).

with_server(#{ports := Ports} = Server, Fun) ->
    try Fun(maps:get(http3, Ports, maps:get(https, Ports, none)))
    after ok = hansom_servers:stop(Server)
    end.

%% @doc The same with an origin that listens on one port for TCP and UDP.
with_both(Options, Config, Fun) ->
    with_server(both(Options, Config, ?TRIES), Fun).

%% A port that was free for both may be somebody else's by the time the origin asks for it.
both(Options, Config, Tries) ->
    {ok, Udp} = gen_udp:open(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Udp),
    ok = gen_udp:close(Udp),
    Address = "127.0.0.1:" ++ integer_to_list(Port),
    try hansom_servers:origin(server(Config), ["--https", Address, "--http3", Address | Options])
    catch error:{server, {exit_status, _, _}} when Tries > 1 -> both(Options, Config, Tries - 1)
    end.

%% @doc Runs `Fun' with the port of an origin whose UDP port takes packets and never answers.
tcp_only(Config, Fun) ->
    tcp_only(Config, Fun, ?TRIES).

tcp_only(Config, Fun, Tries) ->
    Ran = with_origin(["--https", "127.0.0.1:0"], Config,
                      fun(Port) ->
                              case gen_udp:open(Port, [{ip, {127, 0, 0, 1}}, {active, false}]) of
                                  {ok, Udp} ->
                                      try {ok, Fun(Port)}
                                      after ok = gen_udp:close(Udp)
                                      end;
                                  {error, eaddrinuse} when Tries > 1 -> again
                              end
                      end),
    case Ran of
        {ok, Result} -> Result;
        again -> tcp_only(Config, Fun, Tries - 1)
    end.

%% @doc Runs `Fun' with a UDP port that takes packets and never answers. Nothing listens on its TCP port.
mute(Fun) ->
    {ok, Udp} = gen_udp:open(0, [{ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Udp),
    try hansom_program:refuse_tcp(Port, self()) of
        ok -> Fun(Port);
        {error, eaddrinuse} -> mute(Fun)
    after ok = gen_udp:close(Udp)
    end.

%% @doc Start options for HTTP/3 with the suite's origin.
options(Config) -> options(#{}, Config).

options(More, Config) ->
    maps:merge(#{host => "localhost", port => port(http3, Config), transport => hackney_ssl,
                 connect_options => [{protocols, [http3]}], ssl_options => [{cacerts, roots(Config)}]}, More).

%% @doc Start options for a port where each protocol is tried, HTTP/3 first.
trying(Port, Config) ->
    options(#{host => "127.0.0.1", port => Port, connect_options => [{protocols, [http3, http2, http1]}]}, Config).

%% @doc A connection in `connected'.
open(Config) -> connect(options(Config)).

open(More, Config) -> connect(options(More, Config)).

connect(Options) -> hansom_case:connect_over(http3, Options).

%% @doc What the origin tells about the connection.
seen(Pid) ->
    {ok, 200, _, Body} = ?CONN:request(Pid, <<"GET">>, <<"/connection">>, [], <<>>),
    maps:from_list([{binary_to_atom(Name), Value}
                    || Line <- binary:split(Body, <<"\n">>, [global, trim]),
                       [Name, Value] <- [binary:split(Line, <<": ">>)]]).
