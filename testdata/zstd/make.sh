#!/bin/sh
# Makes rows of golden.tsv: encoder, version, parameters, input, header of the frame, bytes and
# SHA-256 of the file.
# Usage: make.sh INPUTS ENCODER VERSION COMMAND...
# INPUTS is a directory filled by imgdelta-deflate's example golden_inputs; COMMAND compresses
# standard input and is given each of $PARAMETERS in turn, its commas as spaces.
# For instance, with make.go built against klauspost/compress 1.17.9:
#   PARAMETERS="1,0 2,0 2,8 3,0" make.sh inputs klauspost V1_17_8 ./make
# and with the reference command (FILE=1: of a file, not a pipe):
#   PARAMETERS="-1 -3,--single-thread" FILE=1 make.sh inputs libzstd file zstd -q -c
set -eu
inputs=$1 encoder=$2 version=$3
shift 3
out=$(mktemp)
for parameters in $PARAMETERS; do
    for input in tiny text noise zero mixed; do
        # Numbers and options only: splitting at spaces is meant.
        arguments=$(echo "$parameters" | tr , ' ')
        if [ -n "${FILE-}" ]; then
            "$@" $arguments "$inputs/$input" > "$out"
        else
            cat "$inputs/$input" | "$@" $arguments > "$out"
        fi
        descriptor=$((0x$(head -c 5 "$out" | tail -c 1 | od -An -tx1 | tr -d ' ')))
        single=$((descriptor >> 5 & 1))
        case $((descriptor >> 6)) in 0) size=$single ;; 1) size=2 ;; 2) size=4 ;; 3) size=8 ;; esac
        header=$(head -c $((6 - single + size)) "$out" | od -An -tx1 | tr -d ' \n')
        bytes=$(wc -c < "$out")
        digest=$(sha256sum < "$out" | cut -d ' ' -f 1)
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' \
            "$encoder" "$version" "$parameters" "$input" "$header" "$bytes" "$digest"
    done
done
rm -f "$out"
