#!/bin/bash
# Kills the mirror of a node 50 times while it holds manifests and stages layers; then its containerd.
#
# A containerd pulls an image through the mirror, which is killed with SIGKILL at a random moment of
# the pull. Each pull succeeds with the right files, no snapshot has an unknown chain, and nothing is
# left once the leases have ended. The mirror is killed as often while it passes whole layers on, and
# containerd is: then the next pull succeeds, with the same checks. Prints each kill, and exits 0.
#
#   tests/node/kills.sh [KILLS]     50 by default
#
# Environment: SEED  of the moments, to repeat a run (they depend on the machine's speed, too)
#
# Needs: root; containerd; a Rust toolchain. Takes about ten minutes. Leaves nothing behind.
# shellcheck source=tests/node/prelude.sh
. "$(dirname "$0")/prelude.sh"
need_root_and containerd
cd "$top"
KILLS=${1:-50} CI=true cargo test -q --release -p imgdelta-cli --features node --test node_kills \
    -- --nocapture --test-threads=1
