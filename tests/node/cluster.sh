# Kubernetes and containerd on the node of node.sh, for kubernetes.sh.
#
# One machine is everything: etcd, API server, controllers, scheduler, kubelet. Asserts nothing.

readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/imgdelta-kubernetes
readonly SANDBOX=imgdelta.test/pause:pause

ctr() { in_node ctr --address "$work/containerd.sock" --namespace k8s.io "$@"; }
kubectl() { in_node kubectl --kubeconfig "$work/kubeconfig" "$@"; }

start_containerd() {
    mkdir -p "$work/cni" "$work/certs.d/$REGISTRY"
    cat > "$work/cni/10-loopback.conf" << END
{"cniVersion": "0.4.0", "name": "loopback", "type": "loopback"}
END
    # The mirror first; containerd asks the registry itself if it fails.
    cat > "$work/certs.d/$REGISTRY/hosts.toml" << END
server = "http://$REGISTRY"
[host."http://$MIRROR"]
capabilities = ["pull", "resolve"]
END
    cat > "$work/containerd.toml" << END
version = 2
root = "$work/containerd"
state = "/run/containerd"
[grpc]
address = "$work/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$work/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$SANDBOX"
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "$work/certs.d"
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "$work/cni"
bin_dir = "/usr/lib/cni"
END
    start containerd containerd --config "$work/containerd.toml"
    await 60 containerd ctr version
    umoci init --layout "$work/pause"
    umoci new --image "$work/pause:pause"
    umoci insert --image "$work/pause:pause" "$cache/bin/pause" /pause
    umoci config --image "$work/pause:pause" --config.entrypoint /pause
    tar -C "$work/pause" -cf "$work/pause.tar" .
    ctr images import --base-name "${SANDBOX%:*}" "$work/pause.tar" > /dev/null
}

start_kubernetes() {
    local keys=$work/keys bin=$cache/bin
    mkdir -p "$keys"
    openssl genrsa -out "$keys/accounts.key" 2048 2> /dev/null
    openssl rsa -in "$keys/accounts.key" -pubout -out "$keys/accounts.pub" 2> /dev/null
    local token
    token=$(openssl rand -hex 16)
    echo "$token,admin,1,system:masters" > "$keys/tokens"
    cat > "$work/kubeconfig" << END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: "$token"}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
    cat > "$work/kubelet.yaml" << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
address: 127.0.0.1
readOnlyPort: 0
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
oomScoreAdj: 0
failSwapOn: false
resolvConf: ""
volumePluginDir: $work/plugins
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}
END
    start etcd etcd --data-dir "$work/etcd" --log-level error \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 \
        --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster default=http://127.0.0.1:2380
    start apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=127.0.0.1 --secure-port=6443 --cert-dir="$keys" \
        --service-cluster-ip-range=10.96.0.0/24 --service-account-issuer=https://imgdelta.test \
        --service-account-key-file="$keys/accounts.pub" \
        --service-account-signing-key-file="$keys/accounts.key" --token-auth-file="$keys/tokens" \
        --authorization-mode=AlwaysAllow --disable-admission-plugins=ServiceAccount \
        --endpoint-reconciler-type=none --allow-privileged=true
    await 120 "the API server" kubectl get --raw /readyz
    start controllers "$bin/kube-controller-manager" --kubeconfig="$work/kubeconfig" \
        --leader-elect=false --bind-address=127.0.0.1 --port=0 \
        --service-account-private-key-file="$keys/accounts.key" \
        --controllers=deployment,replicaset,garbagecollector,podgc,nodelifecycle,namespace
    start scheduler "$bin/kube-scheduler" --kubeconfig="$work/kubeconfig" --leader-elect=false \
        --bind-address=127.0.0.1 --port=0
    start kubelet "$bin/kubelet" --config "$work/kubelet.yaml" --kubeconfig="$work/kubeconfig" \
        --root-dir "$work/kubelet" --cert-dir="$keys" --container-runtime=remote \
        --container-runtime-endpoint="unix://$work/containerd.sock" --hostname-override=node \
        --node-ip="$NODE_ADDRESS" --runtime-cgroups=/ --kubelet-cgroups=/
    await 120 "the node" node_is_ready
}

node_is_ready() { kubectl wait --for=condition=Ready --timeout=1s node/node; }

# A Deployment of an image. Its only program is one of the node's: no image needs a program.
deploy() {
    kubectl apply -f - << END > /dev/null
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: $1
        command: [/imgdelta-pause]
        volumeMounts: [{name: pause, mountPath: /imgdelta-pause}]
      volumes: [{name: pause, hostPath: {path: $cache/bin/pause, type: File}}]
END
}

# Waits until the Deployment runs with an image, and nothing else does.
await_ready() {
    kubectl rollout status deployment/app --timeout=300s > "$work/log/rollout" 2>&1 ||
        fail "the Deployment is not ready: $(kubectl get pods -o wide; kubectl describe pods | tail -20)"
    local image
    image=$(kubectl get pods --field-selector=status.phase=Running --sort-by=.metadata.creationTimestamp \
        -o jsonpath='{.items[-1:].spec.containers[0].image}')
    [ "$image" = "$1" ] || fail "expected a pod of $1, found '$image'"
}

# Removes an image and its layers from the node, as kubelet's garbage collection does.
remove_image() {
    local image=$1 names
    await 240 "the end of the old pod's containers" one_pod_is_left
    names=$(ctr images list | awk -v name="$image" -v repository="${image%:*}@" '
        $1 == name { digest = $3 } { line[NR] = $0 }
        END { for (number in line) { split(line[number], field, /[ \t]+/)
            if (field[3] == digest) print field[1] } }')
    [ -n "$names" ] || fail "the node does not have $image"
    # The mirror's leases keep what it staged for a day; here that day is over.
    ctr leases list -q | xargs -r -I{} nsenter --target "$node" --net --mount --pid -- \
        ctr --address "$work/containerd.sock" --namespace k8s.io leases delete {} > /dev/null
    # shellcheck disable=SC2086
    ctr images remove --sync $names > /dev/null
    sleep 1
}

# Its sandbox and its container. kubelet removes ended ones once a minute; they hold their layers.
one_pod_is_left() { [ "$(ctr containers list -q | wc -l)" = 2 ]; }
