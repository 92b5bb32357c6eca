"""Faces followed from frame to frame: a track number for each, and probabilities averaged on it.

Tracks are about where faces are, not whose they are: a face that leaves and comes back later, or
after a cut, gets a new number.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import DataError
from fer_runtime.faces.assignment import assignment
from fer_runtime.faces.face import Face
from fer_runtime.rows import Probabilities, Row

KEEP = 1.0
"""Seconds for which a face that is not found any more keeps its number."""
_MEMORY = 0.3
"""Seconds over which the speed of a face is averaged."""
_REACH = 0.9
"""How far from where it is expected a face may be found, in sizes of the face."""
_SPREAD, _UNKNOWN_SPREAD = 1.0, 4.0
"""How much further for each second since it was found last, in sizes of the face: where its speed
is known, and where it was found only once."""
_FURTHEST = 2.0
"""The most of both together."""
_LARGEST_CHANGE = math.log(2.5)
"""Of a face's size from one sight to the next (its logarithm)."""
_TIES = 1e-6
"""Seconds; times are sums of decimal fractions."""

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Track:
    """One face that is followed: where it was, how large, how fast, and when."""

    number: int
    centre: Floats
    size: float
    time: float
    speed: Floats
    sights: int = 1

    def expected(self, time: float) -> Floats:
        """(2,) where its centre is if it moves on as it did."""
        return self.centre + self.speed * (time - self.time)

    def found(self, time: float, centre: Floats, size: float) -> None:
        """Take a new sight of the face."""
        elapsed = time - self.time
        # The mean of the first speeds, then one that forgets: a single one is mostly jitter.
        share = max(1 - math.exp(-elapsed / _MEMORY), 1 / self.sights)
        self.speed = self.speed + share * ((centre - self.centre) / elapsed - self.speed)
        self.centre, self.size, self.time = centre, size, time
        self.sights += 1


class Tracker:
    """Numbers the faces of one video, frame by frame; a face keeps its number while it is followed.

    A face is expected where its speed takes it, and is the same if it is found near there and its
    size is similar. Of all pairings of faces and tracks, the one with the smallest sum of distances
    is taken, so that faces that cross keep their numbers. One thread at a time.

    >>> left, right = (Face((x, 40, x + 20, 60), (), 0.9) for x in (10, 90))
    >>> tracker = Tracker()
    >>> tracker.update(0.0, [left, right]), tracker.update(0.2, [right, left])
    ([1, 2], [2, 1])

    Args:
        keep: seconds for which a face that is not found keeps its number; at sparse frames it is
            kept for two of them at least.
    """

    def __init__(self, *, keep: float = KEEP) -> None:
        self.keep = keep
        self._tracks: list[_Track] = []
        self._count = 0
        self._time = -math.inf
        self._interval = 0.0

    def update(self, time: float, faces: Sequence[Face]) -> list[int]:
        """The track number of each face, from 1, in the order of `faces`.

        Args:
            time: of the frame in seconds; not before that of the last call. Faces given with the
                same time again are further ones of the same frame.
            faces: the faces of the frame, or a part of them.
        """
        if time > self._time:
            self._interval = time - self._time if self._tracks else 0.0
            self._time = time
            longest = max(self.keep, 2 * self._interval) + _TIES
            self._tracks = [track for track in self._tracks if time - track.time <= longest]
        waiting = [track for track in self._tracks if track.time < time]
        boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        sizes = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0), axis=1))
        pairs = assignment(_distances(waiting, time, centres, sizes))
        numbers = []
        for place in range(len(faces)):
            if place in pairs:
                track = waiting[pairs[place]]
                track.found(time, centres[place], float(sizes[place]))
            else:
                self._count += 1
                track = _Track(self._count, centres[place], float(sizes[place]), time, np.zeros(2))
                self._tracks.append(track)
            numbers.append(track.number)
        return numbers


