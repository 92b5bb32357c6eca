"""What each stage of a run costs on one thread: `pytest benchmarks -k stages`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.artefacts import Artefacts
from fer_bench.image_files import ImageFiles
from fer_bench.recording import measure_call
from fer_runtime import images, infer
from fer_runtime.columns import plain_columns
from fer_runtime.row_batch import RowBatch
from fer_runtime.session import Session
from fer_runtime.sinks.table import sink_of
from fer_runtime.sources import Files

COUNT, BATCH = 512, 32
STAGES = ("list files", "read files", "decode", "session", "encode rows", "whole run")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.benchmark(group="stages, one thread")
def test_stages(
    benchmark: Any, exported: Artefacts, files: ImageFiles, tmp_path: Path, stage: str
) -> None:
    folder = files.images(48, ".jpg", COUNT)
    session = Session.open(exported.onnx, provider="cpu", threads=1)
    items = list(Files([folder]))
    contents = [images.read(item.path) for item in items]
    pixels = np.stack([images.decode(content, session.spec.input) for content in contents])
    starts = range(0, COUNT, BATCH)
    columns = plain_columns(session.spec.labels)
    encode = sink_of(".csv").encoder(columns)
    assert encode is not None
    rows = [
        RowBatch(
            columns,
            items[at : at + BATCH],
            None,
            session.run(pixels[at : at + BATCH]).probabilities,
        )
        for at in starts
    ]
    ways: dict[str, Callable[[], Any]] = {
        "list files": lambda: list(Files([folder])),
        "read files": lambda: [images.read(item.path) for item in items],
        "decode": lambda: [images.decode(content, session.spec.input) for content in contents],
        "session": lambda: [session.run(pixels[at : at + BATCH]) for at in starts],
        "encode rows": lambda: [encode(batch) for batch in rows],
        "whole run": lambda: infer(
            [folder], tmp_path / "rows.csv", model=exported.onnx, provider="cpu", threads=1,
            batch_size=BATCH, workers=0, overwrite=True,
        ),
    }  # fmt: skip
    measure_call(benchmark, ways[stage], COUNT, seconds=0.5, least=3, engine=stage, threads=1)
    made = ways[stage]()
    assert made.rows == COUNT if stage == "whole run" else len(made) in (COUNT, COUNT // BATCH)
