"""Folders and files -> a stream of named items, in a stable order and in constant memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fer_runtime.images import EXTENSIONS


@dataclass(frozen=True, slots=True)
class Item:
    """One image to classify: the name its row carries, and what is read (or why it cannot be)."""

    name: str
    path: str
    error: str | None = None


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
            if os.path.isdir(source):
                yield from self._walk(source, visited)
            else:
                yield Item(source, source)

    def total(self) -> int:
        """How many items iterating yields; costs one pass over the folders."""
        return sum(1 for _ in self)

    def _walk(self, top: str, visited: set[tuple[int, int]]) -> Iterator[Item]:
        """Depth first with a stack of our own: folders may lie deeper than Python recurses."""
        waiting = [self._list(top, visited)]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
            elif isinstance(entry, Item):
                yield entry
            elif _is_folder(entry):
                waiting.append(self._list(entry.path, visited))
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                yield Item(entry.path, entry.path)
            else:
                self.skipped += 1

    def _list(
        self, folder: str, visited: set[tuple[int, int]]
    ) -> Iterator[os.DirEntry[str] | Item]:
        """A folder's entries by name; nothing if it was visited, an error item if it cannot be."""
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                return iter(())
            visited.add(identity)
            with os.scandir(folder) as listing:
                return iter(sorted(listing, key=lambda entry: entry.name))
        except OSError as error:
            return iter([Item(folder, folder, f"folder cannot be listed: {error.strerror}")])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
