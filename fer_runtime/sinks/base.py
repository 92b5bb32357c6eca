"""What every sink offers: rows in, a file that appears when it is complete, and resuming."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fer_runtime.columns import Columns, plain_columns
from fer_runtime.errors import DataError
from fer_runtime.rows import Row
from fer_runtime.sinks.resume import Finished
from fer_runtime.sinks.table import STDOUT

if TYPE_CHECKING:
    from fer_runtime.sinks.encoded import Encoder


class Sink(ABC):
    """Writes rows to a file, or to standard output where `output` is "-".

    Use it as a context manager: leaving it without an exception completes the file. `run` is what
    the rows are made with, in plain values, and is kept beside a partial file; with `resume` an
    earlier partial file of the same run is continued, and `finished` is how far it had come. A
    partial file without a row is removed. Not for several threads at once.

    Raises:
        DataError: a folder that cannot be written, a full disk, a partial file of another run, or
            of this one without `resume`, or one that is being written.
    """

    resumable: ClassVar[bool] = False
    """Whether a partial file of this format can be continued."""

    def __init__(
        self,
        output: str,
        columns: Columns | tuple[str, ...],
        *,
        top_k: int = 3,
        run: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.columns = columns if isinstance(columns, Columns) else plain_columns(columns)
        self.output, self.labels, self.top_k = output, self.columns.labels, top_k
        self.to_stdout = output == STDOUT
        self.run = None if self.to_stdout else run
        self.resume = resume
        self.partial = Path(f"{output}.partial")
        self.finished = Finished()
        if not self.to_stdout and Path(output).is_dir():
            raise DataError(f"{output} is a folder; name a file.")
        self.open()

    def __enter__(self) -> Sink:
        return self

    @abstractmethod
    def open(self) -> None:
        """Open the partial file; with `resume`, set `finished` to what it contains."""

    @abstractmethod
    def write(self, rows: Iterable[Row]) -> None:
        """Append rows; raises DataError when the disk is full."""

    def append(self, payload: str | bytes) -> None:
        """Append rows that an `encoder` of this class encoded; raises DataError as `write`."""
        raise NotImplementedError(f"{type(self).__name__} has no encoder")

    @classmethod
    def encoder(cls, columns: Columns, *, top_k: int = 3) -> Encoder | None:
        """What turns rows into what `append` takes, in another process than the sink's.

        None where the format has no such thing: rows are then sent and written one by one.
        """
        return None

    @abstractmethod
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the file; after an exception, keep what is finished."""

    @classmethod
    def read_finished(cls, path: Path) -> Finished:
        """The rows in a complete file of this format; raises DataError for a broken one."""
        raise DataError(f"{path}: files of this format cannot be resumed.")
