"""Going on after a crash or Ctrl-C: what is finished in a partial file, and whether it is ours."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_runtime._version import __version__
from fer_runtime.errors import DataError
from fer_runtime.hashing import file_sha256
from fer_runtime.session import Session
from fer_runtime.sources import Item

RECORD = ".run.json"
PREDICTED = {".csv": b",\n", ".jsonl": b'"error": null}\n'}
"""What a row ends in that has no error, by the endings that can be gone on with."""


@dataclass(frozen=True)
class Finished:
    """Rows that are whole in a partial file, how many of them are errors, and the last one's name.

    `spelling` is how the format writes a name.
    """

    rows: int = 0
    errors: int = 0
    last: str | None = None
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
    except (OSError, ValueError):
        raise DataError(
            f"{partial} cannot be gone on with: {path.name} beside it is missing or broken. "
            "Start anew, without --resume."
        ) from None
    for name in dict.fromkeys((*before, *run)):
        if before.get(name) != run.get(name):
            raise DataError(
                f"{partial} was begun with {name} {before.get(name)}, not {run.get(name)}; say the "
                "same again, or start anew without --resume."
            )


def repair(partial: Path, ending: str) -> Finished:
    """Cut a half-written last row off a CSV or JSON Lines file, and say what stays.

    Constant memory. A header alone stays; less than a header is cut to nothing.

    Raises:
        DataError: the file cannot be read or written.
    """
    header = ending == ".csv"
    rows, errors, last, end = -1 if header else 0, 0, None, 0
    try:
        with open(partial, "r+b") as stream:
            for record in _records(stream, quoted=header):
                end += len(record)
                rows += 1
                errors += rows > 0 and not record.endswith(PREDICTED[ending])
                last = record
            stream.truncate(end)
    except OSError as error:
        raise DataError(f"{partial} cannot be read: {error.strerror}") from None
    if rows <= 0 or last is None:
        return Finished()
    return Finished(rows, errors, _name_in(last, ending))


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
    whole = finished.rows // batch_size * batch_size
    return _from(items, whole, finished), finished.rows - whole


def _from(items: Iterable[Item], whole: int, finished: Finished) -> Iterator[Item]:
    seen = 0
    for seen, item in enumerate(items, 1):
        if seen == finished.rows and finished.spelling(item.name) != finished.last:
            raise DataError(
                f"The sources have changed: row {seen:,} was {finished.last}, and would be "
                f"{item.name} now. Start anew, without --resume."
            )
        if seen > whole:
            yield item
    if seen < finished.rows:
        raise DataError(
            f"The sources have changed: {finished.rows:,} rows are finished, but only {seen:,} "
            "images are there. Start anew, without --resume."
        )


def remove_record(partial: Path) -> None:
    """Forget what a partial file was part of, because it is complete."""
    record_path(partial).unlink(missing_ok=True)


def identity(session: Session, **options: Any) -> dict[str, Any]:
    """What makes the rows of two runs comparable, in plain values: model, spec and options."""
    return {
        "model": file_sha256(session.path),
        "spec": session.spec.to_dict(),
        "provider": session.provider,
        "fer-runtime": __version__,
        **options,
    }
