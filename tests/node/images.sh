# Images of a pair in the registry, with deltas both ways, for kubernetes.sh and podman.sh.
#
# Sourced after node.sh, by scripts that set $imgdelta, the program.

readonly OLD_IMAGE=$REGISTRY/demo/app:v1 NEW_IMAGE=$REGISTRY/demo/app:v2

need_root_and() {
    local tool
    [ "$(id -u)" = 0 ] || fail "run it as root"
    for tool in "$@"; do
        command -v "$tool" > /dev/null || fail "install $tool: see the head of this script"
    done
}

need_node_command() {
    "$imgdelta" node serve --help > /dev/null 2>&1 ||
        fail "$imgdelta has no \`node serve\`: cargo build --release -p imgdelta-cli --features node"
}

# Pushes both images, and deltas both ways: push_images OLD_LAYOUT NEW_LAYOUT.
push_images() {
    skopeo copy -q --dest-tls-verify=false "oci:$1" "docker://$OLD_IMAGE"
    skopeo copy -q --dest-tls-verify=false "oci:$2" "docker://$NEW_IMAGE"
    "$imgdelta" -q create "oci:$1" "oci:$2" -o "$work/up.imgdelta" --rollback "$work/down.imgdelta" \
        > "$work/log/create"
    "$imgdelta" -q push --plain-http "$work/up.imgdelta" "docker://$NEW_IMAGE" > "$work/log/push"
    "$imgdelta" -q push --plain-http "$work/down.imgdelta" "docker://$OLD_IMAGE" >> "$work/log/push"
}

# The manifest of a tag, as the registry has it.
manifest() {
    curl -fs -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
        "http://$REGISTRY/v2/demo/app/manifests/$1"
}

# Paths of an image's manifest and config, as `fetched_since` prints them.
small_objects() {
    {
        echo "manifests/sha256:$(manifest "$1" | sha256sum | cut -d' ' -f1)"
        manifest "$1" | jq -r '"blobs/" + .config.digest'
    } | sort
}

layer_bytes() { manifest "$1" | jq '[.layers[].size] | add'; }

# Bytes of the layers of $1 that $2 does not have.
changed_bytes() {
    jq -n --argjson new "$(manifest "$1")" --argjson old "$(manifest "$2")" '
        [$old.layers[].digest] as $there
        | [$new.layers[] | select(.digest | IN($there[]) | not).size] | add // 0'
}
