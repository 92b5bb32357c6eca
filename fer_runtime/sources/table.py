"""The table of files that contain many images: a new kind of source is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from fer_runtime._lazy import resolve

if TYPE_CHECKING:
    from fer_runtime.items import Item

    Reader = Callable[[str], Iterator[Item | None]]

SOURCES: dict[str, str | Reader] = {
    ".tar": "fer_runtime.sources.archives:tar_members",
    ".tar.gz": "fer_runtime.sources.archives:tar_members",
    ".tgz": "fer_runtime.sources.archives:tar_members",
    ".tar.bz2": "fer_runtime.sources.archives:tar_members",
    ".tbz2": "fer_runtime.sources.archives:tar_members",
    ".tar.xz": "fer_runtime.sources.archives:tar_members",
    ".txz": "fer_runtime.sources.archives:tar_members",
    ".csv": "fer_runtime.sources.fer2013_csv:rows",
}
"""File name ending (lower case) -> reader of the items in such a file, or "module:name" of one.

A reader takes the path and yields an Item for each image, and None for each other file inside,
which is counted as skipped. It raises DataError for a file that is not of its kind. A new kind of
source is a module with a reader, and one entry here.
"""


def reader_of(source: str) -> Reader | None:
    """The reader of a file that contains many images, by the longest ending that fits; or None."""
    name = source.lower()
    endings = [ending for ending in SOURCES if name.endswith(ending)]
    if not endings:
        return None
    return cast("Reader", resolve(SOURCES[max(endings, key=len)]))
