"""Every engine on the same model and pixels: `pytest benchmarks -k latency`, `-k throughput`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.engines.hosted import Hosted, clock
from fer_bench.recording import measure

BATCH_SIZES = (1, 8, 32, 128, 512)
ROUNDS = 1000
"""Of one image at least, so that ten of them are beyond the 99th percentile."""


@pytest.mark.benchmark(timer=clock, group="latency")
def test_latency(
    benchmark: Any,
    engine: Hosted,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
) -> None:
    measure(benchmark, engine, faces[:1], reference[:1], seconds=1, least=ROUNDS)


@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.benchmark(timer=clock)
def test_throughput(
    benchmark: Any,
    engine: Hosted,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    size: int,
) -> None:
    benchmark.group = f"throughput, batch {size}"
    measure(benchmark, engine, faces[:size], reference[:size], seconds=1, least=5)
