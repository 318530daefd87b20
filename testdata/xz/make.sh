#!/bin/sh
# Makes rows of golden.tsv: version, parameters, input, recipe, bytes and SHA-256 of the file.
# Usage: make.sh INPUTS REMAKE VERSION COMMAND...
# INPUTS is a directory filled by imgdelta-deflate's example golden_inputs, REMAKE is imgdelta-xz's
# example remake_xz; COMMAND compresses a file to standard output and is given each of $PARAMETERS
# in turn, its colons as spaces. For instance:
# The table keeps the input "mixed" for a few parameters only, so that its test takes seconds.
#   PARAMETERS="-6 -9e -T2:--block-size=64KiB" make.sh inputs remake_xz 5.4.1 xz -c
set -eu
inputs=$1 remake=$2 version=$3
shift 3
out=$(mktemp)
for parameters in $PARAMETERS; do
    for input in tiny text noise zero mixed; do
        # Numbers and options only: splitting at spaces is meant.
        arguments=$(echo "$parameters" | tr : ' ')
        "$@" $arguments "$inputs/$input" > "$out"
        recipe=$("$remake" "$out" | sed -n 's/^exact\t.*\t//p')
        bytes=$(wc -c < "$out")
        digest=$(sha256sum < "$out" | cut -d ' ' -f 1)
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' \
            "$version" "$parameters" "$input" "$recipe" "$bytes" "$digest"
    done
done
rm -f "$out"
