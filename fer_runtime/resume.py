"""Going on after a crash or Ctrl-C: what is finished in a partial file, and whether it is ours."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fer_runtime._version import __version__
from fer_runtime.errors import DataError
from fer_runtime.session import Session
from fer_runtime.sources import Item

RECORD = ".run.json"
LONGEST_VALUES = 150
PREDICTED = {".csv": (b",\n", b',""\n'), ".jsonl": (b'"error": null}\n',)}
"""What a row ends in that has no error, by the endings that can be gone on with."""


@dataclass(frozen=True)
class Finished:
    """Rows that are whole in a partial file, how many of them are errors, and the last one's name.

    `names` is a hash of all their names in order, and `spelling` how the format writes a name.
    """

    rows: int = 0
    errors: int = 0
    last: str | None = None
    names: bytes = b""
    spelling: Callable[[str], str] = str


def record_path(partial: Path) -> Path:
    """Where it is written what a partial file is part of."""
    return partial.with_name(f"{partial.name}{RECORD}")


def write_record(partial: Path, run: Mapping[str, Any]) -> None:
    """Note what makes rows comparable: model, spec and options, in plain values."""
    record_path(partial).write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def check_record(partial: Path, run: Mapping[str, Any]) -> None:
    """Raises DataError if a partial file was begun by another model, spec or with other options."""
    path = record_path(partial)
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(before, dict):
            raise ValueError("no object")
    except (OSError, ValueError):
        raise damaged(partial, f"{path.name} beside it is missing or broken") from None
    for name in dict.fromkeys((*before, *run)):
        if before.get(name) != run.get(name):
            values = f"{before.get(name)}, not {run.get(name)}"
            was = f"{name} {values}" if len(values) < LONGEST_VALUES else f"another {name}"
            raise DataError(
                f"{partial} was begun with {was}; say the same again, or delete it to start anew."
            )


def damaged(partial: Path, why: str) -> DataError:
    """The error for a partial file that nobody can go on with."""
    return DataError(f"{partial} cannot be gone on with: {why}. Delete it to start anew.")


def refuse_to_lose(partial: Path) -> None:
    """Raises DataError where an unfinished run would be begun anew."""
    if record_path(partial).exists():
        raise DataError(
            f"{partial} holds an unfinished run: go on with --resume, or delete it to start anew."
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


def repair(partial: Path, ending: str) -> Finished:
    """Cut a half-written last row off a CSV or JSON Lines file, and say what stays.

    Constant memory. A header alone stays; less than a header is cut to nothing.

    Raises:
        DataError: the file cannot be read or written.
    """
    try:
        with open(partial, "r+b") as stream:
            finished, end = _scan(stream, ending)
            stream.truncate(end)
    except OSError as error:
        raise DataError(f"{partial} cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise damaged(partial, f"a row in it is broken ({error})") from None
    return finished


def complete(path: str, items: Iterable[Item]) -> Finished:
    """What a complete file holds, which must be a row for each of the items.

    Raises:
        DataError: it holds other rows, as those of another shard.
    """
    finished = _whole(path)
    names = Names()
    count = 0
    for item in items:
        names.add(finished.spelling(item.name))
        count += 1
    if count != finished.rows or (count and names.digest() != finished.names):
        raise DataError(
            f"{path} is complete, but of other images than these: it has {finished.rows:,} rows, "
            f"and the sources have {count:,} images. Name another output, or delete it to start "
            "anew."
        )
    return finished


def _whole(path: str) -> Finished:
    if path.lower().endswith(".parquet"):
        from fer_runtime import parquet

        return parquet.finished(Path(path), [Path(path)])
    try:
        with open(path, "rb") as stream:
            return _scan(stream, os.path.splitext(path)[1].lower())[0]
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is there, but is no output of fer-infer ({error}).") from None


def _scan(stream: BinaryIO, ending: str) -> tuple[Finished, int]:
    """What whole rows there are, and where they end."""
    header = ending == ".csv"
    rows, errors, end = -1 if header else 0, 0, 0
    names = Names()
    last = None
    for record in _records(stream, quoted=header):
        end += len(record)
        rows += 1
        if rows > 0:
            errors += not record.endswith(PREDICTED[ending])
            last = _name_in(record, ending)
            names.add(last)
    return Finished(max(0, rows), errors, last, names.digest() if last is not None else b""), end


def _records(stream: Any, *, quoted: bool) -> Iterator[bytes]:
    """Whole rows: up to a line feed, in CSV up to one outside quotes."""
    parts: list[bytes] = []
    quotes = 0
    for line in stream:
        parts.append(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and (not quoted or quotes % 2 == 0):
            yield b"".join(parts)
            parts, quotes = [], 0


def _name_in(record: bytes, ending: str) -> str:
    text = record.decode("utf-8", "surrogateescape")
    if ending == ".csv":
        return next(csv.reader([text]))[0]
    return str(json.loads(text)["path"])


def remaining(
    items: Iterable[Item], finished: Finished, batch_size: int
) -> tuple[Iterator[Item], int]:
    """The items that are still to be run, and how many of them are finished already.

    It begins at a multiple of `batch_size`, so that every batch holds what it would in an unbroken
    run, and every row gets the same bits.

    Raises:
        DataError: while iterating, if the items are not those that the finished rows are of.
    """
    if not finished.rows:
        return iter(items), 0
    whole = finished.rows // batch_size * batch_size
    return _from(items, whole, finished), finished.rows - whole


def _from(items: Iterable[Item], whole: int, finished: Finished) -> Iterator[Item]:
    seen = 0
    names = Names()
    for seen, item in enumerate(items, 1):
        if seen <= finished.rows:
            names.add(finished.spelling(item.name))
        if seen == finished.rows and names.digest() != finished.names:
            raise DataError(
                f"The sources have changed: row {seen:,} was {finished.last}, and would be "
                f"{item.name} now, or one before it was another. Delete what is finished to start "
                "anew."
            )
        if seen > whole:
            yield item
    if seen < finished.rows:
        raise DataError(
            f"The sources have changed: {finished.rows:,} rows are finished, but only {seen:,} "
            "images are there. Delete what is finished to start anew."
        )


def remove_record(partial: Path) -> None:
    """Forget what a partial file was part of, because it is complete."""
    record_path(partial).unlink(missing_ok=True)


def identity(session: Session, **options: Any) -> dict[str, Any]:
    """What makes the rows of two runs comparable, in plain values: model, spec and options."""
    from fer_runtime.hashing import file_sha256

    return {
        "model": file_sha256(session.path),
        "spec": session.spec.to_dict(),
        "provider": session.provider,
        "fer-runtime": __version__,
        **options,
    }
