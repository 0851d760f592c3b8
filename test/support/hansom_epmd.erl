%% @doc Takes the place of epmd for nodes of a test: a node knows its own port, and is told those of
%% others. So tests depend on no daemon that the whole machine shares.
%%
%% Given to a node as `-start_epmd false -epmd_module hansom_epmd'.
-module(hansom_epmd).

-export([own_port/0, learn/2]).
%% What the kernel calls.
-export([start_link/0, register_node/2, register_node/3, port_please/2, port_please/3,
         listen_port_please/2, address_please/3, names/1]).

%% The version of the distribution protocol of OTP 23 and later.
-define(VERSION, 6).

%% @doc The port this node listens at.
-spec own_port() -> inet:port_number().
own_port() -> persistent_term:get({?MODULE, own}).

%% @doc Where the node of this name, the part before `@', listens.
-spec learn(string(), inet:port_number()) -> ok.
learn(Name, Port) -> persistent_term:put({?MODULE, Name}, Port).

start_link() -> ignore.

register_node(Name, Port) -> register_node(Name, Port, inet).

register_node(_Name, Port, _Family) ->
    persistent_term:put({?MODULE, own}, Port),
    %% Tells one start of a node from the next; the first four values have old meanings.
    {ok, 3 + rand:uniform(1 bsl 30)}.

port_please(Name, Host) -> port_please(Name, Host, infinity).

port_please(Name, _Host, _Timeout) ->
    case persistent_term:get({?MODULE, Name}, unknown) of
        unknown -> noport;
        Port -> {port, Port, ?VERSION}
    end.

%% Any free port.
listen_port_please(_Name, _Host) -> {ok, 0}.

address_please(_Name, Host, Family) -> inet:getaddr(Host, Family).

names(_Host) -> {error, address}.
