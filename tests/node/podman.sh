#!/bin/bash
# Proves the mirror of a node with podman: an upgrade fetches a delta, and podman gets the exact image.
#
# podman asks a mirror of registries.conf for the manifest first, then for every blob. The mirror is one of
# containerd at first, which serves exact blobs from bases in containerd's store; then one of podman itself,
# which serves exact blobs or has the layers put into podman's storage. podman sends no credentials to a
# mirror, so the images must be public. If a blob fails halfway at the mirror, podman fails: it asks the
# registry itself only for the next pull.
#
#   tests/node/podman.sh [OLD NEW]     two OCI layouts with one image each; a small pair is made
#                                      without them
#
# Environment: IMGDELTA, RATE, KEEP as in kubernetes.sh.
# Needs: root on Debian 12; packages podman containerd docker-registry skopeo iproute2 curl jq python3.
#        Address 198.18.77.1. Leaves nothing behind.
# shellcheck source=tests/node/prelude.sh
. "$(dirname "$0")/prelude.sh"
limit_time 1200 "$@"
# shellcheck source=tests/node/node.sh
. "$here/node.sh"
# shellcheck source=tests/node/images.sh
. "$here/images.sh"
make_work podman

podman() {
    in_node env CONTAINERS_REGISTRIES_CONF="$work/registries.conf" \
        CONTAINERS_STORAGE_CONF="$work/storage.conf" podman "$@"
}

configure_podman() {
    cat > "$work/registries.conf" << END
[[registry]]
location = "$REGISTRY"
insecure = true
[[registry.mirror]]
location = "$MIRROR"
insecure = true
END
    cat > "$work/storage.conf" << END
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "/run/storage"
END
}

# Pulls, and compares the digest with the registry's. Sets $bytes and $fetched.
pull() {
    local line found
    line=$(logged)
    podman pull -q "$REGISTRY/demo/app:$1" > /dev/null 2> "$work/log/podman" ||
        fail "podman: $(tail -3 "$work/log/podman")"
    bytes=$(bytes_since "$line")
    # podman calls itself libpod or containers.
    fetched=$(requests_since "$line" | awk '$1 == "GET" && $5 !~ /^imgdelta/ { print $2 }' |
        sed 's|^/v2/.*/\(manifests\|blobs\)/|\1/|' | sort -u)
    requests_since "$line" > "$work/log/requests.$1"
    found=$(podman image inspect "$REGISTRY/demo/app:$1" --format '{{.Digest}}')
    [ "$found" = "sha256:$(manifest "$1" | sha256sum | cut -d' ' -f1)" ] ||
        fail "expected the registry's digest of $1, found $found"
}

# An upgrade through the mirror: no layer comes from the registry. Sets $bytes.
upgrade() {
    pull v2
    ! grep -qxFf <(manifest v2 | jq -r '.layers[].digest | "blobs/" + .') <<< "$fetched" ||
        fail "expected no layer from the registry, found"$'\n'"$fetched"
    [ "$bytes" -lt $(($(layer_bytes v2) / 4)) ] || fail "expected a small delta, received $bytes B"
    report "podman pull by delta, $1"
}

# A pull of an image whose layers all come.
pull_whole() {
    pull "$1"
    [ "$bytes" -ge "$(layer_bytes "$1")" ] || fail "expected a whole pull, received $bytes B"
    report "podman pull, $2"
}

report() { printf '%-58s %12s B\n' "$1" "$bytes"; }

main() {
    need_root_and podman containerd docker-registry skopeo ip tc curl jq
    need_node_command
    local old=${1:-$work/pair/old} new=${2:-$work/pair/new} blobs
    [ -n "${1:-}" ] || python3 "$here/pair.py" "$work/pair"
    start_node
    start_registry
    push_images "$old" "$new"
    start_plain_containerd
    configure_podman

    start_mirror exact
    pull_whole v1 whole
    podman image rm --all > /dev/null
    ctr images pull --plain-http "$REGISTRY/demo/app:v1" > /dev/null
    upgrade "blobs = exact, base in containerd"
    end mirror
    podman image rm --all > /dev/null
    pull_whole v1 "no mirror"

    for blobs in exact none; do
        start_mirror "$blobs" "runtime = \"podman\"
[podman]
root = \"$work/storage\"
driver = \"overlay\"
run-root = \"/run/storage\""
        upgrade "blobs = $blobs, base in podman"
        end mirror
        podman image rm "$REGISTRY/demo/app:v2" > /dev/null
    done
}

main "$@"
