"""Work that is the same in every version of this project: how fast the machine is at this moment.

A record is compared with one of another day or machine by it. One core, less than half a second,
three kinds of work, since machines differ in each: arithmetic on numbers that stay in the core's
cache, a copy that no cache holds, and Python itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fer_bench import timing

NUMBERS = 4096
COPIED = 32 * 1024 * 1024
STEPS = 100_000


def seconds(repeats: int = 15) -> dict[str, float]:
    """The median seconds of each kind of work."""
    rng = np.random.default_rng(0)
    numbers = rng.random(NUMBERS, np.float32)
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    ways: dict[str, Callable[[], object]] = {
        "arithmetic": lambda: _arithmetic(numbers),
        "memory": lambda: np.copyto(target, source),
        "python": _python,
    }
    timing.alternate(ways, 1)
    return timing.medians(timing.alternate(ways, repeats))


def scale(ours: dict[str, float], theirs: dict[str, float]) -> tuple[float, float]:
    """How much slower the machine was at `ours` than at `theirs`, and how unsure that is.

    Returns:
        The geometric mean of the ratios of the kinds of work, and the largest ratio over the
        smallest, less 1.
    """
    ratios = [ours[kind] / theirs[kind] for kind in ours if kind in theirs]
    return statistics.geometric_mean(ratios), max(ratios) / min(ratios) - 1


def _arithmetic(numbers: npt.NDArray[np.float32]) -> None:
    made = np.empty_like(numbers)
    for _ in range(4000):
        np.multiply(numbers, numbers, out=made)
        np.add(made, numbers, out=made)


def _python() -> int:
    total = 0
    for step in range(STEPS):
        total += step & 7
    return total
