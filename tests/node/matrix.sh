#!/bin/bash
# Pulls of every kind through the mirror of a node, with containerd 1.6, 1.7 and 2.
#
# Runs the tests of crates/imgdelta-node/tests/mirror/matrix.rs with each containerd: pulls by tag, by
# digest and by index, of zstd layers and of private images, with layers discarded or not, in each
# mode of the mirror. Prints one table, and exits 0 if all is as expected.
#
#   tests/node/matrix.sh [VERSION...]     1.6 (the machine's own), 1.7 (trixie), 2 (2.1 or later, of sid)
#
# Needs: root on Debian 12; packages containerd runc; the network of apt for the first run; a Rust
#        toolchain. Newer versions stay unpacked in ${XDG_CACHE_HOME:-~/.cache}/imgdelta-node.
# shellcheck source=tests/node/prelude.sh
. "$(dirname "$0")/prelude.sh"
need_root_and containerd runc
cd "$top"
[ $# -gt 0 ] || set -- 1.6 1.7 2

make_work matrix
rows=$work/rows
log=$work/log/tests
for version in "$@"; do
    case $version in
        1.6) programs= ;;
        1.7) programs=$cache/containerd-trixie/usr/bin: ; suite=trixie ;;
        2) programs=$cache/containerd-sid/usr/bin: ; suite=sid ;;
        *) fail "expected 1.6, 1.7 or 2, found $version" ;;
    esac
    [ -z "$programs" ] || "$here/packages.sh" "$suite" "$cache/containerd-$suite" containerd
    found=$(PATH=$programs$PATH containerd --version | cut -d' ' -f3)
    [[ $found == "$version".* ]] || fail "expected containerd $version, found $found"
    echo "== containerd $found" >&2
    # Only the tests of the matrix: the others need a containerd of any version.
    PATH=$programs$PATH IMGDELTA_MATRIX=all CI=true \
        cargo test -q -p imgdelta-node --test mirror matrix -- --nocapture --test-threads=1 > "$log" 2>&1 ||
        { cat "$log" >&2; fail "containerd $found"; }
    sed -n 's/^.*matrix;//p' "$log" >> "$rows"
done
{
    echo "containerd;discards layers;blobs;pull;outcome"
    cat "$rows"
} | column -t -s ';'
