"""Files that hold many images: tar archives as streams, and FER2013's CSV."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from fer_runtime.errors import DataError
from fer_runtime.images import MAX_FILE_BYTES
from fer_runtime.sources import UNPACKERS, Item, is_image_name, require_regular

_TAR_BLOCK = 512


def tar_members(path: str) -> Iterator[Item | None]:
    """The images of a tar archive, read as a stream, and None for each other file in it.

    One that is damaged or breaks off ends in an item with an error.

    Raises:
        DataError: no archive at all.
    """
    require_regular(path)
    archive_opened = False
    try:
        with (
            _unpacked(path) as file,
            tarfile.open(fileobj=(tail := _Tail(file)), mode="r|") as archive,  # type: ignore[call-overload]
        ):
            archive_opened = True
            for member in archive:
                name = f"{path}/{member.name}"
                if not is_image_name(member.name):
                    if member.isfile():
                        yield None
                elif not member.isfile():
                    yield Item(name, name, "is no regular file in its archive")
                elif member.size > MAX_FILE_BYTES:
                    yield Item(name, name, f"file of {member.size:,} bytes is over the limit")
                else:
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield Item(name, name, content=stream.read())
            if broken := tail.why_no_end(archive.offset):
                yield Item(path, path, broken)
    except Exception as error:
        # tarfile raises TarError, OSError, EOFError, zlib.error, TypeError … on broken files.
        reason = getattr(error, "strerror", None) or error
        if not archive_opened:
            raise DataError(f"{path} cannot be read as a tar archive: {reason}") from None
        yield Item(path, path, f"the archive cannot be read further: {reason}")


def _unpacked(path: str) -> Any:
    """A tar archive's bytes as a stream."""
    name = path.lower()
    for endings, module in UNPACKERS.items():
        if name.endswith(endings):
            return import_module(module).open(path)
    return open(path, "rb")


class _Tail:
    """Passes a stream on and knows where its zeros begin: tarfile takes anything for an end."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.size = self.zeros = 0

    def read(self, size: int) -> bytes:
        data: bytes = self.stream.read(size)
        content = data.rstrip(b"\0")
        if content:
            self.zeros = self.size + len(content)
        self.size += len(data)
        return data

    def why_no_end(self, offset: int) -> str | None:
        """Read what is left; from the end of the last member on, an archive is blocks of zeros."""
        while self.read(1 << 16):
            pass
        if self.zeros > offset:
            return f"the archive is damaged at byte {offset:,}, or another one follows; not read on"
        if self.size < offset + _TAR_BLOCK:
            return "the archive ends too early; what follows is lost"
        return None


def csv_rows(path: str) -> Iterator[Item]:
    """The rows of FER2013's CSV: grey levels of a square, separated by spaces, under `pixels`.

    Raises:
        DataError: no such column, or no CSV.
    """
    csv.field_size_limit(1 << 24)
    require_regular(path)
    begun = False
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
            rows = csv.reader(stream)
            columns = [name.strip() for name in next(rows, [])]
            if "pixels" not in columns:
                raise DataError(
                    f"{path} has no column 'pixels' (it has {', '.join(columns[:8]) or 'none'}); a "
                    "CSV source is FER2013's: grey levels of a square, separated by spaces."
                )
            place = columns.index("pixels")
            begun = True
            for row in filter(None, rows):  # without empty lines
                name = f"{path}:{rows.line_num}"
                text = row[place] if place < len(row) else ""
                levels = text.split()
                side = int(len(levels) ** 0.5)
                if not levels or side * side != len(levels):
                    yield Item(name, name, f"{len(levels)} pixels make no square")
                    continue
                try:
                    pixels = np.array(levels, np.uint8).reshape(side, side)
                except (ValueError, OverflowError):
                    yield Item(name, name, "its pixels are not whole numbers from 0 to 255")
                    continue
                yield Item(name, name, content=pixels)
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        if not begun:
            raise DataError(f"{path} cannot be read as CSV: {reason}") from None
        yield Item(path, path, f"the file cannot be read further: {reason}")
