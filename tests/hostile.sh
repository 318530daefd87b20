#!/usr/bin/env bash
# Counts the instructions that the program executes for each hostile delta, which is repeatable, unlike time.
#
#   tests/hostile.sh [PROGRAM]    (target/release/imgdelta; needs valgrind)
#
# The base has a megabyte, so that the allowance of work is 2.5 seconds and more for a delta that makes much. A refusal must cost
# less than MOST instructions, about 2 seconds of a core; a delta that is made, or that is refused on the way, less than WAY.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/release/imgdelta}
MOST=8000000000
WAY=120000000000
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo run -q -p imgdelta-forge --example forge -- "$folder" >"$folder/list"
passed=0 failed=0
while read -r number outcome name; do
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$folder/log" \
    "$program" -q --jobs 1 verify "$folder/$number.imgdelta" --base "oci:$folder/base" >"$folder/out" 2>&1 && code=0 || code=$?
  count=$(grep -o 'Collected : [0-9]*' "$folder/log" | grep -o '[0-9]*$')
  case $outcome in Made) expected=0 most=$WAY ;; *) expected=3 most=$MOST ;; esac
  # Columns of headers are charged while they are read.
  case $name in *path*|*header*) most=$WAY ;; esac
  if [ "$code" = "$expected" ] && [ "$count" -le "$most" ]; then
    passed=$((passed + 1)); printf 'ok      %15s  %s\n' "$count" "$name"
  else
    failed=$((failed + 1)); printf 'FAILED  %15s  %s (exit code %s)\n' "$count" "$name" "$code"; head -3 "$folder/out"
  fi
done <"$folder/list"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
