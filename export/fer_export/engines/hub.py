"""The graph that `fer-export hub` makes of a file, fed as the loaders' processors feed it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_export.engines.arrays import Pixels, Ran
from fer_export.engines.native import missing
from fer_export.homes.hub import graph
from fer_runtime.session import softmax
from fer_runtime.spec import ModelSpec

__all__ = ["missing", "run"]


def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run an ONNX file as it is in a hub folder.

    Its logits are divided by the temperature; they are multiplied by it here, to be compared.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="fer-export-") as folder:
        converted = Path(folder) / "model.onnx"
        graph.convert(path, spec, converted)
        run_batch = graph.runner(converted)
    outputs = []
    for batch in batches:
        logits = run_batch(batch)
        scaled = logits * np.float32(spec.temperature)
        outputs.append({"logits": scaled, "probabilities": softmax(logits)})
    return Ran(outputs, onnxruntime.__version__)
