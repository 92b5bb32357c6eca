"""Any classifier in PyTorch as a model with a spec: our checkpoints, and other people's weights.

Nothing inside a file is executed unless the caller allows it: weights are read with
`weights_only=True`, a factory is imported only where the caller names it, and a pickled module is
opened only with `trust_pickle`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer_export import preprocessing, weights
from fer_runtime.errors import DataError, ModelFileError, ModelSpecError
from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec import InputSpec, ModelSpec, Provenance
from fer_train import checkpoint as checkpoints
from fer_train import models
from fer_train.checkpoint import Loaded


@dataclass(frozen=True)
class ModelDescription:
    """What a file without a ModelSpec does not contain: its architecture, labels and input.

    Attributes:
        architecture: torchvision's name, "timm:NAME", or "package.module:factory", which is called
            as factory(InputSpec, classes, **net_args) -> nn.Module. Its output is the logits, or
            has them as `.logits` or ["logits"].
        labels: class names in the order of the logits.
        image_size: (height, width) in pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: per channel, on the 0-1 scale.
        std: per channel, on the 0-1 scale.
        net_args: the architecture's own arguments.
        resize_mode: as in `InputSpec`; None is its default.
        interpolation: as in `InputSpec`; None is its default.
        resize_to: as in `InputSpec`.
        face_crop: as in `InputSpec`; None is its default.
        preset: the preprocessing preset that some of these were taken from.
        state_key: the entry of the file that contains the weights, where it has several.
        trust_pickle: open a pickled module, which executes code in the file.
    """

    architecture: str | None = None
    labels: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    net_args: Mapping[str, Any] = field(default_factory=dict)
    resize_mode: str | None = None
    interpolation: str | None = None
    resize_to: int | tuple[int, int] | None = None
    face_crop: FaceCrop | None = None
    preset: str | None = None
    state_key: str | None = None
    trust_pickle: bool = False

    def spec(self) -> ModelSpec:
        """The ModelSpec that these make.

        Raises:
            ModelSpecError: one of them is missing (all that are missing are named), or wrong.
        """
        missing = [name for name, value in self._required().items() if not value]
        if missing or self.image_size is None or self.channels is None:
            raise ModelSpecError(
                f"The file contains no ModelSpec, so {', '.join(missing)} must be given: "
                "exactly what it was trained with. (torchvision's ImageNet weights: --channels 3 "
                "--image-size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225.)"
            )
        return ModelSpec(
            labels=self.labels,
            input=InputSpec(
                height=self.image_size[0],
                width=self.image_size[1],
                channels=self.channels,
                mean=self.mean,
                std=self.std,
                **preprocessing.input_fields(self),
            ),
            architecture=self.architecture,
            architecture_args={
                **models.published_arguments(self.architecture or ""),
                **self.net_args,
            },
        )

    def named(self) -> list[str]:
        """The options that were given and that a checkpoint with a ModelSpec does not take."""
        values = {
            **({"--preprocessing": self.preset} if self.preset else self._required()),
            "--resize-mode": None if self.preset else self.resize_mode,
            "--interpolation": None if self.preset else self.interpolation,
            "--resize-to": None if self.preset else self.resize_to,
            "--face-crop": self.face_crop,
            "--state-key": self.state_key,
        }
        return [name for name, value in values.items() if value]

    def _required(self) -> dict[str, Any]:
        """Option -> value, for what every description needs."""
        return {
            "--labels": self.labels, "--image-size": self.image_size, "--channels": self.channels,
            "--mean": self.mean, "--std": self.std,
        }  # fmt: skip


class LogitsOf(nn.Module):
    """A model whose output has the logits as `.logits` (transformers) or under "logits"."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the (N, K) logits alone."""
        logits = _logits(self.net(images))
        assert logits is not None
        return logits


def load(
    path: Path,
    description: ModelDescription | None = None,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Loaded:
    """A model with its weights, in evaluation mode, and its spec.

    Args:
        path: a checkpoint of `fer-train`; or weights: a state dict, a checkpoint of Lightning or of
            another training loop that has one in an entry, a `.safetensors` file, or (with
            `trust_pickle`) a pickled module.
        description: what a file without a ModelSpec does not contain.
        say: called with the entry that the weights are taken from.

    Raises:
        ModelFileError: an unusable file, or weights that do not fit the architecture.
        ModelSpecError: `description` lacks something, or contradicts the checkpoint's own spec.
    """
    description = description or ModelDescription()
    content = weights.read(path, description.trust_pickle)
    if checkpoints.is_ours(content):
        if description.named():
            raise ModelSpecError(
                f"{path} contains its own spec; omit {', '.join(description.named())}."
            )
        factory = description.architecture
        return checkpoints.from_content(path, content, factory=factory).loaded()
    _require_description(content, path, description)
    spec = description.spec()
    if isinstance(content, nn.Module):
        net = content
    else:
        state_dict = weights.state_dict_of(content, path, description.state_key, say)
        net = _build(description, spec)
        weights.fill(net, state_dict, path, description.architecture or "")
    sha256 = checkpoints.state_sha256(net.state_dict())
    net = _with_tensor_output(net.eval(), spec.input)
    models.check(net, description.architecture or path.name, spec.input, len(spec.labels))
    return Loaded(spec.replace(provenance=Provenance(weights_sha256=sha256)), net.eval())


def labels_from(text: str) -> tuple[str, ...]:
    """Labels in logit order: from a file with one per line, or from names separated by commas.

    Raises:
        DataError: a file that cannot be read, or without labels.
    """
    path = Path(text)
    if path.suffix or path.exists():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as a list of labels: {error}") from None
    else:
        lines = text.split(",")
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise DataError(
            f"{text} contains no labels; write one per line, in the order of the logits."
        )
    return labels


def _require_description(content: Any, path: Path, description: ModelDescription) -> None:
    """Show how to describe a file without a ModelSpec, where nothing was given at all."""
    described = set(description.named()) - {"--state-key"} or description.architecture
    if described or isinstance(content, nn.Module):
        return
    if not isinstance(content, Mapping):
        raise ModelFileError(f"{path} contains a {type(content).__name__}, not a checkpoint.")
    keys = ", ".join(map(str, list(content)[: weights.SHOWN]))
    raise ModelFileError(
        f"{path} contains no ModelSpec beside its weights ({keys} …). Describe them: "
        "--architecture resnet18 (or timm:NAME, or package.module:factory) --labels labels.txt "
        "--image-size 64 --channels 3 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25."
    )


def _build(description: ModelDescription, spec: ModelSpec) -> nn.Module:
    if description.architecture is None:
        raise ModelSpecError(
            "--architecture is required: the file contains weights, not the model itself."
        )
    return models.build(
        description.architecture, spec.input, len(spec.labels), spec.architecture_args
    )


def _with_tensor_output(net: nn.Module, spec: InputSpec) -> nn.Module:
    """The model, or one that returns its output's logits where the output is not a tensor."""
    try:
        with torch.inference_mode():
            output = net(torch.zeros(2, *spec.shape))
    except (RuntimeError, ValueError):
        return net  # models.check names what does not fit
    if isinstance(output, torch.Tensor) or _logits(output) is None:
        return net
    return LogitsOf(net)


def _logits(output: Any) -> torch.Tensor | None:
    """The tensor `.logits` or ["logits"] of an output, or None."""
    found = output.get("logits") if isinstance(output, Mapping) else None
    found = getattr(output, "logits", None) if found is None else found
    return found if isinstance(found, torch.Tensor) else None
