%% @doc How many bytes a TCP client on this machine has not yet read, asked of Linux by
%% the `sock_diag' interface of netlink. It lets a server wait, without sleeping, until
%% one portion of its bytes has been taken before it writes the next.
-module(hansom_backlog).

-export([open/0, await_empty/3]).

-define(NETLINK, 16).
-define(SOCK_DIAG, 4).
-define(SOCK_DIAG_BY_FAMILY, 20).
-define(REQUEST, 1).
-define(INET, 2).
-define(TCP, 6).
%% A client that does not read at all is waited for this long, in milliseconds.
-define(PATIENCE, 100).

%% @doc A handle for `await_empty/3', or `none' where the system has no such interface.
-spec open() -> {ok, socket:socket()} | none.
open() ->
    try socket:open(?NETLINK, raw, ?SOCK_DIAG) of
        {ok, Socket} -> {ok, Socket};
        {error, _} -> none
    catch
        error:_ -> none
    end.

%% @doc Waits until the client's socket holds no unread bytes; gives up after a while.
-spec await_empty({ok, socket:socket()} | none, Client, Server) -> ok
              when Client :: {inet:ip4_address(), inet:port_number()}, Server :: Client.
await_empty({ok, Netlink}, {{_, _, _, _}, _} = Client, {{_, _, _, _}, _} = Server) ->
    await(Netlink, question(Client, Server),
          erlang:monotonic_time(millisecond) + ?PATIENCE);
await_empty(_, _, _) ->
    ok.

await(Netlink, Question, End) ->
    ok = socket:send(Netlink, Question),
    case socket:recv(Netlink, 0, [], 1000) of
        {ok, <<_:32, Type:16/native, _:80, _:56/binary, Unread:32/native, _/binary>>}
          when Type =:= ?SOCK_DIAG_BY_FAMILY, Unread > 0 ->
            case erlang:monotonic_time(millisecond) < End of
                true -> erlang:yield(), await(Netlink, Question, End);
                false -> ok
            end;
        _ ->
            %% Empty, or gone.
            ok
    end.

%% struct nlmsghdr and struct inet_diag_req_v2, for exactly this connection in any state.
question({ClientIp, ClientPort}, {ServerIp, ServerPort}) ->
    <<72:32/native, ?SOCK_DIAG_BY_FAMILY:16/native, ?REQUEST:16/native, 1:32/native, 0:32,
      ?INET, ?TCP, 0, 0, 16#FFFFFFFF:32,
      ClientPort:16, ServerPort:16, (ip(ClientIp))/binary, (ip(ServerIp))/binary, 0:32, -1:64>>.

ip({A, B, C, D}) ->
    <<A, B, C, D, 0:96>>.
