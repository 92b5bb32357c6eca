"""Images/s of every engine at batches of 1 to 512: `pytest benchmarks -k throughput`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.engines.hosted import Hosted, clock
from fer_bench.recording import measure

BATCH_SIZES = (1, 8, 32, 128, 512)
SECONDS = 1.0
"""Of measuring, at each batch size of each engine."""


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.benchmark(timer=clock)
def test_throughput(
    benchmark: Any,
    engine: Hosted,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    batch_size: int,
) -> None:
    benchmark.group = f"throughput, batch {batch_size}"
    measure(benchmark, engine, faces[:batch_size], seconds=SECONDS, least=5)
    np.testing.assert_allclose(engine.probabilities(), reference[:batch_size], atol=1e-5)
