# Images of a pair in the registry, with deltas both ways, for kubernetes.sh and podman.sh.
#
# Sourced after node.sh, by scripts that call need_node_command.

readonly OLD_IMAGE=$REGISTRY/demo/app:v1 NEW_IMAGE=$REGISTRY/demo/app:v2

# Pushes both images, and deltas both ways: push_images OLD_LAYOUT NEW_LAYOUT.
push_images() {
    skopeo copy -q --dest-tls-verify=false "oci:$1" "docker://$PUSHED/demo/app:v1"
    skopeo copy -q --dest-tls-verify=false "oci:$2" "docker://$PUSHED/demo/app:v2"
    "$imgdelta" -q create "oci:$1" "oci:$2" -o "$work/up.imgdelta" --rollback "$work/down.imgdelta" \
        > "$work/log/create"
    "$imgdelta" -q push --plain-http "$work/up.imgdelta" "docker://$PUSHED/demo/app:v2" > "$work/log/push"
    "$imgdelta" -q push --plain-http "$work/down.imgdelta" "docker://$PUSHED/demo/app:v1" >> "$work/log/push"
}

# The manifest of a tag, as the registry has it.
manifest() {
    curl -fs -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
        "http://$PUSHED/v2/demo/app/manifests/$1"
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
