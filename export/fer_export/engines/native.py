"""onnxruntime, by the runtime's own session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_export.engines.arrays import Pixels, Ran
from fer_runtime.session import Session
from fer_runtime.spec import ModelSpec


def missing() -> str:
    """Never: exports are compared with it."""
    return ""


def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run an ONNX file on the CPU."""
    import onnxruntime

    session = Session.open(path, provider="cpu")
    found = [session.run(batch) for batch in batches]
    outputs = [{"logits": each.logits, "probabilities": each.probabilities} for each in found]
    return Ran(outputs, onnxruntime.__version__)
