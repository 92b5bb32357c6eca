"""Whether worker processes pay, from how the first batches of a run went in this process."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator

from fer_runtime.items import Item, held_bytes

START_SECONDS = 0.6
"""What starting the workers costs a run, on every core (imports and sessions), with a margin."""
FIRST_LOOK = 0.25
"""Seconds after the first rows until the speed is looked at; then again after each doubling."""
LOOKED_AHEAD = 50_000
"""Items that may be read ahead to see whether there is enough work; only names are kept of them."""

WORKER_BYTES = 64 * 1024 * 1024
"""What a worker takes beside its model (`fer-bench memory --workers 2` measures it)."""
MODEL_TIMES = 8
"""A model in memory, with what computing it takes, against its file."""

Batches = Iterator[list[Item] | Exception]


class Lookahead:
    """An iterator over batches that can say how many items are still to come, up to a number.

    Contents of images are not read ahead: they could fill the memory.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._ahead: deque[list[Item] | Exception] = deque()

    def __iter__(self) -> Lookahead:
        return self

    def __next__(self) -> list[Item] | Exception:
        return self._ahead.popleft() if self._ahead else next(self._batches)

    def items_ahead(self, wanted: int) -> tuple[int, bool]:
        """How many items are certainly there, at most about `wanted`, and whether that is all."""
        found = sum(len(batch) for batch in self._ahead if isinstance(batch, list))
        while found < wanted:
            batch = next(self._batches, None)
            if batch is None:
                return found, True
            self._ahead.append(batch)
            if not isinstance(batch, list):
                return found, True
            found += len(batch)
            if any(map(held_bytes, batch)):
                break
        return found, False


class Plan:
    """Decides from the speed in this process, from its first rows on.

    In one process the cores are idle while they wait for the interpreter's lock. What processes
    would gain for each image is the time it takes now, without what it takes on all cores fully
    used; starting them pays where the images still to come gain more than the start costs.

    Args:
        cores: how many this process may use.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._wall = self._cpu = 0.0
        self._before = 0
        self._next_look = FIRST_LOOK

    def pays(self, done: int, batches: Lookahead) -> bool:
        """Whether to start worker processes now, after `done` images."""
        if not self._before and done:  # the first rows take longer
            self._wall, self._cpu, self._before = time.perf_counter(), time.process_time(), done
        wall = time.perf_counter() - self._wall
        timed = done - self._before
        if wall < self._next_look or not timed:
            return False
        self._next_look = 2 * wall
        needed = images_needed(timed, wall, time.process_time() - self._cpu, self.cores)
        if math.isinf(needed):
            return False
        ahead, is_all = batches.items_ahead(min(math.ceil(needed), LOOKED_AHEAD))
        # Of what is beyond the lookahead nothing is known: a run that has come so far probably
        # goes on as long again.
        return ahead >= needed or (not is_all and max(ahead, done) >= needed)


def images_needed(done: int, wall: float, cpu: float, cores: int) -> float:
    """How many more images there must be for worker processes to pay; infinity for never.

    >>> round(images_needed(1000, 1.0, 1.0, 2))  # half of two cores was idle
    1200
    """
    if cores < 2:
        return math.inf
    gain = wall / done - cpu / done / cores
    # Below a fiftieth the difference is noise, and there is little to gain.
    return START_SECONDS / gain if gain > 0.02 * wall / done else math.inf


def affordable(count: int, model_bytes: int, available: int | None) -> int:
    """How many workers may start where nobody said a number: in half of the memory that is free.

    >>> affordable(16, 2_700_000, 1 << 30), affordable(16, 2_700_000, None)
    (6, 16)
    """
    if available is None:
        return count
    each = WORKER_BYTES + MODEL_TIMES * model_bytes
    return max(1, min(count, available // 2 // each))
