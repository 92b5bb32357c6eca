"""Runs a pipeline's batches in this process, in worker processes, or first here and then there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from fer_runtime.items import Item, named
from fer_runtime.machine import available_memory
from fer_runtime.pipeline import BYTES_IN_FLIGHT, Pipeline
from fer_runtime.sinks.encoded import Encoded
from fer_runtime.workers.messages import Job
from fer_runtime.workers.plan import Batches, Lookahead, Plan, affordable

if TYPE_CHECKING:
    from fer_runtime.images import Source
    from fer_runtime.rows import Row
    from fer_runtime.sinks.encoded import Rows
    from fer_runtime.workers.pool import Task, WorkerPool

TASK_SECONDS = 0.1
"""Work in one task: long beside sending it, short beside a run, and what a dying worker costs."""
MOST_BATCHES = 32
TASKS_IN_FLIGHT = 3
"""Tasks per worker that may be handed out but not yet written: bounds the memory."""


class Running:
    """Runs of one pipeline on `count` processes; None lets the speed of the first batches decide.

    Args:
        pipeline: what is run.
        count: worker processes; None for as many as the pipeline has threads, where they pay.
        output: (ending, top_k) of the format that workers encode rows in; None for rows.
        stop_at_error: whether the first row with an error ends the run.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        count: int | None = None,
        output: tuple[str, int] | None = None,
        stop_at_error: bool = False,
    ) -> None:
        self.pipeline, self.count = pipeline, count
        self.processes = 0
        stage, session = pipeline.stage, pipeline.stage.session
        self.job = Job(
            session.opening, stage.batch_size, stage.max_pixels, pipeline.faces,
            stage.columns, stage.thumbnails, output, stop_at_error,
            lent=None if session.in_workers else session.spec,
        )  # fmt: skip

    def run(self, given: Batches, here: Callable[[], bool] = lambda: False) -> Iterator[Rows]:
        """The rows of one batch after the other, in order.

        Args:
            given: batches as `Pipeline.batches` makes them.
            here: batches are run in this process, and not encoded, as long as it returns true.

        Raises:
            WorkerError: no worker process could be started although `count` names a number, or the
                same batch ended two of them.
            Exception: what the source raised, after the rows of all that it had yielded.
        """
        batches = Lookahead(given)
        if self.count is None:
            yield from self._as_it_pays(batches, here)
            return
        while here() and (batch := next(batches, None)) is not None:
            if not isinstance(batch, list):
                raise batch
            yield self.pipeline.classify(batch)
        with self.pool() as pool:
            yield from self.on_pool(pool, batches)

    def rows_of(self, pool: WorkerPool, items: Iterable[Item | Source]) -> Iterator[Sequence[Row]]:
        """As `run`, on a pool that is kept for further runs; its rows are not encoded."""
        for rows in self.on_pool(pool, Lookahead(self.pipeline.batches(named(items)))):
            assert not isinstance(rows, Encoded)
            yield rows

    def pool(self) -> WorkerPool:
        """Worker processes, of which one at least is ready; raises WorkerError."""
        pool = self._start()
        try:
            pool.wait_ready()
        except BaseException:
            pool.close()
            raise
        return pool

    def _start(self) -> WorkerPool:
        from fer_runtime.workers.pool import WorkerPool

        session = self.pipeline.stage.session
        count = self.count
        if count is None:
            size = session.path.stat().st_size if session.path.exists() else 0
            count = affordable(self.pipeline.threads, size, available_memory())
        return WorkerPool(self.job, count, session)

    def _as_it_pays(self, batches: Lookahead, here: Callable[[], bool]) -> Iterator[Rows]:
        """In this process, and on workers from when they are ready, if there is enough work."""
        plan = Plan(self.pipeline.threads)
        pool: WorkerPool | None = None
        done = 0

        def should_move() -> bool:
            nonlocal pool
            if pool is None and plan.pays(done, batches):
                pool = self._start()
            return pool is not None and pool.ready and not here()

        try:
            for rows in self.pipeline.run_batches(batches, until=should_move):
                done += len(rows)
                yield rows
            if pool is not None and pool.ready:
                yield from self.on_pool(pool, batches)
        finally:
            if pool is not None:
                pool.close()

    def on_pool(self, pool: WorkerPool, batches: Lookahead) -> Iterator[Rows]:
        """The rows of the batches, in order, from the workers of a pool with the same job."""
        self.processes = pool.count
        pending: deque[tuple[Task, int]] = deque()
        held, at_once = 0, 1
        failure: Exception | None = None
        ended = False
        while True:
            while not ended and len(pending) < pool.count * TASKS_IN_FLIGHT:
                if held >= BYTES_IN_FLIGHT:
                    break
                chosen, size, failure = self._take(batches, at_once)
                ended = len(chosen) < at_once
                if chosen:
                    pending.append((pool.submit(chosen), size))
                    held += size
            if not pending:
                break
            task, size = pending.popleft()
            held -= size
            yield from task.future.result()
            if task.seconds:
                at_once = min(MOST_BATCHES, max(1, int(TASK_SECONDS / task.seconds)))
        if failure is not None:
            raise failure

    def _take(
        self, batches: Lookahead, count: int
    ) -> tuple[list[list[Item]], int, Exception | None]:
        """At most `count` batches, their bytes, and what was raised while they were read."""
        chosen: list[list[Item]] = []
        held = 0
        for batch in batches:
            if not isinstance(batch, list):
                return chosen, held, batch
            chosen.append(batch)
            held += self.pipeline.bytes_in(batch)
            if len(chosen) == count:
                break
        return chosen, held, None
