"""All the kinds of sources together, as `fer-infer` takes them: one stream of items."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from fer_runtime.errors import DataError
from fer_runtime.items import Item, require_regular
from fer_runtime.sources.files import Files
from fer_runtime.sources.found_columns import announced
from fer_runtime.sources.labels import CLASS_NUMBER
from fer_runtime.sources.table import (
    IN_FOLDERS,
    SOURCES,
    SourceKind,
    SourceOptions,
    ending_of,
    kind_of,
    scheme_of,
)

if TYPE_CHECKING:
    from fer_runtime.sources.table import FoundColumns

STDIN = "-"


class WholeFile(Item):
    """Takes the place of all images of a file that one share gets as a whole."""

    __slots__ = ()


class Sources(Files):
    """Everything that `fer-infer` takes: what `Files` takes, and also

    - `-`: a list of sources on standard input, one per line;
    - `photos/**/*.jpg`: a glob, if there is no file of that name; its matches sorted by name
      (folders too, except with `**`, which looks into them itself);
    - `shards/{000..127}.tar`, `{a,b}.tar`: braces, in the order written; each must be there;
    - files that contain many images, by the table `SOURCES`: tar archives (items are named
      `shard.tar/member`; folders are searched for these too), Parquet, and FER2013's CSV
      (`fer2013.csv:line`).

    Args:
        sources: paths, globs and `-`.
        shard: (index, count), from 1: every count-th item, starting with the index-th. A video
            counts as one item.
        stdin: the binary stream that `-` reads; default: standard input.
        options: how files that contain many images are read.

    Raises:
        DataError: while iterating, for a source that does not exist or is of another kind.
    """

    inside: ClassVar[tuple[str, ...]] = IN_FOLDERS

    def __init__(
        self,
        sources: Iterable[str | os.PathLike[str]],
        *,
        shard: tuple[int, int] = (1, 1),
        stdin: BinaryIO | None = None,
        options: SourceOptions | None = None,
    ) -> None:
        super().__init__(sources)
        self.shard = shard
        self.stdin = stdin
        self.options = options or SourceOptions()
        self._columns: FoundColumns | None = None
        self._to_name, self._as_name = 0, ""
        self._numbered = 0
        if self.sources.count(STDIN) > 1:
            raise DataError("Standard input can be read only once; pass - once.")

    def __iter__(self) -> Iterator[Item]:
        self._to_name, self._as_name = 0, ""
        self._numbered = 0
        index, count = self.shard
        items = islice(super().__iter__(), index - 1, None, count)
        return items if count == 1 else self._with_whole_files(items)

    def _with_whole_files(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, WholeFile):
                kind = kind_of(item.path)
                assert kind is not None
                yield from self._read(item.path, kind)
            else:
                yield item

    def total(self) -> int | None:
        """How many items iterating yields; None where that takes reading a stream."""
        if any(s == STDIN or _is_pattern(s) or kind_of(s) for s in self.sources):
            return None
        names = _Names(self.sources)
        count = names.total() or 0
        return None if names.archives else len(range(self.shard[0] - 1, count, self.shard[1]))

    def columns(self) -> FoundColumns:
        """The columns that the sources add: those after `path`, and those that are passed through.

        Files are looked into, but not read. A column that several files have with different kinds
        is text. Of a list on standard input nothing is known before: it adds the columns that
        `options.columns` names.

        Raises:
            DataError: a table that cannot be read, or a column that no source has.
        """
        if self._columns is None:
            files = self._files_with_columns()
            self._columns = announced(files, self.options, unknown=STDIN in self.sources)
        return self._columns

    @property
    def live(self) -> bool:
        """Whether a source gives images as time goes by, as a camera does."""
        return any((kind := kind_of(source)) and kind.live for source in self.sources)

    @property
    def remote(self) -> bool:
        """Whether images are in an object store."""
        return any((kind := kind_of(source)) and kind.remote for source in self.sources)

    @property
    def packed(self) -> bool:
        """Whether a source is a pack, whose images are decoded already."""
        return any((kind := kind_of(source)) and kind.folder for source in self.sources)

    def read_ahead(self, items: Iterator[Item]) -> Iterator[Item]:
        """Items of these sources, with the contents of those in an object store."""
        if not self.remote:
            return items
        from fer_runtime.object_stores.objects import fetched

        return fetched(items)

    def no_images(self) -> DataError:
        """The error for a run without an image; complete after iterating."""
        others = (
            f" ({self.skipped:,} other file{'s' * (self.skipped != 1)})" if self.skipped else ""
        )
        hint = f"; {hint}" if (hint := self.hint()) else ""
        return DataError(f"{', '.join(self.sources)}: no image files there{others}{hint}.")

    def hint(self) -> str:
        """What to do about files in the folders that were skipped but contain images, or "".

        Complete after iterating.
        """
        if not self._to_name:
            return ""
        if self._to_name == 1:
            return f"1 of them is a video or a table: name it, as {self._as_name}"
        return f"{self._to_name:,} of them are videos or tables: name them, as {self._as_name}"

    def label_hint(self) -> str:
        """What to do about true labels that are only numbers of classes, or "".

        Complete after iterating.
        """
        if not self._numbered:
            return ""
        names = self.options.class_labels
        which = f"numbers that are not 0 to {len(names) - 1}" if names else "numbers"
        return (
            f"the labels of {self._numbered:,} image{'s' * (self._numbered != 1)} are {which}: "
            "pass the names of all classes in their order (--class-labels angry,disgust,...)"
        )

    def _files_with_columns(self) -> Iterator[str]:
        """The files with many images that are known before the run, as far as it matters."""
        for source in self.sources:
            if source == STDIN:
                continue
            names: Iterable[str] = [source]
            if _is_pattern(source):
                end = _patterns().literal_end(source)
                if not any(key.endswith(end) or end.endswith(key) for key in SOURCES):
                    continue
                names = _patterns().matches(source)
            for name in names:
                if os.path.isdir(name):
                    if self.options.columns:
                        yield from _Names([name]).find_archives()
                elif kind_of(name):
                    yield name

    def _items(self, source: str, visited: set[tuple[int, int]]) -> Iterator[Item]:
        if source == STDIN:
            for name in self._listed():
                yield from self._one(name, visited, listed=True)
        elif _is_pattern(source):
            for name in _patterns().matches(source):
                yield from self._one(name, visited)
        else:
            yield from self._one(source, visited)

    def _one(
        self, source: str, visited: set[tuple[int, int]], *, listed: bool = False
    ) -> Iterator[Item]:
        kind = kind_of(source)
        if kind is None or (os.path.isdir(source) and not kind.folder):
            yield from super()._items(source, visited)
        elif listed and (why := self._not_announced(source, kind)):
            yield Item(source, source, why)
        elif kind.whole and self.shard[1] > 1:
            yield WholeFile(source, source)
        else:
            yield from self._read(source, kind)

    def _read(self, source: str, kind: SourceKind) -> Iterator[Item]:
        for item in kind.read(source, self.options):
            if item is None:
                self.skipped += 1
                continue
            if item.extra and CLASS_NUMBER in item.extra:
                self._numbered += 1
            yield item

    def _not_announced(self, source: str, kind: SourceKind) -> str | None:
        """Why a source of a list cannot be read: columns before the label that came too late."""
        needed = kind.columns(source, self.options)[0]
        if {column.name for column in needed} <= {column.name for column in self.columns()[0]}:
            return None
        names = ", ".join(column.name for column in needed)
        return f"has columns of its own ({names}): pass it as an argument, not in a list"

    def _opened(self, path: str) -> Iterator[Item]:
        kind = kind_of(path)
        assert kind is not None
        try:
            yield from self._read(path, kind)
        except DataError as error:  # as an image in a folder that cannot be read
            yield Item(path, path, str(error).removeprefix(f"{path} ").rstrip("."))

    def _skip(self, folder: str, name: str) -> None:
        super()._skip(folder, name)
        if ending := ending_of(name):
            self._to_name += 1
            self._as_name = self._as_name or os.path.join(folder, f"*{ending}")

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
            if source == STDIN:
                continue
            kind = kind_of(source)
            if os.path.isdir(source) and not (kind and kind.folder):
                continue
            if _is_pattern(source):
                _patterns().require_matches(source)
            elif kind:
                if kind.check is not None:
                    kind.check(source, self.options)
                elif not scheme_of(source):
                    require_regular(source)


class _Names(Files):
    """The images of folders, and beside them the paths of the archives there, not looked into."""

    inside: ClassVar[tuple[str, ...]] = IN_FOLDERS

    def __init__(self, sources: Iterable[str | os.PathLike[str]]) -> None:
        super().__init__(sources)
        self.archives: list[str] = []

    def _opened(self, path: str) -> Iterator[Item]:
        self.archives.append(path)
        yield from ()

    def find_archives(self) -> list[str]:
        """The paths of the archives."""
        self.total()
        return self.archives


def _is_pattern(source: str) -> bool:
    """Whether a source is a glob or has braces."""
    if not any(sign in source for sign in "*?[{"):
        return False
    return bool(_patterns().is_pattern(source)) and not scheme_of(source)


def _patterns() -> Any:
    """The module of globs and braces, which most cold starts need not pay for."""
    from fer_runtime.sources import patterns

    return patterns


def shard_of(text: str) -> tuple[int, int]:
    """ "2/8" -> (2, 8): the second of eight shares.

    Raises:
        DataError: not of this form, or an index outside 1 to count.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise DataError(f"--shard is {text!r}; write which share of how many, as 1/8 to 8/8.")
