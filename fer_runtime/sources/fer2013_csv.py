"""FER2013's own CSV (`fer2013.csv`, `icml_face_data.csv`): columns emotion, pixels, Usage.

Source: Goodfellow et al. 2013, "Challenges in Representation Learning"; the header of
icml_face_data.csv has stray spaces. Training reads the same records (`fer_train.fer2013`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fer_runtime.errors import DataError, ImageError
from fer_runtime.images import Pixels
from fer_runtime.items import Item, require_regular

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The CSV's integers 0-6 by name (the order of the challenge, not alphabetical)."""
_LARGEST_FIELD = 1 << 24


@dataclass(frozen=True, slots=True)
class Record:
    """One row as text: its line number, and the columns that the file has (else None)."""

    line: int
    pixels: str
    emotion: str | None
    usage: str | None

    @property
    def label(self) -> str | None:
        """The label's name; None without the column, or for a value other than 0 to 6."""
        text = (self.emotion or "").strip()
        return LABELS[int(text)] if text in {str(n) for n in range(len(LABELS))} else None

    def image(self) -> Pixels:
        """(side, side) uint8 grey levels; raises ImageError."""
        levels = self.pixels.split()
        side = int(len(levels) ** 0.5)
        if not levels or side * side != len(levels):
            raise ImageError(f"{len(levels)} pixels are not a square image")
        try:
            numbers = np.array(levels, np.int64)  # NumPy 1 wraps 256 to 0 in an array of uint8
            if numbers.min() < 0 or numbers.max() > 255:
                raise ValueError(levels)
        except (ValueError, OverflowError):
            raise ImageError("its pixels are not whole numbers from 0 to 255") from None
        return numbers.astype(np.uint8).reshape(side, side)


def records(path: str) -> Iterator[Record]:
    """The rows of a CSV file with a column `pixels`, without empty lines.

    Raises:
        DataError: no such column, or not a readable CSV file; also while iterating.
    """
    csv.field_size_limit(_LARGEST_FIELD)
    require_regular(path)
    line = 0
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
            table = csv.reader(stream)
            columns = [name.strip().lower() for name in next(table, [])]
            if "pixels" not in columns:
                raise DataError(
                    f"{path} has no column 'pixels' (it has {', '.join(columns[:8]) or 'none'}); a "
                    "CSV source is FER2013's: grey levels of a square, separated by spaces."
                )
            line = 1
            places = [columns.index(n) if n in columns else None for n in ("emotion", "usage")]
            place = columns.index("pixels")
            for row in filter(None, table):
                line = table.line_num
                emotion, usage = (
                    row[p] if p is not None and p < len(row) else None for p in places
                )
                yield Record(line, row[place] if place < len(row) else "", emotion, usage)
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        where = f" after line {line}" if line else ""
        raise DataError(f"{path} cannot be read as CSV{where}: {reason}") from error


def rows(path: str) -> Iterator[Item]:
    """An item for each row, named `path:line`, with its label where the file has `emotion`.

    A file that breaks off ends with an item that has an error.

    Raises:
        DataError: not such a file at all.
    """
    started = False
    try:
        for record in records(path):
            started = True
            name = f"{path}:{record.line}"
            try:
                yield Item(name, name, content=record.image(), label=record.label)
            except ImageError as error:
                yield Item(name, name, str(error), label=record.label)
    except DataError as error:
        if not started:
            raise
        yield Item(path, path, f"the file cannot be read further: {error.__cause__}")
