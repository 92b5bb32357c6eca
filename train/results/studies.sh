#!/bin/sh
# Every study of train/RESULTS.md on FER2013: `sh train/results/studies.sh fer2013 studies`, where
# fer2013 is the data set and studies the folder for the runs. Started again, it continues where
# it stopped. Short runs of 3 epochs: they rank settings, and do not show the best result of each.
# Where one seed is run, another can be added: change --seeds and start again. The runs of 50 epochs
# are the notes' own, with the rates of PyTorch's tutorials, since the notes name one rate only.
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
  study "$@" --architecture simple_cnn --epochs 3
}

simple activation --seeds 0,1 --vary activation=relu,leaky_relu,tanh,sigmoid,softmax
simple batch_norm --seeds 0,1 --vary batch-norm=yes,no
simple optimizer --seeds 0,1 --vary optimizer=sgd,adam --vary lr=0.05,0.001
simple scheduler --seeds 0,1 --vary scheduler=step,onecycle --step-size 1
simple augmentation --seeds 0 --vary augment=none,light,standard
simple sampler --seeds 0 --vary sampler=shuffle,stratified,balanced
simple dropout --seeds 0 --vary dropout=0,0.3,0.5
simple batch_size --seeds 0 --vary batch-size=16,32,128
study resnet18 --architecture resnet18 --epochs 2 --seeds 0 --batch-size 128 \
  --net-args '{"small_input": false}' --vary "freeze-until=layer4,"
fifty() {
  study "$@" --architecture simple_cnn --epochs 50 --seeds 0 --batch-size 32 --weight-decay 0 \
    --precision 32
}
fifty fifty_epochs_onecycle --vary scheduler=onecycle --optimizer adam --lr 0.008
fifty fifty_epochs_steps --vary optimizer=sgd,adam --lr 0.001 --scheduler step --step-size 7
# Labels that no model of other folds believes, and images that PublicTest has too: 12 epochs.
# `labels` writes labels/labels.csv into the current folder.
net='{"crop": 40, "stem": 16, "widths": [32, 64, 112, 176], "depths": [1, 1, 2, 1], "hidden": [32, 48, 80, 112]}'
twelve="--epochs 12 --batch-size 128 --lr 0.1 --augment standard --sharp"
fer-train labels --data "$data" --output labels --resume --folds 5 --monitor val_accuracy \
  --threads 1 --precision bf16-mixed $twelve --net-args "$net"
study labels $twelve --seeds 0,1 --vary min-label-probability=0,0.05 \
  --label-probabilities labels/labels.csv --net-args "$net"
study duplicates $twelve --seeds 0,1 --vary skip-duplicates=true --net-args "$net"
# What a long run might add, at the time of twelve plain epochs: sam takes two passes a step.
study squeeze $twelve --seeds 0,1 --vary squeeze=8 --net-args "$net"
study drop_path $twelve --seeds 0,1 --vary drop-path=0.1 --net-args "$net"
study sam $twelve --epochs 6 --seeds 0,1 --vary optimizer=sam --net-args "$net"
