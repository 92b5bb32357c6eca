"""Which requests are taken: those that can be answered in time.

By Little's law a request that comes now is answered after as many requests as are in flight, each
of which takes the server the reciprocal of its rate. The rate is measured all the time, whatever
limits it: the model, decoding, or Python.
"""

from __future__ import annotations

import time

ADMITTED = 1 / 3
"""The part of the longest latency that the requests before a new one may take; the rest is for what
differs from request to request."""
KEPT = 0.8
"""How much of the running mean stays when a new measurement is added to it."""
WINDOW = 0.05
"""Seconds of which one measurement is made, at least."""


class Admission:
    """Counts what is in flight, and how long each image takes.

    >>> admission = Admission(max_latency=0.5)
    >>> admission.begin(), admission.is_full()
    (None, False)

    Args:
        max_latency: seconds within which what is accepted should be answered.
    """

    def __init__(self, max_latency: float) -> None:
        self._most = max_latency * ADMITTED
        self.in_flight = 0
        self.seconds_each = 0.0
        self._done = 0
        self._busy, self._since = 0.0, 0.0

    def expected_delay(self, coming: int = 0) -> float:
        """Seconds until a request is answered that comes after those in flight and some more."""
        return (self.in_flight + coming) * self.seconds_each

    def is_full(self, coming: int = 0) -> bool:
        """Whether a new request would be answered too late; never where nothing is in flight."""
        return self.expected_delay(coming) > self._most

    def begin(self, images: int = 1) -> None:
        """Some images are accepted."""
        now = time.perf_counter()
        if self.in_flight:
            self._busy += now - self._since
        self._since = now
        # Looked at here, and not in `end`: answers come in bursts, and half of one says little.
        if self._done and self._busy >= WINDOW:
            each, old = self._busy / self._done, self.seconds_each
            self.seconds_each = KEPT * old + (1 - KEPT) * each if old else each
            self._busy, self._done = 0.0, 0
        self.in_flight += images

    def end(self, images: int = 1) -> None:
        """They are answered, one way or another."""
        self.in_flight -= images
        self._done += images
        if not self.in_flight:
            self._busy += time.perf_counter() - self._since
