"""Trials: how many images a second some settings make, from files to encoded rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from typing import TYPE_CHECKING

from fer_runtime.sinks.encoded import Encoded
from fer_runtime.sinks.table import sink_of
from fer_runtime.tuning.settings import Settings

if TYPE_CHECKING:
    from fer_runtime.items import Item
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.workers.pool import WorkerPool

ENDING = ".csv"


class Trials:
    """Runs settings on the same images, over and over; a context manager that ends its workers.

    Args:
        pipeline_of: settings -> the pipeline that they make.
        items: the images; at least one.
    """

    def __init__(self, pipeline_of: Callable[[Settings], Pipeline], items: Sequence[Item]) -> None:
        self._pipeline_of = pipeline_of
        self._items = items
        self._pools: dict[Settings, WorkerPool] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rate(self, settings: Settings, seconds: float) -> float:
        """Images a second, over about so many seconds; the start of workers does not count."""
        from fer_runtime.workers.plan import Lookahead
        from fer_runtime.workers.running import Running

        pipeline = self._pipeline_of(settings)
        running = None
        if settings.workers:
            running = Running(pipeline, count=settings.threads, output=(ENDING, 1))
            if settings not in self._pools:
                self._pools[settings] = self._stack.enter_context(running.pool())
        encode = sink_of(ENDING).encoder(pipeline.stage.columns, top_k=1)
        assert encode is not None
        started = time.perf_counter()
        batches = self._batches(pipeline, started + seconds)
        done = 0
        if running is None:
            for rows in pipeline.run_batches(batches):
                done += Encoded.of(rows, encode).pictures
        else:
            for encoded in running.on_pool(self._pools[settings], Lookahead(batches)):
                assert isinstance(encoded, Encoded)
                done += encoded.pictures
        return done / (time.perf_counter() - started)

    def _batches(self, pipeline: Pipeline, end: float) -> Iterator[list[Item] | Exception]:
        """Full batches until the time is over; at least one for every thread."""
        items = cycle(self._items)
        least = pipeline.threads
        while least > 0 or time.perf_counter() < end:
            least -= 1
            yield list(islice(items, pipeline.items_at_once))
