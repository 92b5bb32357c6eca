"""What a benchmark of pytest-benchmark measures of an engine, and records beside the times."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fer_bench import environment
from fer_bench.engines.hosted import Hosted

WARM_UP = 0.3
"""Seconds of runs that are not recorded: caches, allocators, clocks, compilers."""
PERCENTILES = (50, 90, 99)


def measure(
    benchmark: Any,
    engine: Hosted,
    pixels: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    *,
    seconds: float,
    least: int,
) -> None:
    """Run an engine on the pixels for about so long, record what ran it, and check its result.

    Args:
        benchmark: the fixture, with `fer_bench.engines.hosted.clock` as its timer.
        engine: the engine.
        pixels: (N, C, H, W).
        expected: (N, K) probabilities.
        seconds: how long; with --benchmark-disable it is run once.
        least: fewest runs.
    """
    engine.take(pixels)
    if benchmark.disabled:
        benchmark(engine.run)
    else:
        _timed(benchmark, engine, len(pixels), seconds, least)
    np.testing.assert_allclose(engine.probabilities(), expected, atol=1e-5)


def _timed(benchmark: Any, engine: Hosted, batch_size: int, seconds: float, least: int) -> None:
    first = engine.run().seconds  # of a compiler, perhaps
    warm = [engine.run().seconds]
    while sum(warm) < WARM_UP:
        warm.append(engine.run().seconds)
    rounds = max(least, round(seconds / min(warm)))
    benchmark.pedantic(engine.run, rounds=rounds)
    times = np.array(benchmark.stats.stats.data)
    benchmark.extra_info.update(
        environment.machine(),
        **engine.facts,
        batch_size=batch_size,
        first_run_seconds=first,
        images_per_second=batch_size / float(np.median(times)),
        peak_bytes=engine.peak_bytes(),
    )
    benchmark.extra_info["milliseconds"] = {
        f"p{each}": float(np.percentile(times, each)) * 1e3 for each in PERCENTILES
    }
