#!/bin/bash
# Builds Kubernetes 1.20 from Debian's source package, once, for kubernetes.sh.
#
# No distribution packages kubelet. Debian 12's source package has the whole tree with its
# dependencies, and Debian's Go builds it: about 8 minutes of processor time, 1.5 GB of memory.
# The programs stay in ${XDG_CACHE_HOME:-~/.cache}/imgdelta-kubernetes/bin (360 MB).
#
# Needs: Debian 12, golang-go, dpkg-dev, the network of apt.
# Run:   tests/node/build-kubernetes.sh
set -euo pipefail
export LC_ALL=C

cache=${XDG_CACHE_HOME:-$HOME/.cache}/imgdelta-kubernetes
programs=(kubelet kube-apiserver kube-controller-manager kube-scheduler pause)

fail() { echo "build-kubernetes.sh: $*" >&2; exit 1; }

# Fetches the source package with lists of its own: the machine's apt configuration stays as it is.
fetch_source() {
    local apt=$cache/apt
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$cache/source"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
${DEBIAN_MIRROR:-http://deb.debian.org/debian} bookworm main" > "$apt/sources.list"
    local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt" -o APT::Sandbox::User=root)
    apt-get -qq "${options[@]}" update
    (cd "$cache/source" && apt-get -qq "${options[@]}" source --download-only kubernetes)
}

# The API server includes a description of its API that the package leaves to be generated.
generate_openapi() {
    local tree=$1 package=k8s.io/kubernetes
    [ -s "$tree/pkg/generated/openapi/zz_generated.openapi.go" ] && return
    go build -o "$cache/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    # Types that the server serves. Those of configuration files are not, and Go 1.19 stops at them.
    local inputs
    inputs=$(cd staging/src && grep -rl --include=*.go '+k8s:openapi-gen=true' \
        k8s.io/{api,apimachinery,apiextensions-apiserver,kube-aggregator}/ |
        grep -v -e /testdata/ -e /testing/ -e _test.go | xargs -n1 dirname | sort -u |
        sed "s|^|$package/vendor/|" | paste -sd,)
    "$cache/openapi-gen" --logtostderr -i "$inputs" -p "$package/pkg/generated/openapi" \
        -O zz_generated.openapi -h hack/boilerplate/boilerplate.generatego.txt \
        -r "$cache/openapi-violations"
}

# A container's program that waits for its end: it runs in any image, and in the pods' sandboxes.
build_pause() {
    cat > "$cache/pause.go" << 'END'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM)
	<-ends
}
END
    go build -ldflags '-s -w' -o "$cache/bin/pause" "$cache/pause.go"
}

main() {
    local program missing=0
    for program in "${programs[@]}"; do
        [ -x "$cache/bin/$program" ] || missing=1
    done
    [ $missing = 1 ] || return 0

    command -v go dpkg-source > /dev/null || fail "install golang-go and dpkg-dev"
    local tree=$cache/go/src/k8s.io/kubernetes
    if [ ! -e "$tree/vendor/modules.txt" ]; then
        fetch_source
        rm -rf "$tree"
        mkdir -p "${tree%/*}"
        dpkg-source --no-check -x "$cache"/source/kubernetes_1.20*.dsc "$tree"
    fi
    cd "$tree"
    export GOPATH=$cache/go GOCACHE=$cache/go-build GO111MODULE=off CGO_ENABLED=0
    export GOFLAGS=-trimpath GOMAXPROCS="${GOMAXPROCS:-1}"
    mkdir -p "$cache/bin"
    for program in "${programs[@]}"; do
        [ -x "$cache/bin/$program" ] && continue
        [ "$program" = kube-apiserver ] && generate_openapi "$tree"
        echo "build-kubernetes.sh: building $program"
        [ "$program" = pause ] && build_pause && continue
        go build -p 1 -ldflags '-s -w' -o "$cache/bin/$program.part" "./cmd/$program"
        mv "$cache/bin/$program.part" "$cache/bin/$program"
    done
    rm -rf "$cache"/{apt,source,go,go-build,openapi-gen,openapi-violations,pause.go}
}

[ "$(id -u)" = 0 ] || fail "run it as root: apt downloads for root only"
main
