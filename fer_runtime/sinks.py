"""Rows out: text for a person, CSV and JSON Lines for programs.

A file appears under its name only when it is complete; until then it is `NAME.partial`, which
`--resume` goes on with.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from fer_runtime.classifier import Prediction
from fer_runtime.errors import DataError
from fer_runtime.pipeline import Row
from fer_runtime.resume import (
    Finished,
    check_record,
    lock,
    refuse_to_lose,
    remove_record,
    repair,
    write_record,
)

if TYPE_CHECKING:
    from fer_runtime.parquet import ParquetSink

STDOUT = "-"


class Writer(Protocol):
    """Writes rows of one format to a text stream."""

    def rows(self, rows: Iterable[Row]) -> None:
        """Write some rows."""


class CsvWriter:
    """`path,label,probability,<one column per label>,error`; probabilities with six decimals."""

    def __init__(
        self, stream: TextIO, labels: tuple[str, ...], top_k: int, begun: bool = False
    ) -> None:
        self.labels = labels
        self.writer = csv.writer(stream, lineterminator="\n")
        # Until Python 3.13 csv leaves a carriage return unquoted, and readers take it for an end.
        self.quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        if not begun:
            self.writer.writerow(
                ["path", "label", "probability", *probability_columns(labels), "error"]
            )
        self.blank = [""] * (len(labels) + 2)

    def rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            writer = self.quoting if "\r" in f"{row.name}{row.error}" else self.writer
            if row.probabilities is None:
                writer.writerow([row.name, *self.blank, row.error])
                continue
            best = int(row.probabilities.argmax())
            values = [f"{value:.6f}" for value in row.probabilities.tolist()]
            writer.writerow([row.name, self.labels[best], values[best], *values, ""])


class JsonLinesWriter:
    """One object per line: path, label, probability, probabilities, top (best first), error."""

    def __init__(
        self, stream: TextIO, labels: tuple[str, ...], top_k: int, begun: bool = False
    ) -> None:
        self.stream, self.labels, self.top_k = stream, labels, top_k

    def rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            entry: dict[str, object] = {"path": row.name, "error": row.error}
            if row.probabilities is not None:
                best = Prediction.of(self.labels, row.probabilities)
                entry = {
                    "path": row.name,
                    "label": best.label,
                    "probability": round(best.probability, 6),
                    "probabilities": {k: round(v, 6) for k, v in best.probabilities.items()},
                    "top": [label for label, _ in best.top(self.top_k)],
                    "error": None,
                }
            # JSON is UTF-8: other bytes of a name are escaped, as Python's json reads them back.
            self.stream.write(json.dumps(entry, ensure_ascii=not _is_utf8(row.name)) + "\n")


CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
"""How a name's control characters are shown: a line feed could forge a row, an escape sequence
change the terminal."""


class TextWriter:
    """`path: happy 93.1 %, neutral 4.2 %, …` for a person to read."""

    def __init__(
        self, stream: TextIO, labels: tuple[str, ...], top_k: int, begun: bool = False
    ) -> None:
        self.stream, self.labels, self.top_k = stream, labels, top_k

    def rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.probabilities is None:
                text = f"ERROR {row.error}"
            else:
                top = Prediction.of(self.labels, row.probabilities).top(self.top_k)
                text = ", ".join(f"{label} {value:.1%}" for label, value in top)
            self.stream.write(f"{row.name}: {text}".translate(CONTROLS) + "\n")


def probability_columns(labels: Iterable[str]) -> list[str]:
    """The names of the labels' columns: their own, or `NAME probability` where that is taken."""
    taken = ("path", "label", "probability", "error")
    return [f"{label} probability" if label in taken else label for label in labels]


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


FORMATS: Mapping[str, Callable[[TextIO, tuple[str, ...], int, bool], Writer]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonLinesWriter,
    ".txt": TextWriter,
}
"""File ending -> writer; adding a format touches this table only."""


def unknown_ending(output: str) -> DataError:
    """The error for an output of another kind."""
    return DataError(
        f"{output or 'an empty name'}: no known ending; the format goes by it: "
        f"{', '.join(FORMATS)}, .parquet."
    )


