"""A sink whose file is lines of text: written, repaired after a crash, and read for resuming."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, NamedTuple, TextIO

from fer_runtime.errors import DataError
from fer_runtime.row_batch import RowBatch
from fer_runtime.rows import Row
from fer_runtime.sinks.base import Sink
from fer_runtime.sinks.resume import (
    Finished,
    Tally,
    check_record,
    complete_record,
    damaged,
    lock,
    refuse_to_lose,
    remove_record,
    write_record,
)
from fer_runtime.sinks.table import STDOUT

if TYPE_CHECKING:
    from fer_runtime.columns import Columns
    from fer_runtime.sinks.encoded import Encoder


class Entry(NamedTuple):
    """What resuming reads of a row: its name, its error or None, whether a picture starts here."""

    name: str
    error: str | None
    starts_picture: bool = True


class LinesSink(Sink):
    """A sink whose file is text: a header perhaps, then one record per row."""

    is_data: ClassVar[bool] = True
    """Data is UTF-8 in every locale; text for a person is what the terminal can show."""
    quoted: ClassVar[bool] = False
    """Whether a record may contain line feeds in quotes."""

    def open(self) -> None:
        self.empty = True
        if self.to_stdout:
            self.stream = _standard_output(is_data=self.is_data)
            started = False
        else:
            self.stream = self._open_partial()
            try:
                started = self._begin()
            except DataError:
                self.stream.close()
                raise
        with _explained(self.output):
            if self.run is not None and not started:
                write_record(self.partial, self.run)
            self.begin(started)

    def begin(self, started: bool) -> None:
        """Prepare writing, and write a header unless the file has one already."""

    @abstractmethod
    def write_row(self, row: Row) -> None:
        """Write one record to `self.stream`."""

    @classmethod
    def parse(cls, record: str, header: str) -> Entry:
        """What resuming needs of a record; `header` is the first one where there is a header.

        A format that is `resumable` overrides it.
        """
        raise DataError(f"{cls.__name__} has no `parse`, so its files cannot be resumed.")

    @classmethod
    def are_faces(cls, record: str, header: str) -> bool:
        """Whether the rows are faces of pictures, by the first one."""
        return False

    @classmethod
    def has_header(cls) -> bool:
        """Whether the first record is a header."""
        return False

    @classmethod
    def read_finished(cls, path: Path) -> Finished:
        try:
            with open(path, "rb") as stream:
                return cls._scan(stream)[0]
        except (ValueError, LookupError, TypeError, csv.Error) as error:
            raise DataError(
                f"{path} exists, but is not an output of fer-infer ({error})."
            ) from None

    @classmethod
    def repair(cls, partial: Path) -> Finished:
        """Cut a half-written last record off a partial file; returns what stays.

        Constant memory. A header alone stays; less than a header is cut to nothing.

        Raises:
            DataError: the file cannot be read or written.
        """
        try:
            with open(partial, "r+b") as stream:
                finished, end = cls._scan(stream)
                stream.truncate(end)
        except OSError as error:
            raise DataError(f"{partial} cannot be read: {error.strerror}") from None
        except (ValueError, LookupError, TypeError, csv.Error) as error:
            raise damaged(partial, f"a row in it is broken ({error})") from None
        return finished

    @classmethod
    def _scan(cls, stream: BinaryIO) -> tuple[Finished, int]:
        """The whole rows in a stream, and where they end."""
        header: str | None = None if cls.has_header() else ""
        end = 0
        tally: Tally | None = None
        for record in _records(stream, quoted=cls.quoted):
            end += len(record)
            text = record.decode("utf-8", "surrogateescape")
            if header is None:
                header = text
                continue
            tally = tally or Tally(faces=cls.are_faces(text, header))
            name, error, starts_picture = cls.parse(text, header)
            tally.add(name, error, starts_picture=starts_picture)
        return tally.finished() if tally else Finished(), end

    def _open_partial(self) -> TextIO:
        """The partial file, whatever is in it; names that are not UTF-8 keep their bytes."""
        with _explained(self.output):
            return open(
                self.partial, "a", encoding="utf-8", errors="surrogateescape", newline="",
                buffering=1 << 16,
            )  # fmt: skip

    def _begin(self) -> bool:
        """Keep whole rows of the same run, if that is asked for; whether there is anything."""
        lock(self.partial, self.stream.fileno())
        if self.partial.stat().st_size == 0:
            return False
        if self.resume and self.resumable:
            check_record(self.partial, self.run or {})
            self.finished = self.repair(self.partial)
        else:
            refuse_to_lose(self.partial)
            self.stream.truncate(0)
        return self.partial.stat().st_size > 0

    def write_batch(self, rows: RowBatch) -> None:
        """Write the records of whole images to `self.stream`, or keep them until `settle`."""
        for row in rows:
            self.write_row(row)

    def settle(self) -> None:
        """Write what `write_batch` kept to `self.stream`."""

    def write(self, rows: Iterable[Row]) -> None:
        with _explained(self.output):
            self._write(rows)

    def _write(self, rows: Iterable[Row]) -> None:
        if isinstance(rows, RowBatch):
            self.empty = self.empty and not rows
            self.write_batch(rows)
            return
        self.settle()
        for row in rows:
            self.empty = False
            self.write_row(row)

    def append(self, payload: str | bytes) -> None:
        assert isinstance(payload, str)
        with _explained(self.output):
            self.empty = self.empty and not payload
            self.settle()
            self.stream.write(payload)

    @classmethod
    def encoder(cls, columns: Columns, *, top_k: int = 3) -> Encoder:
        sink = cls.__new__(cls)  # without a file: its records go to memory
        sink.columns, sink.labels, sink.top_k = columns, columns.labels, top_k
        sink.empty, sink.to_stdout = True, False
        stream = io.StringIO()
        sink.stream = stream
        sink.begin(started=True)

        def encode(rows: Sequence[Row]) -> str:
            sink._write(rows)
            sink.settle()
            text = stream.getvalue()
            stream.seek(0)
            stream.truncate()
            return text

        return encode

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.to_stdout:
            self._flush_stdout()
            return
        if kind is not None:
            # What was finished stays in the partial file; the disk may be full, so do not insist.
            with contextlib.suppress(OSError):
                self.settle()
            with contextlib.suppress(OSError):
                self.stream.close()
            if self.empty and not self.finished.rows:
                self.partial.unlink(missing_ok=True)
                remove_record(self.partial)
            return
        with _explained(self.output):
            with contextlib.closing(self.stream):
                self.settle()
                self.stream.flush()
                os.fsync(self.stream.fileno())
            os.replace(self.partial, self.output)
            if self.run is not None:
                complete_record(self.partial, keep=self.resume)

    def _flush_stdout(self) -> None:
        try:
            with _explained(self.output):
                self.settle()
                self.stream.flush()
        except (DataError, BrokenPipeError):
            # Python flushes once more when it ends, and would complain about the same again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            raise


def _records(stream: BinaryIO, *, quoted: bool) -> Iterator[bytes]:
    """Whole records: up to a line feed; in CSV up to one outside quotes."""
    parts: list[bytes] = []
    quotes = 0
    for line in stream:
        parts.append(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and (not quoted or quotes % 2 == 0):
            yield b"".join(parts)
            parts, quotes = [], 0


def _standard_output(*, is_data: bool) -> TextIO:
    """stdout; data is UTF-8 in every locale, and text for a person what the terminal can show."""
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):
        raise DataError("There is no standard output; name a file with --output.")
    if is_data or stream.encoding.lower() in ("utf-8", "utf8"):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    else:
        stream.reconfigure(errors="backslashreplace")
    return stream


@contextlib.contextmanager
def _explained(output: str) -> Iterator[None]:
    """Turns OSError into a DataError that names the output; a closed pipe passes through."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "standard output" if output == STDOUT else output
        raise DataError(f"{where} cannot be written: {error.strerror or error}") from None
