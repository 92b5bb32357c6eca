#!/bin/sh
# Measures fer-serve on this machine: benchmarks/serving.sh FOLDER PYTHON
# FOLDER contains 48 x 48 JPEGs (FER2013's validation); PYTHON is that of an environment with
# `pip install litserve '.[cpu]'`. Needs wrk, takes half an hour; results/serving.txt is an example.
set -eu
folder=$1
python=$2
. "$(dirname "$0")/steps.sh"
step serving speed "$folder" --litserve "$python"
step serving hostile "$folder"
step serving ending "$folder"
step serving overload "$(dirname "$0")/../tests/data"
step serving overload "$folder" --crops 2000 --minutes 3
