#!/bin/sh
# Everything that judges the sources without running them. Stops at the first complaint.
set -eu
cd "$(dirname "$0")/.."

step() {
    echo "=== $*"
    "$@"
}

# The engine is where bytes from the network are read: no unsafe code, by the compiler's own guarantee.
# Unsafe code of the glue stands in three files: terms that outlive a call (envs), descriptors (descriptor), and how the
# kernel schedules threads (scheduling). The compiler demands a reason for each use.
check_unsafe() {
    for root in native/hansom_engine/src/lib.rs native/hansom_origin/src/main.rs; do
        grep -q '^#!\[forbid(unsafe_code)\]' "$root" || { echo "$root does not forbid unsafe code" >&2; return 1; }
    done
    elsewhere=$(grep -rnwE 'unsafe (fn|impl|extern|\{)|unsafe *\{' native/hansom_nif/src \
        --exclude=envs.rs --exclude=descriptor.rs --exclude=scheduling.rs) || return 0
    printf 'unsafe code outside of envs.rs, descriptor.rs and scheduling.rs of native/hansom_nif:\n%s\n' "$elsewhere" >&2
    return 1
}

# What is linked into the library comes under licenses that docs/licenses.md names.
check_licenses() {
    known=$(grep '^|' docs/licenses.md | cut -d'|' -f2 | grep -o '`[^`]*`')
    cargo tree -p hansom_nif -e normal,no-proc-macro --prefix none --format '{l}|{p}' --locked >_build/packages
    sed 's/ (\*)$//' _build/packages | sort -u |
        while IFS='|' read -r license package; do
            echo "$known" | grep -Fxq "\`$license\`" || echo "$package: '$license' is not in docs/licenses.md"
        done >_build/licenses
    [ ! -s _build/licenses ] || { cat _build/licenses >&2; return 1; }
}

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
step check_unsafe
mkdir -p _build/lint_scripts
step check_licenses
step rebar3 as lint compile
step erlc -Werror -o _build/lint_scripts bench/*.erl docs/demo/*.erl test/support/*.erl test/hackney_suite/*.erl test/*.erl
step rebar3 xref
step rebar3 dialyzer
step mix format --check-formatted
# A build folder of its own: warnings only show for what is compiled, and nothing is when it is up to date.
step env MIX_BUILD_PATH=_build/mix/lint mix compile --force --warnings-as-errors
echo "lint: ok"
