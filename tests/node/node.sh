# A node in namespaces of its own and a registry outside of it, for kubernetes.sh and podman.sh.
#
# The node has its own network, mounts and processes; a link of $RATE leads to the registry. All its
# processes end with its first one, and that one ends with the script, also after `kill -9`; then the
# directory and empty control groups are left. Files that a kubelet would change (sysctls, /run,
# /var/lib, /var/log) are the node's own.
#
# Sourced by scripts that set $work, a new directory. Needs root, iproute2, util-linux.

readonly REGISTRY=198.18.77.1:5000 NODE_ADDRESS=198.18.77.2 RATE=${RATE:-20mbit}
readonly MIRROR=127.0.0.1:9611
readonly SYSCTLS="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
kernel/keys/root_maxkeys kernel/keys/root_maxbytes net/ipv4/ip_forward"

declare -A pids=()
link=
node=

fail() { echo "FAILED: $*" >&2; exit 1; }
note() { echo "== $*" >&2; }

# Waits until a command succeeds: await SECONDS WHAT COMMAND...
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what: not in time"
        sleep 0.1
    done
}

# The first process of the node: private mounts, then waiting. bash reaps the orphans of others.
first_process='
set -e
mount --make-rprivate /
mkdir -p "$work/own" "$work/var-lib" "$work/var-log"
for name in $SYSCTLS; do
    [ -e /proc/sys/$name ] || continue
    file=$work/own/${name//\//.}
    cat /proc/sys/$name > "$file"
    mount --bind "$file" /proc/sys/$name
done
mount -t tmpfs tmpfs /run
mount --bind "$work/var-lib" /var/lib
mount --bind "$work/var-log" /var/log
ip link set lo up
trap "exit 0" TERM
touch "$work/node-is-there"
while :; do sleep 3600 & wait $! || :; done'

start_node() {
    ! ip -brief address | grep -qF "${REGISTRY%:*}/" ||
        fail "another run has the address ${REGISTRY%:*}: wait for its end"
    export work SYSCTLS
    setpriv --pdeathsig KILL \
        unshare --net --mount --pid --fork --kill-child --mount-proc \
        bash -c "$first_process" > "$work/log/node" 2>&1 &
    pids[node]=$!
    await 20 "the node's namespaces" test -e "$work/node-is-there"
    node=$(child "${pids[node]}")
    link=imgdelta$((RANDOM % 10000))
    ip link add "$link" type veth peer name eth0 netns "$node"
    ip address add 198.18.77.1/30 dev "$link"
    ip link set "$link" up
    in_node ip address add "$NODE_ADDRESS/30" dev eth0
    in_node ip link set eth0 up
    in_node ip route add default via 198.18.77.1
    limit_link "$RATE"
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
    local name=$1
    shift
    nsenter --target "$node" --net --mount --pid -- "$@" >> "$work/log/$name" 2>&1 &
    pids[$name]=$!
}

# Sends a signal to a process of the node, and waits for its end.
end() {
    local name=$1 signal=${2:-TERM}
    kill -s "$signal" "$(child "${pids[$name]}")"
    { wait "${pids[$name]}" || :; } 2> /dev/null
    unset "pids[$name]"
}

# Processor time of processes of the node and of their ended children, in seconds.
processor_seconds() {
    local name sum=0 fields
    for name in "$@"; do
        [ -n "${pids[$name]:-}" ] || continue
        read -r -a fields < <(sed 's/.*) //' "/proc/$(child "${pids[$name]}")/stat")
        sum=$((sum + fields[11] + fields[12] + fields[13] + fields[14]))
    done
    echo "$((sum * 100 / $(getconf CLK_TCK)))" | sed 's/..$/.&/; s/^\./0./'
}

start_registry() {
    cat > "$work/registry.yml" << END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: $REGISTRY}
END
    setpriv --pdeathsig KILL docker-registry serve "$work/registry.yml" \
        > "$work/access.log" 2> "$work/log/registry" &
    pids[registry]=$!
    await 30 "the registry" curl -fs "http://$REGISTRY/v2/"
}

# Lines of the access log so far.
logged() { wc -l < "$work/access.log"; }

# Requests of the node after a line of the log: METHOD PATH STATUS BYTES AGENT.
requests_since() {
    # The registry writes a line after the answer.
    sleep 0.3
    tail -n "+$(($1 + 1))" "$work/access.log" | grep "^$NODE_ADDRESS " |
        sed -E 's/^[^"]*"([A-Z]+) ([^ ?]*)[^"]*" ([0-9]+) ([0-9]+) "[^"]*" "([^"]*)"$/\1 \2 \3 \4 \5/'
}

# The log has sizes for HEAD, too, which are not sent.
bytes_since() { requests_since "$1" | awk '$1 == "GET" { sum += $4 } END { print sum + 0 }'; }

# Paths that the runtime itself fetched, without the repository's: a mirror passes its name on.
fetched_since() {
    requests_since "$1" | awk -v agent="$2" '$1 == "GET" && index($5, agent) == 1 { print $2 }' |
        sed -E 's|^/v2/.*/(manifests\|blobs)/|\1/|' | sort -u
}

# Starts the mirror; $1 is its `blobs`.
start_mirror() {
    cat > "$work/node.toml" << END
[mirror]
listen = "$MIRROR"
[containerd]
socket = "$work/containerd.sock"
[rebuild]
blobs = "$1"
directory = "$work/mirror"
[link]
rate = "20Mbit"
[[registry]]
host = "$REGISTRY"
plain-http = true
END
    start mirror "$imgdelta" node serve --config "$work/node.toml"
    await 30 "the mirror" mirror_answers
}

mirror_answers() { in_node curl -fs "http://$MIRROR/readyz"; }
mirror_status() { in_node curl -fs "http://$MIRROR/status"; }

# Ends everything; what the namespaces held ends with them. The link ends with its other half.
clean_up() {
    local code=$? name
    trap - EXIT INT TERM HUP
    for name in "${!pids[@]}"; do
        kill -KILL "${pids[$name]}" 2> /dev/null || :
    done
    wait 2> /dev/null || :
    [ -z "$link" ] || ip link delete "$link" 2> /dev/null || :
    remove_groups
    if [ "$code" != 0 ] && [ -n "${KEEP:-}" ]; then
        echo "logs are in $work" >&2
    else
        rm -rf "$work"
    fi
    exit "$code"
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
