#!/bin/sh
# Every test runner in turn, one summary line each at the end; fails when any of them failed.
# `sh test/run.sh ct exunit` runs only the ones named.
set -u
cd "$(dirname "$0")/.."

logs=_build/test_logs
mkdir -p "$logs"
passed=0
failed=0
summary=

# failures LOG: a line for each failed test of any runner, and of a Common Test case its reason, cut short.
failures() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        /==> .*: FAILED$/ { sub(/^%%% /, ""); case_name = $0; next }
        case_name { sub(/^%%% [^ ]* ==> /, ""); print "  " case_name " " $0; case_name = ""; next }
        /\*failed\*$/ || /^  +[0-9]+\) test / || /^---- .* stdout ----$/ || /^install test: .* FAILED$/ { print "  " $0 }
    ' | cut -c1-200
}

# run NAME COMMAND...: run it, show what it prints, note how it ended.
run() {
    name=$1
    shift
    echo "=== $name: $*"
    started=$(date +%s)
    { "$@" 2>&1; echo $? >"$logs/$name.status"; } | tee "$logs/$name.log"
    took=$(($(date +%s) - started))
    if [ "$(cat "$logs/$name.status")" = 0 ]; then
        passed=$((passed + 1))
        summary="$summary$name: ok ($took s)
"
    else
        failed=$((failed + 1))
        summary="$summary$name: FAILED ($took s), see $logs/$name.log
$(failures "$logs/$name.log")
"
    fi
}

runner_build() { rebar3 compile && cargo build --release --locked --quiet -p hansom_origin; }
runner_rust() { cargo test --workspace --locked --quiet; }
runner_eunit() { rebar3 eunit; }
runner_ct() { rebar3 ct --readable compact; }
runner_exunit() { mix test; }
runner_install() { sh test/install_test; }

for name in ${*:-build rust eunit ct exunit install}; do
    run "$name" "runner_$name"
done

echo
printf '%s' "$summary"
echo "runners: $passed passed, $failed failed"
[ "$failed" = 0 ]
