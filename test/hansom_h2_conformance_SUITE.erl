%% @doc What RFC 9113 asks of a client, section by section: frames a peer may send, those it may not, and what the
%% client has to make of them. Each row is a connection of its own to a peer that plays a script.
-module(hansom_h2_conformance_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CONN, (hansom_case:conn())).

-import(hansom_case, [state/1]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) ->
    case {hansom_case:is_hansom(), hansom_servers:find(origin)} of
        {false, _} -> {skip, "HTTP/2 without TLS is an option of hansom"};
        {true, missing} -> hansom_servers:missing(origin);
        {true, {ok, _}} -> hansom_case:init_suite(Config)
    end.

end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

%% Where the RFC leaves the choice, or the client is stricter or laxer than it says, the row says what it does: damaged
%% frames, whatever their error is called in the RFC, end the connection with `protocol_error', but for those that are
%% too large; fields that cannot be fields do so too; pseudo-header fields that belong elsewhere are passed over.

%% Plays a row to a GET of its own: what the peer sends after the request, and
%% `{ok, Status}', `{stream, Code}' (an error of the exchange, the connection serves on) or
%% `{connection, Code}' (an error of the connection, which is closed).
play(Rows) ->
    Sections = [["h2-preface", "expect-frame headers 1" | Lines] ++ ["expect-eof"] || {_, Lines, _} <- Rows],
    Text = lists:join("\n", lists:append(lists:join(["connection"], Sections)) ++ [""]),
    #{ports := #{http := Port}} = Server = hansom_servers:script(Text),
    try
        Found = [{Name, found(Port)} || {Name, _, _} <- Rows],
        ?assertEqual([{Name, Expected} || {Name, _, Expected} <- Rows], Found)
    after
        hansom_servers:stop(Server)
    end.

found(Port) ->
    Pid = hansom_case:start_with(#{host => "127.0.0.1", port => Port, h2c => true, recv_timeout => 10000}),
    ok = ?CONN:connect(Pid),
    Answer = ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>),
    State = state(Pid),
    ok = ?CONN:stop(Pid),
    case Answer of
        {ok, Status, _, _} -> {ok, Status};
        {error, {stream_error, Code}} when State =:= connected -> {stream, Code};
        {error, {closed, Code}} when State =:= closed -> {connection, Code};
        Other -> {Other, State}
    end.

head() -> head("end_headers", "1").

head(Flags, Stream) -> "fields headers " ++ Flags ++ " " ++ Stream ++ " \":status: 200\"".

%% A whole response.
answer() -> [head(), last()].

last() -> "frame data end_stream 1 \"x\"".

%% RFC 9113, sections 4 and 5.5
%% Clauses: H2-3, H2-7, H2-9
h2_07_frames(_) ->
    Large = "\"" ++ lists:append(lists:duplicate(1, "y")) ++ "\"",
    play([{unknown_type, ["frame 22 0 0 \"payload\"", "frame 23 255 1 \"payload\"" | answer()], {ok, 200}},
          {unknown_flags, ["frame ping 22 0 \"12345678\"" | answer()], {ok, 200}},
          {reserved_bit, ["send \"\\x00\\x00\\x08\\x06\\x00\\x80\\x00\\x00\\x0012345678\"" | answer()], {ok, 200}},
          {largest_data, [head(), "frame data 0 1 " ++ Large ++ "*16384", last()], {ok, 200}},
          {too_large_data, [head(), "frame data 0 1 " ++ Large ++ "*16385"], {connection, frame_size_error}},
          {too_large_head, ["frame headers end_headers 1 " ++ Large ++ "*16385"], {connection, frame_size_error}},
          {bad_compression, ["frame headers end_headers 1 \"\\x40\\x80\\xff\\xff\\xff\\xff\""],
           {connection, protocol_error}},
          {no_such_index, ["frame headers end_headers 1 \"\\xff\\xff\\x7f\""], {connection, protocol_error}},
          {unknown_within_head, [head("0", "1"), "frame 22 0 0 \"payload\""], {connection, protocol_error}},
          {priority_within_head, [head("0", "1"), "frame priority 0 1 \"\\x00\\x00\\x00\\x00\\xff\""],
           {connection, protocol_error}},
          {another_head_within_head, [head("0", "1"), head("end_headers", "3")], {connection, protocol_error}}]).

%% RFC 9113, section 5.1
%% Clauses: H2-7, H2-9
h2_07_states(_) ->
    play([{data_on_idle, ["frame data 0 3 \"x\""], {connection, protocol_error}},
          {head_on_idle, [head("end_headers", "3")], {connection, protocol_error}},
          {reset_on_idle, ["frame rst_stream 0 3 \"\\x00\\x00\\x00\\x08\""], {connection, protocol_error}},
          {window_on_idle, ["frame window_update 0 3 \"\\x00\\x00\\x00\\x64\""], {connection, protocol_error}},
          {continuation_on_idle, ["frame continuation end_headers 3 \"\""], {connection, protocol_error}},
          {head_on_a_stream_of_the_server, [head("end_headers", "2")], {connection, protocol_error}},
          {data_before_head, [last()], {connection, protocol_error}},
          {continuation_after_head, [head(), "frame continuation end_headers 1 \"\""], {connection, protocol_error}},
          {continuation_after_data, [head(), "frame data 0 1 \"x\"", "frame continuation end_headers 1 \"\""],
           {connection, protocol_error}}]).

%% Frames of a stream that is over, or half of it, while another is open: what becomes of that one shows whether the
%% connection goes on. It does where the peer may not have known; data and trailers of a stream whose request is still being
%% sent, but whose response is over, are more than the error of a stream that the RFC makes of them.
%% RFC 9113, section 5.1
%% Clauses: H2-7, H2-9
h2_07_after_the_end(_) ->
    Zero = "\\x00\\x00\\x00",
    Late = [{data, ["frame data 0 3 \"late\""]},
            {end_of_data, ["frame data end_stream 3 \"\""]},
            {head, [head("end_headers", "3")]},
            {trailers, ["fields headers end_headers|end_stream 3 \"x: y\""]},
            {head_in_two, [head("0", "3"), "frame continuation end_headers 3 \"\""]},
            {continuation, ["frame continuation end_headers 3 \"\""]},
            {window, ["frame window_update 0 3 \"" ++ Zero ++ "\\x64\""]},
            {priority, ["frame priority 0 3 \"" ++ Zero ++ "\\x00\\xff\""]},
            {reset, ["frame rst_stream 0 3 \"" ++ Zero ++ "\\x08\""]}],
    Response = [head("end_headers", "3"), "frame data end_stream 3 \"x\""],
    Whole = fun(Pid) -> {ok, 200, _, <<"x">>} = ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>) end,
    %% What the stream itself is told depends on what has come by then.
    Half = fun(Pid) ->
                   {ok, Pid, 3} = ?CONN:open_h2_stream(Pid, <<"POST">>, <<"/">>, [], hansom_case:process(), #{})
           end,
    ResetByPeer = fun(Pid) ->
                          Id = begun(Pid),
                          {stream_reset, Id, cancel} = hansom_h2_stream:recv(Pid, Id, hansom_case:deadline())
                  end,
    Phases = [{closed, Response, Whole},
              {half_closed, Response, Half},
              {reset, reset_of_3(), fun reset_3/1},
              {reset_by_the_peer, ["frame rst_stream 0 3 \"" ++ Zero ++ "\\x08\""], ResetByPeer}],
    Rows = [{Phase, Name} || {Phase, _, _} <- Phases, {Name, _} <- Late],
    Found = [served_after(Lines ++ Frames ++ answer(), Begin) || {_, Lines, Begin} <- Phases, {_, Frames} <- Late],
    Ends = [{Phase, continuation} || {Phase, _, _} <- Phases]
           ++ [{half_closed, Name} || Name <- [data, end_of_data, trailers]],
    Expected = [case lists:member(Row, Ends) of
                    true -> {connection, protocol_error};
                    false -> served
                end || Row <- Rows],
    ?assertEqual(lists:zip(Rows, Expected), lists:zip(Rows, Found)).

%% What becomes of a request on stream 1 when `Begin' has used stream 3 and the peer plays these lines.
served_after(Lines, Begin) -> served_after(Lines, Begin, #{}).

served_after(Lines, Begin, More) ->
    hansom_h2_case:with_script(
      ["h2-preface", "expect-frame headers 1", "expect-frame headers 3"] ++ Lines ++ ["expect-eof"],
      fun(Options) ->
              Pid = hansom_h2_case:connect(maps:merge(Options, More)),
              {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
              _ = Begin(Pid),
              case {hansom_case:payloads(Pid), state(Pid)} of
                  {[{status, 200, <<>>}, {headers, _}, <<"x">>, done], connected} -> served;
                  {[{error, {closed, Code}}], closed} -> {connection, Code};
                  Other -> Other
              end
      end).

%% A stream whose request is not sent to its end.
begun(Pid) ->
    {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/">>, []),
    Id.

reset_3(Pid) -> ok = hansom_h2_stream:cancel(Pid, begun(Pid)).

reset_of_3() -> ["expect-frame rst_stream 3 \"\\x00\\x00\\x00\\x08\""].

%% What comes on a stream that we have reset is dropped, but counts: its fields go into the compression table, and its data
%% gives room of the connection back.
%% RFC 9113, sections 4.3, 5.1 and 6.9
%% Clauses: H2-7, H2-16
h2_07_what_a_dropped_stream_shares(_) ->
    %% `x: y' as a new entry of the table, then as a reference to it.
    Fields = ["frame headers 0 3 \"\\x88\\x40\\x01x\"", "frame continuation end_headers 3 \"\\x01y\"",
              "frame headers end_headers 1 \"\\x88\\xbe\"", last()],
    ?assertEqual(served, served_after(reset_of_3() ++ Fields, fun reset_3/1)),
    %% Half of the window, as often as makes two: it is reopened by halves.
    Half = ["frame data 0 3 \"z\"*16384", "frame data 0 3 \"z\"*16384", "expect-frame window_update 0"],
    ?assertEqual(served, served_after(reset_of_3() ++ Half ++ Half ++ Half ++ Half ++ answer(), fun reset_3/1,
                                      #{connection_window => 65535})).

%% Frames that come byte by byte mean what they mean in one piece.
%% Clauses: H2-4, H2-8
h2_08_cut_frames(_) ->
    Begin = ["expect 24", "expect-frame settings"],
    Acknowledge = "frame settings ack 0 \"\"",
    Played = fun(Lines, More, Fun) ->
                     hansom_h2_case:with_script(
                       Lines ++ ["expect-eof"],
                       fun(Options) -> Fun(hansom_h2_case:connect(maps:merge(Options, More))) end)
             end,
    Get = fun(Pid, Headers) -> ?CONN:request(Pid, <<"GET">>, <<"/">>, Headers, <<>>) end,
    Cut = fun(Frame) -> ["split 1 \"", [io_lib:format("\\x~2.16.0b", [Byte]) || <<Byte>> <= Frame], "\""] end,
    %% One stream at a time, and fields of 1024 bytes; not an acknowledgement cut likewise.
    Settings = [Cut(<<12:24, 4, 0, 0:32, 3:16, 1:32, 6:16, 1024:32>>), Cut(<<0:24, 4, 1, 0:32>>)],
    Played(Begin ++ Settings ++ ["expect-frame headers 1"], #{max_streams => error},
           fun(Pid) ->
                   ?assertEqual({error, header_list_too_large}, Get(Pid, [{<<"x">>, binary:copy(<<"y">>, 1024)}])),
                   {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
                   ?assertEqual({error, max_streams_exceeded}, Get(Pid, [])),
                   ok = ?CONN:close(Pid)
           end),
    %% The first stream is still served, the second is not.
    Goaway = fun(Code) -> Cut(<<13:24, 7, 0, 0:32, 1:32, Code:32, "debug">>) end,
    Two = ["expect-frame headers 1", "expect-frame headers 3"],
    Both = fun(Pid) ->
                   {ok, Pid} = ?CONN:request_async(Pid, <<"GET">>, <<"/">>, [], <<>>, true),
                   Second = Get(Pid, []),
                   {hansom_case:payloads(Pid), Second}
           end,
    Start = Begin ++ ["frame settings 0 0 \"\"", Acknowledge] ++ Two,
    Played(Start ++ [Goaway(0) | answer()], #{drain_on_goaway => true},
           fun(Pid) ->
                   ?assertMatch({[{status, 200, <<>>}, {headers, []}, <<"x">>, done], {error, {goaway, no_error}}},
                                Both(Pid))
           end),
    Played(Start ++ [Goaway(11)], #{},
           fun(Pid) ->
                   Error = {error, {goaway, enhance_your_calm}},
                   ?assertEqual({[Error], Error}, Both(Pid))
           end).

%% RFC 9113, section 6
%% Clauses: H2-7, H2-9
h2_07_lengths_and_streams(_) ->
    Zero = "\\x00\\x00\\x00",
    play([{data_without_stream, ["frame data 0 0 \"x\""], {connection, protocol_error}},
          {padding, [head(), "frame data padded 1 \"\\x02x\\x00\\x00\"", last()], {ok, 200}},
          {padding_beyond_data, [head(), "frame data padded 1 \"\\x05xy\""], {connection, protocol_error}},
          {head_without_stream, [head("end_headers", "0")], {connection, protocol_error}},
          {padding_beyond_head, ["frame headers padded|end_headers 1 \"\\x09\\x88\""], {connection, protocol_error}},
          {priority_is_ignored, ["frame priority 0 1 \"\\x00\\x00\\x00\\x00\\xff\"" | answer()], {ok, 200}},
          {priority_without_stream, ["frame priority 0 0 \"\\x00\\x00\\x00\\x00\\xff\""], {connection, protocol_error}},
          {reset_without_stream, ["frame rst_stream 0 0 \"" ++ Zero ++ "\\x08\""], {connection, protocol_error}},
          {short_reset, ["frame rst_stream 0 1 \"" ++ Zero ++ "\""], {connection, protocol_error}},
          {settings_with_stream, ["frame settings 0 1 \"\""], {connection, protocol_error}},
          {acknowledgement_with_settings, ["frame settings ack 0 \"\\x00\\x03" ++ Zero ++ "\\x01\""],
           {connection, protocol_error}},
          {cut_settings, ["frame settings 0 0 \"" ++ Zero ++ "\""], {connection, protocol_error}},
          {unasked_acknowledgement, ["frame settings ack 0 \"\"" | answer()], {connection, protocol_error}},
          {unasked_pong, ["frame ping ack 0 \"12345678\"" | answer()], {ok, 200}},
          {ping_with_stream, ["frame ping 0 1 \"12345678\""], {connection, protocol_error}},
          {short_ping, ["frame ping 0 0 \"1234\""], {connection, protocol_error}},
          {goaway_with_stream, ["frame goaway 0 1 \"" ++ Zero ++ "\\x00" ++ Zero ++ "\\x00\""],
           {connection, protocol_error}},
          {short_goaway, ["frame goaway 0 0 \"" ++ Zero ++ "\""], {connection, protocol_error}},
          {short_window_update, ["frame window_update 0 0 \"" ++ Zero ++ "\""], {connection, protocol_error}},
          {continuation_without_stream, [head("0", "1"), "frame continuation end_headers 0 \"\""],
           {connection, protocol_error}},
          {continuations, [head("0", "1"), "frame continuation 0 1 \"\"", "frame continuation end_headers 1 \"\"", last()],
           {ok, 200}}]).

%% RFC 9113, sections 6.5.2 and 6.9
%% Clauses: H2-7, H2-9
h2_07_settings_and_windows(_) ->
    Setting = fun(Id, Value) -> ["frame settings 0 0 \"\\x00\\x" ++ Id ++ Value ++ "\"" | answer()] end,
    Large = "\\x7f\\xff\\xff\\xff",
    Zero = "\\x00\\x00\\x00\\x00",
    play([{unknown_setting, Setting("ff", Zero), {ok, 200}},
          {push_by_a_server, Setting("02", "\\x00\\x00\\x00\\x01"), {ok, 200}},
          {push_nonsense, Setting("02", "\\x00\\x00\\x00\\x02"), {connection, protocol_error}},
          {largest_window, Setting("04", Large), {ok, 200}},
          {too_large_window, Setting("04", "\\x80\\x00\\x00\\x00"), {connection, protocol_error}},
          {too_small_frames, Setting("05", "\\x00\\x00\\x3f\\xff"), {connection, protocol_error}},
          {too_large_frames, Setting("05", "\\x01\\x00\\x00\\x00"), {connection, protocol_error}},
          {no_room_on_connection, ["frame window_update 0 0 \"" ++ Zero ++ "\""], {connection, protocol_error}},
          {no_room_on_stream, ["frame window_update 0 1 \"" ++ Zero ++ "\""], {connection, protocol_error}},
          {too_much_room_on_connection, ["frame window_update 0 0 \"" ++ Large ++ "\""],
           {connection, flow_control_error}},
          %% Everything was sent, so it does not matter.
          {too_much_room_on_stream, ["frame window_update 0 1 \"" ++ Large ++ "\"" | answer()], {ok, 200}}]).

%% RFC 9113, section 6.9.1
%% Clauses: H2-6, API-37
h2_06_too_much_room_on_an_open_stream(_) ->
    hansom_h2_case:with_script(
      ["h2-preface", "expect-frame headers 1", "frame window_update 0 1 \"\\x7f\\xff\\xff\\xff\"",
       "expect-frame rst_stream 1 \"\\x00\\x00\\x00\\x03\"", "expect-eof"],
      fun(Options) ->
              Pid = hansom_h2_case:connect(Options),
              {ok, Pid, Id} = hansom_h2_stream:open(Pid, <<"POST">>, <<"/">>, []),
              ?assertEqual({stream_reset, Id, flow_control_error},
                           hansom_h2_stream:recv(Pid, Id, hansom_case:deadline())),
              ?assertEqual(connected, state(Pid))
      end).

%% RFC 9113, section 8
%% Clauses: H2-5, H2-7
h2_07_messages(_) ->
    Fields = fun(List) -> ["fields headers end_headers 1" ++ [[" \"", Field, "\""] || Field <- List], last()] end,
    Bad = {stream, protocol_error},
    play([{interim, [head_of("100"), head_of("103") | answer()], {ok, 200}},
          {no_status, Fields(["x: y"]), Bad},
          {two_statuses, Fields([":status: 200", ":status: 200"]), Bad},
          {bad_status, Fields([":status: 2000"]), {connection, protocol_error}},
          {unknown_pseudo_field, Fields([":status: 200", ":what: x"]), {connection, protocol_error}},
          {pseudo_field_of_requests, Fields([":status: 200", ":path: /"]), {ok, 200}},
          {pseudo_field_after_others, Fields(["x: y", ":status: 200"]), Bad},
          {connection_field, Fields([":status: 200", "connection: close"]), Bad},
          {transfer_encoding, Fields([":status: 200", "transfer-encoding: chunked"]), Bad},
          {te, Fields([":status: 200", "te: gzip"]), Bad},
          {trailers, [head(), "frame data 0 1 \"x\"", "fields headers end_headers|end_stream 1 \"x: y\""], {ok, 200}},
          {trailers_alone, [head(), "fields headers end_headers|end_stream 1 \"x: y\""], {ok, 200}},
          {trailers_that_go_on, [head(), "fields headers end_headers 1 \"x: y\""], Bad},
          {pseudo_field_in_trailers, [head(), "fields headers end_headers|end_stream 1 \":status: 200\""], {ok, 200}},
          {interim_at_the_end, ["fields headers end_headers|end_stream 1 \":status: 103\""], Bad},
          {switching_protocols, [head_of("101") | answer()], Bad},
          {promise, ["fields push_promise end_headers 1 \"x: y\""], {connection, protocol_error}}]).

head_of(Status) -> "fields headers end_headers 1 \":status: " ++ Status ++ "\"".

%% Frames without end: the connection ends with an error, unless they may have been on their way to a stream that was
%% reset, and nothing piles up.
%% Clauses: H2-6, H2-7, H2-8, H2-9, RSP-7
h2_09_floods(Config) ->
    Many = fun(Frame) -> "frames 200000 " ++ Frame end,
    Calm = {error, {closed, enhance_your_calm}},
    Rows = [{resets, [Many("rst_stream 0 1 \"\\x00\\x00\\x00\\x08\"")], {error, {stream_error, cancel}}, closed},
            {priorities, [Many("priority 0 1 \"\\x00\\x00\\x00\\x00\\xff\"")], Calm, closed},
            {windows, [Many("window_update 0 1 \"\\x00\\x00\\x00\\x01\"")], Calm, closed},
            {windows_of_the_connection, [Many("window_update 0 0 \"\\x00\\x00\\x00\\x01\"")], Calm, closed},
            {unknown_frames, [Many("22 0 0 \"payload\"")], Calm, closed},
            {pings, [Many("ping 0 0 \"12345678\"")], Calm, closed},
            {pongs, [Many("ping ack 0 \"12345678\"")], Calm, closed},
            {settings, [Many("settings 0 0 \"\"")], Calm, closed},
            {empty_continuations, [head("0", "1"), Many("continuation 0 1 \"\"")], Calm, closed},
            {continuations, [head("0", "1"), Many("continuation 0 1 \"\\x00\\x01x\\x01y\"")], Calm, closed},
            {empty_data, [head(), Many("data 0 1 \"\"")], Calm, closed},
            {padding, [head(), Many("data padded 1 \"\\x03\\x00\\x00\\x00\"")], Calm, closed},
            {interim_responses, [Many("headers end_headers 1 \"\\x08\\x03103\"")],
             {error, {limit_exceeded, max_interim_responses}}, connected},
            %% Complete with the first.
            {trailers, [head(), Many("headers end_headers|end_stream 1 \"\\x00\\x01x\\x01y\"")], ok, closed},
            {goaways, [Many("goaway 0 0 \"\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\"")], {error, {goaway, no_error}}, closed},
            {a_field_over_and_over, [head("0", "1"), send_bomb()], Calm, closed},
            {a_large_field, [head("0", "1"), "frames 600 continuation 0 1 \"\\x00\\x01x\\x01y\"*3000"], Calm, closed}],
    Before = resident(),
    [begin
         Lines = ["h2-preface", "expect-frame headers 1" | Flood] ++ ["expect-eof"],
         hansom_h2_case:with_script(
           Lines,
           fun(Options) ->
                   Pid = hansom_h2_case:connect(Options#{recv_timeout => 10000}),
                   Answer = case ?CONN:request(Pid, <<"GET">>, <<"/">>, [], <<>>) of
                                {ok, 200, _, _} -> ok;
                                Error -> Error
                            end,
                   ?assertEqual({Name, Expected}, {Name, Answer}),
                   hansom_case:is_state(Pid, End),
                   ok = ?CONN:stop(Pid)
           end)
     end || {Name, Flood, Expected, End} <- Rows],
    Growth = resident() - Before,
    ct:pal("grown by ~b KiB", [Growth div 1024]),
    ?assert(Growth < 64 bsl 20, Config).

%% A field of 4000 bytes that goes into the table, then 12 000 references of one byte to it.
send_bomb() ->
    Field = <<16#40, 1, $a, 16#7f, 16#a1, 16#1e, (binary:copy(<<"v">>, 4000))/binary>>,
    Block = <<Field/binary, (binary:copy(<<16#be>>, 12000))/binary>>,
    Frame = <<(byte_size(Block)):24, 9, 4, 1:32, Block/binary>>,
    ["send \"", [io_lib:format("\\x~2.16.0b", [Byte]) || <<Byte>> <= Frame], "\""].

%% Bytes of memory the VM holds, the engine's among them.
resident() ->
    erlang:garbage_collect(),
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.
