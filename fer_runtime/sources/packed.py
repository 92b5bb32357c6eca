"""Packs of images as a source: see `fer_runtime.packed`."""

from __future__ import annotations

from collections.abc import Iterator

from fer_runtime.items import Item
from fer_runtime.packed.layout import read_header
from fer_runtime.packed.reader import PackedImage, opened
from fer_runtime.sources.table import SourceKind, SourceOptions


def rows(path: str, options: SourceOptions) -> Iterator[Item | None]:
    """An item per image, under the name that it was packed with; raises DataError."""
    opened.cache_clear()  # it may have been packed again since the last run
    pack = opened(path)
    errors = pack.header.errors
    labels = iter(pack.labels())
    for place, (name, label) in enumerate(zip(pack.names(), labels, strict=True)):
        if place in errors:
            yield Item(name, name, errors[place], None, label)
        else:
            yield Item(name, name, None, PackedImage(path, place), label)


def check(path: str, options: SourceOptions) -> None:
    """Raises DataError for what is not a whole pack."""
    read_header(path)


PACK = SourceKind(rows, check=check, folder=True)
