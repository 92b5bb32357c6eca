"""What a benchmark of pytest-benchmark measures, and records beside the times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_bench import environment, reference
from fer_bench.engines.hosted import Hosted

WARM_UP = 0.3
"""Seconds of runs that are not recorded: caches, allocators, clocks, compilers."""
PERCENTILES = (50, 90, 99)
SCHEMA = 1


def measure(
    benchmark: Any,
    engine: Hosted,
    pixels: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    *,
    seconds: float,
    least: int,
    tolerance: float | None = None,
) -> None:
    """Run an engine on the pixels for about so long, record what ran it, and check its result.

    Args:
        benchmark: the fixture, with `fer_bench.engines.hosted.clock` as its timer.
        engine: the engine.
        pixels: (N, C, H, W).
        expected: (N, K) probabilities.
        seconds: how long; with --benchmark-disable it is run once.
        least: fewest runs.
        tolerance: how far the probabilities may be from the expected ones; None for the engine's.
    """
    engine.take(pixels)
    if benchmark.disabled:
        benchmark(engine.run)
    else:
        first = engine.run().seconds  # of a compiler, perhaps
        repeat(benchmark, engine.run, lambda: engine.run().seconds, seconds=seconds, least=least)
        facts = engine.facts | {"first_run_seconds": first, "peak_bytes": engine.peak_bytes()}
        record(benchmark, len(pixels), **facts)
    allowed = engine.tolerance if tolerance is None else tolerance
    np.testing.assert_allclose(engine.probabilities(), expected, atol=allowed)


def measure_call(
    benchmark: Any, call: Callable[[], object], images: int, *, seconds: float, least: int,
    **facts: Any,
) -> None:  # fmt: skip
    """Run something in this process for about so long, and record it.

    Args:
        benchmark: the fixture, with its own timer.
        call: one round.
        images: how many images a round is of.
        seconds: how long; with --benchmark-disable it is run once.
        least: fewest rounds.
        **facts: what a reader needs to understand the figure, `engine` at least.
    """
    if benchmark.disabled:
        benchmark(call)
        return
    timed = benchmark._timer

    def once() -> float:
        started = timed()
        call()
        return float(timed() - started)

    repeat(benchmark, call, once, seconds=seconds, least=least)
    record(benchmark, images, **facts)


def repeat(
    benchmark: Any,
    call: Callable[[], object],
    timed: Callable[[], float],
    *,
    seconds: float,
    least: int,
) -> None:
    """Warm up with `timed`, which says how long it took, then record as many rounds as fit."""
    warm = [timed()]
    while sum(warm) < WARM_UP:
        warm.append(timed())
    benchmark.pedantic(call, rounds=max(least, round(seconds / min(warm))))


def record(benchmark: Any, images: int, **facts: Any) -> None:
    """Keep what is known of the rounds that pytest-benchmark has timed."""
    times = np.array(benchmark.stats.stats.data)
    benchmark.extra_info.update(
        facts, batch_size=images, images_per_second=images / float(np.median(times))
    )
    benchmark.extra_info["milliseconds"] = {
        f"p{each}": float(np.percentile(times, each)) * 1e3 for each in PERCENTILES
    }


def moment() -> dict[str, Any]:
    """How busy and how fast the machine is now."""
    return {
        "load": environment.load(),
        "cpu_seconds": environment.cpu_seconds(),
        "reference_seconds": reference.seconds(),
    }


def complete(
    output: dict[str, Any], before: Mapping[str, Any], skipped: Sequence[str] = ()
) -> None:
    """Add to pytest-benchmark's JSON where it was measured, and take out what nobody needs.

    The times of all rounds are most of the file; their percentiles are kept.
    """
    for each in output["benchmarks"]:
        each["stats"].pop("data", None)
    output.pop("machine_info", None)
    output.pop("commit_info", None)
    output["record"] = {
        "schema": SCHEMA,
        "kind": "suite",
        "environment": environment.environment(),
        "before": dict(before),
        "after": moment(),
        "skipped": list(skipped),
    }
