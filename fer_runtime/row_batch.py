"""The rows of a batch of whole images, as columns: a Row object is made only when one is asked for.

As an object a row costs more than all else that is Python in a run of many small images. Sinks that
write many rows at once read the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, overload

from fer_runtime.rows import NOTHING, Row, top1

if TYPE_CHECKING:
    from fer_runtime.columns import Columns
    from fer_runtime.items import Item
    from fer_runtime.rows import Probabilities


class RowBatch(Sequence[Row]):
    """A sequence of rows; those of the items without an error have the probabilities, in order.

    >>> from fer_runtime.columns import plain_columns
    >>> from fer_runtime.items import Item
    >>> columns = plain_columns(("happy", "sad"))
    >>> items = [Item("a.jpg", "a.jpg"), Item("b.jpg", "b.jpg")]
    >>> rows = RowBatch(columns, items, ["truncated", None], np.array([[0.75, 0.25]], np.float32))
    >>> [(row.name, row.label, row.error) for row in rows]
    [('a.jpg', None, 'truncated'), ('b.jpg', 'happy', None)]

    Attributes:
        columns: the columns of the run.
        items: what the rows are of.
        errors: why each item could not be read, None for those that could; None where all could.
        probabilities: (items without an error, K) float32.
    """

    __slots__ = ("_rows", "columns", "errors", "items", "probabilities")

    def __init__(
        self,
        columns: Columns,
        items: Sequence[Item],
        errors: Sequence[str | None] | None,
        probabilities: Probabilities,
    ) -> None:
        self.columns, self.items, self.probabilities = columns, items, probabilities
        self.errors = errors
        self._rows: list[Row] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        return self.rows()[place]

    @property
    def failed(self) -> int:
        """How many rows have an error."""
        return len(self.items) - len(self.probabilities)

    def rows(self) -> list[Row]:
        """The rows as objects; the same ones each time."""
        if self._rows is None:
            self._rows = []
            predicted = iter(zip(self.probabilities, self.best(), strict=True))
            for item, error in zip(self.items, self.errors or repeat(None), strict=False):
                values, best = next(predicted) if error is None else (None, None)
                self._rows.append(row_of(item, self.columns, values, error, best))
        return self._rows

    def best(self) -> list[int]:
        """The place of the largest of each row's probabilities."""
        found: list[int] = top1(self.probabilities).tolist()
        return found


def row_of(
    item: Item,
    columns: Columns,
    probabilities: Probabilities | None = None,
    error: str | None = None,
    best: int | None = None,
) -> Row:
    """A row of an item."""
    return Row(
        item.name, columns.labels, probabilities, error, best=best, truth=item.label,
        columns=columns, extra=NOTHING if item.extra is None else item.extra, stream=item.stream,
    )  # fmt: skip
