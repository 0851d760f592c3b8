%% Stands in for the roots that hackney trusts: those the test says.
-module(certifi).

-export([cacerts/0]).

cacerts() -> persistent_term:get(?MODULE).