def _distances(tracks: Sequence[_Track], time: float, centres: Floats, sizes: Floats) -> Floats:
    """(faces, tracks) how badly each face fits each track: 0 to below 1; 1 where it cannot be it.

    The distance to the expected place in sizes of the face, and the change of size, as shares of
    the most that is allowed. A track's box may be smaller than the distance it moves between two
    frames, so that overlapping boxes are not asked for; the closer pair has the larger overlap.
    """
    if not tracks or not len(centres):
        return np.ones((len(centres), len(tracks)))
    expected = np.array([track.expected(time) for track in tracks])
    known = np.array([track.size for track in tracks])
    gaps = np.array([time - track.time for track in tracks])
    spread = np.where([track.sights > 1 for track in tracks], _SPREAD, _UNKNOWN_SPREAD)
    away = np.hypot(*(centres[:, None] - expected[None]).transpose(2, 0, 1))
    away /= (sizes[:, None] + known) / 2
    change = np.abs(np.log(sizes[:, None] / known)) / _LARGEST_CHANGE
    distance: Floats = (away / _FURTHEST + 0.3 * change + 0.2 * np.minimum(gaps, 1)) / 1.5
    distance[(away > np.minimum(_REACH + spread * gaps, _FURTHEST)) | (change > 1)] = 1.0
    fitting: Floats = np.minimum(distance, 1.0)
    return fitting


class Follower:
    """Writes the track of each face into a run's rows, and averages its probabilities over time.

    Rows are given in the order of the pipeline, in pieces of any size: a frame's rows may be in two
    of them. Each stream starts anew; rows without a stream pass unchanged. One thread at a time.

    With `smooth`, a row's probabilities are the mean of those of its track over the last `smooth`
    seconds: the frame itself and earlier ones, later ones never. Label and probability follow.

    Args:
        smooth: seconds to average over; 0 for each frame on its own.
        keep: as in `Tracker`.

    Raises:
        DataError: `smooth` is negative or not a number.
    """

    def __init__(self, smooth: float = 0.0, *, keep: float = KEEP) -> None:
        if not (smooth >= 0 and math.isfinite(smooth)):
            raise DataError(f"smooth is {smooth}; it is a time in seconds, 0 or more.")
        self.smooth, self.keep = smooth, keep
        self._stream: str | None = None
        self._frame = -1
        self._time = -math.inf
        self._tracker = Tracker(keep=keep)
        self._history: dict[int, deque[tuple[float, Probabilities]]] = {}

    def follow(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, those of a stream with "track" in `extra`: a number, or None for no face.

        Numbers are from 1 in each stream, in the order in which the faces appear.
        """
        followed: list[Row] = []
        for (stream, frame), group in groupby(rows, key=_frame_of):
            if stream is None:
                self._stream = None
                followed += group
            else:
                self._start_frame(stream, frame)
                followed += self._follow_frame(list(group))
        return followed

    def _start_frame(self, stream: str, frame: int) -> None:
        if stream != self._stream or frame < self._frame:
            self._stream, self._time = stream, -math.inf
            self._tracker = Tracker(keep=self.keep)
            self._history = {}
        self._frame = frame

    def _follow_frame(self, rows: list[Row]) -> list[Row]:
        self._time = max(self._time, float(rows[0].extra.get("time") or 0.0))
        faces = [row.face for row in rows if row.face is not None]
        numbers = iter(self._tracker.update(self._time, faces))
        return [self._tracked(row, None if row.face is None else next(numbers)) for row in rows]

    def _tracked(self, row: Row, track: int | None) -> Row:
        tracked = copy(row)  # rows may be shared, and those that were given stay as they are
        tracked.extra = {**row.extra, "track": track}
        if self.smooth and track is not None and row.probabilities is not None:
            tracked.set_probabilities(self._mean(track, row.probabilities))
        return tracked

    def _mean(self, track: int, probabilities: Probabilities) -> Probabilities:
        """(K,) float32 the mean over the track's last `smooth` seconds, with a new sight."""
        if track not in self._history:
            oldest = self._time - max(self.smooth, self.keep)
            self._history = {n: h for n, h in self._history.items() if h[-1][0] >= oldest}
        history = self._history.setdefault(track, deque())
        history.append((self._time, probabilities))
        while history[0][0] <= self._time - self.smooth + _TIES and len(history) > 1:
            history.popleft()
        mean: Probabilities = np.mean([each for _, each in history], axis=0, dtype=np.float64)
        return mean.astype(np.float32)


def _frame_of(row: Row) -> tuple[str | None, int]:
    frame = row.extra.get("frame")
    return row.stream, -1 if frame is None else int(frame)
