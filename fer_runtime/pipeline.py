"""Items in, rows out, in order: decoding and inference overlap on every core.

Each thread takes a batch through the stage: it decodes into its own reused buffer and then runs the
session on it.
With a session of one thread, onnxruntime computes on the calling thread, so that n threads keep n
cores busy with whatever is due, decoding or inference, without queues in between. On two cores it
is as fast as one two-thread session fed by a decoding thread (48 x 48 faces, measured by
`fer-bench pipeline`), and large photographs are decoded on every core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from fer_runtime import images
from fer_runtime.items import Item, held_bytes, named
from fer_runtime.rows import Row
from fer_runtime.session import Session
from fer_runtime.stages.choice import stage_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fer_runtime.columns import Columns
    from fer_runtime.faces.options import FaceOptions

BATCHES_IN_FLIGHT = 2
"""Batches per thread that may be read or done but not yet written: bounds the memory."""
BYTES_IN_FLIGHT = 256 * 1024 * 1024
"""No batch is taken ahead while those in flight hold more than this of bytes and arrays."""


class Pipeline:
    """Streams items through a session; memory does not grow with their number.

    `threads` share the cores, so a session of one thread is best; with a session of n threads, n of
    them are a little slower. One run at a time: threads may not share a pipeline.

    Args:
        session: the model.
        threads: threads that decode and run batches.
        batch_size: images per run of the session.
        max_pixels: larger images become error rows and are not decoded.
        faces: find the faces of each image, and classify those; None for whole images.
        columns: the columns of the rows; default: those of whole images.
        thumbnails: whether rows carry a small picture.

    Raises:
        ValueError: `threads` or `batch_size` below 1, or an option of `faces` out of range.
    """

    def __init__(
        self,
        session: Session,
        *,
        threads: int,
        batch_size: int = 32,
        max_pixels: int = images.MAX_PIXELS,
        faces: FaceOptions | None = None,
        columns: Columns | None = None,
        thumbnails: bool = False,
    ) -> None:
        if min(threads, batch_size) < 1:
            raise ValueError(f"threads={threads}, batch_size={batch_size}; both must be at least 1")
        self.threads = threads
        self.faces = faces
        self.stage = stage_of(
            session, faces, batch_size=batch_size, max_pixels=max_pixels, columns=columns,
            thumbnails=thumbnails,
        )  # fmt: skip
        self.items_at_once = self.stage.items_at_once

    def run(
        self, items: Iterable[Item | images.Source], *, max_wait: float | None = None
    ) -> Iterator[Sequence[Row]]:
        """Rows of one batch after the other, in the order of `items`.

        One row per item; with `faces` one per face, and one for an item without a face.

        Args:
            items: items, paths, encoded bytes, arrays, Pillow images or open binary files.
            max_wait: None for full batches only, which makes every run over the same items equal
                bit for bit. A number of seconds for sources that are slow (a camera): `items` is
                then read on a thread, rows are handed over as soon as they are ready, and an image
                waits at most so long for others to fill its batch.

        Raises:
            Exception: what `items` raises, after the rows of all that it had yielded.
        """
        if max_wait is not None:
            yield from self._run_read_ahead(named(items), max_wait)
            return
        yield from self.run_batches(self.batches(named(items)))

    def run_batches(
        self,
        batches: Iterator[list[Item] | Exception],
        *,
        until: Callable[[], bool] = lambda: False,
    ) -> Iterator[Sequence[Row]]:
        """The rows of each batch, in order; no batch is taken once `until` returns true."""
        first = next(batches, None)
        second = next(batches, None) if isinstance(first, list) else None
        if isinstance(first, list) and second is None:
            # A single batch needs no threads, nor their modules at a cold start.
            yield self.classify(first)
        elif first is not None:
            yield from self._run_on_threads(deque([first, second]), batches, until)

    def batches(self, items: Iterator[Item]) -> Iterator[list[Item] | Exception]:
        """Batches, and last what was raised while they were read."""
        while True:
            batch: list[Item] = []
            held = 0
            try:
                for item in islice(items, self.items_at_once):
                    if item.content is not None:
                        held += held_bytes(item)
                        if held > BYTES_IN_FLIGHT:
                            item = self.stage.decoded(item)  # noqa: PLW2901
                    batch.append(item)
            except Exception as error:
                if batch:
                    yield batch
                yield error
                return
            if not batch:
                return
            yield batch

    def _run_on_threads(
        self,
        taken: deque[list[Item] | Exception | None],
        batches: Iterator[list[Item] | Exception],
        until: Callable[[], bool],
    ) -> Iterator[Sequence[Row]]:
        from concurrent.futures import ThreadPoolExecutor

        pending: deque[tuple[Future[Sequence[Row]], int]] = deque()
        held = 0
        failure: Exception | None = None
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="fer-pipeline")
        try:
            while True:
                while len(pending) < self.threads * BATCHES_IN_FLIGHT and held < BYTES_IN_FLIGHT:
                    batch = taken.popleft() if taken else None if until() else next(batches, None)
                    if not isinstance(batch, list):
                        failure = failure or batch
                        break
                    pending.append((pool.submit(self.classify, batch), self.bytes_in(batch)))
                    held += pending[-1][1]
                if not pending:
                    break
                done, freed = pending.popleft()
                held -= freed
                yield done.result()
            if failure is not None:
                raise failure
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _run_read_ahead(self, items: Iterator[Item], max_wait: float) -> Iterator[Sequence[Row]]:
        from concurrent.futures import ThreadPoolExecutor

        from fer_runtime.read_ahead import ReadAhead

        pending: deque[Future[Sequence[Row]]] = deque()
        reader = ReadAhead(items, self.items_at_once, max_wait, self._admit)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="fer-pipeline")
        try:
            while pending or not reader.exhausted:
                batch: list[Item] = []
                if len(pending) < self.threads * BATCHES_IN_FLIGHT:
                    batch = reader.take(lambda: bool(pending) and pending[0].done())
                if batch:
                    pending.append(pool.submit(self.classify, batch))
                    pending[-1].add_done_callback(lambda _: reader.wake())
                elif pending:
                    yield pending.popleft().result()
            if reader.failure is not None:
                raise reader.failure
        finally:
            reader.close()
            pool.shutdown(wait=True, cancel_futures=True)

    def _admit(self, item: Item, batch: list[Item]) -> Item:
        """Large contents are decoded at once, so that a batch of them does not fill the memory."""
        held = held_bytes(item) * (len(batch) + 1)
        return item if held <= BYTES_IN_FLIGHT // 4 else self.stage.decoded(item)

    def bytes_in(self, batch: list[Item]) -> int:
        """How many bytes of encoded images and arrays a batch has."""
        return sum(held_bytes(item) for item in batch if item.content is not None)

    def classify(self, batch: list[Item]) -> Sequence[Row]:
        """At most `items_at_once` items -> their rows; what cannot be decoded is an error row."""
        if len(batch) > self.items_at_once:
            raise ValueError(f"{len(batch)} items; a batch is at most {self.items_at_once}")
        return self.stage.rows(batch) if batch else []
