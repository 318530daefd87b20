#!/bin/bash
# Installs deploy/node in the real Kubernetes 1.20 on two nodes, upgrades through it, and removes it.
#
# A registry with TLS is behind a link of 20 Mbit/s. The image of the mirror is made from
# deploy/Containerfile. `kubectl apply -k` starts the mirror on a canary first, where `node stage`
# stages the next version, then on both nodes. `kubectl set image` and `rollout undo` fetch deltas.
# After `kubectl delete -k`, nothing of the mirror is left on the nodes, and pulls go to the registry.
# Each step is checked in the registry's own access log. Prints a table, then exits 0.
#
#   tests/node/daemonset.sh [OLD NEW]      two OCI layouts with one image each; a small pair is made
#                                          without them
#
# Environment: IMGDELTA  the static program, with feature `node`: that of dist/build, or
#                        target/x86_64-unknown-linux-musl/release/imgdelta
#              BLOBS     the mirror's `blobs`: exact (default, as in deploy/node), none or keep, with the
#                        component `snapshots`
#              CHART     set to install the chart, rendered by chart.go, in place of the kustomization
#              RATE, KEEP as in kubernetes.sh
#
# Needs: as kubernetes.sh, and the package buildah; with CHART golang-go and python3-yaml.
#        Address 198.18.77.1. Leaves nothing behind except the cache of the build.
# shellcheck source=tests/node/prelude.sh
. "$(dirname "$0")/prelude.sh"
limit_time 2400 "$@"
registry_port=5001
# shellcheck source=tests/node/node.sh
. "$here/node.sh"
# shellcheck source=tests/node/images.sh
. "$here/images.sh"
# shellcheck source=tests/node/cluster.sh
. "$here/cluster.sh"
make_work daemonset

readonly TOOL=$REGISTRY/tools/imgdelta:test
readonly CERTS=/etc/containerd/certs.d
readonly SNAPSHOTS=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots
blobs=${BLOBS:-exact}
deploy=$work/deploy/node
table=()

# Makes the image of the mirror as dist/build does, and pushes it.
push_tool() {
    local image=$work/image storage=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
    ! ldd "$imgdelta" 2>&1 | grep -q '=>' || fail "$imgdelta is not static: its image has no libraries"
    local root=$image/root
    mkdir -p "$root"/{usr/local/bin,etc/ssl/certs,usr/share/doc/imgdelta,var/tmp,tmp}
    cp "$imgdelta" "$root/usr/local/bin/imgdelta"
    cp "$top/LICENSE-MIT" "$root/usr/share/doc/imgdelta/copyright"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    chmod 1777 "$root/tmp" "$root/var/tmp"
    buildah "${storage[@]}" bud --quiet --isolation chroot --file "$top/deploy/Containerfile" \
        --tag imgdelta "$image" > "$work/log/buildah"
    buildah "${storage[@]}" push --quiet imgdelta "oci:$work/tool:x" >> "$work/log/buildah"
    skopeo copy -q --dest-tls-verify=false "oci:$work/tool:x" "docker://${TOOL/$REGISTRY/$PUSHED}"
    rm -rf "$image" "$work/storage" "$work/run"
}

# The changes that an operator makes in a copy of deploy/node: image, registry, authority, `blobs`.
configure() {
    mkdir "$work/deploy"
    cp -r "$top/deploy/node" "$top/deploy/node-clean" "$work/deploy"
    cp "$work/keys/authority.pem" "$deploy/authority.pem"
    sed -i -e "s|^host = .*|host = \"$REGISTRY\"\nca = [\"/config/authority.pem\"]|" \
        -e "s|^blobs = .*|blobs = \"$blobs\"|" "$deploy/node.toml"
    sed -i -e "s|newName: .*|newName: ${TOOL%:*}|" -e "s|newTag: .*|newTag: ${TOOL##*:}|" \
        -e 's|files: \[node.toml\]|files: [node.toml, authority.pem]|' "$deploy/kustomization.yaml"
    [ "$blobs" = exact ] || sed -i 's|^# components:|components:|' "$deploy/kustomization.yaml"
    {
        cat "$deploy/kustomization.yaml"
        printf '%s\n' 'patches:' '  - target: {kind: DaemonSet, name: imgdelta-node}' '    patch: |-' \
            '      - {op: add, path: /spec/template/spec/nodeSelector, value: {imgdelta: "true"}}'
    } > "$deploy/kustomization.canary"
    mv "$deploy/kustomization.yaml" "$deploy/kustomization.all"
}

