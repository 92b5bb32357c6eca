"""Reading a pack: names and labels block by block, pixels by memory map."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import DataError
from fer_runtime.packed.layout import (
    INDEX,
    LABELS,
    NAMES,
    NAMES_IN_BLOCK,
    PIXELS,
    read_header,
)

Pixels = npt.NDArray[np.uint8]


class PackedImage(NamedTuple):
    """Where an image's pixels are: the content of an item, small enough to send to a process."""

    folder: str
    place: int


class PackedSet:
    """A pack that is open; threads may share it.

    Raises:
        DataError: not a pack, or a broken one.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self.header = read_header(folder)
        self.count = self.header.images
        path = Path(folder)
        shape = (self.count, *self.header.shape)
        self.pixels: Pixels = np.zeros(shape, np.uint8)
        """(N, C, H, W), read-only."""
        if self.count:
            self.pixels = np.frombuffer(_mapped(path / PIXELS), np.uint8).reshape(shape)
        self._starts = np.fromfile(path / INDEX, "<u8")
        self._labels = np.fromfile(path / LABELS, "<i2")

    def names(self) -> Iterator[str]:
        """The names, in order; a block of them in memory at a time."""
        ends = [*self._starts[1:].tolist(), None]
        with open(Path(self.folder) / NAMES, "rb") as stream:
            left = self.count
            for start, end in zip(self._starts.tolist(), ends, strict=True):
                stream.seek(start)
                block = stream.read(-1 if end is None else end - start)
                found = block.decode("utf-8", "surrogateescape").split("\0")
                if found.pop() != "" or len(found) != min(left, NAMES_IN_BLOCK):
                    raise DataError(f"{self.folder} has broken names; pack the images again.")
                left -= len(found)
                yield from found

    def labels(self) -> list[str | None]:
        """The true label of each image; None where none is known."""
        known = [*self.header.labels, None]
        return [known[number] for number in self._labels.tolist()]


@lru_cache(maxsize=8)
def opened(folder: str) -> PackedSet:
    """A pack, opened once per process; raises DataError."""
    return PackedSet(folder)


def pixels_of(image: PackedImage) -> Pixels:
    """(H, W, C) uint8 of one image, read-only."""
    found: Pixels = opened(image.folder).pixels[image.place].transpose(1, 2, 0)
    return found


def run_of(contents: list[object]) -> tuple[str, int] | None:
    """The pack and the first place of contents that follow one another in it; None for others."""
    first, last = contents[0], contents[-1]
    if not isinstance(first, PackedImage) or not isinstance(last, PackedImage):
        return None
    start = first.place
    if last.place - start != len(contents) - 1:
        return None
    expected = [(first.folder, place) for place in range(start, last.place + 1)]
    if contents != expected:
        return None
    return first.folder, start


def _mapped(path: Path) -> mmap.mmap:
    try:
        with open(path, "rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
