"""The table of files that contain many images: a new kind of source is one entry here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, cast

from fer_runtime._lazy import resolve

if TYPE_CHECKING:
    from fer_runtime.columns import Column
    from fer_runtime.items import Item

    Reader = Callable[[str], Iterator[Item | None]]
    FoundColumns = tuple[tuple[Column, ...], tuple[Column, ...]]

ALL = "all"
"""As the only one of `SourceOptions.columns`: every column that the sources have."""


class SourceOptions(NamedTuple):
    """How files that contain many images are read; each kind of source uses what applies to it.

    Attributes:
        every: which frames of a video, as "0.5s" or "10f"; None for all.
        image_column: a table's column with the images; None for the only one there is.
        id_column: a table's column whose values are the rows' paths; None for the images' own.
        label_column: a table's column with the true labels; None for `label`.
        columns: names of the source's columns that are passed through, or ("all",); None for the
            default of each kind: all of a table, none of an archive.
        class_labels: the names of class numbers, in their order, for sources that contain only
            numbers; None where numbers have no known meaning.
    """

    every: str | None = None
    image_column: str | None = None
    id_column: str | None = None
    label_column: str | None = None
    columns: tuple[str, ...] | None = None
    class_labels: tuple[str, ...] | None = None


def no_columns(path: str, options: SourceOptions) -> FoundColumns:
    """For sources whose items have nothing extra."""
    return (), ()


class SourceKind(NamedTuple):
    """A kind of source: how it is read, and what is known about it before.

    Attributes:
        read: (path, options) -> an Item for each image, None for each other file inside; raises
            DataError for a file that is not of its kind.
        columns: (path, options) -> the columns after `path` and the ones that are passed through,
            found without reading everything; their names are the keys of the items' `extra`.
        whole: whether the images of one file belong together, as the frames of a video do. With
            `--shard` a whole file is then in one share, and the others do not open it.
        check: (path, options) -> raises DataError for a source that cannot be read, before any
            work. None requires a regular file, and nothing of a scheme.
        folder: whether such a source is a folder.
        live: whether its images come as time goes by, as a camera's do.
        remote: whether images are in an object store, and are read ahead.
    """

    read: Callable[[str, SourceOptions], Iterator[Item | None]]
    columns: Callable[[str, SourceOptions], FoundColumns] = no_columns
    whole: bool = False
    check: Callable[[str, SourceOptions], None] | None = None
    folder: bool = False
    live: bool = False
    remote: bool = False


IN_FOLDERS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Endings of files that are found in folders too; other kinds must be named."""

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".asf", ".flv", ".3gp", ".ogv", ".vob"),
)
"""Endings of videos."""

STORES = ("s3://", "gs://", "az://", "https://", "http://")
"""Schemes of object stores."""

SOURCES: dict[str, str | Reader | SourceKind] = {
    **dict.fromkeys(IN_FOLDERS, "fer_runtime.sources.archives:TAR"),
    ".csv": "fer_runtime.sources.fer2013_csv:rows",
    ".parquet": "fer_runtime.sources.parquet:PARQUET",
    **dict.fromkeys(VIDEOS, "fer_runtime.sources.video:VIDEO"),
    ".ferpack": "fer_runtime.sources.packed:PACK",
    "camera:": "fer_runtime.sources.camera:CAMERA",
    "manifest:": "fer_runtime.sources.manifest:MANIFEST",
    **dict.fromkeys(STORES, "fer_runtime.sources.object_store:OBJECTS"),
}
"""File name ending (lower case), or scheme with its colon -> what reads such a source.

A value is a reader, a `SourceKind`, or "module:name" of one, which is imported on first use. A
reader takes the path and yields an Item for each image, and None for each other file inside, which
is counted as skipped. It raises DataError for a file that is not of its kind. A scheme as `camera:`
is what a source's name begins with, unless a file has that name.
"""


def kind_of(source: str) -> SourceKind | None:
    """The kind of a file that contains many images, by its scheme or its longest ending; or None.

    >>> kind_of("photo.jpg") is None
    True
    """
    key = scheme_of(source) or ending_of(source.rstrip(f"/{os.sep}"))
    if key is None:
        return None
    entry = resolve(SOURCES[key])
    if isinstance(entry, SourceKind):
        return entry
    reader = cast("Reader", entry)
    return SourceKind(lambda path, options: reader(path))


def scheme_of(source: str) -> str | None:
    """The scheme of the table that a name begins with, unless a file has that name."""
    if ":" not in source:
        return None
    name = source.lower()
    fitting = [key for key in SOURCES if key[-1] in ":/" and name.startswith(key)]
    return max(fitting, key=len) if fitting and not os.path.lexists(source) else None


def ending_of(source: str) -> str | None:
    """The longest ending of the table that a name has."""
    name = source.lower()
    if not name.endswith(tuple(SOURCES)):  # most names, and one call is faster than a loop
        return None
    return max((key for key in SOURCES if name.endswith(key)), key=len)