# Installs the mirror on some nodes: install canary|all NODES.
install() {
    if [ -n "${CHART:-}" ]; then
        render_chart "$1" > "$deploy/chart.yaml"
        kubectl apply -f "$deploy/namespace.yaml" > /dev/null
        kubectl --namespace imgdelta apply -f "$deploy/chart.yaml" > /dev/null
    else
        cp "$deploy/kustomization.$1" "$deploy/kustomization.yaml"
        kubectl apply -k "$deploy" > /dev/null
    fi
    await 180 "the mirror on $2 nodes" mirrors_are_ready "$2"
    kubectl --namespace imgdelta rollout status daemonset/imgdelta-node --timeout=120s > /dev/null
}
mirrors_are_ready() {
    kubectl --namespace imgdelta get daemonset imgdelta-node -o json |
        jq -e "[.status.desiredNumberScheduled, .status.numberReady] == [$1, $1]"
}

uninstall() {
    if [ -n "${CHART:-}" ]; then
        render_chart all clean > "$deploy/chart.yaml"
        kubectl --namespace imgdelta apply -f "$deploy/chart.yaml" > /dev/null
        await_clean
        kubectl --namespace imgdelta delete -f "$deploy/chart.yaml" > /dev/null
        kubectl delete -f "$deploy/namespace.yaml" > /dev/null
    else
        kubectl apply -k "$work/deploy/node-clean" > /dev/null
        await_clean
        kubectl delete -k "$deploy" > /dev/null
    fi
    await 120 "the end of the mirrors" no_mirror_is_left
}
await_clean() {
    kubectl --namespace imgdelta rollout status daemonset/imgdelta-node --timeout=120s > "$work/log/clean" 2>&1 ||
        fail "the nodes are not clean: $(kubectl --namespace imgdelta describe pods | tail -20)"
}
no_mirror_is_left() { ! kubectl get namespace imgdelta; }

# The chart, with the values that an operator sets: render_chart canary|all [clean].
render_chart() {
    python3 - "$deploy" "$TOOL" "$blobs" "$SNAPSHOTS" "$@" << 'END' |
import json, sys, yaml
deploy, image, blobs, snapshots, nodes, *clean = sys.argv[1:]
values = yaml.safe_load(open(f"{deploy}/chart/values.yaml"))
values["image"] = image
values["config"] = open(f"{deploy}/node.toml").read().replace("authority.pem", "authorities.pem")
values["authorities"] = open(f"{deploy}/authority.pem").read()
values["snapshotsDirectory"] = "" if blobs == "exact" else snapshots
values["nodeSelector"] = {"imgdelta": "true"} if nodes == "canary" else {}
values["clean"] = bool(clean)
json.dump(values, sys.stdout)
END
        go run "$here/chart.go" "$deploy/chart"
}

# Runs the program in the mirror's pod on the current node.
in_pod() {
    local pod
    pod=$(kubectl --namespace imgdelta get pods --field-selector="spec.nodeName=$node_name" \
        -o jsonpath='{.items[0].metadata.name}')
    kubectl --namespace imgdelta exec "$pod" -- /usr/local/bin/imgdelta "$@"
}

set_image() { kubectl set image daemonset/app "app=$1" > /dev/null; }
undo() { kubectl rollout undo daemonset/app > /dev/null; }

# Changes the images of all pods and waits for them: step NAME COMMAND... Sets $line.
step() {
    local name=$1 begun=$EPOCHREALTIME seconds
    shift
    note "$name"
    line=$(logged)
    "$@"
    kubectl rollout status daemonset/app --timeout=300s > "$work/log/rollout" 2>&1 ||
        fail "the pods are not ready: $(kubectl get pods -o wide; kubectl describe pods | tail -20)"
    seconds=$(((${EPOCHREALTIME/./} - ${begun/./}) / 10000))
    local row
    row=$(printf '%-44s %5d.%02d s' "$name" $((seconds / 100)) $((seconds % 100)))
    for name in node canary; do
        use_node "$name"
        row+=$(printf ' %12d B' "$(bytes_since "$line")")
        requests_since "$line" > "$work/log/requests.$name.${#table[@]}"
    done
    table+=("$row")
    echo "$row" >&2
}

# Checks the pull of a node since the last step: expect_whole NODE BYTES, expect_delta|expect_staged NODE TAG.
expect_whole() {
    use_node "$1"
    local bytes
    bytes=$(bytes_since "$line")
    [ "$bytes" -ge "$2" ] || fail "$1: expected a whole pull, received $bytes B"
}
expect_delta() {
    use_node "$1"
    local bytes
    bytes=$(bytes_since "$line")
    expect_no_layer "$2"
    [ "$bytes" -lt $(($(layer_bytes "$2") / 4)) ] || fail "$1: expected a small delta, received $bytes B"
}
expect_staged() {
    use_node "$1"
    expect_no_layer "$2"
    # The mirror asks for manifest and config, to see that the layers are there, and for no delta.
    ! requests_since "$line" | grep ' imgdelta/' | grep -q -e /referrers/ -e /manifests/sha256- ||
        fail "$1: expected that the mirror looks for no delta"
}
expect_no_layer() {
    [ "$(fetched_since "$line" containerd)" = "$(small_objects "$1")" ] ||
        fail "$node_name: expected that containerd fetches manifest and config, found"$'\n'"$(fetched_since "$line" containerd)"
}

