"""One face of a picture, as the detector finds it and as crops and rows use it."""

from __future__ import annotations

from typing import NamedTuple


class Face(NamedTuple):
    """Where a face is, in pixels of the upright picture.

    >>> face = Face((10.0, 20.0, 50.0, 80.0), ((24.0, 45.0),) * 5, 0.9)
    >>> left, top, right, bottom = face.box
    >>> right - left, bottom - top
    (40.0, 60.0)

    Attributes:
        box: left, top, right, bottom. It may reach beyond the picture.
        landmarks: five points (x, y): right eye, left eye, nose tip, right and left corner of the
            mouth. Right and left are the person's: the right eye is at the picture's left.
        score: how sure the detector is, 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    score: float
