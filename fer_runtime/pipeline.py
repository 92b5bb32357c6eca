"""Items in, rows out, in order: decoding and inference overlap on every core.

Each worker thread decodes a batch into its own reused buffer and then runs the session on it.
With a session of one thread, onnxruntime computes on the calling thread, so that n workers keep n
cores busy with whatever is due, decoding or inference, without queues in between. On two cores it
is as fast as one two-thread session fed by a decoding thread (48 x 48 faces, measured by
`python -m fer_bench.pipeline`), and large photographs are decoded on every core.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fer_runtime import images
from fer_runtime.errors import ImageError
from fer_runtime.items import Item, named
from fer_runtime.rows import Row, top1
from fer_runtime.session import Session

if TYPE_CHECKING:
    from concurrent.futures import Future

BATCHES_IN_FLIGHT = 2
"""Batches per worker that may be read or done but not yet written: bounds the memory."""
BYTES_IN_FLIGHT = 256 * 1024 * 1024
"""No batch is taken ahead while those in flight hold more than this of bytes and arrays."""
QUICK_DECODE = 100e-6
"""Seconds an image below which one worker decodes at a time: so small a task is mostly Python, and
threads that pass the interpreter's lock back and forth decode no more than one of them alone does
(48 x 48 JPEGs; `python -m fer_bench.pipeline` prints both)."""


class Pipeline:
    """Streams items through a session; memory does not grow with their number.

    `workers` threads share the cores, so a session of one thread is best; with a session of n
    threads, n workers are a little slower. One run at a time: threads may not share a pipeline.

    Args:
        session: the model.
        workers: threads that decode and run batches.
        batch_size: images per run of the session.
        max_pixels: larger images become error rows and are not decoded.

    Raises:
        ValueError: `workers` or `batch_size` below 1.
    """

    def __init__(
        self,
        session: Session,
        *,
        workers: int,
        batch_size: int = 32,
        max_pixels: int = images.MAX_PIXELS,
    ) -> None:
        if min(workers, batch_size) < 1:
            raise ValueError(f"workers={workers}, batch_size={batch_size}; both must be at least 1")
        self.session = session
        self.workers = workers
        self.batch_size = batch_size
        self.max_pixels = max_pixels
        self._local = threading.local()
        self._decoding = threading.Lock()
        self._decode_seconds = math.inf

    def run(
        self, items: Iterable[Item | images.Source], *, max_wait: float | None = None
    ) -> Iterator[list[Row]]:
        """Rows of one batch after the other, in the order of `items`, one row per item.

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
        batches = self._batches(named(items))
        first, second = next(batches, None), next(batches, None)
        if isinstance(first, list) and second is None:
            # A single batch needs no threads, nor their modules at a cold start.
            yield self.classify(first)
        elif first is not None:
            yield from self._run_on_threads(chain((first, second), batches))

    def _batches(self, items: Iterator[Item]) -> Iterator[list[Item] | Exception]:
        """Batches, and last what was raised while they were read."""
        while True:
            batch: list[Item] = []
            held = 0
            try:
                for item in islice(items, self.batch_size):
                    held += _bytes_in(item)
                    batch.append(item if held <= BYTES_IN_FLIGHT else self._decoded(item))
            except Exception as error:
                if batch:
                    yield batch
                yield error
                return
            if not batch:
                return
            yield batch

    def _decoded(self, item: Item) -> Item:
        """The item with small pixels for its large bytes."""
        try:
            pixels = self._pixels(item)
        except ImageError as error:
            return replace(item, content=None, error=str(error))
        return replace(item, content=pixels.transpose(1, 2, 0))

    def _run_on_threads(
        self, batches: Iterator[list[Item] | Exception | None]
    ) -> Iterator[list[Row]]:
        from concurrent.futures import ThreadPoolExecutor

        pending: deque[tuple[Future[list[Row]], int]] = deque()
        held = 0
        failure: Exception | None = None
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="fer-pipeline")
        try:
            while True:
                while len(pending) < self.workers * BATCHES_IN_FLIGHT and held < BYTES_IN_FLIGHT:
                    batch = next(batches, None)
                    if not isinstance(batch, list):
                        failure = failure or batch
                        break
                    pending.append((pool.submit(self.classify, batch), sum(map(_bytes_in, batch))))
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

    def _run_read_ahead(self, items: Iterator[Item], max_wait: float) -> Iterator[list[Row]]:
        from concurrent.futures import ThreadPoolExecutor

        from fer_runtime.read_ahead import ReadAhead

        pending: deque[Future[list[Row]]] = deque()
        reader = ReadAhead(items, self.batch_size, max_wait, self._admit)
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="fer-pipeline")
        try:
            while pending or not reader.exhausted:
                batch: list[Item] = []
                if len(pending) < self.workers * BATCHES_IN_FLIGHT:
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
        held = _bytes_in(item) * (len(batch) + 1)
        return item if held <= BYTES_IN_FLIGHT // 4 else self._decoded(item)

    def classify(self, batch: list[Item]) -> list[Row]:
        """At most `batch_size` items -> their rows; what cannot be decoded becomes an error row."""
        if len(batch) > self.batch_size:
            raise ValueError(f"{len(batch)} items; a batch is at most {self.batch_size}")
        if not batch:
            return []
        buffer = self._buffer()
        with self._decoding if self._decode_seconds < QUICK_DECODE else nullcontext():
            started = time.perf_counter()
            errors = self._decode(batch, buffer)
            self._decode_seconds = (time.perf_counter() - started) / len(batch)
        probabilities = self._infer(buffer, errors.count(None))
        predicted = iter(zip(probabilities, top1(probabilities).tolist(), strict=True))
        labels = self.session.spec.labels
        rows = []
        for item, error in zip(batch, errors, strict=True):
            values, best = next(predicted) if error is None else (None, None)
            rows.append(Row(item.name, labels, values, error, best=best, truth=item.label))
        return rows

    def _decode(self, batch: list[Item], buffer: images.Pixels) -> list[str | None]:
        """Fill the buffer from its start; what is wrong with each item, None for those in it."""
        errors: list[str | None] = []
        filled = 0
        for item in batch:
            try:
                buffer[filled] = self._pixels(item)
            except ImageError as error:
                errors.append(str(error))
            else:
                errors.append(None)
                filled += 1
        return errors

    def _pixels(self, item: Item) -> images.Pixels:
        if item.error is not None:
            raise ImageError(item.error)
        source = item.path if item.content is None else item.content
        return images.load(source, self.session.spec.input, max_pixels=self.max_pixels)

    def _infer(self, buffer: images.Pixels, filled: int) -> npt.NDArray[np.float32]:
        """(filled, K); padded to the whole batch where each size costs the provider a new plan."""
        if not filled:
            return np.empty((0, len(self.session.spec.labels)), np.float32)
        if self.session.fixed_batch:
            return self.session.run(buffer).probabilities[:filled]
        return self.session.run(buffer[:filled]).probabilities

    def _buffer(self) -> images.Pixels:
        """This thread's (batch_size, C, H, W) buffer."""
        buffer: images.Pixels | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = np.zeros((self.batch_size, *self.session.spec.input.shape), np.uint8)
            self._local.buffer = buffer
        return buffer


def _bytes_in(item: Item) -> int:
    content = item.content
    if content is None:
        return 0
    return len(content) if isinstance(content, bytes) else int(getattr(content, "nbytes", 0))
