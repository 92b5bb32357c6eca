#!/bin/sh
# Measures a model in its other homes, from a checkout: sh benchmarks/homes.sh FER2013 NODE_MODULES
# FER2013 contains train/ and validation/; NODE_MODULES is a folder in which
# `npm install @huggingface/transformers` was run. Needs Chromium, node and the extras export,
# openvino and dev; takes five minutes; results/homes.txt is an example.
set -eu
data=$1
modules=$2
. benchmarks/steps.sh
step web-page ready
step web-page labels "$data/validation"
step web-page camera tests/data/astronaut.jpg
step hub "$data/validation" --node-modules "$modules"
folder=$(mktemp -d)
cp train/checkpoints/compact_cnn.pt "$folder/best.pt"
cp fer_runtime/models/compact_cnn.onnx "$folder/best.onnx"
cp fer_runtime/models/compact_cnn.int8.onnx "$folder/best.int8.onnx"
images=$(cd "$data/validation" && pwd)
cd "$folder"
export COLUMNS=130
for format in torchscript pt2; do
    fer-export $format best.pt > /dev/null 2>&1
done
printf '\n$ fer-export verify best.pt best.onnx --engine all --images fer2013/validation\n'
fer-export verify best.pt best.onnx --engine all --images "$images" 2> /dev/null
printf '\n$ fer-export verify best.pt best.int8.onnx --engine all --evaluation fer2013/validation\n'
fer-export verify best.pt best.int8.onnx --engine all --evaluation "$images" 2> /dev/null || true
rm -r "$folder"
