"""The time of one image in every engine, p50 to p99: `pytest benchmarks -k latency`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.engines.hosted import Hosted, clock
from fer_bench.recording import measure

ROUNDS = 1000
"""At least, so that ten of them are beyond the 99th percentile."""


@pytest.mark.benchmark(timer=clock)
def test_latency(
    benchmark: Any,
    engine: Hosted,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
) -> None:
    benchmark.group = "latency"
    measure(benchmark, engine, faces[:1], seconds=1, least=ROUNDS)
    np.testing.assert_allclose(engine.probabilities(), reference[:1], atol=1e-5)
