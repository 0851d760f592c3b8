%% A module of a later hackney, which expects more of its connections than anybody has heard of.
-module(hackney_later).

-export([rise/1]).

rise(Pid) -> hackney_conn:levitate(Pid, 3).
