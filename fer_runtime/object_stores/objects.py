"""Images in object stores, which are read when they are needed: ahead, and many at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from fer_runtime.errors import DataError, ImageError
from fer_runtime.images.limits import MAX_FILE_BYTES

if TYPE_CHECKING:
    from fer_runtime.items import Item

AT_ONCE = 32
"""Objects that are read at the same time: a store answers each after tens of milliseconds."""
AHEAD = 256
"""Objects that are read, or being read, before they are due."""
BYTES_AHEAD = 128 * 1024 * 1024


class RemoteObject:
    """An object of a store, as the content of an item; it is pickled as its name.

    Attributes:
        name: its whole address.
        size: its bytes, or None where they are not known.
    """

    __slots__ = ("name", "size")

    def __init__(self, name: str, size: int | None = None) -> None:
        self.name, self.size = name, size

    def contents(self) -> bytes:
        """Its bytes; raises ImageError."""
        from fer_runtime.object_stores.stores import read

        if self.size is not None and self.size > MAX_FILE_BYTES:
            raise ImageError(f"object of {self.size:,} bytes is over the {MAX_FILE_BYTES:,} limit")
        try:
            data = read(self.name)
        except DataError as error:
            text = str(error).removeprefix(f"{self.name}: ").removeprefix(f"{self.name} ")
            raise ImageError(f"cannot be read: {text.rstrip('.')}") from None
        if not data:
            raise ImageError("empty object")
        return data


def fetched(items: Iterable[Item]) -> Iterator[Item]:
    """The items in their order, with the bytes of what is in a store, read ahead."""
    waiting: deque[tuple[Item, Future[bytes] | None]] = deque()
    held = 0
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fer-fetch")
    try:
        for item in items:
            content = item.content
            if isinstance(content, RemoteObject):
                waiting.append((item, pool.submit(content.contents)))
                held += content.size or 0
            else:
                waiting.append((item, None))
            while len(waiting) >= AHEAD or (held > BYTES_AHEAD and len(waiting) > 1):
                held -= _size(waiting[0][0])
                yield _read(*waiting.popleft())
        while waiting:
            yield _read(*waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _size(item: Item) -> int:
    return (item.content.size or 0) if isinstance(item.content, RemoteObject) else 0


def _read(item: Item, future: Future[bytes] | None) -> Item:
    if future is None:
        return item
    try:
        return item._replace(content=future.result())
    except ImageError as error:
        return item._replace(content=None, error=str(error))
