#!/bin/sh
# Measures object stores and clusters on this machine: benchmarks/clusters.sh FOLDER
# FOLDER contains 48 x 48 JPEGs (FER2013's validation). Needs the extras cloud, ray and dev, takes
# half an hour; results/clusters.txt is an example.
set -eu
folder=$1
. "$(dirname "$0")/steps.sh"
step object-stores same "$folder"
step object-stores kills "$folder"
step object-stores listing
step clusters kills "$folder"
step clusters speed "$folder"
step clusters million "$folder"
