"""When the frames of a video are shown, whatever their file says."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

_LARGEST_JUMP = 1
"""Seconds backwards in presentation time from which the recording is taken to have started anew."""


class Clock:
    """Times of frames, in seconds from the start, each later than the one before.

    A frame without a time follows at the average rate. Where the times start anew (recordings put
    one after the other), they continue.

    Args:
        start: the time of the start in microseconds, where the file has it.
        rate: frames per second, where it is known.
    """

    def __init__(self, start: int | None, rate: Fraction | None) -> None:
        self._start = None if start is None else Fraction(start, 10**6)
        self._step = 1 / Fraction(rate) if rate else Fraction(1, 25)
        self._last: Fraction | None = None
        self._shift = Fraction(0)

    @property
    def start(self) -> Fraction:
        """The time in the file that counts as zero, in seconds."""
        return self._start or Fraction(0)

    def time(self, picture: Any) -> Fraction:
        """When a frame is shown."""
        last = self._last
        following = Fraction(0) if last is None else last + self._step
        if picture.pts is None or not picture.time_base:
            self._last = following
            return following
        shown = int(picture.pts) * Fraction(picture.time_base)
        if last is None:
            self._start = shown if self._start is None else min(self._start, shown)
        time = shown - (self._start or 0) + self._shift
        if last is not None and time <= last:
            if last - time > _LARGEST_JUMP:
                self._shift += following - time
                time = following
            else:
                time = last + Fraction(1, 1000)
        self._last = time
        return time
