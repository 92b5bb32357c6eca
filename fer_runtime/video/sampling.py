"""Which frames of a video are wanted: `every` as text, and the choice frame by frame."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from fer_runtime.errors import DataError

_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})([sf])")


class Every(NamedTuple):
    """The distance between wanted frames: a time, or a number of frames; default every frame.

    Attributes:
        seconds: the distance in seconds; None where it is a number of frames.
        frames: the distance in frames.
    """

    seconds: Fraction | None = None
    frames: int = 1


def parse_every(text: str) -> Every:
    """ "0.5s" or "10f" -> Every.

    >>> parse_every("0.5s").seconds, parse_every("10f").frames
    (Fraction(1, 2), 10)

    Raises:
        DataError: of another form, or zero.
    """
    found = _FORM.fullmatch(text.strip().lower())
    number = Fraction(found[1]) if found else Fraction(0)
    if found and number > 0:
        if found[2] == "s":
            return Every(seconds=number)
        if number.denominator == 1:
            return Every(frames=int(number))
    raise DataError(
        f"--every is {text!r}; write a time above zero, as 0.5s, or a whole number of frames, as "
        "10f."
    )


class Sampler:
    """Chooses frames one after the other.

    By time: the first frame at or after 0, and the first at or after each multiple of the distance,
    so that a video of variable frame rate works. By frames: the first, and every n-th after it.
    """

    def __init__(self, every: Every = Every()) -> None:  # noqa: B008
        self.every = every
        self._multiple = -1

    def wants(self, index: int, time: Fraction) -> bool:
        """Whether the frame with this index, shown at this time in seconds, is wanted.

        Frames are given in the order in which they are shown, each once.
        """
        if self.every.seconds is None:
            return index % self.every.frames == 0
        multiple = time // self.every.seconds
        if multiple <= self._multiple:
            return False
        self._multiple = multiple
        return True
