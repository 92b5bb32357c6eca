"""What this process and its workers send one another: pickles with their length before them."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from fer_runtime.items import Item
from fer_runtime.packed.reader import PackedImage, run_of
from fer_runtime.row_batch import RowBatch, row_of
from fer_runtime.rows import Row

if TYPE_CHECKING:
    from fer_runtime.columns import Columns
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.spec import ModelSpec
    from fer_runtime.workers.shared import Handle

LENGTH = struct.Struct("<Q")
NOTHING_BUT_A_PATH = (None,) * (len(Item._fields) - 2)


class Job(NamedTuple):
    """What a worker process is started with.

    Attributes:
        opening: the arguments of `Session.open`; of the session that the parent keeps to itself
            only the path is used.
        batch_size: images per run of the session.
        max_pixels: larger images become error rows.
        faces: how faces are found; None for whole images.
        columns: the columns of the rows.
        thumbnails: whether rows carry a small picture.
        output: (ending, top_k) of the format that rows are encoded in; None where rows are sent.
        stop_at_error: whether the first row with an error ends the run.
        memory: the shared memory for the contents of images; None where none could be made.
        lent: the spec of the session that the parent runs for all workers, on a GPU; None where
            each opens the model for itself.
    """

    opening: dict[str, Any]
    batch_size: int
    max_pixels: int
    faces: FaceOptions | None
    columns: Columns
    thumbnails: bool
    output: tuple[str, int] | None = None
    stop_at_error: bool = False
    memory: Handle | None = None
    lent: ModelSpec | None = None

    def pixels(self) -> int:
        """Bytes of a batch of pixels for a session that is lent."""
        return self.batch_size * int(np.prod(self.lent.input.shape)) if self.lent else 0


class PackedRun(NamedTuple):
    """A batch of images that follow one another in a pack.

    Attributes:
        folder: the pack.
        start: the place of the first.
        names: of all.
        labels: of all; None where none is known.
    """

    folder: str
    start: int
    names: list[str]
    labels: list[str | None] | None


Sent = list[str] | PackedRun | list[Item]
"""A batch on its way to a worker: files that are named by their paths are strings alone."""


class Failed(NamedTuple):
    """An error in a worker, as the parent raises it."""

    error: BaseException


class Classify(NamedTuple):
    """A worker asks its parent to run the session; the answer is `Outputs`, or `Failed`.

    Attributes:
        shape: of the pixels, which are in shared memory.
        pixels: themselves, where they do not fit there.
    """

    shape: tuple[int, ...]
    pixels: npt.NDArray[np.uint8] | None = None


class Ready(NamedTuple):
    """A worker has opened its model."""


class Done(NamedTuple):
    """What became of some batches, and how many seconds each took."""

    results: list[Any]
    seconds: float


def own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output of a process that exchanges messages, for it alone from now on.

    What a library prints goes to standard error: it must not come between the messages.
    """
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return incoming, outgoing


def send(stream: BinaryIO, message: object) -> None:
    """Write a message; raises OSError where the reader has gone."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    view = memoryview(LENGTH.pack(len(body)) + body)
    while view:  # a raw stream may take a part
        view = view[stream.write(view) :]


def receive(stream: BinaryIO) -> Any:
    """Read a message of our own process or its parent; raises EOFError at the end."""
    (size,) = LENGTH.unpack(_read(stream, LENGTH.size))
    return pickle.loads(_read(stream, size))


def _read(stream: BinaryIO, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        # readinto is missing in typeshed's BinaryIO, whose objects all have it.
        count = stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]
    return data


def sendable(error: BaseException) -> Failed:
    """An error that can be sent; what cannot be pickled is sent as its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failed(error)


def packed_items(batch: Sequence[Item]) -> Sent:
    """A batch as it is sent: in few objects, each of which costs both processes time."""
    first = batch[0]
    if first.content is None:
        if all(
            item.content is None and item[0] is item[1] and item[2:] == NOTHING_BUT_A_PATH
            for item in batch
        ):
            return [item[0] for item in batch]
    elif isinstance(first.content, PackedImage):
        run = run_of([item.content for item in batch])
        if run and all(
            name is path and error is None and extra is None and stream is None
            for name, path, error, _, _, extra, stream in batch
        ):
            labels = [item.label for item in batch]
            return PackedRun(*run, [item.name for item in batch], labels if any(labels) else None)
    return list(batch)


def unpacked_items(batch: Sent) -> list[Item]:
    """The items of a batch that was sent."""
    if isinstance(batch, PackedRun):
        folder, start, names, labels = batch
        return [
            Item(name, name, None, PackedImage(folder, place), label)
            for place, (name, label) in enumerate(
                zip(names, labels or repeat(None), strict=False), start
            )
        ]
    return [item if isinstance(item, Item) else Item(item, item) for item in batch]


def packed_rows(rows: Sequence[Row]) -> tuple[Any, ...] | list[tuple[Any, ...]]:
    """Rows as they are sent: without the columns and items, which the parent has."""
    if isinstance(rows, RowBatch):
        return rows.errors, rows.probabilities
    return [
        (
            *(row.name, row.probabilities, row.error, row.truth, row.extra, row.stream),
            *(row.face, row.number, row.note, row.thumbnail),
        )
        for row in rows
    ]


def unpacked_rows(packed: Any, batch: Sequence[Item], columns: Columns) -> Sequence[Row]:
    """The rows of a batch that were sent."""
    if isinstance(packed, tuple):
        return RowBatch(columns, batch, *packed)
    return [_row(columns, *fields) for fields in packed]


def _row(
    columns: Columns, name: str, probabilities: Any, error: str | None, truth: str | None,
    extra: Any, stream: str | None, face: Any, number: int | None, note: str | None, thumbnail: Any,
) -> Row:  # fmt: skip
    row = row_of(Item(name, "", label=truth, extra=extra, stream=stream), columns)
    row.error = error
    row.set_probabilities(probabilities)
    row.face, row.number, row.note, row.thumbnail = face, number, note, thumbnail
    return row
