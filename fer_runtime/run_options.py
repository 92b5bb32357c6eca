"""What a run takes, what it did, and who may watch it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fer_runtime.row_batch import RowBatch
from fer_runtime.rows import Row
from fer_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from typing import TypedDict

    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.providers import ProviderOptions
    from fer_runtime.sources.table import SourceOptions

    class RunOptions(TypedDict, total=False):
        """The keyword options of a run; `infer` describes them."""

        model: str | os.PathLike[str] | None
        spec: ModelSpec | None
        provider: str
        threads: int | None
        batch_size: int
        max_pixels: int
        shard: tuple[int, int]
        on_error: str
        ending: str | None
        top_k: int
        min_probability: float
        resume: bool
        overwrite: bool
        faces: bool | FaceOptions
        smooth: float
        reading: SourceOptions | None
        thumbnails: bool
        workers: int | None
        provider_options: ProviderOptions | None
        part_images: int
        ray: str | None


BATCH_SIZE = 32
"""Images per run of the session, where nothing else is said or tuned."""
LARGEST_BATCH = 4096


class Observer(Protocol):
    """Watches the rows of a run as they are written."""

    def add(self, rows: Sequence[Row]) -> None:
        """Called with the rows of each batch, in order."""


class RunResult(NamedTuple):
    """What a run did.

    Attributes:
        output: the file that was written; "-" for standard output.
        rows: rows written by this call.
        errors: those of them with an error.
        pictures: images that these rows are of; with `faces` an image has a row for each face.
        faces: rows that are faces; 0 without `faces`.
        skipped: other files in the sources, which are not images.
        finished_rows: rows that an earlier run had written (with `resume`).
        finished_errors: those of them with an error.
        seconds: from the first image to the last row.
        model: the ONNX file.
        provider: the provider that ran it.
        arithmetic: what it computed in, as "f32".
        complete: the output was complete before, so nothing was run.
        processes: worker processes that took part; 0 where this one did everything.
    """

    output: str
    rows: int = 0
    errors: int = 0
    pictures: int = 0
    faces: int = 0
    skipped: int = 0
    finished_rows: int = 0
    finished_errors: int = 0
    seconds: float = 0.0
    model: Path = Path()
    provider: str = ""
    arithmetic: str = ""
    complete: bool = False
    processes: int = 0

    @property
    def images_per_second(self) -> float:
        """Images of this call per second."""
        return self.pictures / max(self.seconds, 1e-9)


class Counts:
    """Counts rows while it is open as a context manager, and the time."""

    def __init__(self) -> None:
        self.rows = self.errors = self.pictures = self.faces = 0
        self._started = self._ended = 0.0

    def __enter__(self) -> Counts:
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From the start to the end, or to now; 0 before the start."""
        return (self._ended or time.perf_counter()) - self._started if self._started else 0.0

    def add(self, rows: Sequence[Row]) -> None:
        """Count rows that are written."""
        if isinstance(rows, RowBatch):
            self.add_counted(len(rows), rows.failed, len(rows))
            return
        self.rows += len(rows)
        for row in rows:
            self.errors += row.error is not None
            self.pictures += row.starts_picture
            self.faces += row.number is not None

    def add_counted(self, rows: int, errors: int, pictures: int, faces: int = 0) -> None:
        """Count rows that were counted before."""
        self.rows += rows
        self.errors += errors
        self.pictures += pictures
        self.faces += faces
