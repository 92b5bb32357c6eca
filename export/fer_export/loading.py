"""Any classifier in PyTorch as a net with a spec: our checkpoints, and everybody else's weights.

Nothing inside a file is executed unless the caller says so: weights are read with
`weights_only=True`, a factory is imported only where the caller names it, and a pickled module only
with `trust_pickle`.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer_export import preprocessing
from fer_runtime.errors import DataError, ModelFileError, ModelSpecError
from fer_runtime.spec import InputSpec, ModelSpec, Provenance
from fer_train import archives, models
from fer_train import checkpoint as checkpoints

SHOWN = 3
PICKLED = "would execute code, so it is refused; say --trust-pickle if you trust the file"


@dataclass(frozen=True)
class ModelDescription:
    """What a file that is not ours does not say: the net, its labels and its input.

    `net_args` are the architecture's own arguments; `image_size` is (height, width).
    """

    architecture: str | None = None
    labels: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    net_args: Mapping[str, Any] = field(default_factory=dict)
    trust_pickle: bool = False
    # How an image becomes the input, as in InputSpec (fer_export.preprocessing).
    resize_mode: str | None = None
    interpolation: str | None = None
    resize_to: int | tuple[int, int] | None = None
    preset: str | None = None

    def spec(self) -> ModelSpec:
        """The ModelSpec that these make.

        Raises:
            ModelSpecError: one of them is missing (all that are missing are named), or wrong.
        """
        needed = {
            "--labels": self.labels, "--image-size": self.image_size, "--channels": self.channels,
            "--mean": self.mean, "--std": self.std,
        }  # fmt: skip
        missing = [name for name, value in needed.items() if not value]
        if missing or self.image_size is None or self.channels is None:
            raise ModelSpecError(
                f"The file carries no ModelSpec, so {', '.join(missing)} must be said: exactly "
                "what it was trained with. (torchvision's ImageNet weights: --channels 3 "
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
        """The options that describe an input, as given."""
        if self.preset:
            return ["--preprocessing"]
        values = {
            "--labels": self.labels, "--image-size": self.image_size, "--channels": self.channels,
            "--mean": self.mean, "--std": self.std, "--resize-mode": self.resize_mode,
            "--interpolation": self.interpolation, "--resize-to": self.resize_to,
        }  # fmt: skip
        return [name for name, value in values.items() if value]


@dataclass(frozen=True)
class Loaded:
    """A net in evaluation mode, and its spec."""

    spec: ModelSpec
    net: nn.Module

    def deployable(self) -> models.Deployable:
        """The net wrapped as it is exported."""
        wrapped = models.Deployable(self.net, self.spec)
        return wrapped.eval()


def load(path: Path, description: ModelDescription | None = None) -> Loaded:
    """A checkpoint of ours, or weights of another kind with what `description` says about them.

    Weights are a state dict, a Lightning or other training checkpoint that holds one, a
    `.safetensors` file, or (with `trust_pickle`) a pickled module.

    Raises:
        ModelFileError: an unusable file, or weights that do not fit the architecture.
        ModelSpecError: `description` lacks something, or contradicts the checkpoint's own spec.
    """
    description = description or ModelDescription()
    content = _read(path, description.trust_pickle)
    if isinstance(content, Mapping) and {"spec", "state_dict"} <= set(content):
        if description.named():
            raise ModelSpecError(
                f"{path} carries its own spec; leave {', '.join(description.named())} away."
            )
        ours = checkpoints.load(path, factory=description.architecture)
        return Loaded(ours.spec, ours.net())
    if (
        not description.named()
        and description.architecture is None
        and not isinstance(content, nn.Module)
    ):
        keys = ", ".join(map(str, list(content)[:SHOWN]))
        raise ModelFileError(
            f"{path} holds no ModelSpec beside its weights ({keys} …). Say what they are: "
            "--architecture resnet18 (or timm:NAME, or package.module:factory) --labels labels.txt "
            "--image-size 64 --channels 3 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25."
        )
    spec = description.spec()
    if isinstance(content, nn.Module):
        net = content
    else:
        net = _build(description, spec)
        _fill(net, _state_dict(content, path), path, description)
    models.check(net.eval(), description.architecture or path.name, spec.input, len(spec.labels))
    weights = checkpoints.state_sha256(net.state_dict())
    return Loaded(spec.replace(provenance=Provenance(weights_sha256=weights)), net.eval())


def labels_from(text: str) -> tuple[str, ...]:
    """Labels in logit order: a file with one a line, or names with commas between.

    Raises:
        DataError: a file that cannot be read, or no label in it.
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
        raise DataError(f"{text} holds no labels; it needs one a line, in the order of the logits.")
    return labels


