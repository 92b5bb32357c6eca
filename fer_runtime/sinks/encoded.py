"""Rows that are ready to be written, as a worker process hands them back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fer_runtime.rows import Row
from fer_runtime.run_options import Counts


class Encoded(NamedTuple):
    """Some rows in an output's format, and what a run counts of them.

    Attributes:
        payload: what the sink's `append` takes.
        rows: how many rows it has.
        errors: those of them with an error.
        pictures: images that they are of.
        faces: rows that are faces.
        failure: the first row with an error, as `name: error`, in a run that ends there.
    """

    payload: str | bytes
    rows: int
    errors: int
    pictures: int
    faces: int
    failure: str | None = None

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Rows, errors, pictures and faces."""
        return self.rows, self.errors, self.pictures, self.faces

    @classmethod
    def of(cls, rows: Sequence[Row], encode: Encoder, failure: str | None = None) -> Encoded:
        """Encode rows and count them."""
        counts = Counts()
        counts.add(rows)
        return cls(encode(rows), counts.rows, counts.errors, counts.pictures, counts.faces, failure)


Rows = Sequence[Row] | Encoded
"""What a run has of a batch: its rows, or what is to be written of them."""
Encoder = Callable[[Sequence[Row]], str | bytes]
"""Rows -> what the sink's `append` takes."""
