%% @doc Plays rows of `hansom_rows' to a connection and compares.
-module(hansom_play).

-export([rows/1, row/2, check/3]).

%% @doc The rows the module under test has to satisfy.
rows(Name) ->
    [Row || Row <- hansom_rows:rows(Name),
            hansom_case:is_hansom() orelse maps:get(only, Row) =/= hansom].

%% @doc One exchange in which the server sends with `Step' (see `hansom_script') and does
%% what the row says afterwards. Gives the answer and what is left of the connection.
row(#{method := Method, ends := Ends} = Row, Step) ->
    Conn = hansom_case:conn(),
    Script = [request, Step | case Ends of
                                  open -> [eof];
                                  close -> [half_close, eof];
                                  reset -> [reset]
                              end],
    Server = hansom_script:serve(Script),
    {ok, Pid} = Conn:start_link(hansom_case:options(Server, maps:get(options, Row, #{}))),
    ok = Conn:connect(Pid),
    Answer = case Conn:request(Pid, Method, <<"/">>, [], <<>>) of
                 {ok, Status, Headers} -> {Status, Headers, Conn:body(Pid)};
                 Error -> Error
             end,
    Left = left(Conn, Pid),
    unlink(Pid),
    ok = Conn:stop(Pid),
    hansom_script:stop(Server),
    hansom_case:no_message(),
    {Answer, Left}.

left(Conn, Pid) ->
    case catch Conn:get_state(Pid) of
        {ok, State} -> State;
        {'EXIT', _} -> gone
    end.

%% @doc Fails with everything needed to understand it.
check(#{gives := Gives, left := Left} = Row, Step, {Answer, Now}) ->
    case gives(Gives, Answer) andalso left_as(Left, Now) of
        true -> ok;
        false -> error({row, Row, {sent, Step}, {expected, Gives, Left}, {got, Answer, Now}})
    end.

gives(malformed, {error, _}) -> true;
gives(malformed, {_, _, {error, _}}) -> true;
gives({Status, any, Body}, {Status, _, Body}) -> true;
gives(Same, Same) -> true;
gives(_, _) -> false.

left_as(any, _) -> true;
left_as(safe, gone) -> hansom_case:is_hansom();
left_as(safe, connected) -> not hansom_case:is_hansom();
left_as(Same, Same) -> true;
left_as(_, _) -> false.
