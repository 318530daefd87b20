#!/bin/bash
# Proves staging with podman 5: after `imgdelta node stage`, a pull by podman asks for manifest and
# config only, and the image has the registry's digest.
#
# podman 5 needs a newer system than Debian 12, so that it runs in a tree of Debian 13, which is made
# at the first run and entered by pivot_root.
#
#   tests/node/podman5.sh
#
# Environment: IMGDELTA, the program (target/release/imgdelta); TREE, the directory of Debian 13
#              (~/.cache/imgdelta/debian13).
# Needs: root on Debian 12; packages debootstrap docker-registry skopeo. Leaves nothing but the tree.
# shellcheck source=tests/node/prelude.sh
. "$(dirname "$0")/prelude.sh"
limit_time 1200 "$@"
make_work podman5
need_root_and debootstrap docker-registry skopeo python3
need_node_command
tree=${TREE:-$HOME/.cache/imgdelta/debian13}

if [ ! -x "$tree/usr/bin/podman" ]; then
    mkdir -p "$tree"
    debootstrap --variant=minbase \
        --include=ca-certificates,podman,skopeo,conmon,crun,netavark,containers-storage \
        trixie "$tree" > "$work/debootstrap.log" || fail "$(tail -3 "$work/debootstrap.log")"
fi

# Runs a command in the tree, with the work directory at /work. The network is the machine's.
inside() {
    unshare --mount --propagation private bash -c '
        set -e
        tree=$1 work=$2; shift 2
        mount --bind "$tree" "$tree"
        cd "$tree"
        mkdir -p work outside
        mount --bind "$work" work
        mount -t proc proc proc
        mount -t tmpfs tmpfs run
        mount -t tmpfs tmpfs var/tmp
        mount --rbind /dev dev
        mount --rbind /sys sys
        pivot_root . outside
        cd /
        umount -l /outside
        export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin CONTAINERS_STORAGE_CONF=/work/storage.conf
        exec "$@"' inside "$tree" "$work" "$@"
}

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
host=127.0.0.1:$port
cat > "$work/registry.yml" << END
version: 0.1
log: {level: error, accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "$host"}
END
docker-registry serve "$work/registry.yml" > "$work/access.log" 2> /dev/null &
pids[registry]=$!
await 10 "the registry" bash -c "exec 3<> /dev/tcp/127.0.0.1/$port"

cat > "$work/storage.conf" << END
[storage]
driver = "overlay"
graphroot = "/work/storage"
runroot = "/run/storage"
END
cat > "$work/node.toml" << END
runtime = "podman"
[rebuild]
directory = "/work/node"
[link]
rate = "100kbit"
[[registry]]
host = "$host"
END
cp "$imgdelta" "$work/imgdelta"
for tag in old new; do
    skopeo copy -q --preserve-digests --dest-tls-verify=false \
        "oci:$top/testdata/small/$tag" "docker://$host/app:$tag"
done
"$imgdelta" create -q "$top/testdata/small/old" "$top/testdata/small/new" -o "$work/up"
"$imgdelta" push -q "$work/up" "docker://$host/app"

version=$(inside podman --version)
case $version in *" 5."*) echo "$version" ;; *) fail "expected podman 5, found $version" ;; esac
inside podman pull -q --tls-verify=false "$host/app:old" > /dev/null
before=$(wc -l < "$work/access.log")
inside /work/imgdelta node stage --config /work/node.toml "docker://$host/app:new"
tail -n "+$((before + 1))" "$work/access.log" | grep -q 'imgdelta/' || fail "nothing was staged"
before=$(wc -l < "$work/access.log")
inside podman pull -q --tls-verify=false "$host/app:new" > /dev/null
requests=$(tail -n "+$((before + 1))" "$work/access.log" | awk -F'"' '{ print $2 }')
echo "$requests"
[ "$(echo "$requests" | wc -l)" = 3 ] || fail "expected three requests: ping, manifest, config"
expected=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$host/app:new")
found=$(inside podman image inspect "$host/app:new" --format '{{.Digest}}')
[ "$found" = "$expected" ] || fail "the image is $found, expected $expected"
echo "podman 5 fetched manifest and config only; the image is $found"
