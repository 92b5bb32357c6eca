#!/bin/sh
# Every study of train/RESULTS.md on FER2013: `sh train/results/studies.sh fer2013 studies`, where
# fer2013 is the data set and studies the folder for the runs. Started again, it goes on where it
# was broken off. Short runs (3 epochs, two seeds): they rank settings, they are not the best to be
# had of them.
set -eu
data=$1 runs=$2
mkdir -p "$runs"

study() {
  name=$1
  shift
  fer-train compare --data "$data" --output "$runs/$name" --resume --threads 1 \
    --precision bf16-mixed "$@"
  cp "$runs/$name/compare.json" "$(dirname "$0")/$name.json"
}
simple() {
  study "$@" --architecture simple_cnn --epochs 3 --seeds 0,1
}

simple activation --vary activation=relu,leaky_relu,tanh,sigmoid,softmax
simple batch_norm --vary batch-norm=yes,no
simple optimizer --vary optimizer=sgd,adam --vary lr=0.05,0.001
simple scheduler --vary scheduler=step,onecycle --step-size 1
simple augmentation --vary augment=none,light,standard
simple sampler --vary sampler=shuffle,stratified,balanced
simple dropout --vary dropout=0,0.3,0.5
simple batch_size --vary batch-size=16,32,128
study resnet18 --architecture resnet18 --epochs 2 --seeds 0 --batch-size 128 \
  --vary "freeze-until=layer4,"
