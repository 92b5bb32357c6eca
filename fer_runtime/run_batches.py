"""How the batches of a run are computed: here, or on worker processes; in order, with tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from fer_runtime.classifier import MAX_WAIT
from fer_runtime.columns import TRACK
from fer_runtime.sinks.encoded import Encoded, Rows
from fer_runtime.sinks.table import sink_of

if TYPE_CHECKING:
    from fer_runtime.items import Item
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.workers.running import Running


SHORT = 3
"""Batches below which a run is over before a worker could start."""


class RunBatches:
    """Computes the batches of one run.

    Args:
        pipeline: what is run.
        workers: worker processes; 0 for none, None for as many as pay.
        output: (ending, top_k) of the format that the rows are written in.
        live: whether the source gives images as time goes by.
        stop_at_error: whether the first row with an error ends the run.
        smooth: seconds over which the probabilities of a face in a video are averaged.

    Raises:
        ValueError: `workers` below 0.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        workers: int | None,
        output: tuple[str, int],
        live: bool,
        stop_at_error: bool,
        smooth: float,
    ) -> None:
        if workers is not None and workers < 0:
            raise ValueError(f"workers={workers}; it must be 0 or more, or None")
        self.pipeline, self.workers, self.output = pipeline, workers, output
        self.live, self.stop_at_error, self.smooth = live, stop_at_error, smooth
        self._running: Running | None = None

    @property
    def processes(self) -> int:
        """Worker processes that took part; 0 where this one did everything."""
        return self._running.processes if self._running else 0

    def run(
        self, items: Iterator[Item], *, only_written: bool, here: Callable[[], bool]
    ) -> Iterator[Rows]:
        """The rows of one batch after the other.

        Args:
            items: what is classified.
            only_written: whether nothing looks at the rows, so that they may come encoded.
            here: batches are computed in this process as long as it returns true.
        """
        follow = TRACK in self.pipeline.stage.columns.leading
        if self.live:
            batches: Iterator[Rows] = self.pipeline.run(items, max_wait=MAX_WAIT)
        elif self.workers == 0:
            batches = self.pipeline.run(items)
        else:
            batches = self._maybe_on_workers(items, only_written and not follow, here)
        yield from self._followed(batches) if follow else batches

    def _maybe_on_workers(
        self, items: Iterator[Item], encoded: bool, here: Callable[[], bool]
    ) -> Iterator[Rows]:
        """On workers where they pay; a few batches need not even load their modules."""
        batches = self.pipeline.batches(items)
        first = list(islice(batches, SHORT))
        if self.workers is None and len(first) < SHORT:
            yield from self.pipeline.run_batches(iter(first))
            return
        self._running = self._on_workers(encoded=encoded)
        yield from self._running.run(chain(first, batches), here)

    def _on_workers(self, *, encoded: bool) -> Running:
        """What runs it on worker processes, where they pay or are asked for."""
        from fer_runtime.workers.running import Running

        ending, top_k = self.output
        encoder = encoded and sink_of(ending).encoder(self.pipeline.stage.columns, top_k=top_k)
        return Running(
            self.pipeline, count=self.workers, output=self.output if encoder else None,
            stop_at_error=self.stop_at_error,
        )  # fmt: skip

    def _followed(self, batches: Iterable[Rows]) -> Iterator[Rows]:
        """The rows with the tracks of a video's faces."""
        from fer_runtime.faces.tracks import Follower

        follower = Follower(self.smooth)
        for rows in batches:
            assert not isinstance(rows, Encoded)
            yield follower.follow(rows)
