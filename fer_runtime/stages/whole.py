"""Whole images: each one is the model's input, and gives one row."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any

from fer_runtime import images
from fer_runtime.errors import ImageError
from fer_runtime.items import Item
from fer_runtime.row_batch import RowBatch
from fer_runtime.rows import Row
from fer_runtime.stages.base import Stage, source_of

QUICK_DECODE = 100e-6
"""Seconds an image below which one worker decodes at a time: so small a task is mostly Python, and
threads that pass the interpreter's lock back and forth decode no more than one of them alone does
(48 x 48 JPEGs; `fer-bench pipeline` prints both)."""


class WholeImages(Stage):
    """Decodes a batch into this thread's buffer and runs the session on it.

    Args and errors are those of `Stage`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._decoding = threading.Lock()
        self._decode_seconds = math.inf

    def rows(self, batch: list[Item]) -> Sequence[Row]:
        if not batch:
            return []
        packed = self._packed(batch)
        if packed is not None:
            return RowBatch(self.columns, batch, None, self.infer(packed, len(batch)))
        buffer = self.buffer()
        with self._decoding if self._decode_seconds < QUICK_DECODE else nullcontext():
            started = time.perf_counter()
            errors = self._decode(batch, buffer)
            self._decode_seconds = (time.perf_counter() - started) / len(batch)
        filled = errors.count(None)
        probabilities = self.infer(buffer, filled)
        rows = RowBatch(
            self.columns, batch, None if filled == len(batch) else errors, probabilities
        )
        if self.thumbnails:
            self._add_thumbnails(batch, rows)
        return rows

    def shrunk(self, item: Item) -> Item:
        return item._replace(content=self._pixels(item).transpose(1, 2, 0))

    def _packed(self, batch: list[Item]) -> images.Pixels | None:
        """(N, C, H, W) of a batch whose images follow one another in a pack, without a copy.

        Raises:
            DataError: a pack of other pixels than the model requires.
        """
        if not isinstance(batch[0].content, tuple) or self.thumbnails:
            return None
        from fer_runtime.packed.reader import opened, run_of

        found = run_of([item.content for item in batch])
        if found is None:
            return None
        folder, start = found
        pack = opened(folder)
        pack.header.require(self.session.spec.input, folder)
        return pack.pixels[start : start + len(batch)]

    def _decode(self, batch: list[Item], buffer: images.Pixels) -> list[str | None]:
        """Fill the buffer from its start; what is wrong with each item, None for those in it."""
        errors: list[str | None] = []
        filled = 0
        for item in batch:
            try:
                buffer[filled] = self._pixels(item)
            except ImageError as error:
                errors.append(str(error))
            else:
                errors.append(None)
                filled += 1
        return errors

    def _pixels(self, item: Item) -> images.Pixels:
        spec = self.session.spec.input
        if isinstance(item.content, tuple):
            from fer_runtime.packed.reader import opened

            opened(item.content.folder).header.require(spec, item.content.folder)
        return images.load(source_of(item), spec, max_pixels=self.max_pixels)

    def _add_thumbnails(self, batch: list[Item], rows: Sequence[Row]) -> None:
        """Decode once more, in colour, for the rows that have a prediction."""
        from fer_runtime.images.pictures import load_picture
        from fer_runtime.images.thumbnails import SIDE, thumbnail

        for item, row in zip(batch, rows, strict=True):
            if row.error is None:
                source = source_of(item)
                with suppress(ImageError):  # the file may be gone meanwhile
                    picture = load_picture(source, long_side=2 * SIDE, max_pixels=self.max_pixels)
                    row.thumbnail = thumbnail(picture.pixels, None)
