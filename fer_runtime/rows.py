"""Rows: what became of one image, as the pipeline hands it out and the sinks write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import ImageError

Probabilities = npt.NDArray[np.float32]


class Row(Mapping[str, "str | float | None"]):
    """What became of one image: a label with probabilities, or the reason why there are none.

    A row is also a mapping with the columns of a CSV file (path, label, probability, one per label,
    error), so that `pandas.DataFrame(classifier.rows(paths))` has these columns. Treat it as
    read-only; threads may share it.

    >>> row = Row("a.jpg", ("happy", "sad"), np.array([0.75, 0.25], np.float32))
    >>> row.label, row.probability, row["sad"]
    ('happy', 0.75, 0.25)

    Attributes:
        name: the path, or another name of the image.
        labels: the model's labels, in the order of the probabilities.
        label: the most probable label (top-1); None in a row with an error.
        probability: its probability; None in a row with an error.
        probabilities: (K,) float32, one per label; None in a row with an error.
        error: why there is no prediction; None otherwise.
        truth: the true label where the source knows it (FER2013's CSV); None otherwise.
    """

    __slots__ = ("error", "label", "labels", "name", "probabilities", "probability", "truth")

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        probabilities: Probabilities | None = None,
        error: str | None = None,
        *,
        best: int | None = None,
        truth: str | None = None,
    ) -> None:
        """`best` is the place of the largest probability, where the caller has it already."""
        self.name = name
        self.labels = labels
        self.probabilities = probabilities
        self.error = error
        self.truth = truth
        self.label: str | None = None
        self.probability: float | None = None
        if probabilities is not None:
            best = int(top1(probabilities)) if best is None else best
            self.label = labels[best]
            self.probability = float(probabilities[best])

    def __getitem__(self, column: str) -> str | float | None:
        if column == "path":
            return self.name
        if column in ("label", "probability", "error"):
            value: str | float | None = getattr(self, column)
            return value
        try:
            place = probability_columns(self.labels).index(column)
        except ValueError:
            raise KeyError(column) from None
        return None if self.probabilities is None else float(self.probabilities[place])

    def __iter__(self) -> Iterator[str]:
        return iter(columns(self.labels))

    def __len__(self) -> int:
        return len(self.labels) + 4

    def prediction(self) -> Prediction:
        """The row as a Prediction.

        Raises:
            ImageError: the row has an error.
        """
        if self.probabilities is None or self.label is None or self.probability is None:
            raise ImageError(f"{self.name}: {self.error}")
        values = zip(self.labels, self.probabilities.tolist(), strict=True)
        return Prediction(self.label, self.probability, dict(values))

    def __repr__(self) -> str:
        what = self.error if self.label is None else f"{self.label} {self.probability:.3f}"
        return f"Row({self.name!r}: {what})"


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one image, its probability, and those of all labels.

    It describes the *apparent* expression in a picture, not what a person feels.

    >>> prediction = Prediction.of(("happy", "sad"), np.array([0.75, 0.25], np.float32))
    >>> prediction.label, prediction.top(1)
    ('happy', [('happy', 0.75)])

    Attributes:
        label: the most probable label (top-1).
        probability: its probability, 0 to 1.
        probabilities: label -> probability, in the model's order.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]

    @classmethod
    def of(cls, labels: tuple[str, ...], probabilities: Probabilities) -> Prediction:
        """(K,) float32 probabilities in the order of the labels -> Prediction."""
        return Row("", labels, probabilities).prediction()

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable labels with their probabilities, best first."""
        ranked = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return ranked[:count]


def top1(probabilities: Probabilities) -> npt.NDArray[np.intp]:
    """(..., K) -> (...) the place of the most probable label; the first one of several equal."""
    best: npt.NDArray[np.intp] = np.asarray(probabilities.argmax(-1))
    return best


@lru_cache(maxsize=64)
def columns(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a table of rows."""
    return ("path", "label", "probability", *probability_columns(labels), "error")


@lru_cache(maxsize=64)
def probability_columns(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the labels' columns: their own, or `NAME probability` where that is taken."""
    taken = ("path", "label", "probability", "error")
    return tuple(f"{label} probability" if label in taken else label for label in labels)
