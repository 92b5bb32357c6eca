"""Resuming after a crash or Ctrl-C: what is finished in a partial file, and of which run it is."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fer_runtime._version import __version__
from fer_runtime.errors import DataError
from fer_runtime.items import Item
from fer_runtime.spec import ModelSpec

RECORD = ".run.json"
LONGEST_VALUES = 100


@dataclass(frozen=True)
class Finished:
    """Rows that are whole in a partial file, how many of them are errors, and the last one's name.

    `names` is a hash of all their names in order, and `spelling` how the format writes a name.
    `per_picture` has the number of rows of each picture where rows are faces; None where each image
    has one row.
    """

    rows: int = 0
    errors: int = 0
    last: str | None = None
    names: bytes = b""
    spelling: Callable[[str], str] = str
    per_picture: array[int] | None = None

    @property
    def pictures(self) -> int:
        """Pictures with a row; rows of the last one may be missing where rows are faces."""
        return self.rows if self.per_picture is None else len(self.per_picture)

    def rows_of(self, picture: int) -> int:
        """How many rows the picture at a place, from 0, has."""
        return 1 if self.per_picture is None else self.per_picture[picture]

    def rows_from(self, picture: int) -> int:
        """How many rows there are from the picture at a place on."""
        if self.per_picture is None:
            return self.rows - picture
        return sum(self.per_picture[picture:])


class Tally:
    """Counts the rows of an output that is read once more."""

    def __init__(self, *, faces: bool, spelling: Callable[[str], str] = str) -> None:
        self._names = Names()
        self._rows = self._errors = 0
        self._last: str | None = None
        self._spelling = spelling
        # Two bytes a picture: outputs have many millions, and a picture never that many faces.
        self._per_picture = array("H") if faces else None

    def add(self, name: str, error: str | None, *, starts_picture: bool = True) -> None:
        """The next row."""
        self._rows += 1
        self._errors += error is not None
        self._last = name
        self._names.add(name)
        if self._per_picture is not None:
            if starts_picture or not self._per_picture:
                self._per_picture.append(0)
            self._per_picture[-1] += 1

    def finished(self) -> Finished:
        """All rows so far."""
        names = self._names.digest() if self._rows else b""
        return Finished(
            self._rows, self._errors, self._last, names, self._spelling, self._per_picture
        )


def is_complete(output: str) -> bool:
    """Whether a file is there that no partial one belongs to."""
    partial = Path(f"{output}.partial")
    return os.path.isfile(output) and not (partial.exists() and record_path(partial).exists())


def record_path(partial: Path) -> Path:
    """The file beside a partial file that records its run."""
    return partial.with_name(f"{partial.name}{RECORD}")


def write_record(partial: Path, run: Mapping[str, Any]) -> None:
    """Record what makes rows comparable: model, spec and options, in plain values."""
    record_path(partial).write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def check_record(partial: Path, run: Mapping[str, Any]) -> None:
    """Raises DataError if a partial file was started with another model, spec or options."""
    path = record_path(partial)
    before = _read_record(path)
    if before is None:
        raise damaged(partial, f"{path.name} beside it is missing or broken")
    difference = changed(before, run)
    if difference:
        raise DataError(
            f"{partial} was started with {difference}; pass the same, or delete it to start over."
        )


def check_complete_record(output: str, run: Mapping[str, Any]) -> None:
    """Raises DataError if a complete file was made with another model, spec or options.

    Only runs with `--resume` leave a record beside a complete file; without one nothing is checked.
    """
    before = _read_record(record_path(Path(output)))
    difference = changed(before, run) if before is not None else None
    if difference:
        raise DataError(
            f"{output} is complete, but was made with {difference}; name another output, or delete "
            "it to start over."
        )


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def changed(before: Mapping[str, Any], run: Mapping[str, Any]) -> str | None:
    """The first difference between two records, for a message."""
    for name in dict.fromkeys((*before, *run)):
        if before.get(name) != run.get(name):
            values = f"{before.get(name)}, not {run.get(name)}"
            return f"{name} {values}" if len(values) < LONGEST_VALUES else f"another {name}"
    return None


def damaged(partial: Path, why: str) -> DataError:
    """The error for a partial file that cannot be resumed."""
    return DataError(f"{partial} cannot be resumed: {why}. Delete it to start over.")


def refuse_to_lose(partial: Path) -> None:
    """Raises DataError where an unfinished run would be started over."""
    if record_path(partial).exists():
        raise DataError(
            f"{partial} contains an unfinished run: pass --resume to continue it, or delete it to "
            "start over."
        )


def lock(partial: Path, descriptor: int) -> None:
    """Keep other runs away from an open file or folder until it is closed; raises DataError."""
    try:
        import fcntl
    except ImportError:  # Windows, which does not let two processes write one file
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(
            f"{partial} is being written by another run; wait for it, or name another output."
        ) from None
    except OSError:  # a file system without locks
        return


class Names:
    """A hash of names in order."""

    def __init__(self) -> None:
        import hashlib  # loads OpenSSL, which a cold start need not pay for

        self.hash = hashlib.blake2b(digest_size=16)

    def add(self, name: str) -> None:
        """The next name."""
        self.hash.update(name.encode("utf-8", "surrogateescape") + b"\0")

    def digest(self) -> bytes:
        """The hash of all names so far."""
        return self.hash.digest()


def check_complete(path: str, finished: Finished, items: Iterable[Item]) -> None:
    """Require that a complete file has the rows of each of the items.

    Raises:
        DataError: it has other rows, as those of another shard.
    """
    names = Names()
    count = 0
    for item in items:
        for _ in range(finished.rows_of(count) if count < finished.pictures else 1):
            names.add(finished.spelling(item.name))
        count += 1
    if count != finished.pictures or (count and names.digest() != finished.names):
        raise DataError(
            f"{path} is complete, but for other images than these: it has {finished.pictures:,} "
            f"images, and the sources have {count:,}. Name another output, or delete it to start "
            "over."
        )


class Rest(NamedTuple):
    """What is left of a run.

    Attributes:
        items: the items that are still to be run, lazily.
        repeated: how many rows of these are finished already; known when the first one is taken.
    """

    items: Iterator[Item]
    repeated: Callable[[], int]


def remaining(items: Iterable[Item], finished: Finished, items_at_once: int) -> Rest:
    """The items that are still to be run, and how many rows of them are finished already.

    It starts at a multiple of `items_at_once`, so that every batch is as in an unbroken run, and
    every row has the same bits. Within a video it starts with the batch of the video's first frame,
    because faces are followed from there.

    Raises:
        DataError: while iterating, if the items are not those that the finished rows are of.
    """
    if not finished.rows:
        return Rest(iter(items), lambda: 0)
    skipped = _Skipped(items, finished, items_at_once)
    return Rest(iter(skipped), lambda: finished.rows_from(skipped.count))


class _Skipped:
    """Iterates over the items that are not finished, and counts the others in `count`."""

    def __init__(self, items: Iterable[Item], finished: Finished, items_at_once: int) -> None:
        self.items, self.finished = items, finished
        complete = finished.pictures - (finished.per_picture is not None)
        self.items_at_once = items_at_once
        self.whole = complete // items_at_once * items_at_once
        self.count = 0

    def __iter__(self) -> Iterator[Item]:
        finished = self.finished
        names = Names()
        seen = 0
        started = False
        batch: list[Item] = []
        for seen, item in enumerate(self.items, 1):
            if seen <= finished.pictures:
                for _ in range(finished.rows_of(seen - 1)):
                    names.add(finished.spelling(item.name))
            if seen == finished.pictures and names.digest() != finished.names:
                raise DataError(
                    f"The sources have changed: image {seen:,} was {finished.last}, and would now "
                    f"be {item.name} (or an earlier one differs). Delete the finished part to "
                    "start over."
                )
            if not started:
                if len(batch) == self.items_at_once:
                    batch = []
                started = seen > self.whole or self._is_unfinished_video(item)
                self.count = seen - 1 - len(batch)
                batch.append(item)
                if started:
                    yield from batch
            else:
                yield item
        if seen < finished.pictures:
            raise DataError(
                f"The sources have changed: {finished.pictures:,} images are finished, but only "
                f"{seen:,} are there. Delete the finished part to start over."
            )

    def _is_unfinished_video(self, item: Item) -> bool:
        """Whether it is a frame of the video that the last finished row is of."""
        if item.stream is None or self.finished.last is None:
            return False
        return self.finished.spelling(item.name) == self.finished.last


def remove_record(partial: Path) -> None:
    """Remove the record of a partial file."""
    record_path(partial).unlink(missing_ok=True)


def complete_record(partial: Path, *, keep: bool) -> None:
    """When the file is complete: keep its record beside it under its own name, or remove it."""
    record = record_path(partial)
    if keep and record.exists():
        os.replace(record, record_path(partial.with_suffix("")))
    else:
        remove_record(partial)
        record_path(partial.with_suffix("")).unlink(missing_ok=True)


def identity(
    model_sha256: str, spec: ModelSpec, provider: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What makes the rows of two runs comparable, in plain values: model, spec and options."""
    return {
        "model": model_sha256,
        "spec": spec.to_dict(),
        "provider": provider,
        "fer-runtime": __version__,
        **options,
    }
