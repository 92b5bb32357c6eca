#!/bin/sh
# Measures the pipeline on this machine: benchmarks/pipeline.sh FOLDER CHECKPOINT
# FOLDER contains one folder of images per class (FER2013's validation), CHECKPOINT is the one that
# the shipped model is made from. Takes about half an hour; results/pipeline.txt is an example.
set -eu
folder=$1
checkpoint=$2
image=$(find "$folder" -name '*.jpg' | sort | head -n 1)
. "$(dirname "$0")/steps.sh"
step pipeline "$folder"
step end-to-end "$checkpoint" "$folder"
step photos
step memory "$folder"
step latency "$image"
step latency "$image" --model compact_cnn.int8
step cold-start "$image"
step crashes "$folder"
step hostile
if python -c 'import atheris' 2>/dev/null; then step fuzz 2>/dev/null; fi
