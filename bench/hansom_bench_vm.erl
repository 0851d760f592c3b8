%% @doc What the whole operating system process of this VM has used, by the kernel's account.
%%
%% `statistics(runtime)' would leave out system time, which is most of what a client that does its I/O in native
%% threads uses.
-module(hansom_bench_vm).

-export([cpu_us/0, rss_bytes/0, describe/0]).

%% The kernel counts in ticks of 1/100 s (USER_HZ) on every architecture Erlang runs on.
-define(TICK_US, 10000).
-define(PAGE, 4096).

%% @doc User and system time so far, in microseconds; resolution 10 ms.
-spec cpu_us() -> non_neg_integer().
cpu_us() ->
    {ok, Stat} = file:read_file("/proc/self/stat"),
    %% The command's name, in parentheses, may contain blanks.
    [_, AfterName] = binary:split(Stat, <<") ">>),
    Fields = binary:split(AfterName, <<" ">>, [global]),
    (binary_to_integer(lists:nth(12, Fields)) + binary_to_integer(lists:nth(13, Fields))) * ?TICK_US.

%% @doc Resident memory in bytes.
-spec rss_bytes() -> non_neg_integer().
rss_bytes() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Resident | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Resident) * ?PAGE.

%% @doc Versions and machine, for the head of a report.
-spec describe() -> [{binary(), binary()}].
describe() ->
    [{<<"Erlang/OTP">>, iolist_to_binary([erlang:system_info(otp_release), ", ",
                                          integer_to_list(erlang:system_info(schedulers_online)), " schedulers, ",
                                          atom_to_list(erlang:system_info(emu_flavor))])},
     {<<"VM flags">>, vm_flags()},
     {<<"Machine">>, iolist_to_binary([integer_to_list(erlang:system_info(logical_processors_available)),
                                       " processors, ", cpu_model()])}].

vm_flags() ->
    case os:getenv("ERL_FLAGS", "") ++ os:getenv("ERL_ZFLAGS", "") of
        "" -> <<"default">>;
        Flags -> list_to_binary(Flags)
    end.

cpu_model() ->
    {ok, Info} = file:read_file("/proc/cpuinfo"),
    case re:run(Info, "model name\\s*: (.*)", [{capture, all_but_first, binary}]) of
        {match, [Model]} -> Model;
        nomatch -> <<"processor unnamed">>
    end.
