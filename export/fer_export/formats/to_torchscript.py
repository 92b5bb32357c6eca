"""TorchScript: traced, frozen, with the spec as an extra file.

PyTorch deprecates TorchScript since 2.11 in favour of torch.export (`.pt2`); only this module uses
it, and silences its warnings.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from fer_export import inspection
from fer_export.formats.runners import Runner, of_module
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import EXTRA_FILE, ModelSpec
from fer_train import archives
from fer_train.models import Deployable


def convert(deployable: Deployable, spec: ModelSpec, path: Path) -> None:
    """Trace and freeze the wrapper in evaluation mode, and save it with its spec."""
    example = torch.zeros((2, *spec.input.shape), dtype=torch.uint8)
    _save(traced(deployable, example), spec, path)
    # Loading replaces aliases of operators (swapaxes); from here on the file repeats itself.
    embed(path, spec)


def traced(module: torch.nn.Module, example: torch.Tensor) -> Any:
    """A module in evaluation mode as a frozen program."""
    with _expected_warnings(), torch.inference_mode():
        return torch.jit.freeze(torch.jit.trace(module.eval(), example, check_trace=False))


def embed(path: Path, spec: ModelSpec) -> None:
    """Write the file again with another spec."""
    _save(load(path), spec, path)


def load(path: Path) -> Any:
    """Open a TorchScript file on the CPU. This executes the code inside it.

    Raises:
        ModelFileError: not a TorchScript file.
    """
    archives.check_size(path)
    try:
        with _expected_warnings():
            return torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{path} cannot be loaded as TorchScript: {reason}") from None


def weights_sha256(path: Path) -> str:
    """Hash of the code and constants, which is all of the file but its spec."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        for entry in sorted(archive.namelist(), key=inspection.inner_name):
            inner = inspection.inner_name(entry)
            if not inner.startswith(("extra/", ".data/")) and ".debug_pkl" not in entry:
                digest.update(inner.encode() + b"\0" + archive.read(entry))
    return digest.hexdigest()


def runner(path: Path, provider: str = "cpu") -> Runner:
    """A TorchScript file on the CPU; loading it executes the code inside."""
    return of_module(load(path))


def inspect(path: Path) -> inspection.Inspection | None:
    """What a TorchScript file contains, or None for another kind of file."""
    entries = inspection.zip_entries(path)
    if "constants.pkl" not in entries or any(name.startswith("models/") for name in entries):
        return None
    spec = inspection.spec_entry(path)
    facts = {"entries": len(entries)}
    return inspection.Inspection(path, "TorchScript", path.stat().st_size, spec, facts)


def _save(module: Any, spec: ModelSpec, path: Path) -> None:
    # By way of memory: on a full disk PyTorch's own file writer ends the whole process.
    buffer = io.BytesIO()
    with _expected_warnings():
        torch.jit.save(module, buffer, _extra_files={EXTRA_FILE: spec.to_json()})
    path.write_bytes(buffer.getbuffer())


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # A trace that is right for one batch size only would not pass parity, which runs several.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*torch.jit.*")
        yield
