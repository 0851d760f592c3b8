%% @doc Every clause of the contract has a test or a reason, and the document says so.
-module(hansom_coverage_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [every_clause_has_a_test_or_a_reason].

every_clause_has_a_test_or_a_reason(_) ->
    ?assertEqual([], hansom_coverage:check()).
