#!/bin/bash
# Proves that signatures are checked through the mirror of a node as at the registry itself.
#
# cosign signs one of two images at the registry. Through the mirror, cosign verifies the signed one
# and refuses the other, and skopeo copies the signed one only, by a policy that requires a signature.
# The image that containerd upgraded by delta has the digest that was signed. Exits 0.
#
#   tests/node/signatures.sh
#
# Environment: IMGDELTA, RATE, KEEP as in kubernetes.sh.
# Needs: root on Debian 12; packages containerd docker-registry skopeo iproute2 curl jq python3; for the
#        first run the network of apt. cosign is of trixie, and so is the skopeo with the policy: those
#        of Debian 12 do not know sigstore. They stay unpacked in
#        ${XDG_CACHE_HOME:-~/.cache}/imgdelta-node. Address 198.18.77.1.
# shellcheck source=tests/node/prelude.sh
. "$(dirname "$0")/prelude.sh"
limit_time 1800 "$@"
# shellcheck source=tests/node/node.sh
. "$here/node.sh"
# shellcheck source=tests/node/images.sh
. "$here/images.sh"
make_work signatures

readonly MIRRORED=$MIRROR/demo/app

# Programs of trixie: cosign needs no library; skopeo has a root directory with its own.
fetch_programs() {
    "$here/packages.sh" trixie "$cache/cosign-trixie" cosign
    "$here/packages.sh" trixie "$cache/skopeo-trixie" skopeo libc6 libgpgme11t64 libassuan9 libgpg-error0 \
        libsqlite3-0
    ln -sfn usr/lib "$cache/skopeo-trixie/lib"
    ln -sfn usr/lib64 "$cache/skopeo-trixie/lib64"
    mkdir -p "$cache/skopeo-trixie/var/tmp" "$cache/skopeo-trixie/tmp"
}

cosign() {
    in_node env HOME="$work" COSIGN_PASSWORD=password "$cache/cosign-trixie/usr/bin/cosign" "$@" \
        2>> "$work/log/cosign"
}

verify() {
    cosign verify --key "$work/cosign.pub" --insecure-ignore-tlog=true --allow-http-registry \
        --allow-insecure-registry "$1" > "$work/log/verified"
}

digest() { echo "sha256:$(manifest "$1" | sha256sum | cut -d' ' -f1)"; }

# Files of skopeo in its root directory: the mirror, where signatures are, and who must have signed.
configure_skopeo() {
    root=$cache/skopeo-trixie
    mkdir -p "$root/test/registries.d"
    cp "$work/cosign.pub" "$root/test/cosign.pub"
    cat > "$root/test/registries.conf" << END
[[registry]]
location = "$REGISTRY"
insecure = true
[[registry.mirror]]
location = "$MIRROR"
insecure = true
END
    cat > "$root/test/registries.d/test.yaml" << END
docker:
  "$REGISTRY": {use-sigstore-attachments: true}
  "$MIRROR": {use-sigstore-attachments: true}
END
    cat > "$root/test/policy.json" << END
{"default": [{"type": "reject"}], "transports": {"docker": {"$REGISTRY": [{"type": "sigstoreSigned",
 "keyPath": "/test/cosign.pub",
 "signedIdentity": {"type": "exactRepository", "dockerRepository": "$REGISTRY/demo/app"}}]}}}
END
}

# Copies an image by the policy, into a layout that is thrown away.
copy() {
    rm -rf "$root/test/layout"
    in_node chroot "$root" skopeo --policy /test/policy.json --registries.d /test/registries.d \
        --registries-conf /test/registries.conf copy --quiet --remove-signatures \
        "docker://$REGISTRY/demo/app:$1" oci:/test/layout:x 2> "$work/log/skopeo"
}

# Requests of a client that came through the mirror since a line of the log. The mirror asks the
# registry under the name of its client.
expect_mirrored() {
    local before=$1 path=$2
    requests_since "$before" | grep -q " $path" || fail "expected a request of $path through the mirror"
}

main() {
    need_root_and containerd ctr docker-registry skopeo ip tc curl jq python3
    need_node_command
    fetch_programs
    python3 "$here/pair.py" "$work/pair"
    start_node
    start_registry
    push_images "$work/pair/old" "$work/pair/new"
    start_plain_containerd
    start_mirror exact

    note "cosign"
    cosign generate-key-pair --output-key-prefix "$work/cosign" > "$work/log/keys"
    cosign sign --key "$work/cosign.key" --tlog-upload=false --allow-http-registry --yes \
        "$REGISTRY/demo/app@$(digest v2)" > "$work/log/sign"
    verify "$REGISTRY/demo/app:v2" || fail "expected a signature at the registry"
    local line
    line=$(logged)
    verify "$MIRRORED:v2" || fail "expected a signature of the tag through the mirror"
    verify "$MIRRORED@$(digest v2)" || fail "expected a signature of the digest through the mirror"
    expect_mirrored "$line" "/v2/demo/app/manifests/$(digest v2 | tr : -).sig"
    ! verify "$MIRRORED:v1" || fail "expected no signature of v1"
    grep -q 'no signatures found' "$work/log/cosign" || fail "expected the refusal to say why"
    ! cosign sign --key "$work/cosign.key" --tlog-upload=false --allow-http-registry --yes \
        "$MIRRORED@$(digest v1)" > "$work/log/sign" || fail "expected no push through the mirror"
    ! verify "$REGISTRY/demo/app:v1" || fail "expected v1 to stay without a signature"

    note "containerd, by delta"
    mkdir -p "$work/certs.d/$REGISTRY"
    printf 'server = "http://%s"\n[host."http://%s"]\ncapabilities = ["pull", "resolve"]\n' \
        "$REGISTRY" "$MIRROR" > "$work/certs.d/$REGISTRY/hosts.toml"
    ctr images pull --hosts-dir "$work/certs.d" "$OLD_IMAGE" > /dev/null
    ctr images pull --hosts-dir "$work/certs.d" "$NEW_IMAGE" > /dev/null
    [ "$(mirror_status | jq .rebuilt)" = 1 ] || fail "expected a rebuild: $(mirror_status)"
    local pulled
    pulled=$(ctr images list | awk -v name="$NEW_IMAGE" '$1 == name { print $3 }')
    [ "$pulled" = "$(digest v2)" ] || fail "expected the signed digest, found $pulled"
    verify "$MIRRORED@$pulled" || fail "expected a signature of the pulled image"

    note "skopeo, by policy"
    configure_skopeo
    line=$(logged)
    copy v2 || fail "expected the signed image to be copied: $(cat "$work/log/skopeo")"
    expect_mirrored "$line" "/v2/demo/app/manifests/$(digest v2 | tr : -).sig"
    ! copy v1 || fail "expected the unsigned image to be refused"
    grep -q 'signature was required' "$work/log/skopeo" || fail "expected why: $(cat "$work/log/skopeo")"
    rm -rf "$root/test"

    echo "signed image: verified by cosign and by a policy of skopeo through the mirror"
    echo "unsigned image: refused by both; nothing was pushed through the mirror"
}

main
