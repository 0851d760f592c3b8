%% @doc What has to work with every server of HTTP/2 or HTTP/3: the cases its suite names, each given a site.
%%
%% A site is reached by `open', which gives a connection in `connected', made with these start options besides its own.
%% Below `prefix' it serves the endpoints of the bundled origin (native/hansom_origin/README.md), mostly as a proxy.
-module(hansom_interop).

-include_lib("stdlib/include/assert.hrl").

-export([long_lived/1, sizes/1, statuses/1, many_users/1, pushed/1, pulled/1, slow_readers/1, given_up/1,
         uploads/1, uploads_side_by_side/1, trailers/1, request_trailers/1, large_heads/1, drained/3, cut_short/3]).
-export([site/2, open/1, get/2, bytes/1]).

-export_type([site/0]).

-define(CONN, (hansom_case:conn())).
-define(MIB, 1048576).
%% Of what moves megabytes on a machine that others use too.
-define(PATIENCE, 60000).

-import(hansom_case, [state/1, async/1, result/2, process/0, run_in/2, start_in/2, payload/1, payloads/1,
                      body_of/1, wait_for/1]).

-type site() :: #{open := fun((Options :: map()) -> pid()), prefix := binary(),
                  %% Of large bodies, 16 MiB by default.
                  large => pos_integer(),
                  %% Uploads have `content-length', for a server that takes them for empty without; `false' by default.
                  lengths => boolean()}.

%% @doc A site at the root of a server, reached over this protocol with these start options.
-spec site(atom(), map()) -> site().
site(Protocol, Options) ->
    #{prefix => <<>>, open => fun(More) -> hansom_case:connect_over(Protocol, maps:merge(Options, More)) end}.

