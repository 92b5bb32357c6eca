"""Micro-batches: what waits is taken at once, and nothing waits for a batch to fill.

While the session runs one batch, the next one gathers by itself, so that batches are as large as
the load makes them: one image at a time when it is quiet, full batches when it is not.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fer_runtime.images import Pixels
from fer_runtime.session import Outputs, Session


class Job(NamedTuple):
    """Some images that go through the session together."""

    pixels: Pixels
    answer: asyncio.Future[Outputs]
    since: float


class Batch(NamedTuple):
    """What one run of the session did, for whoever measures it; times in seconds."""

    images: int
    longest_wait: float
    model_seconds: float


class MicroBatches:
    """Threads that run a session on the images that wait.

    Made and used in an event loop; only the session runs on threads.

    Args:
        session: the model; with several threads one of a single thread is fastest.
        batch_size: most images in one run.
        threads: threads that run the session side by side.
        watch: called with each `Batch`, on the thread that ran it.
    """

    def __init__(
        self,
        session: Session,
        *,
        batch_size: int,
        threads: int,
        watch: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        self.session, self.batch_size, self._watch = session, batch_size, watch
        self.waiting = 0
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._idle, self._closed = 0, False
        self._threads = [
            threading.Thread(target=self._work, name=f"fer-serve-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, pixels: Pixels) -> Outputs:
        """(N, C, H, W) uint8 -> Outputs of N rows; N may be larger than a batch.

        Raises:
            Exception: what the session raises.
        """
        if len(pixels) <= self.batch_size:
            return await self._submit(pixels)
        starts = range(0, len(pixels), self.batch_size)
        pieces = await asyncio.gather(
            *(self._submit(pixels[start : start + self.batch_size]) for start in starts)
        )
        return Outputs(*map(np.concatenate, zip(*pieces, strict=True)))

    async def close(self) -> None:
        """End the threads when everything that waits is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _submit(self, pixels: Pixels) -> asyncio.Future[Outputs]:
        job = Job(pixels, self._loop.create_future(), time.perf_counter())
        with self._changed:
            if self._closed:
                raise RuntimeError("the batches are closed")
            self._jobs.append(job)
            self.waiting += len(pixels)
            self._changed.notify()
        return job.answer

    def _take(self) -> list[Job]:
        """What waits, at most a batch of it and this thread's share; [] at the end."""
        with self._changed:
            self._idle += 1
            while not self._jobs:
                if self._closed:
                    return []
                self._changed.wait()
            rows = sum(len(job.pixels) for job in self._jobs)
            most = min(self.batch_size, -(-rows // self._idle))
            self._idle -= 1
            taken = [self._jobs.popleft()]
            count = len(taken[0].pixels)
            while self._jobs and count + len(self._jobs[0].pixels) <= most:
                taken.append(self._jobs.popleft())
                count += len(taken[-1].pixels)
            if self._jobs:
                self._changed.notify()
            return taken

    def _work(self) -> None:
        while jobs := self._take():
            started = time.perf_counter()
            result: Outputs | Exception
            try:
                result = self.session.run(_together([job.pixels for job in jobs]))
            except Exception as error:  # whatever it is, each request gets an answer
                result = error
            seconds = time.perf_counter() - started
            images = sum(len(job.pixels) for job in jobs)
            with self._changed:
                self.waiting -= images
            self._watch(Batch(images, started - jobs[0].since, seconds))
            self._loop.call_soon_threadsafe(_deliver, jobs, result)


def _together(pixels: list[Pixels]) -> Pixels:
    return pixels[0] if len(pixels) == 1 else np.concatenate(pixels)


def _deliver(jobs: list[Job], result: Outputs | Exception) -> None:
    """Give each job its rows; runs in the event loop."""
    start = 0
    for job in jobs:
        end = start + len(job.pixels)
        if not job.answer.done():  # it is cancelled where the time limit has passed
            if isinstance(result, Exception):
                job.answer.set_exception(result)
            else:
                job.answer.set_result(_rows(result, start, end))
        start = end


def _rows(outputs: Any, start: int, end: int) -> Outputs:
    return Outputs(outputs.logits[start:end], outputs.probabilities[start:end])
