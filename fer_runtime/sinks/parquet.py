"""Rows to Parquet (extra `parquet`): parts during the run, one file when it is complete.

A Parquet file can be read only when its end is written, so that a truncated one would lose every
row. Until the run is complete, `NAME.partial` is a folder of small finished files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fer_runtime.columns import Columns, has_faces
from fer_runtime.errors import DataError
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
from fer_runtime.sinks.text import cell_of

if TYPE_CHECKING:
    from fer_runtime.sinks.encoded import Encoder

PART_ROWS = 8192
"""Rows kept in memory, which is also the most that a crash costs."""


class ParquetSink(Sink):
    """Parquet: path, label, probability, one column per label, error, and what the run adds.

    Probabilities and boxes are float32. In a name that is not UTF-8 the other bytes are `\\xNN`.
    """

    resumable: ClassVar[bool] = True

    def open(self) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise DataError(
                f"{self.output}: Parquet needs pyarrow: pip install '.[parquet]' (or write .csv)."
            ) from None
        if self.to_stdout:
            raise DataError("Parquet cannot be written to standard output; name a file.")
        self._schema = _schema(self.columns)
        self._rows: list[Row] = []
        self._tables: list[Any] = []
        try:
            self.partial.mkdir(exist_ok=True)
            self._lock = open(self.partial / "lock", "ab")  # noqa: SIM115
        except OSError as error:
            raise self._explained(error) from None
        try:
            self._begin()
        except (DataError, OSError) as error:
            self._lock.close()
            raise (self._explained(error) if isinstance(error, OSError) else error) from None
        self._parts = len(list(self._whole_parts()))

    def _begin(self) -> None:
        """Keep the finished parts of the same run, if that is asked for."""
        lock(self.partial, self._lock.fileno())
        if any(self._whole_parts()):
            if self.resume:
                check_record(self.partial, self.run or {})
                self.finished = finished(self.partial, self._whole_parts())
                return
            refuse_to_lose(self.partial)
            for part in self._whole_parts():
                part.unlink()
        write_record(self.partial, self.run or {})

    def write(self, rows: Iterable[Row]) -> None:
        self._rows += rows
        if len(self._rows) >= PART_ROWS:
            self._settle()

    def append(self, payload: str | bytes) -> None:
        from pyarrow import ipc

        if self._rows:
            self._settle()
        with ipc.open_stream(payload) as stream:
            self._tables.append(stream.read_all())
        self._settle()

    def _settle(self, *, all: bool = False) -> None:
        """Rows so far to a table, and whole parts of it to files; with `all` the rest too."""
        import pyarrow

        if self._rows:
            self._tables.append(_table(self._rows, self.columns, self._schema))
            self._rows = []
        held = sum(table.num_rows for table in self._tables)
        if held < PART_ROWS and not (all and held):
            return
        table = pyarrow.concat_tables(self._tables)
        self._tables = []
        while table.num_rows >= PART_ROWS or (all and table.num_rows):
            self._write_part(table.slice(0, PART_ROWS))
            table = table.slice(PART_ROWS)
        if table.num_rows:
            self._tables = [table.combine_chunks()]

    @classmethod
    def encoder(cls, columns: Columns, *, top_k: int = 3) -> Encoder:
        import pyarrow

        schema = _schema(columns)

        def encode(rows: Sequence[Row]) -> bytes:
            buffer = pyarrow.BufferOutputStream()
            table = _table(rows, columns, schema)
            with pyarrow.ipc.new_stream(buffer, table.schema) as stream:
                stream.write_table(table)
            return bytes(buffer.getvalue())

        return encode

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error the disk may be full: keep what can be kept, and raise that error.
        with self._lock:
            with contextlib.suppress(*(() if kind is None else (DataError,))):
                self._settle(all=True)
            if kind is None:
                self._join()
            if kind is None or not self._parts:
                self._clear()
        if not any(self._whole_parts()):
            shutil.rmtree(self.partial, ignore_errors=True)

    def _write_part(self, table: Any) -> None:
        from pyarrow import parquet

        draft = self.partial / "draft"
        try:
            with open(draft, "wb") as stream:
                parquet.write_table(table, stream)
                os.fsync(stream.fileno())
            os.replace(draft, self.partial / f"{self._parts:08}.parquet")
        except OSError as error:
            raise self._explained(error) from None
        self._parts += 1

    def _whole_parts(self) -> Iterator[Path]:
        yield from sorted(self.partial.glob("*.parquet"))

    def _join(self) -> None:
        """All parts as one file, a row group a part; one part in memory at a time."""
        from pyarrow import parquet

        draft = self.partial / "draft"
        try:
            with parquet.ParquetWriter(draft, self._schema) as writer:
                for part in self._whole_parts():
                    writer.write_table(parquet.read_table(part))
            os.replace(draft, self.output)
            complete_record(self.partial, keep=self.resume)  # from here on the parts are unused
        except OSError as error:
            raise self._explained(error) from None

    def _clear(self) -> None:
        """Remove parts that are not resumed, before another run may start here."""
        remove_record(self.partial)
        for part in self._whole_parts():
            part.unlink(missing_ok=True)

    @classmethod
    def read_finished(cls, path: Path) -> Finished:
        return finished(path, [path])

    def _explained(self, error: OSError) -> DataError:
        return DataError(f"{self.output} cannot be written: {error.strerror or error}")


def finished(output: Path, parts: Iterable[Path]) -> Finished:
    """The rows in the parts of an output; raises DataError for a broken part."""
    import pyarrow
    from pyarrow import parquet

    tally: Tally | None = None
    for part in parts:
        try:
            faces = has_faces(parquet.read_schema(part).names)
            wanted = ["path", "error", *(["face"] if faces else [])]
            table = parquet.read_table(part, columns=wanted)
        except (pyarrow.ArrowException, OSError) as error:
            raise damaged(output, f"{part.name} is broken ({error})") from None
        tally = tally or Tally(faces=faces, spelling=_utf8)
        numbers = table["face"].to_pylist() if faces else [None] * table.num_rows
        pairs = zip(table["path"].to_pylist(), table["error"].to_pylist(), numbers, strict=True)
        for name, why, number in pairs:
            tally.add(name, why, starts_picture=number in (None, 1))
    return tally.finished() if tally else Finished(spelling=_utf8)


def _table(rows: Sequence[Row], columns: Columns, schema: Any) -> Any:
    """The Arrow table of rows."""
    import pyarrow

    values: dict[str, list[Any]] = {
        name: [row.value_in(columns, name) for row in rows] for name in columns.names
    }
    values["path"] = [_utf8(row.name) for row in rows]
    return pyarrow.table([_array(values[field.name], field) for field in schema], schema=schema)


def _schema(columns: Columns) -> Any:
    """The Arrow schema of a run's rows."""
    import pyarrow

    kinds = {
        "text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()
    }  # fmt: skip
    fields = {name: pyarrow.float32() for name in ("probability", *columns.label_places)}
    fields.update((column.name, pyarrow.float32()) for column in columns.face_columns)
    if columns.faces:
        fields["face"] = pyarrow.int32()
    for column in columns.leading:
        fields[column.name] = column.arrow or kinds[column.kind]
    for name, column in zip(columns.kept_names, columns.kept, strict=True):
        fields[name] = column.arrow or kinds[column.kind]
    return pyarrow.schema([(name, fields.get(name, kinds["text"])) for name in columns.names])


def _array(values: list[Any], field: Any) -> Any:
    """A column of a table; values of a text column may be of any kind."""
    import pyarrow

    try:
        return pyarrow.array(values, field.type)
    except (pyarrow.ArrowException, TypeError, ValueError):
        if not pyarrow.types.is_string(field.type):
            raise
        return pyarrow.array([None if value is None else _utf8(cell_of(value)) for value in values])


def _utf8(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
