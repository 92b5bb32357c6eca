"""Folders and files: a stream of items in a stable order and in constant memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import ClassVar

from fer_runtime.items import Item, is_image_name


class Archive(str):
    """The path of a file in a folder that is looked into, as a folder is."""

    __slots__ = ()


class Files:
    """Images below folders (recursively, sorted by name) and files named one by one.

    A folder yields the files with a known image ending and counts the others in `skipped`; a file
    that is named explicitly is always read. Links are followed, and a folder that was visited
    already is not visited again, so link cycles end. Iterating again starts over.

    Attributes:
        inside: endings of the files in folders that are looked into.
        skipped: how many other files the folders contain, so far.
    """

    inside: ClassVar[tuple[str, ...]] = ()

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
        """Depth first with an explicit stack: folders may be nested deeper than Python recurses."""
        waiting = [self._list(top, visited)]
        while waiting:
            for entry in waiting[-1]:
                if isinstance(entry, Item):
                    yield entry
                elif isinstance(entry, Archive):
                    yield from self._opened(entry)
                else:
                    waiting.append(self._list(entry, visited))
                    break
            else:
                waiting.pop()

    def _list(self, folder: str, visited: set[tuple[int, int]]) -> Iterator[Item | str]:
        """A folder's images as items, its folders and archives as paths, by name.

        Nothing if it was visited, an error item if it cannot be. There may be millions: all that
        is kept of a file is its name.
        """
        names: list[str] = []
        others: dict[str, type[str]] = {}
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                return
            visited.add(identity)
            with os.scandir(folder) as listing:
                for entry in listing:
                    name = entry.name
                    if _is_folder(entry):
                        others[name] = str
                    elif not is_image_name(name):
                        if not self._is_archive(name):
                            self._skip(folder, name)
                            continue
                        others[name] = Archive
                    names.append(name)
        except OSError as error:
            yield Item(folder, folder, f"folder cannot be listed: {error.strerror}")
            return
        names.sort()
        start = os.path.join(folder, "")
        for name in names:
            path = start + name
            yield others[name](path) if name in others else Item(path, path)

    def _is_archive(self, name: str) -> bool:
        return name.lower().endswith(self.inside) and not name.startswith("._")

    def _skip(self, folder: str, name: str) -> None:
        """Count a file that is not an image."""
        self.skipped += 1

    def _opened(self, path: str) -> Iterator[Item]:
        """The images in an archive; without endings in `inside` there is none."""
        yield from ()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
