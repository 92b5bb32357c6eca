"""PyTorch's exported program (`.pt2`): TorchScript's successor, with the spec as an extra file."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from fer_export.formats.to_torchscript import inner_name
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import EXTRA_FILE, ModelSpec
from fer_train import archives
from fer_train.models import Deployable

MAX_BATCH = 65536


def convert(deployable: Deployable, spec: ModelSpec, path: Path) -> None:
    """Export the wrapper in evaluation mode with a dynamic batch, and save it with its spec.

    Raises:
        ModelFileError: PyTorch cannot export the net.
    """
    made = program(deployable, spec)
    for node in made.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of whoever exports
    _save(made, spec, path)
    # Loading recomputes what is noted about views; from here on the file repeats itself.
    embed(path, spec)


def program(deployable: Deployable, spec: ModelSpec) -> Any:
    """`torch.export`'s program of the wrapper in evaluation mode, with a dynamic batch.

    Raises:
        ModelFileError: PyTorch cannot export the net.
    """
    example = torch.zeros((2, *spec.input.shape), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False):
            warnings.simplefilter("ignore")
            return torch.export.export(deployable.eval(), (example,), dynamic_shapes=({0: batch},))
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"PyTorch cannot export this net to .pt2: {reason}") from error


def embed(path: Path, spec: ModelSpec) -> None:
    """Write the file again with another spec."""
    _save(load(path), spec, path)


def load(path: Path) -> Any:
    """Open a `.pt2` file on the CPU.

    Raises:
        ModelFileError: not an exported program, or one that executes code when it is loaded.
    """
    archives.check_program(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except (RuntimeError, ValueError, OSError, KeyError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFileError(f"{path} cannot be loaded as an exported program: {reason}") from None


def weights_sha256(path: Path) -> str:
    """Hash of the graph, weights and constants, which is all of the file but its spec."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        for entry in sorted(archive.namelist(), key=inner_name):
            if inner_name(entry).startswith(("models/", "data/weights/", "data/constants/")):
                digest.update(inner_name(entry).encode() + b"\0" + archive.read(entry))
    return digest.hexdigest()


def _save(program: Any, spec: ModelSpec, path: Path) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, buffer, extra_files={EXTRA_FILE: spec.to_json()})
    path.write_bytes(buffer.getbuffer())
