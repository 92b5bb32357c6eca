"""Latency at batch 1 and throughput at larger batches: eager PyTorch, TorchScript, the runtime.

All engines start from the same uint8 pixels and end with probabilities as an array; their
outputs are compared after they were timed. `pytest benchmarks --benchmark-only`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench import engines
from fer_bench.artefacts import Artefacts
from fer_runtime.machine import usable_threads

BATCH_SIZES = (1, 8, 32, 64, 256)


@pytest.fixture(scope="module")
def reference(exported: Artefacts, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(256, K) probabilities of eager PyTorch, computed once in one batch."""
    return engines.eager(exported, usable_threads()).run(faces).copy()


def record(benchmark: Any, opened: engines.Engine, engine: str, batch_size: int) -> None:
    """Add to a benchmark what was measured; the summary and --benchmark-json show it."""
    benchmark.extra_info.update(
        opened.facts, **engines.machine(), engine=engine, batch_size=batch_size
    )
    if benchmark.stats:
        benchmark.extra_info["images_per_second"] = batch_size / benchmark.stats.stats.median


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("engine", engines.ENGINES)
def test_inference(
    benchmark: Any,
    exported: Artefacts,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    engine: str,
    batch_size: int,
) -> None:
    opened = engines.ENGINES[engine](exported, usable_threads())
    pixels = np.ascontiguousarray(faces[:batch_size])
    opened.run(pixels)
    benchmark.group = f"batch {batch_size}"
    probabilities = benchmark(opened.run, pixels)
    record(benchmark, opened, engine, batch_size)
    np.testing.assert_allclose(probabilities, reference[:batch_size], atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_inference_cuda(
    benchmark: Any,
    exported: Artefacts,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    batch_size: int,
) -> None:
    opened = engines.runtime(exported, usable_threads(), provider="cuda")
    pixels = np.ascontiguousarray(faces[:batch_size])
    opened.run(pixels)
    benchmark.group = f"batch {batch_size}"
    probabilities = benchmark(opened.run, pixels)
    record(benchmark, opened, "runtime on CUDA", batch_size)
    np.testing.assert_allclose(probabilities, reference[:batch_size], atol=1e-5)
