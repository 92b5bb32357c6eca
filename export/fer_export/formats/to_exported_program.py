"""PyTorch's exported program (`.pt2`): TorchScript's successor, with the spec as an extra file."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_export import inspection
from fer_export.formats.recorder import values_of
from fer_export.formats.runners import Runner, of_module
from fer_export.formats.table import Values
from fer_export.inspection import inner_name
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import EXTRA_FILE, ModelSpec
from fer_train import archives
from fer_train.models import Deployable

MAX_BATCH = 65536


def convert(deployable: Deployable, spec: ModelSpec, path: Path) -> None:
    """Export the wrapper in evaluation mode with a dynamic batch, and save it with its spec.

    Raises:
        ModelFileError: PyTorch cannot export the model.
    """
    made = program(deployable, spec)
    for node in made.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of the machine that exports
    _save(made, spec, path)
    # Loading recomputes what is noted about views; from here on the file repeats itself.
    embed(path, spec)


def program(deployable: Deployable, spec: ModelSpec) -> Any:
    """`torch.export`'s program of the wrapper in evaluation mode, with a dynamic batch.

    Raises:
        ModelFileError: PyTorch cannot export the model.
    """
    example = torch.zeros((2, *spec.input.shape), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False):
            warnings.simplefilter("ignore")
            return torch.export.export(deployable.eval(), (example,), dynamic_shapes=({0: batch},))
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"PyTorch cannot export this model to .pt2: {reason}") from error


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


def runner(path: Path, provider: str = "cpu") -> Runner:
    """A `.pt2` file on the CPU; one that would execute code when it is loaded is refused."""
    return of_module(load(path).module())


def inspect(path: Path) -> inspection.Inspection | None:
    """What a `.pt2` file contains, or None for another kind of file."""
    entries = inspection.zip_entries(path)
    if not any(name.startswith("models/") for name in entries):
        return None
    spec = inspection.spec_entry(path)
    facts = {"entries": len(entries)}
    return inspection.Inspection(path, "torch.export program", path.stat().st_size, spec, facts)


def values(
    deployable: Deployable, spec: ModelSpec, artefact: Path, pixels: npt.NDArray[np.uint8]
) -> Values:
    """What the checkpoint's program and the file's compute on the way, for (N, C, H, W) pixels."""
    candidate = load(artefact).module()
    places = {
        node.name: (node.name, str(node.target), _module_of(node)) for node in candidate.graph.nodes
    }
    reference = program(deployable, spec).module()
    return Values(values_of(reference, pixels), values_of(candidate, pixels), places)


def _module_of(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0] or node.name) if stack else node.name


def _save(program: Any, spec: ModelSpec, path: Path) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, buffer, extra_files={EXTRA_FILE: spec.to_json()})
    path.write_bytes(buffer.getbuffer())
