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
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from fer_runtime.classifier import Prediction
from fer_runtime.errors import DataError
from fer_runtime.pipeline import Row
from fer_runtime.resume import Finished, check_record, remove_record, repair, write_record

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
        if not begun:
            self.writer.writerow(["path", "label", "probability", *labels, "error"])
        self.blank = [""] * (len(labels) + 2)

    def rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.probabilities is None:
                self.writer.writerow([row.name, *self.blank, row.error])
                continue
            best = int(row.probabilities.argmax())
            values = [f"{value:.6f}" for value in row.probabilities.tolist()]
            self.writer.writerow([row.name, self.labels[best], values[best], *values, ""])


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
            self.stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


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
            self.stream.write(f"{row.name}: {text}\n")


FORMATS: Mapping[str, Callable[[TextIO, tuple[str, ...], int, bool], Writer]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonLinesWriter,
    ".txt": TextWriter,
}
"""File ending -> writer; adding a format touches this table only."""


class Sink:
    """Writes rows in the format of an ending to a file, or to stdout where `output` is "-".

    Use it as a context manager: leaving it without an exception completes the file. `run` says in
    plain values what the rows are made with, and is kept beside a partial file; with `resume` that
    of an earlier run is gone on with, and `finished` tells how far it had come.

    Raises:
        DataError: an unknown ending, a folder that cannot be written, a full disk, or a partial
            file of another run.
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
            raise DataError(
                f"{output}: no known ending; the format goes by it: {', '.join(FORMATS)}, .parquet."
            )
        self.partial = Path(f"{output}.partial")
        self.finished = Finished()
        self.run = None if self.to_stdout else run
        begun = False
        if resume and self.partial.is_file():
            check_record(self.partial, run or {})
            self.finished = repair(self.partial, ending)
            begun = self.partial.stat().st_size > 0
        self.stream = self._open("a" if begun else "w")
        with self._explained():
            if self.run is not None and not begun:
                write_record(self.partial, self.run)
            self.writer = FORMATS[ending](self.stream, labels, top_k, begun)

    def _open(self, mode: Literal["a", "w"]) -> TextIO:
        # Names that are not UTF-8 come out with the bytes they have on disk.
        if self.to_stdout:
            if not isinstance(sys.stdout, io.TextIOWrapper):
                raise DataError("There is no standard output; name a file by --output.")
            sys.stdout.reconfigure(errors="surrogateescape")
            return sys.stdout
        if Path(self.output).is_dir():
            raise DataError(f"{self.output} is a folder; name a file.")
        with self._explained():
            return open(
                self.partial, mode, encoding="utf-8", errors="surrogateescape", newline="",
                buffering=1 << 16,
            )  # fmt: skip

    def __enter__(self) -> Sink:
        return self

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows; raises DataError when the disk is full."""
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
            return
        with self._explained():
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()
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
