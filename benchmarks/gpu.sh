#!/bin/sh
# Everything that needs a GPU, in under nine minutes: `sh benchmarks/gpu.sh fer2013/validation`.
# Runs the tests marked gpu, and writes gpu.json and gpu.md into the current folder; results/ has
# those of machines that it ran on.
set -eu
folder=$1
. "$(dirname "$0")/steps.sh"
printf '\n$ pytest -m gpu tests/runtime\n'
python -m pytest -q -m gpu tests/runtime
step on-gpu "$folder" -o gpu.json