expect_delta_staged() {
    use_node canary
    local bytes
    bytes=$(bytes_since "$line")
    [ "$bytes" -lt $(($(layer_bytes v2) / 4)) ] || fail "expected that a delta is staged, received $bytes B"
}

# Removes an image from both nodes.
remove_from_nodes() {
    local name
    for name in node canary; do
        use_node "$name"
        remove_image "$1"
    done
}
# The sandboxes and containers of the application and of the mirror; kubelet removes ended ones.
one_pod_is_left() { [ "$(ctr containers list -q | wc -l)" = "$containers" ]; }

expect_directed() {
    use_node "$1"
    in_node grep -q "$MIRROR" "$CERTS/$REGISTRY/hosts.toml" || fail "$1: expected a hosts.toml"
}

# Nothing of the mirror is left: no hosts.toml, no lease, no file.
expect_nothing_left() {
    use_node "$1"
    local found
    found=$(in_node find "$CERTS" -mindepth 1)
    [ -z "$found" ] || fail "$1: expected $CERTS to be empty, found"$'\n'"$found"
    found=$(ctr leases list -q)
    [ -z "$found" ] || fail "$1: expected no lease, found"$'\n'"$found"
    found=$(in_node find /var/lib/imgdelta -type f -size +0)
    [ -z "$found" ] || fail "$1: expected no file in /var/lib/imgdelta, found"$'\n'"$found"
}

main() {
    need_root_and containerd runc docker-registry etcd kubectl skopeo umoci buildah ip tc openssl curl jq
    need_node_command "$top/target/x86_64-unknown-linux-musl/release/imgdelta"
    "$here/build-kubernetes.sh"
    local old=${1:-$work/pair/old} new=${2:-$work/pair/new} name
    [ -n "${1:-}" ] || python3 "$here/pair.py" "$work/pair"

    note "pushing images and deltas"
    start_network
    start_registry
    start_tls_registry
    push_images "$old" "$new"
    push_tool
    configure

    note "starting Kubernetes"
    for name in node canary; do
        start_node "$name"
        start_containerd "$CERTS" "$work/keys/authority.pem"
    done
    use_node node
    start_kubernetes
    use_node canary
    start_kubelet
    kubectl label node canary imgdelta=true > /dev/null

    containers=2
    step "install, whole" deploy DaemonSet "$OLD_IMAGE"
    expect_whole node "$(layer_bytes v1)"
    expect_whole canary "$(layer_bytes v1)"

    step "the mirror on the canary" install canary 1
    expect_directed canary
    use_node node
    [ -z "$(in_node find "$CERTS" -mindepth 1)" ] || fail "expected no hosts.toml next to the canary"
    step "node stage on the canary" stage_on_canary
    expect_delta_staged
    step "the mirror on both nodes" install all 2
    expect_directed node

    step "upgrade, staged on the canary" set_image "$NEW_IMAGE"
    expect_delta node v2
    # With blobs to be served, the mirror rebuilds them although the layers are there.
    if [ "$blobs" = exact ]; then expect_delta canary v2; else expect_staged canary v2; fi
    containers=4
    remove_from_nodes "$OLD_IMAGE"
    step "undo, old image removed before" undo
    expect_delta node v1
    [ "$blobs" = exact ] || expect_delta canary v1

    remove_from_nodes "$NEW_IMAGE"
    step "node stage on the canary, again" stage_on_canary
    [ -n "$(ctr leases list -q)" ] || fail "expected a lease of the staged layers"
    step "removal" uninstall
    expect_nothing_left node
    expect_nothing_left canary
    step "upgrade after the removal, whole" set_image "$NEW_IMAGE"
    expect_whole node "$(changed_bytes v2 v1)"
    expect_whole canary "$(changed_bytes v2 v1)"

    printf '\nblobs = %s, link %s, layers %s B -> %s B, delta %s B, rollback %s B\n' "$blobs" "$RATE" \
        "$(layer_bytes v1)" "$(layer_bytes v2)" "$(stat -c %s "$work/up.imgdelta")" \
        "$(stat -c %s "$work/down.imgdelta")"
    printf '%-44s %10s %14s %14s\n' step ready "node received" "canary"
    printf '%s\n' "${table[@]}"
}

stage_on_canary() {
    use_node canary
    in_pod node stage "docker://$NEW_IMAGE" > "$work/log/stage" 2>&1 ||
        fail "node stage: $(cat "$work/log/stage")"
}

main "$@"