%% @doc A connection to the site.
open(Site) -> open(Site, #{}).

open(#{open := Open}, Options) -> Open(Options).

size_of(Site) -> maps:get(large, Site, 16 * ?MIB).

%% A path below the prefix.
path(#{prefix := Prefix}, Path) -> iolist_to_binary([Prefix, Path]).

%% @doc A whole GET exchange.
get(Pid, Path) -> ?CONN:request(Pid, <<"GET">>, Path, [], <<>>).

%% @doc The origin's pattern: the byte at position `I' is `I rem 251'.
bytes(Size) ->
    Period = list_to_binary(lists:seq(0, 250)),
    binary:part(binary:copy(Period, Size div 251 + 1), 0, Size).

is_pattern(Size, Body) -> bytes(Size) =:= Body.

%% @doc Many exchanges after one another.
long_lived(Site) ->
    Pid = open(Site),
    Path = path(Site, "/hello"),
    [?assertMatch({ok, 200, _, <<"Hello, world!\n">>}, get(Pid, Path)) || _ <- lists:seq(1, 300)],
    ?assertEqual(connected, state(Pid)).

%% @doc Bodies around the sizes of frames and windows, and the same without a body.
sizes(Site) ->
    Pid = open(Site),
    [begin
         Path = path(Site, ["/bytes/", integer_to_list(Size)]),
         {ok, 200, Headers, Body} = get(Pid, Path),
         ?assert(is_pattern(Size, Body), Size),
         ?assertEqual(integer_to_binary(Size), proplists:get_value(<<"content-length">>, Headers)),
         ?assertMatch({ok, 200, _, <<>>}, ?CONN:request(Pid, <<"HEAD">>, Path, [], <<>>))
     end || Size <- [0, 1, 16383, 16384, 16385, 65535, 65536, ?MIB, size_of(Site)]],
    ?assertEqual(connected, state(Pid)).

%% @doc Status codes, with and without content.
statuses(Site) ->
    Pid = open(Site),
    [?assertMatch({ok, Status, _, _}, get(Pid, path(Site, ["/status/", integer_to_list(Status)])))
     || Status <- [200, 201, 204, 206, 301, 304, 400, 404, 418, 429, 500, 503]],
    ?assertMatch({ok, 204, _, <<>>}, get(Pid, path(Site, "/status/204"))),
    ?assertMatch({ok, 304, _, <<>>}, get(Pid, path(Site, "/status/304"))).

%% @doc Thirty processes share one connection; small answers and large ones at the same time.
many_users(Site) ->
    Pid = open(Site),
    Work = fun() ->
                   Small = [get(Pid, path(Site, "/hello")) || _ <- lists:seq(1, 30)],
                   {ok, 200, _, Body} = get(Pid, path(Site, "/bytes/1000000")),
                   {lists:usort([Answer || {ok, 200, _, Answer} <- Small]), length(Small), is_pattern(1000000, Body)}
           end,
    Running = [async(Work) || _ <- lists:seq(1, 30)],
    [?assertEqual({ok, {[<<"Hello, world!\n">>], 30, true}}, result(Handle, ?PATIENCE)) || Handle <- Running],
    ?assertEqual(connected, state(Pid)).

%% @doc A large body as messages.
pushed(Site) ->
    Pid = open(Site),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, large(Site), [], <<>>, true),
    [{status, 200, _}, {headers, _} | Rest] = payloads(Ref),
    ?assert(is_pattern(size_of(Site), body_of(Rest))),
    ?assertEqual(done, lists:last(Rest)).

large(Site) -> path(Site, ["/bytes/", integer_to_list(size_of(Site))]).

%% @doc A large body, each part of which is asked for.
pulled(Site) ->
    Pid = open(Site),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, large(Site), [], <<>>, once),
    {status, 200, _} = payload(Ref),
    {headers, _} = payload(Ref),
    ?assert(is_pattern(size_of(Site), body_of(hansom_case:pulled(Pid, Ref)))).

%% @doc Readers that stop after a first piece hold no more than their windows, and nobody else up.
slow_readers(Site) ->
    Pid = open(Site, #{stream_window => 65535}),
    Readers = [process() || _ <- lists:seq(1, 6)],
    Begin = fun() ->
                    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, large(Site), [], <<>>, once),
                    {status, 200, _} = payload(Ref),
                    {headers, _} = payload(Ref),
                    ok = ?CONN:stream_next(Pid),
                    First = payload(Ref),
                    true = is_binary(First),
                    {Ref, First}
            end,
    [{Ref, First} | _] = [run_in(Reader, Begin) || Reader <- Readers],
    [begin
         {ok, 200, _, Body} = get(Pid, path(Site, "/bytes/1000000")),
         ?assert(is_pattern(1000000, Body))
     end || _ <- lists:seq(1, 10)],
    #{buffered_in := Held} = hansom_nif:info(Pid),
    ?assert(Held =< 6 * 65535, Held),
    %% One of them goes on to its end, the others end in the middle.
    Test = self(),
    start_in(hd(Readers), fun() -> Test ! {pulled, body_of([First | hansom_case:pulled(Pid, Ref)])} end),
    receive {pulled, Whole} -> ?assert(is_pattern(size_of(Site), Whole))
    after ?PATIENCE -> error(no_result)
    end,
    lists:foreach(fun hansom_case:kill/1, Readers),
    wait_for(fun() -> maps:get(buffered_in, hansom_nif:info(Pid)) =:= 0 end),
    ?assertMatch({ok, 200, _, _}, get(Pid, path(Site, "/hello"))).

%% @doc Responses nobody wants any more, given up in each phase; the connection serves on.
given_up(Site) ->
    Pid = open(Site),
    %% Last what is not read: HAProxy begins no other response while that is in its way.
    Paths = [path(Site, "/stall"), path(Site, "/stall/head"), large(Site)],
    [begin
         Users = [process() || _ <- Paths],
         [begin
              {ok, Ref} = run_in(User, fun() -> ?CONN:request_async(Pid, <<"GET">>, Path, [], <<>>, once) end),
              %% Only the first answers nothing at all.
              Path =:= hd(Paths) orelse run_in(User, fun() -> {status, 200, _} = payload(Ref) end)
          end || {User, Path} <- lists:zip(Users, Paths)],
         lists:foreach(fun hansom_case:kill/1, Users),
         ?assertMatch({ok, 200, _, <<"Hello, world!\n">>}, get(Pid, path(Site, "/hello")))
     end || _ <- lists:seq(1, 20)],
    ?assertEqual(connected, state(Pid)).

%% @doc Bodies in one piece and in many, from none to large ones.
uploads(Site) ->
    Pid = open(Site),
    [begin
         Body = bytes(Size),
         Report = report(Body),
         {ok, 200, _, Whole} = ?CONN:request(Pid, <<"POST">>, path(Site, "/upload"), fields(Site, Body), Body),
         ?assertEqual(Report, Whole),
         ?assertEqual(Report, upload(Pid, Site, Body, 60000))
     end || Size <- [0, 1, 16385, ?MIB, size_of(Site)]],
    Echoed = bytes(?MIB),
    {ok, 200, _, Echo} = ?CONN:request(Pid, <<"PUT">>, path(Site, "/echo"), fields(Site, Echoed), Echoed),
    ?assert(Echo =:= Echoed).

fields(#{lengths := true}, Body) -> [{<<"content-length">>, integer_to_binary(byte_size(Body))}];
fields(_, _) -> [].

%% What the origin says of an upload.
report(Body) ->
    iolist_to_binary(io_lib:format("bytes: ~b~ncrc32: ~8.16.0b~n", [byte_size(Body), erlang:crc32(Body)])).

upload(Pid, Site, Body, Step) ->
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, path(Site, "/upload"), fields(Site, Body)),
    ok = send_pieces(Pid, Body, Step),
    ok = ?CONN:finish_send_body(Pid),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, Report} = ?CONN:body(Pid),
    Report.

send_pieces(Pid, Body, Step) when byte_size(Body) =< Step ->
    ?CONN:send_body_chunk(Pid, Body);
send_pieces(Pid, Body, Step) ->
    <<Piece:Step/binary, Rest/binary>> = Body,
    ok = ?CONN:send_body_chunk(Pid, Piece),
    send_pieces(Pid, Rest, Step).

%% @doc Several processes upload while others read.
uploads_side_by_side(Site) ->
    Pid = open(Site),
    Body = bytes(2 * ?MIB),
    Up = fun() -> upload(Pid, Site, Body, 30000) =:= report(Body) end,
    Down = fun() -> {ok, 200, _, Got} = get(Pid, path(Site, "/bytes/2097152")), Got =:= Body end,
    Running = [async(Work) || Work <- [Up, Down], _ <- lists:seq(1, 4)],
    [?assertEqual({ok, true}, result(Handle, ?PATIENCE)) || Handle <- Running].

%% @doc A response's trailers, where asked for, and a response that ends with them elsewhere.
trailers(Site) ->
    Pid = open(Site),
    Headers = [{<<"te">>, <<"trailers">>}],
    Path = path(Site, "/trailers"),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, Path, Headers, <<>>, true, self(), false, [{trailers, true}]),
    [{status, 200, _}, {headers, _} | Rest] = payloads(Ref),
    ?assertMatch([{trailers, [_ | _]}, done], [Other || Other <- Rest, not is_binary(Other)]),
    Content = body_of(Rest),
    ?assertMatch({ok, 200, _, Content}, ?CONN:request(Pid, <<"GET">>, Path, Headers, <<>>)),
    ?assertMatch({ok, 200, _, <<"Hello, world!\n">>}, get(Pid, path(Site, "/hello"))).

%% @doc A request that ends with trailers.
request_trailers(Site) ->
    Pid = open(Site),
    ok = ?CONN:send_request_headers(Pid, <<"POST">>, path(Site, "/upload"), [{<<"trailer">>, <<"x-sum">>}]),
    ok = ?CONN:send_body_chunk(Pid, <<"abc">>),
    ok = ?CONN:finish_send_body(Pid, [{trailers, [{<<"x-sum">>, <<"6">>}]}]),
    {ok, 200, _, Pid} = ?CONN:start_response(Pid),
    {ok, Report} = ?CONN:body(Pid),
    ?assertMatch({match, _}, re:run(Report, "bytes: 3\n")),
    ?assertMatch({match, _}, re:run(Report, "trailer x-sum: 6")).

%% @doc Heads larger than a frame of HTTP/2 by default, in both directions.
large_heads(Site) ->
    Pid = open(Site),
    Fields = [{<<"x-field-", (integer_to_binary(N))/binary>>, binary:copy(<<"v">>, 500)} || N <- lists:seq(1, 40)],
    {ok, 200, _, Seen} = ?CONN:request(Pid, <<"GET">>, path(Site, "/headers"), Fields, <<>>),
    [?assertMatch({_, _}, binary:match(Seen, <<Name/binary, ": ", Value/binary>>), Name) || {Name, Value} <- Fields],
    {ok, 200, Headers, _} = get(Pid, path(Site, "/headers-size/12000")),
    ?assert(iolist_size([[Name, Value] || {Name, Value} <- Headers]) >= 10000).

%% @doc A server goes away while it sends this large response: with `drain_on_goaway' it finishes, and a new dial
%% reaches its successor. `Retire' makes it so.
drained(Site, Path, Retire) ->
    {Pid, Ref, First} = half_read(Site, #{drain_on_goaway => true}, Path),
    ok = Retire(),
    hansom_case:is_state(Pid, closed),
    ?assert(is_pattern(size_of(Site), body_of([First | hansom_case:pulled(Pid, Ref)]))),
    ?assertEqual({error, invalid_state}, get(Pid, Path)),
    ok = ?CONN:connect(Pid),
    ?assertMatch({ok, 200, _, _}, get(Pid, Path)).

%% @doc The same as hackney does it: whatever is under way is given up.
cut_short(Site, Path, Retire) ->
    {Pid, Ref, _} = half_read(Site, #{}, Path),
    ok = Retire(),
    ?assertEqual({error, {goaway, no_error}}, payload(Ref)),
    ?assertEqual(closed, state(Pid)).

half_read(Site, Options, Path) ->
    Pid = open(Site, Options#{stream_window => 65535}),
    {ok, Ref} = ?CONN:request_async(Pid, <<"GET">>, Path, [], <<>>, once),
    {status, 200, _} = payload(Ref),
    {headers, _} = payload(Ref),
    ok = ?CONN:stream_next(Pid),
    {Pid, Ref, payload(Ref)}.
