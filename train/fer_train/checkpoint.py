"""`best.pt`: a net's state dict together with its ModelSpec, in plain values.

`torch.load(weights_only=True)` opens it, so that reading a checkpoint executes nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer_runtime.errors import DataError, FerError, ModelFileError
from fer_runtime.hashing import weights_sha256
from fer_runtime.spec import ModelSpec
from fer_train import archives, models


@dataclass(frozen=True)
class Loaded:
    """A net with its weights, in evaluation mode, and its spec."""

    spec: ModelSpec
    net: nn.Module

    def deployable(self) -> models.Deployable:
        """The net wrapped as it is exported, in evaluation mode."""
        wrapped = models.Deployable(self.net, self.spec)
        return wrapped.eval()


@dataclass(frozen=True)
class Checkpoint:
    """What `best.pt` contains: the spec and the state dict of the net alone.

    `factory` is the one `package.module:factory` that may be imported, because the user named it.
    """

    spec: ModelSpec
    state_dict: Mapping[str, torch.Tensor]
    factory: str | None = None

    def net(self) -> nn.Module:
        """The net with its weights, in evaluation mode.

        Raises:
            ModelFileError: the weights do not fit the architecture that the spec names, or the
                spec names a factory of its own, whose import would execute code.
        """
        if self.spec.architecture is None:
            raise ModelFileError("The checkpoint's spec names no architecture to rebuild.")
        if models.is_factory(self.spec.architecture) and self.spec.architecture != self.factory:
            raise ModelFileError(
                f"The checkpoint is built by {self.spec.architecture}, and importing that executes "
                f"code; if you trust it, pass --architecture {self.spec.architecture}."
            )
        net = models.build(
            self.spec.architecture,
            self.spec.input,
            len(self.spec.labels),
            self.spec.architecture_args,
        )
        try:
            weights = OrderedDict(self.state_dict)
            # Some modules load by their version, which a state dict carries beside its tensors.
            weights._metadata = net.state_dict()._metadata  # type: ignore[attr-defined]
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelFileError(
                f"The weights do not fit {self.spec.architecture}: {error}"
            ) from None
        return net.eval()

    def loaded(self) -> Loaded:
        """The net with its weights beside its spec; raises ModelFileError as `net` does."""
        return Loaded(self.spec, self.net())

    def deployable(self) -> models.Deployable:
        """The net wrapped as it is exported, in evaluation mode; raises as `net` does."""
        return self.loaded().deployable()


def state_sha256(state_dict: Mapping[str, torch.Tensor]) -> str:
    """The hash of a state dict, as in `Provenance.weights_sha256`."""
    return weights_sha256((k, v.detach().cpu().contiguous().numpy()) for k, v in state_dict.items())


def save(path: Path, spec: ModelSpec, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Write a checkpoint; it appears under its name only when complete.

    Raises:
        DataError: the folder cannot be written, or the disk is full.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    stamped = spec.replace(provenance=replace(spec.provenance, weights_sha256=state_sha256(plain)))
    temporary = path.with_name(f".{path.name}.partial")
    # By way of memory: on a full disk PyTorch's own file writer names a position, not the cause.
    buffer = io.BytesIO()
    torch.save({"spec": stamped.to_dict(), "state_dict": plain}, buffer)
    try:
        temporary.write_bytes(buffer.getbuffer())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def load(path: Path, *, factory: str | None = None) -> Checkpoint:
    """Read a checkpoint that `save` wrote; nothing in it is executed.

    `factory` is the `package.module:factory` that the caller allows to be imported.

    Raises:
        ModelFileError: no such file, not a checkpoint, or weights that its hash does not match.
    """
    return from_content(path, archives.read(path), factory=factory)


def is_ours(content: Any) -> bool:
    """Whether the content of a file has the entries that `save` writes."""
    return isinstance(content, Mapping) and {"spec", "state_dict"} <= set(content)


def from_content(path: Path, content: Any, *, factory: str | None = None) -> Checkpoint:
    """The checkpoint in what `archives.read` returned; `path` is for messages.

    Raises:
        ModelFileError: not a checkpoint, or weights that its hash does not match.
    """
    if not isinstance(content, Mapping):
        raise ModelFileError(f"{path} contains a {type(content).__name__}, not a checkpoint.")
    if not is_ours(content):
        raise ModelFileError(
            f"{path} contains no ModelSpec beside its weights; `fer-train fit` writes checkpoints "
            f"that do. Its keys: {', '.join(map(str, list(content)[:5]))}."
        )
    try:
        spec = ModelSpec.from_dict(content["spec"])
    except FerError as error:
        raise ModelFileError(f"{path}: {error}") from None
    state_dict = content["state_dict"]
    if spec.provenance.weights_sha256 not in (None, state_sha256(state_dict)):
        raise ModelFileError(f"{path}: the weights are not those that its spec was written for.")
    return Checkpoint(spec, state_dict, factory)
