"""Times of several ways to do one thing, taken in turns: machines are shared, and speed drifts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Ways = Mapping[str, Callable[[], object]]


def alternate(ways: Ways, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, `repeats` times: A B C A B C ..."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each way's seconds."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def median_ratio(one: list[float], other: list[float]) -> float:
    """The median of one / other over the rounds: what slows a whole round down cancels out."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))
