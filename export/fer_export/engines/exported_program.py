"""A program of torch.export (.pt2), on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_export.engines.arrays import Pixels, Ran
from fer_export.engines.torchscript import missing, run_format
from fer_runtime.spec import ModelSpec

__all__ = ["missing", "run"]


def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run a .pt2 file."""
    return run_format("pt2", path, batches)
