# Nodes in namespaces of their own and a registry outside of them, for the scripts next to it.
#
# Each node has its own network, mounts and processes; links of $RATE join the nodes and the registry.
# All processes of a node end with its first one, and that one ends with the script, also after
# `kill -9`; then the directory and empty control groups are left. Files that a kubelet would change
# (sysctls, /run, /etc/containerd, /var/lib, /var/log) are the node's own.
#
# Sourced after prelude.sh. Needs root, iproute2, util-linux.

readonly REGISTRY_ADDRESS=198.18.77.1 RATE=${RATE:-20mbit}
# The registry as the nodes name it, on a port that a script may choose; the same without TLS, for pushes.
readonly REGISTRY=$REGISTRY_ADDRESS:${registry_port:-5000} PUSHED=$REGISTRY_ADDRESS:5000
readonly MIRROR=127.0.0.1:9611 SOCKET=/run/containerd/containerd.sock
readonly SYSCTLS="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
kernel/keys/root_maxkeys kernel/keys/root_maxbytes net/ipv4/ip_forward"

bridge=
# The node that the functions below act on: its name, first process, directory, address and link.
node_name=
node=
home=
NODE_ADDRESS=
link=
declare -A nodes=()

# The first process of a node: private mounts, then waiting. bash reaps the orphans of others.
first_process='
set -e
mount --make-rprivate /
# As on a machine with systemd: volumes may ask for mounts of the host.
mount --make-rshared /
mkdir -p "$home/own" "$home/var-lib" "$home/var-log"
for name in $SYSCTLS; do
    [ -e /proc/sys/$name ] || continue
    file=$home/own/${name//\//.}
    cat /proc/sys/$name > "$file"
    mount --bind "$file" /proc/sys/$name
done
mount -t tmpfs tmpfs /run
[ ! -d /etc/containerd ] || mount -t tmpfs tmpfs /etc/containerd
mount --bind "$home/var-lib" /var/lib
mount --bind "$home/var-log" /var/log
ip link set lo up
trap "exit 0" TERM
touch "$home/node-is-there"
while :; do sleep 3600 & wait $! || :; done'

# Starts a node, on which the functions below act from here on: start_node [NAME]. The first one has
# the address 198.18.77.2, the next one .3.
start_node() {
    [ -n "$bridge" ] || start_network
    local name=${1:-node} number=$((${#nodes[@]} + 2))
    home=$work/$name
    mkdir "$home"
    export home SYSCTLS
    setpriv --pdeathsig KILL \
        unshare --net --mount --pid --fork --kill-child --mount-proc \
        bash -c "$first_process" > "$work/log/$name" 2>&1 &
    pids[$name]=$!
    await 20 "the namespaces of $name" test -e "$home/node-is-there"
    nodes[$name]="$(child "${pids[$name]}") $number"
    use_node "$name"
    ip link add "$link" type veth peer name eth0 netns "$node"
    ip link set "$link" master "$bridge" up
    in_node ip address add "$NODE_ADDRESS/29" dev eth0
    in_node ip link set eth0 up
    in_node ip route add default via "$REGISTRY_ADDRESS"
    limit_link "$RATE"
}

use_node() {
    local number
    node_name=$1
    read -r node number <<< "${nodes[$1]}"
    home=$work/$1
    NODE_ADDRESS=198.18.77.$number
    link=$bridge.$number
}

start_network() {
    ! ip -brief address | grep -qF "$REGISTRY_ADDRESS/" ||
        fail "another run has the address $REGISTRY_ADDRESS: wait for its end"
    groups > "$work/groups"
    bridge=imgdelta$((RANDOM % 10000))
    ip link add "$bridge" type bridge
    ip address add "$REGISTRY_ADDRESS/29" dev "$bridge"
    ip link set "$bridge" up
}

# Limits the link, towards the node and back: limit_link RATE [BURST].
limit_link() {
    tc qdisc replace dev "$link" root tbf rate "$1" burst "${2:-32kb}" latency 400ms
    in_node tc qdisc replace dev eth0 root tbf rate "$1" burst "${2:-32kb}" latency 400ms
}

child() { tr -d ' ' < "/proc/$1/task/$1/children"; }

in_node() { nsenter --target "$node" --net --mount --pid -- "$@"; }

# Starts a process of the node: start NAME COMMAND...
start() {
    local name=$node_name/$1
    shift
    mkdir -p "$work/log/$node_name.d"
    nsenter --target "$node" --net --mount --pid -- "$@" >> "$work/log/$node_name.d/${name##*/}" 2>&1 &
    pids[$name]=$!
}

# The command that `start` runs, by its number outside of the node; empty if it does not run.
process_of() { [ -z "${pids[$node_name/$1]:-}" ] || child "${pids[$node_name/$1]}"; }

# Sends a signal to a process of the node, and waits for its end.
end() {
    local name=$node_name/$1 signal=${2:-TERM}
    kill -s "$signal" "$(process_of "$1")"
    { wait "${pids[$name]}" || :; } 2> /dev/null
    unset "pids[$name]"
}

# Processor time of processes of the node and of their ended children, in seconds.
processor_seconds() {
    local name sum=0 fields process
    for name in "$@"; do
        process=$(process_of "$name")
        [ -n "$process" ] || continue
        read -r -a fields < <(sed 's/.*) //' "/proc/$process/stat")
        sum=$((sum + fields[11] + fields[12] + fields[13] + fields[14]))
    done
    echo "$((sum * 100 / $(getconf CLK_TCK)))" | sed 's/..$/.&/; s/^\./0./'
}

start_registry() {
    serve_registry registry "$PUSHED"
    await 30 "the registry" curl -fs "http://$PUSHED/v2/"
}

# Serves the same repositories with TLS, too, as $REGISTRY. The authority is $work/keys/authority.pem.
start_tls_registry() {
    local keys=$work/keys
    mkdir -p "$keys"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=authority" \
        -keyout "$keys/authority.key" -out "$keys/authority.pem" 2> /dev/null
    openssl req -newkey rsa:2048 -nodes -subj "/CN=registry" \
        -keyout "$keys/registry.key" -out "$keys/registry.csr" 2> /dev/null
    openssl x509 -req -in "$keys/registry.csr" -days 2 -CA "$keys/authority.pem" \
        -CAkey "$keys/authority.key" -CAcreateserial -out "$keys/registry.pem" \
        -extfile <(echo "subjectAltName = IP:$REGISTRY_ADDRESS") 2> /dev/null
    serve_registry tls-registry "$REGISTRY" "
  tls: {certificate: $keys/registry.pem, key: $keys/registry.key}"
    await 30 "the registry" curl -fs --cacert "$keys/authority.pem" "https://$REGISTRY/v2/"
}

# Serves the repositories: serve_registry NAME ADDRESS [SETTINGS]. There is one access log.
serve_registry() {
    cat > "$work/$1.yml" << END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http:
  addr: $2${3:-}
END
    setpriv --pdeathsig KILL docker-registry serve "$work/$1.yml" \
        >> "$work/access.log" 2> "$work/log/$1" &
    pids[$1]=$!
}

# Lines of the access log so far.
logged() { wc -l < "$work/access.log"; }

# Requests of the node after a line of the log: METHOD PATH STATUS BYTES AGENT.
requests_since() {
    # The registry writes a line after the answer.
    sleep 0.3
    tail -n "+$(($1 + 1))" "$work/access.log" | awk -v node="$NODE_ADDRESS" '$1 == node' |
        sed -E 's/^[^"]*"([A-Z]+) ([^ ?]*)[^"]*" ([0-9]+) ([0-9]+) "[^"]*" "([^"]*)"$/\1 \2 \3 \4 \5/'
}

# The log has sizes for HEAD, too, which are not sent.
bytes_since() { requests_since "$1" | awk '$1 == "GET" { sum += $4 } END { print sum + 0 }'; }

# Paths that the runtime itself fetched, without the repository's: a mirror passes its name on.
fetched_since() {
    requests_since "$1" | awk -v agent="$2" '$1 == "GET" && index($5, agent) == 1 { print $2 }' |
        sed -E 's|^/v2/.*/(manifests\|blobs)/|\1/|' | sort -u
}

ctr() { in_node ctr --address "$SOCKET" --namespace k8s.io "$@"; }

# A containerd without Kubernetes.
start_plain_containerd() {
    cat > "$home/containerd.toml" << END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$SOCKET"
[plugins."io.containerd.internal.v1.opt"]
path = "$home/opt"
END
    start containerd containerd --config "$home/containerd.toml"
    await 60 containerd ctr version
}

# Starts the mirror: start_mirror BLOBS [RUNTIME], the settings of its runtime (containerd).
start_mirror() {
    local containerd="[containerd]
socket = \"$SOCKET\""
    cat > "$home/node.toml" << END
${2:-$containerd}
[mirror]
listen = "$MIRROR"
[rebuild]
blobs = "$1"
directory = "$home/mirror"
[link]
rate = "20Mbit"
[[registry]]
host = "$REGISTRY"
plain-http = true
END
    start mirror "$imgdelta" node serve --config "$home/node.toml"
    await 30 "the mirror" mirror_answers
}

mirror_answers() { in_node curl -fs "http://$MIRROR/readyz"; }
mirror_status() { in_node curl -fs "http://$MIRROR/status"; }

# What the namespaces held has ended with them, and their links with the other halves.
clean_up_node() {
    [ -z "$bridge" ] || ip link delete "$bridge" 2> /dev/null || :
    remove_groups
}

# Control groups of the node's containers: those that were not there at the start.
groups() { find /sys/fs/cgroup -depth -type d 2> /dev/null | sort; }
remove_groups() {
    local group
    [ -e "$work/groups" ] || return 0
    groups | comm -13 "$work/groups" - | sort -r |
        while read -r group; do
            case $group in
                */k8s.io | */k8s.io/* | */kubepods | */kubepods/* | */libpod_parent*) rmdir "$group" 2> /dev/null || : ;;
            esac
        done
}
