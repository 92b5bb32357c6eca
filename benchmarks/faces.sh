#!/bin/sh
# Measures faces, videos and galleries on this machine: benchmarks/faces.sh FOLDER
# FOLDER contains one folder of images per class (FER2013's validation). Needs the extras dev and
# video, and chromium. Takes about half an hour; results/faces.txt is an example.
set -eu
folder=$1
photo=$(dirname "$0")/../tests/data/astronaut.jpg
. "$(dirname "$0")/steps.sh"
step cold-start --faces "$photo"
step face-photos "$folder"
step video "$folder" --annotate
step gallery
step face-parity "$folder"
step face-crops "$folder" --enlarge 4 --enlarge 2
step face-crops "$folder" --turn 15
step hostile --faces
step crashes "$folder" --faces --images 500
