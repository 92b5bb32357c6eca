"""All the kinds of sources together, as `fer-infer` takes them: one stream of items."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from fer_runtime.errors import DataError
from fer_runtime.items import Item, require_regular
from fer_runtime.sources.files import Files
from fer_runtime.sources.table import reader_of

STDIN = "-"


class Sources(Files):
    """Everything that `fer-infer` takes: what `Files` takes, and also

    - `-`: a list of sources on standard input, one per line;
    - `photos/**/*.jpg`: a glob, if there is no file of that name; its matches sorted by name
      (folders too, except with `**`, which looks into them itself);
    - files that contain many images, by the table `SOURCES`: tar archives
      (items are named `shard.tar/member`) and FER2013's CSV (`fer2013.csv:line`).

    Args:
        sources: paths, globs and `-`.
        shard: (index, count), from 1: every count-th item, starting with the index-th.
        stdin: the binary stream that `-` reads; default: standard input.

    Raises:
        DataError: while iterating, for a source that does not exist or is of another kind.
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
            raise DataError("Standard input can be read only once; pass - once.")

    def __iter__(self) -> Iterator[Item]:
        index, count = self.shard
        return islice(super().__iter__(), index - 1, None, count)

    def total(self) -> int | None:
        """How many items iterating yields; None where that takes reading a stream."""
        if any(s == STDIN or _is_glob(s) or reader_of(s) for s in self.sources):
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
        read = None if os.path.isdir(source) else reader_of(source)
        if read is None:
            yield from super()._items(source, visited)
            return
        for item in read(source):
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
        """Raise DataError for an archive, a table or a glob that does not exist, before any work.

        A missing image file is not an error here: it becomes an item that cannot be read.
        """
        for source in self.sources:
            if source == STDIN or os.path.isdir(source):
                continue
            if _is_glob(source):
                _require_match(source)
            elif reader_of(source):
                require_regular(source)


def shard_of(text: str) -> tuple[int, int]:
    """ "2/8" -> (2, 8): the second of eight shares.

    Raises:
        DataError: not of this form, or an index outside 1 to count.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise DataError(f"--shard is {text!r}; write which share of how many, as 1/8 to 8/8.")


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
