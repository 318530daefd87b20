#!/bin/bash
# Proves the mirror of a node with the real Kubernetes 1.20 and containerd, and measures it.
#
# A registry is behind a link of 20 Mbit/s. A Deployment goes from an old image to a new one and
# back; then the mirror dies while it holds an answer, and then there is no mirror. Upgrade and way
# back are deltas in every mode of the mirror. Each step is checked in the registry's own access log
# and by kubectl. Prints a table, then exits 0.
#
#   tests/node/kubernetes.sh [OLD NEW]     two OCI layouts with one image each; a small pair is made
#                                          without them
#
# Environment: IMGDELTA  the program, with feature `node` (target/release/imgdelta)
#              BLOBS     the mirror's `blobs`: none (default), keep or exact
#              RATE      of the link (20mbit)
#              KEEP      set to keep the logs after a failure
#
# Needs: root on Debian 12; packages containerd runc docker-registry etcd-server skopeo umoci
#        containernetworking-plugins iproute2 openssl curl jq python3; kubectl; for the first run
#        golang-go and dpkg-dev (build-kubernetes.sh).
#        Address 198.18.77.1. Leaves nothing behind except the cache of the build.
# shellcheck source=tests/node/prelude.sh
. "$(dirname "$0")/prelude.sh"
limit_time 2400 "$@"
# shellcheck source=tests/node/node.sh
. "$here/node.sh"
# shellcheck source=tests/node/images.sh
. "$here/images.sh"
# shellcheck source=tests/node/cluster.sh
. "$here/cluster.sh"
make_work kubernetes
blobs=${BLOBS:-none}

table=()

# Changes the image and waits for the pod: step NAME IMAGE COMMAND... Sets $bytes and $fetched.
step() {
    local name=$1 image=$2 line begun cpu mirror=$(process_of mirror)
    shift 2
    note "$name"
    line=$(logged)
    cpu=$(processor_seconds containerd mirror)
    begun=$EPOCHREALTIME
    "$@" > /dev/null
    await_ready "$image"
    local seconds=$(((${EPOCHREALTIME/./} - ${begun/./}) / 10000))
    bytes=$(bytes_since "$line")
    fetched=$(fetched_since "$line" containerd)
    requests_since "$line" > "$work/log/requests.${#table[@]}"
    cpu=$(jq -n "$(processor_seconds containerd mirror) - $cpu | . * 100 | round / 100")
    [ "$mirror" = "$(process_of mirror)" ] || cpu=-
    table+=("$(printf '%-44s %5d.%02d s %12d B %9s s' "$name" $((seconds / 100)) $((seconds % 100)) \
        "$bytes" "$cpu")")
    echo "${table[-1]}" >&2
}

set_image() { kubectl set image deployment/app "app=$1"; }
undo() { kubectl rollout undo deployment/app; }

# Changes the image, and ends the mirror as a crash does while it holds the answer.
set_image_and_kill_the_mirror() {
    # So slow that the delta takes seconds.
    limit_link 16kbit 2kb
    set_image "$1"
    await 60 "the mirror to hold an answer" holds_an_answer
    end mirror KILL
    limit_link "$RATE"
}
holds_an_answer() { mirror_status | jq -e '.held > 0'; }

expect_delta() {
    [ "$fetched" = "$(small_objects "$1")" ] ||
        fail "expected that containerd fetches manifest and config, found"$'\n'"$fetched"
    [ "$bytes" -lt $(($(layer_bytes "$1") / 4)) ] || fail "expected a small delta, received $bytes B"
}
# Once, and at most a delta that did not help.
expect_whole() {
    [ "$bytes" -ge "$2" ] && [ "$bytes" -lt $(($2 * 5 / 4 + 100000)) ] ||
        fail "expected a pull of $1 without delta ($2 B), received $bytes B"
}

memory() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$(process_of mirror)/status"; }

main() {
    need_root_and containerd runc docker-registry etcd kubectl skopeo umoci ip tc openssl curl jq
    need_node_command
    "$here/build-kubernetes.sh"
    local old=${1:-$work/pair/old} new=${2:-$work/pair/new}
    [ -n "${1:-}" ] || python3 "$here/pair.py" "$work/pair"
    start_node
    start_registry
    note "pushing images and deltas"
    push_images "$old" "$new"
    note "starting Kubernetes"
    start_containerd "$home/certs.d"
    direct_containerd
    start_kubernetes
    start_mirror "$blobs"

    step "install, whole" "$OLD_IMAGE" deploy Deployment "$OLD_IMAGE"
    expect_whole v1 "$(layer_bytes v1)"
    step "upgrade, delta" "$NEW_IMAGE" set_image "$NEW_IMAGE"
    expect_delta v2

    remove_image "$OLD_IMAGE"
    step "undo, old image removed before" "$OLD_IMAGE" undo
    # Without blobs, the base is made from unpacked files and frames.
    expect_delta v1

    remove_image "$NEW_IMAGE"
    step "upgrade, mirror killed while it holds" "$NEW_IMAGE" set_image_and_kill_the_mirror "$NEW_IMAGE"
    expect_whole v2 "$(changed_bytes v2 v1)"

    remove_image "$OLD_IMAGE"
    step "undo, no mirror" "$OLD_IMAGE" undo
    expect_whole v1 "$(changed_bytes v1 v2)"

    start_mirror "$blobs"
    local idle
    idle=$(memory VmRSS)
    remove_image "$NEW_IMAGE"
    step "upgrade, delta, mirror started again" "$NEW_IMAGE" set_image "$NEW_IMAGE"
    expect_delta v2

    printf '\nblobs = %s, link %s, layers %s B -> %s B, delta %s B, rollback %s B\n' "$blobs" "$RATE" \
        "$(layer_bytes v1)" "$(layer_bytes v2)" "$(stat -c %s "$work/up.imgdelta")" \
        "$(stat -c %s "$work/down.imgdelta")"
    printf '%-44s %10s %14s %11s\n' step ready received processor
    printf '%s\n' "${table[@]}"
    # A second after a rebuild, its memory is given back.
    sleep 1
    printf 'memory of the mirror since its last start: at most %s kB, now %s kB (%s kB idle before)\n' \
        "$(memory VmHWM)" "$(memory VmRSS)" "$idle"
}

main "$@"
