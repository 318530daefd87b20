#!/bin/bash
# Proves the mirror of a node with podman: layers that it rebuilds are served as exact blobs.
#
# podman asks a mirror of registries.conf for the manifest first, then for every blob. The bases are
# images of containerd on the same node: images of podman are not bases, so a node with podman alone
# pulls whole. podman sends no credentials to a mirror, so the images must be public. If a blob
# fails halfway at the mirror, podman fails: it asks the registry itself only for the next pull.
#
#   tests/node/podman.sh [OLD NEW]     two OCI layouts with one image each; a small pair is made
#                                      without them
#
# Environment: IMGDELTA, RATE, KEEP as in kubernetes.sh.
# Needs: root on Debian 12; packages podman containerd docker-registry skopeo iproute2 curl jq python3.
#        Address 198.18.77.1. Leaves nothing behind.
set -euo pipefail
export LC_ALL=C
[ -n "${PODMAN_SH:-}" ] || PODMAN_SH=1 exec timeout --kill-after=60 1200 "$0" "$@"
here=$(cd "$(dirname "$0")" && pwd)
imgdelta=$(realpath "${IMGDELTA:-$here/../../target/release/imgdelta}")
work=$(mktemp -d -t imgdelta-podman-XXXXXX)
mkdir "$work/log"
# shellcheck source=tests/node/node.sh
. "$here/node.sh"
# shellcheck source=tests/node/images.sh
. "$here/images.sh"
groups > "$work/groups"
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

ctr() { in_node ctr --address "$work/containerd.sock" --namespace k8s.io "$@"; }

start_containerd() {
    cat > "$work/containerd.toml" << END
version = 2
root = "$work/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$work/opt"
END
    start containerd containerd --config "$work/containerd.toml"
    await 60 containerd ctr version
}

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

main() {
    need_root_and podman containerd docker-registry skopeo ip tc curl jq
    need_node_command
    local old=${1:-$work/pair/old} new=${2:-$work/pair/new}
    [ -n "${1:-}" ] || python3 "$here/pair.py" "$work/pair"
    start_node
    start_registry
    push_images "$old" "$new"
    start_containerd
    configure_podman
    start_mirror exact

    pull v1
    local whole=$bytes
    [ "$whole" -ge "$(layer_bytes v1)" ] || fail "expected a whole pull, received $whole B"

    podman image rm "$REGISTRY/demo/app:v1" > /dev/null
    ctr images pull --plain-http "$REGISTRY/demo/app:v1" > /dev/null
    pull v2
    ! grep -qxFf <(manifest v2 | jq -r '.layers[].digest | "blobs/" + .') <<< "$fetched" ||
        fail "expected no layer from the registry, found"$'\n'"$fetched"
    local delta=$bytes
    [ "$delta" -lt $(($(layer_bytes v2) / 4)) ] || fail "expected a small delta, received $delta B"

    end mirror
    podman image rm --all > /dev/null
    pull v2
    [ "$bytes" -ge "$(layer_bytes v2)" ] || fail "expected a whole pull, received $bytes B"

    printf '%-42s %12s B\n' "podman pull, whole" "$whole" "podman pull, exact blobs by delta" "$delta" \
        "podman pull, no mirror" "$bytes"
}

main "$@"
