#!/bin/sh
# How often `fer-bench compare --run` is right: 50 comparisons of a thing with itself, 20 with one
# that takes 10 % longer, 20 with one that takes 5 % longer. Needs a quiet machine and half an hour;
# results/compare.txt is an example.
#
#   sh benchmarks/compare.sh
set -eu
. "$(dirname "$0")/steps.sh"
repeated() {
    count=$1
    shift
    printf '\n$ fer-bench compare --run %s   (%s times)\n' "$*" "$count"
    for _ in $(seq "$count"); do
        # The status is 1 where something changed.
        { fer-bench compare --run "$@" 2>/dev/null || true; } | tail -n 1
    done | sed 's/:.*//' | sort | uniq -c
}
repeated 50 . . --model compact_cnn.int8 --batch-size 1
repeated 20 . slowdown=0.1 --model compact_cnn.int8 --batch-size 1
repeated 20 . slowdown=0.05 --model compact_cnn.int8 --batch-size 1
