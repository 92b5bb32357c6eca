"""fp32, fp16 and int8 of the model in the runtime: `pytest benchmarks -k precision`.

On the GPU where CUDA runs, else on the CPU.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.artefacts import SHIPPED, Artefacts
from fer_bench.engines.hosted import Hosted, clock
from fer_bench.engines.table import ENGINES
from fer_bench.recording import measure
from fer_runtime.machine import usable_threads
from fer_runtime.shipped import find_model

BATCH_SIZES = (1, 32, 256)
TOLERANCE = {"fp32": 1e-5, "fp16": 0.01, "int8": 0.2}
"""Of probabilities; the parity of each file was proved when it was exported."""


@pytest.fixture(scope="module", params=TOLERANCE)
def precision(
    request: pytest.FixtureRequest, exported: Artefacts, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A precision's name, and the model's file in it."""
    from fer_export import exporter
    from fer_export.options import ExportOptions

    name: str = request.param
    checkpoint, data = (request.config.getoption(option) for option in ("--model", "--data"))
    if name == "fp32":
        return name, exported.onnx
    file = tmp_path_factory.mktemp("precisions") / f"{name}.onnx"
    if name == "fp16":
        options = ExportOptions(precision=name, images=data and data / "validation")
        return name, exporter.export(checkpoint, "onnx", file, options).path
    if checkpoint == SHIPPED:
        return name, find_model("compact_cnn.int8")
    if data is None:
        pytest.skip("int8 of --model needs labelled images: --data FOLDER")
    options = ExportOptions(
        precision=name, images=data / "validation", calibration=data / "train",
        evaluation=data / "validation", skip_duplicates=True,
    )  # fmt: skip
    return name, exporter.export(checkpoint, "onnx", file, options).path


@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.benchmark(timer=clock)
def test_precision(
    benchmark: Any,
    exported: Artefacts,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    precision: tuple[str, Path],
    size: int,
) -> None:
    name, file = precision
    benchmark.group = f"precision, batch {size}"
    artefacts = dataclasses.replace(exported, onnx=file)
    runs = next(
        entry for entry in map(ENGINES.get, ("runtime, CUDA", "runtime"))
        if entry is not None and entry.why_not() is None
    )  # fmt: skip
    with Hosted(runs, artefacts, usable_threads()) as engine:
        engine.facts |= {"engine": name, "artefact_bytes": file.stat().st_size}
        measure(
            benchmark, engine, faces[:size], reference[:size], seconds=1, least=5,
            tolerance=TOLERANCE[name],
        )  # fmt: skip
