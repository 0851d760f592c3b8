%% @doc Which scenarios hansom answers otherwise than hackney, and by which deviation: the name of a
%% test in docs/deviations.md.
-module(hansom_deviations).

-export([mark/1]).

%% @doc The scenario with its deviation, `none' if both have to do the same.
-spec mark(map()) -> hansom_scenario:scenario().
mark(#{id := Id} = Scenario) ->
    case deviation(Id, Scenario) of
        none -> Scenario;
        Name -> Scenario#{differs => Name}
    end.

%% Responses
deviation({row, status_code, _, _}, #{row := #{only := hansom}}) -> rsp_04_malformed_codes;
deviation({row, chunk_details, _, _}, #{row := #{only := hansom}}) -> rsp_20_chunked_details;
deviation({row, content_length, _, _}, #{row := #{only := hansom}}) -> rsp_19_content_length;
deviation({row, left_over, _, Way}, _) when Way =:= body; Way =:= pieces -> rsp_24_left_over_bytes_close;
deviation({row, chunked, _, Way}, #{row := #{left := Left}}) when Left =/= connected, Way =:= body orelse Way =:= pieces ->
    rsp_18_chunked_by_the_last_transfer_encoding;
deviation({row, content_length, _, Way}, #{row := #{left := safe}}) when Way =:= body; Way =:= pieces ->
    rsp_19_content_length;
%% The data of a chunk that is not properly ended has been delivered.
deviation({row, bad_chunks, Index, Way}, _) when Index >= 4, Way =/= body ->
    rsp_22_cut_at_every_byte_gives_what_came;
deviation({cut, redirect, follow, _, _}, _) -> none;
deviation({cut, until_close, _, _, _}, _) -> none;
deviation({cut, chunked, _, _, At}, _) when At >= 70 -> none;
deviation({cut, _, _, error, _}, #{cut_body := true}) -> rsp_22_truncated_body_is_an_error;
deviation({cut, chunked, _, ok, At}, _) when At >= 51, At =< 56; At >= 63, At =< 66 ->
    rsp_22_cut_at_every_byte_gives_what_came;
deviation({truncated, Name, ok, pooled, _}, _) when Name =:= push; Name =:= pull -> asy_09_pooled_body_ended_by_close;
deviation({truncated, _, error, _, _}, _) -> rsp_22_truncated_body_is_an_error;
deviation({divided, folded, 23}, _) -> rsp_09_folded_fields;
deviation({drip, folded, _}, _) -> rsp_09_folded_fields;
deviation({reset, length, _, 46}, _) -> rsp_22_truncated_body_is_an_error;
deviation({again, asked_in_atoms, _}, _) -> api_07_bad_arguments_leave_the_connection_usable;
%% States
deviation({state, State, response_headers}, _) when State =/= idle, State =/= connected, State =/= closed,
                                                    State =/= stopped, State =/= streaming_body,
                                                    State =/= finished_body ->
    api_19_response_headers_is_a_list;
deviation({state, finished_body, Name}, _) when Name =:= chunk; Name =:= chunk_iolist; Name =:= chunk_state_fun;
                                                Name =:= finish ->
    req_10_nothing_after_the_end_of_an_upload;
deviation({state, streaming_once, resume_stream}, _) -> asy_12_resume_delivers;
%% Requests
deviation({early, Name}, _) when Name =:= answer; Name =:= pieces -> rsp_27_response_before_the_end_of_its_request;
deviation({upload_head, empty_path}, _) -> req_01_empty_path_of_an_upload;
deviation({upload, empty_piece}, _) -> req_12_empty_chunk_writes_nothing;
deviation({upload, Name}, _) when Name =:= twice_finished; Name =:= after_finish ->
    req_10_nothing_after_the_end_of_an_upload;
deviation({upload, Name}, _) when Name =:= not_data; Name =:= fun_other ->
    api_07_bad_arguments_leave_the_connection_usable;
deviation({request, {headers, Index}, _}, _) when Index >= 28, Index =< 31 ->
    api_07_bad_arguments_leave_the_connection_usable;
deviation({request, {method_bytes, 5}, _}, _) -> req_02_a_method_has_bytes;
%% Messages
deviation({owner, streaming_once, _}, _) -> asy_15_end_of_the_owner_reaches_another_node;
deviation({receiver, owner_is_lost}, _) -> asy_15_end_of_the_owner_reaches_another_node;
deviation({h2_life, owner_lost_under_messages}, _) -> asy_15_end_of_the_owner_reaches_another_node;
deviation({receiver, not_a_mode}, _) -> api_15_unknown_mode_is_refused;
deviation({change, resume_after_once}, _) -> asy_12_resume_delivers;
deviation({mode, until_close, _, pooled}, _) -> asy_09_pooled_body_ended_by_close;
deviation({mode, Name, _, no_reuse}, _) when Name =:= head; Name =:= no_content; Name =:= not_modified ->
    asy_03_unusable_after_a_response_without_a_body;
deviation({redirect, detail, says_close}, _) -> asy_03_unusable_after_a_response_without_a_body;
deviation({mode, Name, _, pooled}, _) when Name =:= head; Name =:= no_content; Name =:= not_modified ->
    pool_04_one_checkin_for_an_exchange;
deviation({mode, Name, _, pooled}, _) when Name =/= says_close, Name =/= http_1_0 ->
    asy_09_pooled_exchange_is_checked_in;
deviation({redirect, Status, Method, to, true, pooled}, _)
  when Status =:= 301; Status =:= 302; Status =:= 307; Status =:= 308; Status =:= 303, Method =:= <<"POST">> ->
    pool_04_one_checkin_for_an_exchange;
deviation({redirect, _, _, _, _, pooled}, _) -> asy_09_pooled_exchange_is_checked_in;
%% Life
deviation({pool, truncated_error}, _) -> rsp_22_truncated_body_is_an_error;
deviation({option, unknown_socket_option}, _) -> low_11_options_are_refused_by_name;
deviation({timeout, of_the_caller, body}, _) -> api_34_expired_wait_for_the_body;
deviation({timeout, does_not_stick}, _) -> api_33_recv_timeout_of_a_request_does_not_stick;
deviation({caller, stopped_by_another}, _) -> api_36_stop_during_a_call_answers_closed;
%% TLS
deviation({exchange, _, cut_error}, _) -> rsp_22_truncated_body_is_an_error;
deviation({tls_option, no_file}, _) -> tls_04_unusable_roots_are_named;
deviation({tls_option, address}, _) -> tls_09_name_verified;
%% HTTP/2
deviation({h2_life, close}, _) -> st_06_connect_after_close_dials_again;
deviation({h2_life, idle}, _) -> st_09_no_idle_end;
deviation({h2_life, closed_under_a_request}, _) -> h2_09_close_answers_who_waits;
deviation({h2_unpulled, _, keep}, _) -> h2_08_complete_response_not_yet_pulled;
deviation({h2_fault, Name}, _) when Name =:= mismatch; Name =:= mismatch_more -> h2_07_malformed_responses;
deviation({h2_frames, Name}, _) when Name =:= no_status; Name =:= too_long; Name =:= too_short ->
    h2_07_malformed_responses;
deviation({h2_frames, Name}, _) when Name =:= bad_status; Name =:= data_first -> h2_07_malformed_names;
deviation({h2_frames, Name}, _) when Name =:= frame_too_large; Name =:= window_overflow; Name =:= stream_zero_data;
                                     Name =:= push_promise ->
    h2_09_floods_end_the_connection;
deviation({h2_frames, Name}, _) when Name =:= head_request_with_empty_data; Name =:= head_204_with_empty_data ->
    h2_07_scripted_responses;
deviation({h2_header, number}, _) -> h2_02_numbers_as_values;
deviation({h2_state, Name}, _) when Name =:= is_ready; Name =:= is_ready_timeout -> h2_18_the_socket;
deviation({h2_state, Name}, _) when Name =:= headers; Name =:= headers_options -> h2_14_uploads_side_by_side;
deviation({h2_upload, state}, _) -> h2_14_uploads_side_by_side;
deviation({h2_state, open_h2_stream}, _) -> api_37_both_directions;
%% HTTP/3
deviation({h3_header, _}, _) -> h2_01_the_head;
deviation({h3_async, Name}, _) when Name =:= reset; Name =:= reset_later -> h3_09_resets;
deviation({h3_upload, Name}, _) when Name =:= echo; Name =:= functions -> h2_13_upload;
deviation({h3_state, Name}, _) when Name =:= verify_socket; Name =:= is_ready; Name =:= is_ready_timeout;
                                    Name =:= checkin_info ->
    h3_12_probes;
deviation({h3_life, idle}, _) -> st_09_no_idle_end;
deviation(_, _) -> none.
