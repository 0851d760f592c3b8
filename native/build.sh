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

cargo=${CARGO:-cargo}
if ! command -v "$cargo" >/dev/null 2>&1; then
    cargo=${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo
fi
if ! command -v "$cargo" >/dev/null 2>&1; then
    cat >&2 <<'EOF'
hansom: cargo was not found. The native part of hansom needs Rust 1.91 or newer:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
then open a new shell, or set CARGO to the path of cargo. See https://rustup.rs.
EOF
    exit 1
fi

version=$("$cargo" --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\)\.\([0-9]*\)\..*/\1 \2/p')
major=${version% *} minor=${version#* }
if [ -n "$version" ] && { [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt 91 ]; }; }
then
    echo "hansom: cargo $major.$minor is too old. The native part of hansom needs Rust 1.91 or" \
        "newer: rustup update stable" >&2
    exit 1
fi

# On musl libc a library that is loaded into the VM must use the libc of the VM.
(cd "$root" && CARGO_TARGET_DIR=$target "$cargo" build --release --locked --quiet -p hansom_nif \
    --config 'target."cfg(target_env = \"musl\")".rustflags = ["-C", "target-feature=-crt-static"]')

case $(uname -s) in
    Darwin) suffix=dylib ;;
    *) suffix=so ;;
esac
built=$target/release/libhansom_nif.$suffix
library=$root/priv/hansom_nif.so
if [ ! -f "$library" ] || ! cmp -s "$built" "$library"; then
    mkdir -p "$root/priv"
    # Renamed into place: a running VM keeps the file it has mapped.
    trap 'rm -f "$library.$$"' EXIT
    cp "$built" "$library.$$"
    mv -f "$library.$$" "$library"
fi
