#!/bin/bash
# Unpacks packages of another Debian suite into a directory, once, for matrix.sh and signatures.sh.
#
# Nothing is installed: apt has lists and a cache of its own, and the mirror of the machine's own
# configuration. Dependencies are not unpacked; programs written in Go need none.
#
#   tests/node/packages.sh SUITE DIRECTORY PACKAGE...     trixie, sid
#   tests/node/packages.sh --mirror                       prints the mirror
#
# Needs: Debian, root, the network of apt.
set -euo pipefail
export LC_ALL=C

fail() { echo "packages.sh: $*" >&2; exit 1; }

# The mirror of Debian that the machine uses.
debian_mirror() {
    local mirror
    mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' \
        'Created-By: Packages' | grep -v -e security -e updates | head -1)}
    [ -n "$mirror" ] || fail "apt knows no mirror of Debian: set DEBIAN_MIRROR"
    echo "$mirror"
}

[ "${1:-}" != --mirror ] || { debian_mirror; exit 0; }
[ $# -ge 3 ] || { sed -n '2,11s/^# \?//p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || fail "run it as root: apt downloads for root only"
suite=$1 directory=$2
shift 2
[ ! -e "$directory/complete" ] || exit 0

mirror=$(debian_mirror)
apt=$directory.apt
rm -rf "$directory" "$apt"
mkdir -p "$directory" "$apt/lists/partial" "$apt/archives/partial"
trap 'rm -rf "$apt"' EXIT
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$apt/sources.list"
options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt"
    -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
(cd "$apt" && apt-get -qq "${options[@]}" download "$@")
for package in "$apt"/*.deb; do
    dpkg-deb --extract "$package" "$directory"
done
touch "$directory/complete"
