"""Folders, files, globs, lists, tar shards and CSV -> a stream of named items.

In a stable order and in constant memory; nothing is decoded here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np

from fer_runtime.errors import DataError, ImageError
from fer_runtime.images import EXTENSIONS, Pixels, Source, no_image

STDIN = "-"
UNPACKERS = {
    (".tar.gz", ".tgz"): "gzip",
    (".tar.bz2", ".tbz2"): "bz2",
    (".tar.xz", ".txz"): "lzma",
}
"""Endings of compressed tar archives -> the module that unpacks them."""
TAR_ENDINGS = (".tar", *(ending for endings in UNPACKERS for ending in endings))


@dataclass(frozen=True, slots=True)
class Item:
    """One image to classify: the name its row carries, and what is read (or why it cannot be).

    `content` are the encoded bytes or the pixels where there is no file to read them from.
    """

    name: str
    path: str
    error: str | None = None
    content: bytes | Pixels | None = None


def named(many: Iterable[Item | Source]) -> Iterator[Item]:
    """Paths, encoded bytes and arrays, of a generator too -> items, one at a time.

    What has no name is called by its place: `image 0`. Arrays are copied, because a generator may
    fill the same one again.

    Raises:
        ImageError: `many` is one image.
    """
    if isinstance(many, str | bytes | os.PathLike):
        raise ImageError("this is one image, and not several of them; put it into a list")
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
            yield Item(f"image {index}", "", no_image(source))


class Files:
    """Images below folders (recursively, sorted by name) and files named one by one.

    A folder yields the files with a known image ending and counts the others in `skipped`; a file
    that is named explicitly is always tried. Links are followed, and a folder that was visited
    already is not visited again, so link cycles end. Iterating again starts anew.
    """

    def __init__(self, sources: Iterable[str | os.PathLike[str]]) -> None:
        self.sources = [os.fspath(source) for source in sources]
        self.skipped = 0

    def __iter__(self) -> Iterator[Item]:
        self.skipped = 0
        visited: set[tuple[int, int]] = set()
        for source in self.sources:
            yield from self._items(source, visited)

    def total(self) -> int | None:
        """How many items iterating yields; costs one pass over the folders."""
        return sum(1 for _ in self)

    def _items(self, source: str, visited: set[tuple[int, int]]) -> Iterator[Item]:
        if os.path.isdir(source):
            yield from self._walk(source, visited)
        else:
            yield Item(source, source)

    def _walk(self, top: str, visited: set[tuple[int, int]]) -> Iterator[Item]:
        """Depth first with a stack of our own: folders may lie deeper than Python recurses."""
        waiting = [self._list(top, visited)]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
            elif isinstance(entry, Item):
                yield entry
            else:
                waiting.append(self._list(entry, visited))

    def _list(self, folder: str, visited: set[tuple[int, int]]) -> Iterator[Item | str]:
        """A folder's images as items and its folders as paths, by name.

        Nothing if it was visited, an error item if it cannot be. There may be millions: all that
        is kept of a file is its name.
        """
        names: list[str] = []
        folders: set[str] = set()
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                return
            visited.add(identity)
            with os.scandir(folder) as listing:
                for entry in listing:
                    if _is_folder(entry):
                        folders.add(entry.name)
                    elif not is_image_name(entry.name):
                        self.skipped += 1
                        continue
                    names.append(entry.name)
        except OSError as error:
            yield Item(folder, folder, f"folder cannot be listed: {error.strerror}")
            return
        names.sort()
        start = os.path.join(folder, "")
        for name in names:
            path = start + name
            yield path if name in folders else Item(path, path)


class Sources(Files):
    """All that `fer-infer` takes: `Files`, and besides

    - `-`: a list of sources on standard input, one a line;
    - `photos/**/*.jpg`: a glob, if there is no file of that name; what it matches, sorted by name
      (folders too, unless it has `**`, which looks into them by itself);
    - `shard.tar`, `.tar.gz`, `.tar.bz2`, `.tar.xz`: a tar archive as WebDataset writes it, read as
      a stream; items are called `shard.tar/member`, other members are counted in `skipped`, and
      one that is damaged or breaks off ends in an item with an error;
    - `fer2013.csv`: rows with a column `pixels` of space-separated grey levels, called
      `fer2013.csv:line`.

    `shard` (index, count), from 1, takes every count-th item, beginning with the index-th.

    Raises:
        DataError: while iterating, for a source that is not there or is of another kind.
    """

    def __init__(
        self,
        sources: Iterable[str | os.PathLike[str]],
        *,
        shard: tuple[int, int] = (1, 1),
        stdin: BinaryIO | None = None,
    ) -> None:
        super().__init__(sources)
        self.shard = shard
        self.stdin = stdin
        if self.sources.count(STDIN) > 1:
            raise DataError("Standard input can be read once only; say - once.")

    def __iter__(self) -> Iterator[Item]:
        index, count = self.shard
        return islice(super().__iter__(), index - 1, None, count)

    def total(self) -> int | None:
        """How many items iterating yields; None where that takes reading a stream."""
        if any(s == STDIN or _is_glob(s) or _container(s) for s in self.sources):
            return None
        return super().total()

    def _items(self, source: str, visited: set[tuple[int, int]]) -> Iterator[Item]:
        if source == STDIN:
            for name in self._listed():
                yield from self._one(name, visited)
        elif _is_glob(source):
            for name in _matches(source):
                if "**" not in source or not os.path.isdir(name):
                    yield from self._one(name, visited)
        else:
            yield from self._one(source, visited)

    def _one(self, source: str, visited: set[tuple[int, int]]) -> Iterator[Item]:
        kind = None if os.path.isdir(source) else _container(source)
        if kind is None:
            yield from super()._items(source, visited)
            return
        from fer_runtime import containers

        for item in (containers.tar_members if kind == "tar" else containers.csv_rows)(source):
            if item is None:
                self.skipped += 1
            else:
                yield item

    def _listed(self) -> Iterator[str]:
        if not self.stdin and not sys.stdin:
            raise DataError("There is no standard input to read a list from.")
        for line in self.stdin or sys.stdin.buffer:
            name = os.fsdecode(line.rstrip(b"\r\n"))
            if name:
                yield name

    def check(self) -> None:
        """Raise DataError for an archive, a CSV file or a glob that is not there, before any work.

        A missing image is no error here; it will be an item that cannot be read.
        """
        for source in self.sources:
            if source == STDIN or os.path.isdir(source):
                continue
            if _is_glob(source):
                _require_match(source)
            elif _container(source):
                require_regular(source)


def _is_glob(source: str) -> bool:
    return any(sign in source for sign in "*?[") and not os.path.lexists(source)


def _matches(pattern: str) -> list[str]:
    import glob

    _require_match(pattern)
    return sorted(glob.iglob(pattern, recursive=True))


def _require_match(pattern: str) -> None:
    """Look for the first match only: there may be millions."""
    import glob

    if next(glob.iglob(pattern, recursive=True), None) is None:
        raise DataError(f"{pattern}: no file matches.")


def _container(source: str) -> str | None:
    """What kind of file holds several images, by its ending: "tar", "csv" or None."""
    name = source.lower()
    return "tar" if name.endswith(TAR_ENDINGS) else "csv" if name.endswith(".csv") else None


def require_regular(path: str) -> None:
    """Pipes, devices and sockets are never opened; raises DataError."""
    if not os.path.exists(path):
        raise DataError(f"{path} does not exist.")
    if not os.path.isfile(path):
        raise DataError(f"{path} is no regular file.")


def shard_of(text: str) -> tuple[int, int]:
    """ "2/8" -> (2, 8): the second of eight shares.

    Raises:
        DataError: not of this form, or an index outside 1 to count.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise DataError(f"--shard {text}: say which share of how many, from 1/8 to 8/8.")


def is_image_name(name: str) -> bool:
    """By its ending; `._face.jpg` is what macOS keeps beside face.jpg on foreign disks."""
    extension = os.path.splitext(name)[1].lower()
    return extension in EXTENSIONS and not os.path.basename(name).startswith("._")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
