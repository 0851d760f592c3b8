#!/bin/sh
# Builds the native library into priv/. Called by mix and rebar3, also for a dependency, from any
# folder. Quiet unless something is wrong.
#
# CARGO             the cargo to use (default: cargo, or the one of rustup in ~/.cargo/bin)
# CARGO_TARGET_DIR  where cargo builds (default: target/ of this package)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
target=${CARGO_TARGET_DIR:-$root/target}
# Cargo runs in the package's folder, so a relative path must not be left to it.
case $target in
    /*) ;;
    *) target=$(pwd -P)/$target ;;
esac

# "MAJOR MINOR" of a cargo; nothing if it is none.
version_of() { "$1" --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\)\.\([0-9]*\)\..*/\1 \2/p'; }
is_new_enough() {
    major=${1% *} minor=${1#* }
    [ "$major" -gt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -ge 91 ]; }
}

cargo=
too_old=
for candidate in "${CARGO:-cargo}" "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo"; do
    version=$(version_of "$candidate") || true
    if [ -z "$version" ]; then
        continue
    elif is_new_enough "$version"; then
        cargo=$candidate
        break
    else
        too_old=${too_old:-$version}
    fi
done
if [ -z "$cargo" ] && [ -n "$too_old" ]; then
    echo "hansom: cargo ${too_old% *}.${too_old#* } is too old. The native part of hansom needs Rust 1.91 or" \
        "newer: rustup update stable, or https://rustup.rs" >&2
    exit 1
elif [ -z "$cargo" ]; then
    cat >&2 <<'EOF'
hansom: cargo was not found. The native part of hansom needs Rust 1.91 or newer:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
then open a new shell, or set CARGO to the path of cargo. See https://rustup.rs.
EOF
    exit 1
fi

# On musl libc a library that is loaded into the VM must use the libc of the VM. Cargo says where it put the library,
# which depends on its configuration (CARGO_BUILD_TARGET, build.target).
messages=$(cd "$root" && CARGO_TARGET_DIR=$target "$cargo" build --release --locked --quiet -p hansom_nif \
    --config 'target."cfg(target_env = \"musl\")".rustflags = ["-C", "target-feature=-crt-static"]' \
    --message-format json-render-diagnostics)
built=$(printf '%s\n' "$messages" |
    sed -n '/"reason":"compiler-artifact"/{/"name":"hansom_nif"/s/.*"filenames":\["\([^"]*\)".*/\1/p;}')
library=$root/priv/hansom_nif.so
if [ ! -f "$library" ] || ! cmp -s "$built" "$library"; then
    mkdir -p "$root/priv"
    # Renamed into place: a running VM keeps the file it has mapped.
    trap 'rm -f "$library.$$"' EXIT
    cp "$built" "$library.$$"
    mv -f "$library.$$" "$library"
fi
