%% @private Sockets of the engine that ports of the VM use: where Erlang's `ssl' has to speak on a
%% connection that the engine has dialled.
%%
%% A port that is opened on a descriptor never closes it. So it stays the engine's, and this
%% process gives it back once the port is gone, whoever closed it or died.
-module(hansom_descriptors).
-behaviour(gen_server).

-export([start_link/0, lend/1, await/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type lent() :: #{Monitor :: reference() => {port(), Descriptor :: integer(), [gen_server:from()]}}.

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% Opens the socket the engine has put into the pipe. It belongs to the calling process.
-spec lend(hansom_nif:pipe()) -> {ok, port()} | {error, term()}.
lend(Pipe) ->
    gen_server:call(?MODULE, {lend, Pipe}, infinity).

%% Waits until the socket of a closed port is closed too.
-spec await(port()) -> ok.
await(Port) ->
    gen_server:call(?MODULE, {await, Port}, infinity).

%% After a crash the ports of the process before are still there.
init([]) ->
    process_flag(trap_exit, true),
    {ok, lists:foldl(fun take_up/2, #{}, hansom_nif:lent())}.

take_up(Descriptor, Lent) ->
    case [Port || Port <- erlang:ports(), erlang:port_info(Port, name) =:= {name, "tcp_inet"},
                  inet:getfd(Port) =:= {ok, Descriptor}] of
        [Port] ->
            watch(Port, Descriptor, Lent);
        [] ->
            ok = hansom_nif:give_back(Descriptor),
            Lent
    end.

watch(Port, Descriptor, Lent) ->
    Lent#{erlang:monitor(port, Port) => {Port, Descriptor, []}}.

handle_call({lend, Pipe}, {Owner, _}, Lent) ->
    case hansom_nif:lend(Pipe) of
        {Descriptor, Family} ->
            case gen_tcp:fdopen(Descriptor, [Family, binary, {active, false}, {packet, raw}]) of
                {ok, Port} ->
                    NewLent = watch(Port, Descriptor, Lent),
                    case gen_tcp:controlling_process(Port, Owner) of
                        ok ->
                            {reply, {ok, Port}, NewLent};
                        {error, _} = Error ->
                            ok = gen_tcp:close(Port),
                            {reply, Error, NewLent}
                    end;
                {error, _} = Error ->
                    ok = hansom_nif:give_back(Descriptor),
                    {reply, Error, Lent}
            end;
        none ->
            {reply, {error, closed}, Lent}
    end;
handle_call({await, Port}, From, Lent) ->
    case [Entry || {_, {Lender, _, _}} = Entry <- maps:to_list(Lent), Lender =:= Port] of
        [{Monitor, {_, Descriptor, Waiting}}] ->
            {noreply, Lent#{Monitor := {Port, Descriptor, [From | Waiting]}}};
        [] ->
            {reply, ok, Lent}
    end;
handle_call(_Request, _From, Lent) ->
    {reply, {error, invalid_call}, Lent}.

handle_cast(_Request, Lent) ->
    {noreply, Lent}.

handle_info({'DOWN', Monitor, port, _, _}, Lent) when is_map_key(Monitor, Lent) ->
    {{_, Descriptor, Waiting}, Rest} = maps:take(Monitor, Lent),
    ok = hansom_nif:give_back(Descriptor),
    lists:foreach(fun(From) -> gen_server:reply(From, ok) end, Waiting),
    {noreply, Rest};
handle_info(_Message, Lent) ->
    {noreply, Lent}.

-spec terminate(term(), lent()) -> ok.
terminate(_Reason, Lent) ->
    maps:foreach(
      fun(Monitor, {Port, Descriptor, _}) ->
              ok = gen_tcp:close(Port),
              receive {'DOWN', Monitor, port, _, _} -> ok end,
              ok = hansom_nif:give_back(Descriptor)
      end, Lent).