def _read(path: Path, trust_pickle: bool) -> Any:
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist, or is not a file.")
    archives.check_size(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError:
        if not zipfile.is_zipfile(path) and not _is_pickle(path):
            raise ModelFileError(
                f"{path} is not a checkpoint that torch.save wrote; it may be truncated, or "
                "another kind of file."
            ) from None
        raise ModelFileError(
            f"{path} holds Python objects beside tensors and plain values; loading those "
            f"{PICKLED}, or save a state dict instead: torch.save(model.state_dict(), path)."
        ) from None
    except (RuntimeError, OSError, EOFError, KeyError, ValueError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFileError(
            f"{path} cannot be read as a checkpoint: {reason} It may be truncated, or another kind "
            "of file."
        ) from None
    except ImportError as error:
        raise ModelFileError(
            f"{path} is a pickle that needs the module {error.name!r}, which is not there; run "
            "from the project that made it, or save a state dict instead."
        ) from None


def _is_pickle(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(1) == pickle.PROTO


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise ModelFileError(
            f"{path} needs the package safetensors, which is not there: pip install safetensors."
        ) from None
    try:
        found: Mapping[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read as safetensors: {error}") from None
    return found


def _state_dict(content: Any, path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors by name: of the content itself, or of the entry that training loops use."""
    for name in (None, "state_dict", "model_state_dict", "model", "net", "state_dict_ema"):
        found = content if name is None else content.get(name)
        if isinstance(found, Mapping) and found:
            tensors = {k: v for k, v in found.items() if isinstance(v, torch.Tensor)}
            if tensors and (name is not None or len(tensors) == len(found)):
                return tensors
        if not isinstance(content, Mapping):
            break
    raise ModelFileError(
        f"{path} holds no state dict; its keys: {', '.join(map(str, list(content)[:5]))}."
        if isinstance(content, Mapping)
        else f"{path} holds a {type(content).__name__}, not a state dict."
    )


def _build(description: ModelDescription, spec: ModelSpec) -> nn.Module:
    if description.architecture is None:
        raise ModelSpecError("--architecture must be said: the file holds weights without a net.")
    return models.build(
        description.architecture, spec.input, len(spec.labels), spec.architecture_args
    )


def _fill(
    net: nn.Module, weights: Mapping[str, torch.Tensor], path: Path, description: ModelDescription
) -> None:
    """Load weights whose keys may carry a prefix (`module.`, `model.` …) or auxiliary heads."""
    expected = net.state_dict()
    prefix = _prefix(list(weights), list(expected))
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    own = {k: v for k, v in own.items() if k in expected or not _auxiliary(k)}
    missing = [k for k in expected if k not in own and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in own if k not in expected] if not prefix else []
    shapes = [
        (k, tuple(own[k].shape), tuple(v.shape))
        for k, v in expected.items()
        if k in own and own[k].shape != v.shape
    ]
    if missing or unexpected or shapes:
        raise ModelFileError(_mismatch(path, description, expected, missing, unexpected, shapes))
    # Into the net's own state dict: it carries the versions that some modules load by.
    expected.update({k: v for k, v in own.items() if k in expected})
    net.load_state_dict(expected)


def _prefix(keys: Sequence[str], expected: Sequence[str]) -> str:
    """What stands before the net's own names in most keys: "", "module.", "model.net." …"""
    wanted = set(expected)
    candidates = {""} | {
        key[: -len(name)] for name in expected[:1] for key in keys if key.endswith(name)
    }
    return max(
        sorted(candidates),
        key=lambda p: sum(k.removeprefix(p) in wanted for k in keys if k.startswith(p)),
    )


def _auxiliary(key: str) -> bool:
    """Heads that torchvision's GoogLeNet and Inception have for training only."""
    return key.startswith(("aux1.", "aux2.", "AuxLogits."))


def _mismatch(
    path: Path,
    description: ModelDescription,
    expected: Mapping[str, torch.Tensor],
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> str:
    """What does not fit, the first few of each kind, and the likeliest cause."""
    lines = [f"The weights in {path} do not fit {description.architecture}:"]
    for title, names in (("missing", missing), ("not part of the net", unexpected)):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"  {title}: {', '.join(names[:SHOWN])}{more}")
    for name, found, wanted in shapes[:SHOWN]:
        lines.append(f"  {name} is {found} in the file, {wanted} in the net")
    lines.append(_cause(description, expected, missing, shapes))
    return "\n".join(lines)


def _cause(
    description: ModelDescription,
    expected: Mapping[str, torch.Tensor],
    missing: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> str:
    first = next(iter(expected))
    last = [name for name in expected if name.endswith(".weight")][-1:]
    for name, found, wanted in shapes:
        if name == first and len(found) == 4 and found[1] != wanted[1]:
            return f"The file's first layer takes {found[1]} channels: say --channels {found[1]}."
        if name in last and found[1:] == wanted[1:]:
            return (
                f"The file's head has {found[0]} classes, and {wanted[0]} labels were given; "
                "--labels must name every class, in the order of the logits."
            )
    if len(missing) > len(expected) / 2:
        return "Hardly a name fits: the weights are probably those of another architecture."
    return "It is probably a variant of the net; --net-args passes it arguments, as JSON."
