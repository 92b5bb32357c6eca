#!/bin/sh
# Measures cores, worker processes and packs on this machine: benchmarks/cores.sh FOLDER
# FOLDER contains one folder of images per class (FER2013's train). Takes about half an hour;
# results/cores.txt is an example.
set -eu
folder=$1
. "$(dirname "$0")/steps.sh"
step cores "$folder"
step packed "$folder"
step threads "$folder"
step memory "$folder" --most 1000000 --workers 2 --model compact_cnn.int8 --in-each 2000
step crashes "$folder" --workers 2
