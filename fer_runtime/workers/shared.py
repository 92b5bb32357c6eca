"""Memory that this process and one worker share, for the contents of images.

A worker reads files itself. Encoded bytes, arrays and frames come from this process, and through a
pipe each byte would be copied four times.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fer_runtime.items import Item

if TYPE_CHECKING:
    from fer_runtime.workers.messages import Sent

SLOTS = 2
"""Tasks that a worker has at most: one that it works on, and the next."""
SLOT_BYTES = 32 * 1024 * 1024
"""Contents of one task; what is beyond it goes through the pipe. Pages are used when touched."""
ALIGNMENT = 64


class Placed(NamedTuple):
    """Where the content of an item is; `shape` is None for encoded bytes."""

    offset: int
    size: int
    shape: tuple[int, ...] | None


class Handle(NamedTuple):
    """How another process finds the memory: a file descriptor, or a name on Windows."""

    descriptor: int
    name: str
    size: int


class SharedMemory:
    """Memory of `SLOTS` parts of `SLOT_BYTES`; it is gone when both processes have ended.

    Args:
        pixels: bytes of one more part, for the pixels that a worker hands to this process.

    Raises:
        OSError: there is not enough memory or disk.
    """

    def __init__(self, pixels: int = 0) -> None:
        size = SLOTS * SLOT_BYTES + pixels
        if sys.platform == "win32":
            name = f"fer-{os.getpid()}-{secrets.token_hex(8)}"
            self._map = mmap.mmap(-1, size, tagname=name)
            self.handle = Handle(-1, name, size)
            return
        descriptor = _descriptor(size)
        self._map = mmap.mmap(descriptor, size)
        self.handle = Handle(descriptor, "", size)

    def place(self, batches: Sequence[Sent], slot: int) -> list[Sent]:
        """Copy the contents of a task's items to a slot; the items with their places instead."""
        start = slot * SLOT_BYTES
        end = start + SLOT_BYTES
        placed: list[Sent] = []
        for batch in batches:
            if not isinstance(batch[0], Item):
                placed.append(batch)
                continue
            items: list[Item] = []
            for item in batch:
                content: Any = item.content
                size = _size(content)
                if size and start + size <= end:
                    item = item._replace(content=self._copy(content, start, size))  # noqa: PLW2901
                    start += -(-size // ALIGNMENT) * ALIGNMENT
                items.append(item)
            placed.append(items)
        return placed

    def pixels(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """A view of the pixels that the worker has put there."""
        size = int(np.prod(shape))
        return np.frombuffer(self._map, np.uint8, size, SLOTS * SLOT_BYTES).reshape(shape)

    def _copy(self, content: Any, offset: int, size: int) -> Any:
        """Put bytes or an array at an offset."""
        if isinstance(content, bytes):
            self._map[offset : offset + size] = content
            return Placed(offset, size, None)
        there = np.frombuffer(self._map, np.uint8, size, offset).reshape(content.shape)
        there[...] = content
        return Placed(offset, size, content.shape)

    def close(self) -> None:
        """Give the memory back here; a worker keeps it until it ends."""
        if self.handle.descriptor >= 0:
            os.close(self.handle.descriptor)
        with contextlib.suppress(BufferError):  # a view that an error still holds; it goes with it
            self._map.close()


class Contents:
    """A worker's view of the shared memory."""

    def __init__(self, handle: Handle) -> None:
        if sys.platform == "win32":
            self._map = mmap.mmap(-1, handle.size, tagname=handle.name)
        else:
            self._map = mmap.mmap(handle.descriptor, handle.size)

    def put_pixels(self, pixels: npt.NDArray[np.uint8]) -> bool:
        """Hand pixels to the parent; false where they do not fit."""
        start = SLOTS * SLOT_BYTES
        if start + pixels.nbytes > len(self._map):
            return False
        there = np.frombuffer(self._map, np.uint8, pixels.size, start)
        there.reshape(pixels.shape)[...] = pixels
        return True

    def found(self, item: Item) -> Item:
        """An item with its content: a copy of bytes, a view of an array."""
        place: Any = item.content
        if not isinstance(place, Placed):
            return item
        if place.shape is None:
            return item._replace(content=self._map[place.offset : place.offset + place.size])
        pixels = np.frombuffer(self._map, np.uint8, place.size, place.offset).reshape(place.shape)
        pixels.flags.writeable = False
        return item._replace(content=pixels)


def _size(content: object) -> int:
    """Bytes of a content that can be placed; 0 for what cannot, or need not."""
    if isinstance(content, bytes):
        return len(content)
    return content.nbytes if type(content) is np.ndarray and content.dtype == np.uint8 else 0


def _descriptor(size: int) -> int:
    """Of a file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("fer-runtime")
        os.ftruncate(descriptor, size)
        return descriptor
    with tempfile.TemporaryFile() as file:
        os.ftruncate(file.fileno(), size)
        return os.dup(file.fileno())
