"""What every stage offers: a batch of items in, their rows out, on any thread."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fer_runtime import images
from fer_runtime.columns import Columns, plain_columns
from fer_runtime.errors import ImageError
from fer_runtime.items import Item
from fer_runtime.row_batch import row_of
from fer_runtime.rows import Probabilities, Row
from fer_runtime.session import Session


class Stage(ABC):
    """Classifies batches of at most `items_at_once` items; threads share it.

    Args:
        session: the model.
        batch_size: images per run of the session.
        max_pixels: larger images become error rows and are not decoded.
        columns: the columns of the rows; default: those of whole images.
        thumbnails: whether rows carry a small picture.
    """

    def __init__(
        self,
        session: Session,
        *,
        batch_size: int,
        max_pixels: int,
        columns: Columns | None = None,
        thumbnails: bool = False,
    ) -> None:
        self.session = session
        self.batch_size = batch_size
        self.max_pixels = max_pixels
        self.columns = columns or plain_columns(session.spec.labels)
        self.thumbnails = thumbnails
        self._local = threading.local()

    @property
    def items_at_once(self) -> int:
        """Items in a batch."""
        return self.batch_size

    @abstractmethod
    def rows(self, batch: list[Item]) -> Sequence[Row]:
        """The rows of a batch, in its order; what cannot be decoded becomes an error row."""

    @abstractmethod
    def shrunk(self, item: Item) -> Item:
        """The item with small pixels for its large bytes; raises ImageError."""

    def decoded(self, item: Item) -> Item:
        """The item with small pixels for its large bytes, or with its error."""
        try:
            return self.shrunk(item)
        except ImageError as error:
            return item._replace(content=None, error=str(error))

    def row(
        self,
        item: Item,
        probabilities: Probabilities | None = None,
        error: str | None = None,
        best: int | None = None,
    ) -> Row:
        """A row of an item."""
        return row_of(item, self.columns, probabilities, error, best)

    def infer(self, buffer: images.Pixels, filled: int) -> npt.NDArray[np.float32]:
        """(filled, K) the probabilities of the first `filled` images."""
        if not filled:
            return np.empty((0, len(self.session.spec.labels)), np.float32)
        return self.session.run(buffer[:filled]).probabilities

    def buffer(self) -> images.Pixels:
        """This thread's (batch_size, C, H, W) buffer."""
        buffer: images.Pixels | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = np.zeros((self.batch_size, *self.session.spec.input.shape), np.uint8)
            self._local.buffer = buffer
        return buffer


def source_of(item: Item) -> images.Source:
    """What an item is read from; raises ImageError where it cannot be."""
    if item.error is not None:
        raise ImageError(item.error)
    content = item.content
    if content is None:
        return item.path
    if isinstance(content, tuple):  # arrays and bytes are none
        from fer_runtime.packed.reader import pixels_of

        return pixels_of(content)
    if not isinstance(content, bytes | np.ndarray):
        return content.contents()
    return content
