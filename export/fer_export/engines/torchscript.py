"""TorchScript, on the CPU; loading one executes the code inside the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_export.engines.arrays import Pixels, Ran
from fer_export.formats.table import FORMATS
from fer_runtime.spec import ModelSpec


def missing() -> str:
    """Never: torch is required for every comparison."""
    return ""


def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run a .torchscript file."""
    return run_format("torchscript", path, batches)


def run_format(name: str, path: Path, batches: Sequence[Pixels]) -> Ran:
    """Run a file of a format of PyTorch's."""
    import torch

    run_batch = FORMATS[name].runner(path)
    return Ran([run_batch(batch) for batch in batches], torch.__version__)
