"""Items: one named image each, as sources yield them and the pipeline reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fer_runtime.errors import DataError, ImageError
from fer_runtime.images import EXTENSIONS, Pixels, Source, not_an_image


@dataclass(frozen=True, slots=True)
class Item:
    """One image to classify: the name of its row, and what is read (or why it cannot be).

    `content` is the encoded bytes or the pixels where there is no file to read them from. `label`
    is the true label where the source knows it, as FER2013's CSV does.
    """

    name: str
    path: str
    error: str | None = None
    content: bytes | Pixels | None = None
    label: str | None = None


def named(many: Iterable[Item | Source]) -> Iterator[Item]:
    """Paths, encoded bytes and arrays, of a generator too -> items, one at a time.

    Images without a name are numbered by their position: `image 0`. Arrays are copied, because a
    generator may fill the same one again.

    Raises:
        ImageError: `many` is one image.
    """
    if isinstance(many, str | bytes | os.PathLike):
        raise ImageError("this is one image; pass a list of images, as [image]")
    for index, source in enumerate(many):
        if isinstance(source, Item):
            yield source
        elif isinstance(source, str | os.PathLike):
            path = os.fsdecode(source)
            yield Item(path, path)
        elif isinstance(source, bytes | bytearray | memoryview):
            yield Item(f"image {index}", "", content=bytes(source))
        elif isinstance(source, np.ndarray):
            yield Item(f"image {index}", "", content=source.copy())
        else:
            yield Item(f"image {index}", "", not_an_image(source))


def require_regular(path: str) -> None:
    """Pipes, devices and sockets are never opened; raises DataError."""
    if not os.path.exists(path):
        raise DataError(f"{path} does not exist.")
    if not os.path.isfile(path):
        raise DataError(f"{path} is not a regular file.")


def is_image_name(name: str) -> bool:
    """By its ending; `._face.jpg` is what macOS keeps beside face.jpg on foreign disks."""
    extension = os.path.splitext(name)[1].lower()
    return extension in EXTENSIONS and not os.path.basename(name).startswith("._")
