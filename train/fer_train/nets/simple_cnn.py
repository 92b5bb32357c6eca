"""simple_cnn: convolutions, pooling and two linear layers, as in a first project."""

from __future__ import annotations

from torch import nn

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import InputSpec
from fer_train.nets.table import activation as layer_of


def simple_cnn(
    spec: InputSpec,
    classes: int,
    *,
    width: int = 16,
    depth: int = 3,
    batch_norm: bool = True,
    activation: str = "relu",
    dropout: float = 0.3,
) -> nn.Module:
    """The plain CNN of a first project: `depth` times convolution and pooling, then 512 -> classes.

    Args:
        spec: size and channels of the images.
        classes: number of outputs.
        width: channels of the first convolution, doubled by each that follows.
        depth: convolutions, each followed by pooling.
        batch_norm: with or without BatchNorm after each convolution.
        activation: a name of `nets.table.ACTIVATIONS`.
        dropout: share of features dropped before the last layer.

    Raises:
        ModelSpecError: more poolings than the image has room for, or an unknown activation.
    """
    if min(spec.height, spec.width) >> depth < 1:
        raise ModelSpecError(
            f"depth {depth} halves {spec.height} x {spec.width} pixels down to nothing; "
            "use a smaller --depth or a larger --image-size."
        )
    layers: list[nn.Module] = []
    before = spec.channels
    for index in range(depth):
        after = width << index
        layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(after)] if batch_norm else []
        layers += [layer_of(activation), nn.MaxPool2d(2)]
        before = after
    flat = before * (spec.height >> depth) * (spec.width >> depth)
    layers += [nn.Flatten(), nn.Linear(flat, 512), layer_of(activation)]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(512, classes))
