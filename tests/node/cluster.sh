# Kubernetes and containerd on the nodes of node.sh, for kubernetes.sh and daemonset.sh.
#
# The first node has etcd, API server, controllers and scheduler, too. Asserts nothing.

readonly kubernetes=${XDG_CACHE_HOME:-$HOME/.cache}/imgdelta-kubernetes/bin
readonly SANDBOX=imgdelta.test/pause:pause

kubectl() {
    nsenter --target "${nodes[node]% *}" --net --mount --pid -- \
        kubectl --kubeconfig "$work/kubeconfig" "$@"
}

# Starts a containerd, with the authorities that it trusts: start_containerd CONFIG_PATH [FILE].
start_containerd() {
    mkdir -p "$home/cni"
    in_node mkdir -p "$1"
    cat > "$home/cni/10-loopback.conf" << END
{"cniVersion": "0.4.0", "name": "loopback", "type": "loopback"}
END
    cat > "$home/containerd.toml" << END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "$SOCKET"
[plugins."io.containerd.internal.v1.opt"]
path = "$home/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$SANDBOX"
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "$1"
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "$home/cni"
bin_dir = "/usr/lib/cni"
END
    start containerd env ${2:+SSL_CERT_FILE="$2"} containerd --config "$home/containerd.toml"
    await 60 containerd ctr version
    [ -e "$work/pause.tar" ] || make_sandbox_image
    ctr images import --base-name "${SANDBOX%:*}" "$work/pause.tar" > /dev/null
}

make_sandbox_image() {
    umoci init --layout "$work/pause"
    umoci new --image "$work/pause:pause"
    umoci insert --image "$work/pause:pause" "$kubernetes/pause" /pause
    umoci config --image "$work/pause:pause" --config.entrypoint /pause
    tar -C "$work/pause" -cf "$work/pause.tar" .
}

# The mirror first; containerd asks the registry itself if it fails.
direct_containerd() {
    mkdir -p "$home/certs.d/$REGISTRY"
    cat > "$home/certs.d/$REGISTRY/hosts.toml" << END
server = "http://$REGISTRY"
[host."http://$MIRROR"]
capabilities = ["pull", "resolve"]
END
}

# Starts the cluster, with the first node.
start_kubernetes() {
    local keys=$work/keys
    mkdir -p "$keys"
    openssl genrsa -out "$keys/accounts.key" 2048 2> /dev/null
    openssl rsa -in "$keys/accounts.key" -pubout -out "$keys/accounts.pub" 2> /dev/null
    local token
    token=$(openssl rand -hex 16)
    echo "$token,admin,1,system:masters" > "$keys/tokens"
    cat > "$work/kubeconfig" << END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$NODE_ADDRESS:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: "$token"}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
    start etcd etcd --data-dir "$work/etcd" --log-level error \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 \
        --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster default=http://127.0.0.1:2380
    start apiserver "$kubernetes/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=0.0.0.0 --advertise-address="$NODE_ADDRESS" --secure-port=6443 --cert-dir="$keys" \
        --service-cluster-ip-range=10.96.0.0/24 --service-account-issuer=https://imgdelta.test \
        --service-account-key-file="$keys/accounts.pub" \
        --service-account-signing-key-file="$keys/accounts.key" --token-auth-file="$keys/tokens" \
        --authorization-mode=AlwaysAllow --disable-admission-plugins=ServiceAccount \
        --endpoint-reconciler-type=none --allow-privileged=true \
        --kubelet-preferred-address-types=InternalIP
    await 120 "the API server" kubectl get --raw /readyz
    start controllers "$kubernetes/kube-controller-manager" --kubeconfig="$work/kubeconfig" \
        --leader-elect=false --bind-address=127.0.0.1 --port=0 \
        --service-account-private-key-file="$keys/accounts.key" \
        --controllers=deployment,replicaset,garbagecollector,podgc,nodelifecycle,namespace,daemonset
    start scheduler "$kubernetes/kube-scheduler" --kubeconfig="$work/kubeconfig" --leader-elect=false \
        --bind-address=127.0.0.1 --port=0
    start_kubelet
}

# Starts the kubelet of a node, which joins the cluster.
start_kubelet() {
    cat > "$home/kubelet.yaml" << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
address: 0.0.0.0
readOnlyPort: 0
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
oomScoreAdj: 0
failSwapOn: false
resolvConf: ""
volumePluginDir: $home/plugins
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}
END
    start kubelet "$kubernetes/kubelet" --config "$home/kubelet.yaml" --kubeconfig="$work/kubeconfig" \
        --root-dir "$home/kubelet" --cert-dir="$home/keys" --container-runtime=remote \
        --container-runtime-endpoint="unix://$SOCKET" --hostname-override="$node_name" \
        --node-ip="$NODE_ADDRESS" --runtime-cgroups=/ --kubelet-cgroups=/
    await 120 "$node_name" kubectl wait --for=condition=Ready --timeout=1s "node/$node_name"
}

# A Deployment or a DaemonSet of an image: KIND IMAGE. Its only program is one of the node's: no image needs a
# program.
deploy() {
    kubectl apply -f - << END > /dev/null
apiVersion: apps/v1
kind: $1
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: $2
        command: [/imgdelta-pause]
        volumeMounts: [{name: pause, mountPath: /imgdelta-pause}]
      volumes: [{name: pause, hostPath: {path: $kubernetes/pause, type: File}}]
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
    end_leases
    # shellcheck disable=SC2086
    ctr images remove --sync $names > /dev/null
    sleep 1
}

# Its sandbox and its container. kubelet removes ended ones once a minute; they hold their layers.
one_pod_is_left() { [ "$(ctr containers list -q | wc -l)" = 2 ]; }

end_leases() {
    local lease
    for lease in $(ctr leases list -q); do
        ctr leases delete "$lease" > /dev/null
    done
}
