%% @doc How responses are read: whole, in every split, and cut at every byte.
-module(hansom_response_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() -> hansom_case:cases(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hansom_case:init_suite(Config).
end_per_suite(Config) -> hansom_case:end_suite(Config).
init_per_testcase(Case, Config) -> hansom_case:init_case(?MODULE, Case, Config).
end_per_testcase(_, Config) -> hansom_case:end_case(Config).

deviations() ->
    [{rsp_04_malformed_codes, "RSP-4 and RSP-19: a crash is marked wrong"},
     {rsp_24_left_over_bytes_close, "RSP-24: left-over bytes are marked wrong"}].

whole(Name) ->
    [begin
         Step = {send, Send},
         hansom_play:check(Row, Step, hansom_play:row(Row, Step))
     end
     || #{send := Send} = Row <- hansom_play:rows(Name)].

%% Clauses: RSP-1
rsp_01_line_ends(_) -> whole(line_ends).

%% Clauses: RSP-2
rsp_02_blank_lines_before_the_status_line(_) -> whole(blank_lines).

%% Clauses: RSP-3
rsp_03_status_line(_) -> whole(status_line).

%% Clauses: RSP-4
rsp_04_status_code(_) -> whole(status_code).

%% Clauses: RSP-4, RSP-19
rsp_04_malformed_codes(_) -> whole(status_code), whole(content_length).

%% Clauses: RSP-5
rsp_05_status_line_without_end(_) -> whole(long_line).

%% Clauses: RSP-6, TRAP-20
rsp_06_bytes_that_are_not_http(_) -> whole(not_http).

%% Clauses: RSP-7, RSP-8
rsp_08_fields(_) -> whole(fields).

%% Clauses: RSP-9
rsp_09_folded_fields(_) -> whole(folding).

%% Clauses: RSP-10
rsp_10_order_case_and_duplicates(_) -> whole(order).

%% Clauses: RSP-16, ST-17
rsp_16_head_has_no_body(_) -> whole(head).

%% Clauses: RSP-17, ST-16, ST-15, TRAP-41
rsp_17_no_body_by_status(_) -> whole(no_body).

%% Clauses: RSP-18
rsp_18_chunked_by_the_last_transfer_encoding(_) -> whole(chunked).

%% Clauses: RSP-19, RSP-20
rsp_19_content_length(_) -> whole(content_length).

%% Clauses: RSP-20
rsp_20_body_until_close(_) -> whole(until_close).

%% Clauses: RSP-20
rsp_20_chunked_details(_) -> whole(chunk_details).

%% Clauses: TRAP-35, ST-19
rsp_20_bad_chunks(_) -> whole(bad_chunks).

%% Clauses: RSP-24
rsp_24_left_over_bytes_close(_) -> whole(left_over).

%% Clauses: RSP-26, RSP-27, ST-14, TRAP-21, TRAP-29
rsp_27_keep_alive_by_the_response(_) -> whole(keep_alive).
