#!/bin/sh
# Makes rows of golden.tsv: encoder, behaviour, parameters, input, bytes and SHA-256 of the gzip
# file without its header (10 bytes) and trailer (8).
# Usage: make.sh INPUTS ENCODER BEHAVIOUR COMMAND...
# INPUTS is a directory filled by the example golden_inputs; COMMAND compresses standard input
# and is given each of $PARAMETERS in turn (level, or level and segment bytes).
# For instance, with make.go built against klauspost/compress 1.15.12:
#   PARAMETERS="1 5 9" make.sh inputs klauspost V1_15_10 ./make klauspost
set -eu
inputs=$1 encoder=$2 behaviour=$3
shift 3
for parameters in $PARAMETERS; do
    for input in empty tiny text noise zero mixed; do
        "$@" $(echo "$parameters" | tr , ' ') < "$inputs/$input" > /tmp/golden.$$
        bytes=$(($(wc -c < /tmp/golden.$$) - 18))
        digest=$(tail -c +11 /tmp/golden.$$ | head -c $bytes | sha256sum | cut -d ' ' -f 1)
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$encoder" "$behaviour" "$parameters" "$input" "$bytes" "$digest"
    done
done
rm -f /tmp/golden.$$
