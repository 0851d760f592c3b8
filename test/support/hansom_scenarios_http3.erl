%% @doc HTTP/3, with nothing to fall back to: exchanges, messages, uploads, and what does not belong there.
%%
%% Where hackney's connection hangs, or loses what came, there is nothing to compare: the clauses H3-7 and H3-9 to H3-11
%% have tests of their own.
-module(hansom_scenarios_http3).

-export([scenarios/0]).

scenarios() ->
    [hansom_deviations:mark(Scenario#{origin => http3})
     || Scenario <- requests() ++ heads() ++ streaming() ++ messages() ++ uploads() ++ operations() ++ life()].

%% One exchange after the other

requests() ->
    [#{id => {h3, Name}, do => [connect, get_protocol | Do] ++ [get_state]}
     || {Name, Do} <-
            [{bytes, [{get, <<"/bytes/5000">>}, {get, <<"/bytes/10">>}]}, {large, [{get, <<"/bytes/300000">>}]},
             {empty, [{get, <<"/bytes/0">>}]}, {not_found, [{get, <<"/no-such-thing">>}]},
             {head, [{request, <<"HEAD">>, <<"/bytes/10">>, [], <<>>}, {get, <<"/bytes/3">>}]},
             {no_content, [{get, <<"/status/204">>}]}, {not_modified, [{get, <<"/cache/304">>}]},
             {status, [{get, <<"/status/599">>}]}, {post, [{post, <<"/echo">>, <<"data">>}]},
             {post_large, [{post, <<"/echo">>, binary:copy(<<"x">>, 30000)}]},
             {post_iolist, [{post, <<"/echo">>, ["da", [<<"ta">>]]}]},
             {delete, [{request, <<"DELETE">>, <<"/echo">>, [], <<>>}]}, {query, [{request, <<"QUERY">>, <<"/echo">>, [], <<"q">>}]},
             {gzip, [{get, <<"/gzip?bytes=100">>, [{auto_decompress, true}]}]}, {redirect, [{get, <<"/redirect/1">>}]},
             {headers_many, [{get, <<"/headers-count/200">>}]}, {path_iolist, [{get, "/bytes/3"}]},
             {empty_path, [{get, <<>>}]}, {method_atom, [{request, get, <<"/bytes/3">>, [], <<>>}]},
             {bad_target, [{get, <<"/\r\n">>}]}, {bad_method, [{request, <<"G\nT">>, <<"/">>, [], <<>>}]},
             {body_afterwards, [{get, <<"/bytes/3">>}, body]}, {pieces_afterwards, [{get, <<"/bytes/3">>}, stream_body]},
             {response_headers, [response_headers, {get, <<"/bytes/3">>}, response_headers]}]].

%% What the server is sent

heads() ->
    [#{id => {h3_header, Name}, do => [connect, {request, <<"GET">>, <<"/headers">>, Headers, <<>>}]}
     || {Name, Headers} <- [{none, []}, {plain, [{<<"A">>, <<"b">>}]}, {host, [{<<"Host">>, <<"other">>}]},
                            {twice, [{<<"a">>, <<"1">>}, {<<"A">>, <<"2">>}]}, {empty_value, [{<<"A">>, <<>>}]}]].

%% A response in steps

streaming() ->
    Ask = fun(Path) -> {request_streaming, <<"GET">>, Path, [], <<>>} end,
    [#{id => {h3_streaming, Name}, do => [connect | Do] ++ [get_state, {get, <<"/bytes/3">>}]}
     || {Name, Do} <- [{pieces, [Ask(<<"/bytes/5000">>), pieces, stream_body]}, {empty, [Ask(<<"/bytes/0">>), pieces]},
                       {large, [Ask(<<"/bytes/100000">>), pieces]}, {nothing_asked, [stream_body]}]].

messages() ->
    [#{id => {h3_async, Name}, do => [connect | Do] ++ [get_state]}
     || {Name, Do} <-
            [{push, [{async, <<"/bytes/5000">>, true}, messages]}, {push_empty, [{async, <<"/bytes/0">>, true}, messages]},
             {push_head, [{request_async, <<"HEAD">>, <<"/bytes/10">>, [], <<>>, true}, messages]},
             {post, [{push, <<"POST">>, <<"/echo">>, [], <<"data">>}]},
             {redirect, [{request_async, <<"GET">>, <<"/redirect/1">>, [], <<>>, true, {actor, main}, true}, messages]},
             {once, [{async, <<"/bytes/10">>, once}, {messages, 2}, pull_all]},
             {other, [{request_async, <<"GET">>, <<"/bytes/10">>, [], <<>>, true, {actor, other}}, {as, other, messages}]},
             {one_by_one, [{async, <<"/bytes/10">>, true}, messages, {async, <<"/bytes/20">>, true}, messages]},
             {reset, [{async, <<"/reset/before-head?code=8">>, true}, messages]},
             {reset_later, [{async, <<"/reset/after/100?code=2">>, true}, messages]}]].

uploads() ->
    Begin = {send_request_headers, <<"POST">>, <<"/echo">>, []},
    [#{id => {h3_upload, Name}, do => [connect | Do]}
     || {Name, Do} <-
            [{echo, [Begin, {send_body_chunk, <<"one">>}, {send_body_chunk, ["t", <<"wo">>]}, finish_send_body]},
             {functions, [Begin, {send_body_chunk, {fun(3) -> eof; (N) -> {ok, integer_to_binary(N), N + 1} end, 0}},
                          {send_body_chunk, fun() -> eof end}, finish_send_body]},
             {no_upload, [{send_body_chunk, <<"x">>}, finish_send_body, start_response]},
             {bad_target, [{send_request_headers, <<"POST">>, <<"/\n">>, []}]}]].

%% Every operation in `connected'

operations() ->
    [#{id => {h3_state, Name}, do => [connect, Op | after_it(Name)]}
     || {Name, Op} <- hansom_scenarios_state:operations(),
        %% What these give depends on the moment, or on the addresses of the machine.
        not lists:member(Name, [upgrade, start_response, headers, headers_options, async_once, async_legacy, sockname])].

after_it(async) -> [messages];
after_it(Name) when Name =:= cast_stop; Name =:= stop; Name =:= stop_deadline -> [{wait, gone}];
after_it(_) -> [get_state].

%% Owners, pools, closes

life() ->
    [#{id => {h3_life, Name}, start => Start, do => Do}
     || {Name, Start, Do} <-
            [{owner_dies, #{owner => {actor, owner}}, [connect, {kill, owner}, {wait, gone}]},
             {owner_changes, #{owner => {actor, owner}},
              [connect, {set_owner, {actor, new}}, {kill, owner}, {get, <<"/bytes/3">>}, {kill, new}, {wait, gone}]},
             {caller_killed, #{}, [connect, {as, other, {get, <<"/bytes/3">>}}, {kill, other}, {get, <<"/bytes/3">>}]},
             {idle, #{idle_timeout => 50}, [connect, {pass, 150}, {get, <<"/bytes/3">>}]},
             {close, #{}, [connect, close, get_state, {get, <<"/">>}]},
             {close_pooled, #{pool_pid => {actor, pool}}, [connect, close, {wait, gone}]},
             {stopped_under_a_request, #{}, [connect, {spawn, other, {get, <<"/stall">>}}, {waits, other}, stop, {join, other}]},
             {killed_under_a_request, #{}, [connect, {spawn, other, {get, <<"/stall">>}}, {waits, other}, {signal, kill}, {join, other}]}]].
