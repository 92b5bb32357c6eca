"""The checkpoint that run 10 starts from: a trained compact_cnn with whole channels taken out.

    pip install torch-pruning
    python train/results/prune.py leg9.pt pruned.pt '{"hidden": [32, 48, 80, 112]}'

The channels with the smallest BatchNorm scales go (Liu et al. 2017, "Learning Efficient
Convolutional Networks through Network Slimming"), in every layer that must agree at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch_pruning
import typer
from torch import nn

from fer_train import checkpoint, models


def main(source: Path, output: Path, arguments: str) -> None:
    """Write the checkpoint OUTPUT: SOURCE's model, narrowed to what ARGUMENTS (JSON) describe."""
    loaded = checkpoint.load(source)
    spec = loaded.spec
    if spec.architecture is None:
        raise typer.BadParameter(f"{source} names no architecture.")
    changed = spec.replace(
        architecture_args={**spec.architecture_args, **json.loads(arguments)}, temperature=1.0
    )
    net = loaded.net()
    wanted = models.build(
        spec.architecture, spec.input, len(spec.labels), changed.architecture_args
    )
    ratios = {
        layer: 1 - smaller.out_channels / layer.out_channels
        for layer, smaller in zip(net.modules(), wanted.modules(), strict=True)
        if isinstance(layer, nn.Conv2d) and isinstance(smaller, nn.Conv2d)
    }
    torch_pruning.pruner.BasePruner(
        net,
        torch.zeros(2, *spec.input.shape),
        importance=torch_pruning.importance.BNScaleImportance(),
        pruning_ratio=0.0,
        pruning_ratio_dict=ratios,
        ignored_layers=[layer for layer in net.modules() if isinstance(layer, nn.Linear)],
    ).step()
    wanted.load_state_dict(net.state_dict())
    checkpoint.save(output, changed, wanted.state_dict())
    before, after = (models.multiply_adds(each, spec.input) for each in (loaded.net(), wanted))
    typer.echo(f"{output}: {before / 1e6:.1f} M multiply-adds pruned to {after / 1e6:.1f} M")


if __name__ == "__main__":
    typer.run(main)
