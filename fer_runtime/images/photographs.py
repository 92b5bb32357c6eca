"""Whether images are photographs, where a model expects the crop of one face."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from fer_runtime.errors import ImageError
from fer_runtime.images.loading import read, size
from fer_runtime.items import Item
from fer_runtime.spec import InputSpec

TIMES = 8
"""An image whose shorter side is so many times the input's is not a crop of a face, probably."""
AT_LEAST = 384
"""Pixels of the shorter side below which an image may well be a crop."""


class Sample:
    """The first images of a run, as far as their size goes.

    Args:
        count: how many images.
    """

    def __init__(self, count: int = 32) -> None:
        self._count = count
        self._paths: list[str] = []
        self._sides: list[int] = []

    def taken_from(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items as they are; the first ones are noted."""
        for item in islice(items, self._count):
            if item.error is None:
                if item.content is None:
                    self._paths.append(item.path)
                else:
                    self._sides.append(_short_side(item.content))
            yield item
        yield from items

    def much_larger(self, spec: InputSpec) -> tuple[int, int]:
        """How many are much larger than the model's input, and of how many; reads the files."""
        least = min(TIMES * spec.height, max(AT_LEAST, 2 * spec.height))
        sides = self._sides + [_short_side_of_file(path) for path in self._paths]
        return sum(side >= least for side in sides), len(sides)


def _short_side_of_file(path: str) -> int:
    try:
        return _short_side(read(path))
    except ImageError:
        return 0


def _short_side(content: object) -> int:
    """0 for what cannot be read."""
    if not isinstance(content, bytes):
        return int(min(getattr(content, "shape", (0,))[:2]))  # a packed image has none
    try:
        return min(size(content))
    except ImageError:
        return 0
