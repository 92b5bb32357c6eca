"""A manifest as a source: `manifest:FILE`, a text file that names an image on each line.

For very large sets: nothing is listed, and only a line at a time is in memory. The file, and each
image, may be here or in an object store. A name that is not absolute is relative to this process's
folder, as on a command line. Empty lines are left out. `.gz` is unpacked as it is read.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from typing import IO, Any, cast

from fer_runtime.errors import DataError
from fer_runtime.items import Item, require_regular
from fer_runtime.object_stores import stores
from fer_runtime.object_stores.addresses import is_remote, parse
from fer_runtime.object_stores.objects import RemoteObject
from fer_runtime.sources.table import SourceKind, SourceOptions

SCHEME = "manifest:"


def images(source: str, options: SourceOptions) -> Iterator[Item | None]:
    """An item for each line; raises DataError for a manifest that cannot be read."""
    path = source[len(SCHEME) :]
    try:
        with _open(path) as stream:
            for line in stream:
                name = os.fsdecode(line.rstrip(b"\r\n"))
                if name:
                    yield Item(name, name, content=RemoteObject(name) if is_remote(name) else None)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as a manifest: {why}") from None


def check(source: str, options: SourceOptions) -> None:
    """Raises DataError for a manifest that is not there."""
    path = source[len(SCHEME) :]
    if is_remote(path):
        stores.open_store(parse(path).root)
    else:
        require_regular(path)


def _open(path: str) -> IO[bytes]:
    stream: Any
    if is_remote(path):
        import obstore

        address = parse(path)
        store = stores.open_store(address.root)
        with stores.explained(path):
            stream = io.BufferedReader(_Raw(obstore.open_reader(store, address.key)))
    else:
        stream = open(path, "rb")  # noqa: SIM115
    return cast("IO[bytes]", gzip.open(stream)) if path.endswith(".gz") else stream


class _Raw(io.RawIOBase):
    """An object of a store as Python's own readers take it."""

    def __init__(self, reader: object) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = bytes(self._reader.read(len(view)))  # type: ignore[attr-defined]
        view[: len(data)] = data
        return len(data)


MANIFEST = SourceKind(images, check=check, remote=True)