class Sink:
    """Writes rows in the format of an ending to a file, or to stdout where `output` is "-".

    Use it as a context manager: leaving it without an exception completes the file. `run` says in
    plain values what the rows are made with, and is kept beside a partial file; with `resume` that
    of an earlier run is gone on with, and `finished` tells how far it had come. A partial file
    without a row is removed.

    Raises:
        DataError: an unknown ending, a folder that cannot be written, a full disk, a partial file
            of another run, or of this one without `resume`, or one that is being written.
    """

    def __init__(
        self,
        output: str,
        labels: tuple[str, ...],
        *,
        ending: str | None = None,
        top_k: int = 3,
        run: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.output = output
        self.to_stdout = output == STDOUT
        ending = ending or Path(output).suffix.lower()
        if ending not in FORMATS:
            raise unknown_ending(output)
        self.partial = Path(f"{output}.partial")
        self.finished = Finished()
        self.run = None if self.to_stdout else run
        self.empty = True
        if self.to_stdout:
            self.stream = _standard_output(is_data=ending != ".txt")
            begun = False
        else:
            self.stream = self._open()
            try:
                begun = self._begin(ending, resume)
            except DataError:
                self.stream.close()
                raise
        with self._explained():
            if self.run is not None and not begun:
                write_record(self.partial, self.run)
            self.writer = FORMATS[ending](self.stream, labels, top_k, begun)

    def _open(self) -> TextIO:
        """The partial file, whatever is in it; names that are not UTF-8 keep their bytes."""
        if Path(self.output).is_dir():
            raise DataError(f"{self.output} is a folder; name a file.")
        with self._explained():
            return open(
                self.partial, "a", encoding="utf-8", errors="surrogateescape", newline="",
                buffering=1 << 16,
            )  # fmt: skip

    def _begin(self, ending: str, resume: bool) -> bool:
        """Keep whole rows of this very run, if that is wanted; whether there is anything."""
        lock(self.partial, self.stream.fileno())
        if self.partial.stat().st_size == 0:
            return False
        if resume:
            check_record(self.partial, self.run or {})
            self.finished = repair(self.partial, ending)
        else:
            refuse_to_lose(self.partial)
            self.stream.truncate(0)
        return self.partial.stat().st_size > 0

    def __enter__(self) -> Sink:
        return self

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows; raises DataError when the disk is full."""
        rows = list(rows)
        self.empty = self.empty and not rows
        with self._explained():
            self.writer.rows(rows)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.to_stdout:
            self._flush_stdout()
            return
        if kind is not None:
            # What was finished stays in the partial file; the disk may be full, so do not insist.
            with contextlib.suppress(OSError):
                self.stream.close()
            if self.empty and not self.finished.rows:
                self.partial.unlink(missing_ok=True)
                remove_record(self.partial)
            return
        with self._explained():
            with contextlib.closing(self.stream):
                self.stream.flush()
                os.fsync(self.stream.fileno())
            os.replace(self.partial, self.output)
            if self.run is not None:
                remove_record(self.partial)

    def _flush_stdout(self) -> None:
        try:
            with self._explained():
                self.stream.flush()
        except (DataError, BrokenPipeError):
            # Python flushes once more when it ends, and would complain about the same again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            raise

    def _explained(self) -> _Explained:
        return _Explained(self.output)


def _standard_output(*, is_data: bool) -> TextIO:
    """stdout; data is UTF-8 in every locale, and text for a person what the terminal can show."""
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):
        raise DataError("There is no standard output; name a file by --output.")
    if is_data or stream.encoding.lower() in ("utf-8", "utf8"):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    else:
        stream.reconfigure(errors="backslashreplace")
    return stream


def open_sink(
    output: str,
    labels: tuple[str, ...],
    *,
    ending: str | None = None,
    top_k: int = 3,
    run: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Sink | ParquetSink:
    """The sink for a file by its ending, or for stdout; arguments and errors are those of Sink."""
    if output != STDOUT and Path(output).suffix.lower() == ".parquet":
        from fer_runtime.parquet import ParquetSink

        return ParquetSink(output, labels, run=run, resume=resume)
    return Sink(output, labels, ending=ending, top_k=top_k, run=run, resume=resume)


class _Explained:
    """Turns OSError into a DataError that names the output; a closed pipe passes through."""

    def __init__(self, output: str) -> None:
        self.output = output

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            where = "standard output" if self.output == STDOUT else self.output
            raise DataError(f"{where} cannot be written: {error.strerror or error}") from None
