%% @doc The real hackney on hansom. `HACKNEY_LIBS', a colon separated list of ebin folders, says where it and what it
%% needs are; without it these cases are skipped.
%%
%% hackney is installed in a node of its own, so that it does not disturb other suites.
-module(hansom_hackney_real_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(hansom_case, [wait_for/1]).
-import(hansom_node, [call/2, call/4]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 180}}].

init_per_suite(Config) ->
    case os:getenv("HACKNEY_LIBS", "") of
        "" ->
            {skip, "HACKNEY_LIBS is not set: the real hackney is not there"};
        Libs ->
            Server = hansom_servers:origin(),
            [{server, Server}, {libs, string:lexemes(Libs, ":")} | hansom_case:init_suite(Config)]
    end.

end_per_suite(Config) ->
    ok = hansom_servers:stop(proplists:get_value(server, Config)),
    hansom_case:end_suite(Config).

init_per_testcase(Case, Config) ->
    Peer = hansom_node:start(lists:append([["-pa", Dir] || Dir <- proplists:get_value(libs, Config)])),
    {ok, _} = call(Peer, application, ensure_all_started, [hackney]),
    ok = call(Peer, hansom_hackney, install, []),
    hansom_case:init_case(?MODULE, Case, [{peer, Peer} | Config]).

end_per_testcase(_, Config) ->
    Peer = proplists:get_value(peer, Config),
    installed = maps:get(state, call(Peer, hansom_hackney, status, [])),
    ok = hansom_node:stop(Peer),
    hansom_case:end_case(Config).

%% Runs in the node that has hackney.
there(Config, Fun) -> call(proplists:get_value(peer, Config), Fun).

url(http, Path, Config) -> url("http", http, Path, Config);
url(https, Path, Config) -> url("https", https, Path, Config);
url(http3, Path, Config) -> url("https", http3, Path, Config).

url(Scheme, Key, Path, Config) ->
    #{ports := #{Key := Port}} = proplists:get_value(server, Config),
    iolist_to_binary([Scheme, "://localhost:", integer_to_list(Port), Path]).

tls(Config) ->
    #{cacerts := Roots} = proplists:get_value(server, Config),
    [{ssl_options, [{cacerts, Roots}]}].

%% Processes of hansom's, by what hackney's supervisor has started.
connections() ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(hackney_conn_sup), is_map(hansom:info(Pid))].

%% Clauses: POOL-1, POOL-3, POOL-4, POOL-5, POOL-8, POOL-9, POOL-10
pool_01_requests_share_connections(Config) ->
    Url = url(http, "/hello", Config),
    {Answers, Pids} =
        there(Config,
              fun() ->
                      Get = fun() -> {ok, 200, _, Body} = hackney:request(get, Url), Body end,
                      Answers = [Get() || _ <- lists:seq(1, 20)],
                      {Answers, hansom_hackney_real_SUITE:connections()}
              end),
    ?assertEqual([<<"Hello, world!\n">>], lists:usort(Answers)),
    ?assertMatch([_], Pids).

%% Many short-lived users: a connection that is the pool's again does not end with the one that used it last, and an
%% immediate new checkout finds it.
%% Clauses: POOL-13, POOL-14, POOL-15
pool_15_short_lived_users(Config) ->
    Url = url(http, "/hello", Config),
    {Answers, Count} =
        there(Config,
              fun() ->
                      ok = hackney_pool:start_pool(short, [{max_connections, 4}]),
                      User = fun() ->
                                     {_, Monitor} = spawn_monitor(
                                                      fun() -> exit(hackney:request(get, Url, [], <<>>, [{pool, short}])) end),
                                     receive {'DOWN', Monitor, process, _, {ok, Status, _, Body}} -> {Status, Body};
                                             {'DOWN', Monitor, process, _, Other} -> Other
                                     end
                             end,
                      Rows = [spawn_monitor(fun() -> exit([User() || _ <- lists:seq(1, 200)]) end) || _ <- lists:seq(1, 4)],
                      Answers = lists:append([receive {'DOWN', M, process, _, Row} -> Row end || {_, M} <- Rows]),
                      {Answers, length(hansom_hackney_real_SUITE:connections())}
              end),
    ?assertEqual([{200, <<"Hello, world!\n">>}], lists:usort(Answers)),
    ?assert(Count >= 1),
    ?assert(Count =< 4).

%% Given back by its user instead of by the end of a response, it is the pool's at once.
%% Clauses: POOL-3, POOL-6, POOL-7
pool_06_explicit_release(Config) ->
    #{ports := #{http := Port}} = proplists:get_value(server, Config),
    {First, Released, Second} =
        there(Config,
              fun() ->
                      ok = hackney_pool:start_pool(released, []),
                      Checkout = fun() ->
                                         {ok, _, Pid} = hackney_pool:checkout("localhost", Port, hackney_tcp, [{pool, released}]),
                                         Pid
                                 end,
                      First = Checkout(),
                      {First, {hackney_conn:release_to_pool(First), is_map(hansom:info(First))}, Checkout()}
              end),
    ?assertEqual({ok, true}, Released),
    ?assertEqual(First, Second).

%% Both those that are idle and those in use end, and the places of those in use are free again.
%% Clauses: POOL-8, POOL-16, TRAP-23
pool_16_the_pool_stops(Config) ->
    Url = url(http, "/bytes/100000", Config),
    #{ports := #{http := Port}} = proplists:get_value(server, Config),
    ?assertEqual({2, 1, [], 0}, there(Config, fun() -> hansom_hackney_real_SUITE:pool_stops(Url, Port) end)).

pool_stops(Url, Port) ->
    ok = hackney_pool:start_pool(gone, []),
    Once = fun() ->
                   {ok, Pid} = hackney:request(get, Url, [], <<>>, [{pool, gone}, {async, once}]),
                   receive {hackney_response, Pid, {status, 200, _}} -> Pid after 10000 -> error(no_status) end
           end,
    {One, Two} = {Once(), Once()},
    ok = drained(One),
    hansom_case:wait_for(fun() -> proplists:get_value(free_count, hackney_pool:get_stats(gone)) =:= 1 end),
    Used = proplists:get_value(in_use_count, hackney_pool:get_stats(gone)),
    Pids = connections(),
    Monitors = [monitor(process, Pid) || Pid <- [One, Two]],
    ok = hackney_pool:stop_pool(gone),
    [receive {'DOWN', Monitor, process, _, _} -> ok after 10000 -> error(alive) end || Monitor <- Monitors],
    {length(Pids), Used, connections(), hackney_load_regulation:current("localhost", Port)}.

%% Pulls a response to its end.
drained(Pid) ->
    receive
        {hackney_response, Pid, done} ->
            ok;
        {hackney_response, Pid, _} ->
            hackney_conn:stream_next(Pid),
            drained(Pid)
    after 10000 -> error(no_end)
    end.

%% A connection is dialled without TLS, upgraded by its user, and used again over HTTP/1.1.
%% Clauses: POOL-9, POOL-17, TRAP-9
pool_17_encrypted_connections(Config) ->
    Url = url(https, "/hello", Config),
    Options = [{protocols, [http1]}, {ssl_pooling, true} | tls(Config)],
    {Answers, Protocols} =
        there(Config,
              fun() ->
                      Answers = [hackney:request(get, Url, [], <<>>, Options) || _ <- lists:seq(1, 5)],
                      {[{Status, Body} || {ok, Status, _, Body} <- Answers], hansom_hackney_real_SUITE:protocols()}
              end),
    ?assertEqual(lists:duplicate(5, {200, <<"Hello, world!\n">>}), Answers),
    ?assertEqual([http1], Protocols).

%% Clauses: POOL-17, POOL-18, H2-3
pool_18_shared_connection(Config) ->
    Url = url(https, "/delay/20", Config),
    Options = tls(Config),
    {Statuses, Protocols} =
        there(Config,
              fun() ->
                      {ok, 200, _, _} = hackney:request(get, Url, [], <<>>, Options),
                      Users = [spawn_monitor(fun() -> exit(hackney:request(get, Url, [], <<>>, Options)) end)
                               || _ <- lists:seq(1, 50)],
                      Statuses = [receive {'DOWN', M, process, _, {ok, Status, _, _}} -> Status;
                                          {'DOWN', M, process, _, Other} -> Other
                                  end || {_, M} <- Users],
                      {Statuses, [hackney_conn:get_protocol(Pid) || Pid <- hansom_hackney_real_SUITE:connections()]}
              end),
    ?assertEqual([200], lists:usort(Statuses)),
    ?assertEqual([http2], Protocols).

protocols() ->
    [hackney_conn:get_protocol(Pid) || Pid <- connections()].

%% An HTTP/3 connection outlives the user that dialled it, and is everybody's.
%% Clauses: POOL-18, POOL-19, H3-1
pool_19_shared_http3_connection(Config) ->
    Url = url(http3, "/hello", Config),
    Options = [{protocols, [http3]} | tls(Config)],
    {Statuses, Protocols} =
        there(Config,
              fun() ->
                      Users = fun(Count) ->
                                      Monitors = [spawn_monitor(fun() -> exit(hackney:request(get, Url, [], <<>>, Options)) end)
                                                  || _ <- lists:seq(1, Count)],
                                      [receive {'DOWN', M, process, _, {ok, Status, _, _}} -> Status;
                                               {'DOWN', M, process, _, Other} -> Other
                                       end || {_, M} <- Monitors]
                              end,
                      {Users(1) ++ Users(50), hansom_hackney_real_SUITE:protocols()}
              end),
    ?assertEqual([200], lists:usort(Statuses)),
    ?assertEqual([http3], Protocols).

%% What a server says of itself is where the next request goes.
%% Clauses: POOL-19, RSP-25
pool_19_alternative_service(Config) ->
    #{ports := #{https := Port, http3 := Other}} = proplists:get_value(server, Config),
    Url = url(https, "/alt-svc?value=h3%3D%22:" ++ integer_to_list(Other) ++ "%22", Config),
    Peer = proplists:get_value(peer, Config),
    Get = fun(Protocols) ->
                  Options = [{protocols, Protocols} | tls(Config)],
                  there(Config, fun() -> {hackney:request(get, Url, [], <<>>, Options), hansom_hackney_real_SUITE:protocols()} end)
          end,
    ?assertMatch({{ok, 200, _, _}, [http2]}, Get([http2])),
    wait_for(fun() -> {ok, h3, Other} =:= call(Peer, hackney_altsvc, lookup, ["localhost", Port]) end),
    {Answer, Protocols} = Get([http3, http2]),
    ?assertMatch({ok, 200, _, _}, Answer),
    ?assert(lists:member(http3, Protocols)).

%% Where UDP leads nowhere the request is answered over TCP, and hackney remembers.
%% Clauses: POOL-19, NEG-3
pool_19_no_http3_there(Config) ->
    #{ports := #{https := Port}} = proplists:get_value(server, Config),
    Url = url(https, "/hello", Config),
    Options = [{protocols, [http3, http2]} | tls(Config)],
    {Answer, Protocols, Blocked} =
        there(Config, fun() ->
                              {hackney:request(get, Url, [], <<>>, Options), hansom_hackney_real_SUITE:protocols(),
                               hackney_altsvc:is_h3_blocked("localhost", Port)}
                      end),
    ?assertMatch({ok, 200, _, _}, Answer),
    ?assertEqual([http2], Protocols),
    ?assert(Blocked).

%% Clauses: API-37
api_37_streams_of_hackneys_module(Config) ->
    Url = url(https, "/echo", Config),
    Options = tls(Config),
    Module = hackney_h2_stream,
    case there(Config, fun() -> code:ensure_loaded(Module) end) of
        {error, _} ->
            {skip, "this hackney has no streams of one's own"};
        {module, Module} ->
            ?assertEqual({200, <<"hello, world">>},
                         there(Config, fun() -> hansom_hackney_real_SUITE:converse(Url, Options) end))
    end.

converse(Url, Options) ->
    Hackney = hackney,
    {ok, Stream} = Hackney:h2_open(post, Url, [], Options),
    ok = Hackney:h2_send(Stream, <<"hello, ">>),
    {ok, {response, Status, _}} = Hackney:h2_recv(Stream, 10000),
    ok = Hackney:h2_send(Stream, <<"world">>, fin),
    Body = received(Hackney, Stream, <<>>),
    ok = Hackney:h2_close(Stream),
    {Status, Body}.

received(Hackney, Stream, Seen) ->
    case Hackney:h2_recv(Stream, 10000) of
        {ok, {data, Data}} -> received(Hackney, Stream, <<Seen/binary, Data/binary>>);
        {ok, done} -> Seen
    end.

%% Clauses: ASY-1, ASY-16
asy_16_what_the_manager_says(Config) ->
    Url = url(http, "/bytes/100000", Config),
    Pulled = there(Config,
                   fun() ->
                           {ok, Ref} = hackney:request(get, Url, [], <<>>, [{async, once}]),
                           receive {hackney_response, Ref, {status, 200, _}} -> ok end,
                           receive {hackney_response, Ref, {headers, _}} -> ok end,
                           {hackney_manager:get_state(Ref), hackney_manager:async_response_pid(Ref) =:= {ok, Ref}}
                   end),
    ?assertEqual({streaming_once, true}, Pulled).

%% A redirect is a message for the user to follow, and the connection is there for that.
%% Clauses: ASY-5, POOL-4
asy_05_redirects_and_reuse(Config) ->
    Url = url(http, "/redirect/1", Config),
    ?assertMatch({{redirect, <<_, _/binary>>, [_ | _]}, {ok, 200, _, _}, [_]},
                 there(Config, fun() -> hansom_hackney_real_SUITE:redirected(Url) end)).

redirected(Url) ->
    {ok, Ref} = hackney:request(get, Url, [], <<>>, [async, {follow_redirect, true}]),
    Redirect = receive {hackney_response, Ref, Message} -> Message after 10000 -> error(no_message) end,
    hansom_case:wait_for(fun() -> proplists:get_value(free_count, hackney_pool:get_stats(default)) =:= 1 end),
    {Redirect, hackney:request(get, Url, [], <<>>, [{follow_redirect, true}]), connections()}.

%% In every second round hackney's module comes back into its place, in the others its return is called off.
%% Clauses: HKN-1, HKN-2, ST-26
st_26_back_and_forth_under_load(Config) ->
    Tls = tls(Config),
    Get = fun(Url, Options) -> fun() -> hansom_hackney_real_SUITE:status(hackney:request(get, Url, [], <<>>, Options)) end end,
    Upload = binary:copy(<<"u">>, 100000),
    {Plain, Secure, Echo} = {url(http, "/hello", Config), url(https, "/hello", Config), url(http, "/echo", Config)},
    Users = [{plain, Get(Plain, [])},
             {tls, Get(Secure, [{protocols, [http1]} | Tls])},
             {http2, Get(Secure, [{protocols, [http2]} | Tls])},
             {async, fun() -> hansom_hackney_real_SUITE:pushed(Plain) end},
             {upload, fun() -> hansom_hackney_real_SUITE:echoed(Echo, Upload) end}],
    Results = there(Config, fun() -> hansom_hackney_real_SUITE:back_and_forth(Plain, Users) end),
    ?assertEqual([{Name, [200]} || {Name, _} <- Users], Results).

back_and_forth(Url, Users) ->
    Stop = atomics:new(1, []),
    Running = [{Name, spawn_monitor(fun() -> exit(until(Stop, User, [])) end)} || {Name, User} <- Users],
    [begin
         ok = hansom_hackney:uninstall(),
         Round rem 2 =:= 0 andalso
             hansom_case:wait_for(fun() -> maps:get(state, hansom_hackney:status()) =:= not_installed end),
         {ok, 200, _, _} = hackney:request(get, Url),
         ok = hansom_hackney:install(),
         {ok, 200, _, _} = hackney:request(get, Url)
     end || Round <- lists:seq(1, 20)],
    ok = atomics:put(Stop, 1, 1),
    [{Name, receive {'DOWN', Monitor, process, _, Statuses} -> lists:usort(Statuses) end}
     || {Name, {_, Monitor}} <- Running].

until(Stop, User, Statuses) ->
    Status = User(),
    case atomics:get(Stop, 1) of
        0 -> until(Stop, User, [Status | Statuses]);
        1 -> [Status | Statuses]
    end.

status({ok, Status, _, _}) -> Status;
status(Other) -> Other.

%% The status of an asynchronous request that came to its end.
pushed(Url) ->
    {ok, Ref} = hackney:request(get, Url, [], <<>>, [async]),
    Status = receive {hackney_response, Ref, {status, Code, _}} -> Code;
                     {hackney_response, Ref, Other} -> Other
             after 10000 -> no_status
             end,
    pushed(Ref, Status).

pushed(Ref, Status) ->
    receive
        {hackney_response, Ref, done} -> Status;
        {hackney_response, Ref, {error, _} = Error} -> Error;
        {hackney_response, Ref, _} -> pushed(Ref, Status)
    after 10000 -> no_end
    end.

%% The status of a request whose content came back as it was sent.
echoed(Url, Content) ->
    case hackney:request(post, Url, [], Content) of
        {ok, Status, _, Content} -> Status;
        {ok, Status, _, _} -> {Status, other_content};
        Other -> Other
    end.
