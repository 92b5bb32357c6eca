"""How many threads and worker processes to use: `pytest benchmarks -k threads`, `-k workers`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.artefacts import Artefacts
from fer_bench.engines.hosted import Hosted, clock
from fer_bench.engines.table import ENGINES
from fer_bench.image_files import ImageFiles
from fer_bench.recording import measure, measure_call
from fer_runtime import Classifier
from fer_runtime.machine import usable_threads

CORES = usable_threads()
COUNTS = sorted({*(2**power for power in range(CORES.bit_length())), CORES})
BATCH = 32
FILES = 2048


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize("name", ["runtime", "eager, blocks kept"])
@pytest.mark.benchmark(timer=clock, group=f"threads, batch {BATCH}")
def test_threads(
    benchmark: Any,
    exported: Artefacts,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    name: str,
    threads: int,
) -> None:
    with Hosted(ENGINES[name], exported, threads) as engine:
        engine.facts["engine"] = f"{name}, {threads} thread{'s' * (threads > 1)}"
        measure(benchmark, engine, faces[:BATCH], reference[:BATCH], seconds=1, least=5)


@pytest.mark.parametrize("workers", [0, *(count for count in COUNTS if count > 1)])
@pytest.mark.benchmark(group="workers, files to rows")
def test_workers(benchmark: Any, exported: Artefacts, files: ImageFiles, workers: int) -> None:
    paths = sorted(files.images(48, ".jpg", FILES).iterdir())
    with Classifier.load(exported.onnx, provider="cpu", workers=workers) as classifier:
        rows: list[Any] = []

        def run() -> None:
            rows[:] = classifier.rows(paths)

        name = f"{workers} workers" if workers else f"{CORES} threads"
        measure_call(
            benchmark, run, FILES, seconds=1.5, least=3, engine=name, workers=workers,
            provider=classifier.provider,
        )  # fmt: skip
        assert [row.name for row in rows] == [str(path) for path in paths]
        assert not any(row.error for row in rows)
