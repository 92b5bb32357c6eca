"""Reading a slow source on a thread of its own, so that nothing waits for an image to come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from fer_runtime.items import Item

FULL_BATCHES = 1
"""Whole batches that are read ahead at most."""


class ReadAhead:
    """Reads items on a thread and gives them out in batches, a partial one after `max_wait`.

    Args:
        items: the source; its code runs on the thread.
        batch_size: images in a full batch.
        max_wait: seconds that the first image of a batch waits for others.
        admit: (item, items of its batch so far) -> the item to keep.
    """

    def __init__(
        self,
        items: Iterator[Item],
        batch_size: int,
        max_wait: float,
        admit: Callable[[Item, list[Item]], Item],
    ) -> None:
        self.items, self.batch_size, self.max_wait, self.admit = items, batch_size, max_wait, admit
        self.failure: Exception | None = None
        self._full: deque[list[Item]] = deque()
        self._batch: list[Item] = []
        self._since = 0.0
        self._ended = self._closed = False
        self._changed = threading.Condition()
        # A daemon: a source that never yields again must not keep the program from ending.
        self._thread = threading.Thread(target=self._read, name="fer-read-ahead", daemon=True)
        self._thread.start()

    def take(self, stop: Callable[[], bool]) -> list[Item]:
        """The next batch; empty when there is none yet and `stop()` is true, or none ever again."""
        with self._changed:
            while True:
                if self._full:
                    self._changed.notify_all()
                    return self._full.popleft()
                wait = None
                if self._batch:
                    wait = self._since + self.max_wait - time.monotonic()
                    if wait <= 0 or self._ended:
                        batch, self._batch = self._batch, []
                        self._changed.notify_all()
                        return batch
                if self._ended or stop():
                    return []
                self._changed.wait(wait)

    @property
    def exhausted(self) -> bool:
        """Whether every item was taken."""
        with self._changed:
            return self._ended and not self._full and not self._batch

    def wake(self) -> None:
        """Let a waiting `take` ask `stop` again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop after the item that is being read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _read(self) -> None:
        try:
            for item in self.items:
                kept = self.admit(item, self._batch)
                with self._changed:
                    while len(self._full) >= FULL_BATCHES and not self._closed:
                        self._changed.wait()
                    if self._closed:
                        break
                    self._add(kept)
        except Exception as error:  # whatever the source raises is raised to its reader
            self.failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _add(self, item: Item) -> None:
        if not self._batch:
            self._since = time.monotonic()
        self._batch.append(item)
        if len(self._batch) == self.batch_size:
            self._full.append(self._batch)
            self._batch = []
        if len(self._batch) <= 1:  # a take waits for a full batch, or for the first item of one
            self._changed.notify_all()
