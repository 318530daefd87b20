# The beginning of every script here: a strict shell, a limit of time, a directory, and an end that leaves
# nothing.
#
# Sourced first. Sets $here, the folder of the scripts, and $top, that of the repository.

set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/imgdelta-node

# Processes of the script, by name.
declare -A pids=()
work=

fail() { echo "FAILED: $*" >&2; exit 1; }
note() { echo "== $*" >&2; }

need_root_and() {
    local tool
    [ "$(id -u)" = 0 ] || fail "run it as root"
    for tool in "$@"; do
        command -v "$tool" > /dev/null || fail "install $tool: see the head of this script"
    done
}

# Sets $imgdelta, the program with the feature `node`: need_node_command [DEFAULT].
need_node_command() {
    imgdelta=${IMGDELTA:-${1:-$top/target/release/imgdelta}}
    "$imgdelta" node serve --help > /dev/null 2>&1 ||
        fail "$imgdelta has no \`node serve\`: cargo build --release -p imgdelta-cli --features node"
    imgdelta=$(realpath "$imgdelta")
}

# Starts the script again, under a limit of time: limit_time SECONDS "$@".
limit_time() {
    [ -z "${IMGDELTA_NODE_LIMITED:-}" ] || return 0
    IMGDELTA_NODE_LIMITED=1 exec timeout --kill-after=60 "$1" "$0" "${@:2}"
}

# Makes $work, the directory of a run, which ends with it: make_work NAME.
make_work() {
    work=$(mktemp -d -t "imgdelta-$1-XXXXXX")
    mkdir "$work/log"
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
}

# Waits until a command succeeds: await SECONDS WHAT COMMAND...
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what: not in time"
        sleep 0.1
    done
}

# Ends everything, the node of node.sh included, if there is one.
clean_up() {
    local code=$? name
    trap - EXIT INT TERM HUP
    {
        for name in "${!pids[@]}"; do
            kill -KILL "${pids[$name]}" || :
        done
        wait || :
    } 2> /dev/null
    ! declare -F clean_up_node > /dev/null || clean_up_node
    if [ "$code" != 0 ] && [ -n "${KEEP:-}" ]; then
        echo "logs are in $work" >&2
    else
        rm -rf "$work"
    fi
    exit "$code"
}
