"""Rows: what became of one image or face, as the pipeline yields it and the sinks write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer_runtime.columns import FACE, NOTE, Columns, plain_columns
from fer_runtime.errors import ImageError

if TYPE_CHECKING:
    from fer_runtime.faces.face import Face
    from fer_runtime.images.thumbnails import Thumbnail

Probabilities = npt.NDArray[np.float32]
NOTHING: Mapping[str, Any] = MappingProxyType({})
_FACE_NAMES = tuple(column.name for column in (*FACE, NOTE))


class Row(Mapping[str, Any]):
    """What became of one image, or of one face in it: a label with probabilities, or why not.

    A row is also a mapping with the columns of a CSV file (path, label, probability, one per label,
    error), so that `pandas.DataFrame(classifier.rows(paths))` has these columns. Treat it as
    read-only; threads may share it.

    >>> row = Row("a.jpg", ("happy", "sad"), np.array([0.75, 0.25], np.float32))
    >>> row.label, row.probability, row["sad"]
    ('happy', 0.75, 0.25)

    Attributes:
        name: the path, or another name of the image.
        labels: the model's labels, in the order of the probabilities.
        label: the most probable label (top-1), or "uncertain" where it is less probable than the
            run's `min_probability`; None in a row without a prediction.
        probability: that of the most probable label; None in a row without a prediction.
        probabilities: (K,) float32, one per label; None in a row without a prediction.
        error: why the image could not be read; None otherwise.
        truth: the true label where the source knows it (FER2013's CSV); None otherwise.
        face: where the face is, in a run that finds faces; None in a picture without one.
        number: which face of its picture it is, from 1, the largest first; None without a face.
        note: why there is no prediction although nothing failed ("no face found"); None otherwise.
        extra: values of further columns: frame, time and track of a video, kept ones of a table.
        stream: the video whose frames follow one another; None for single pictures.
        thumbnail: a small picture, where the run was asked for them.
        columns: the columns of the run.
    """

    __slots__ = (
        *("columns", "error", "extra", "face", "label", "name", "note", "number", "probabilities"),
        *("probability", "stream", "thumbnail", "truth"),
    )

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        probabilities: Probabilities | None = None,
        error: str | None = None,
        *,
        best: int | None = None,
        truth: str | None = None,
        columns: Columns | None = None,
        extra: Mapping[str, Any] = NOTHING,
        stream: str | None = None,
    ) -> None:
        """`best` is the place of the largest probability, where the caller has it already."""
        self.name = name
        self.columns = plain_columns(labels) if columns is None else columns
        self.error = error
        self.truth = truth
        self.extra = extra
        self.stream = stream
        self.face: Face | None = None
        self.number: int | None = None
        self.note: str | None = None
        self.thumbnail: Thumbnail | None = None
        self.set_probabilities(probabilities, best)

    def set_probabilities(
        self, probabilities: Probabilities | None, best: int | None = None
    ) -> None:
        """Set (K,) probabilities, and the label and probability that follow from them."""
        self.probabilities = probabilities
        self.label: str | None = None
        self.probability: float | None = None
        if probabilities is not None:
            best = int(top1(probabilities)) if best is None else best
            self.probability = float(probabilities[best])
            self.label = self.columns.label_of(best, self.probability)

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels, in the order of the probabilities."""
        return self.columns.labels

    @property
    def uncertain(self) -> bool:
        """Whether the prediction is less probable than the run's `min_probability`."""
        return self.probability is not None and self.probability < self.columns.min_probability

    @property
    def starts_picture(self) -> bool:
        """Whether it is the first row of its picture: each has one, with or without a face."""
        return self.number is None or self.number == 1

    def __getitem__(self, column: str) -> Any:
        return self.value_in(self.columns, column)

    def value_in(self, columns: Columns, column: str) -> Any:
        """The value of a column of the given columns; raises KeyError for another one."""
        if column == "path":
            return self.name
        if column in ("label", "probability", "error"):
            return getattr(self, column)
        place = columns.label_places.get(column)
        if place is not None:
            return None if self.probabilities is None else float(self.probabilities[place])
        if columns.faces and column in _FACE_NAMES:
            place_and_score = (
                (None,) * 5 if self.face is None else (*self.face.box, self.face.score)
            )
            return (self.number, *place_and_score, self.note)[_FACE_NAMES.index(column)]
        return self.extra.get(columns.keys[column])

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.names)

    def __len__(self) -> int:
        return len(self.columns.names)

    def prediction(self) -> Prediction:
        """The row as a Prediction.

        Raises:
            ImageError: the row has no prediction: an error, or no face.
        """
        if self.probabilities is None or self.label is None or self.probability is None:
            raise ImageError(f"{self.name}: {self.error or self.note}")
        values = zip(self.labels, self.probabilities.tolist(), strict=True)
        return Prediction(self.label, self.probability, dict(values), self.face)

    def __repr__(self) -> str:
        what = self.error or self.note or f"{self.label} {self.probability:.3f}"
        which = f" face {self.number}" if self.number else ""
        return f"Row({self.name!r}{which}: {what})"


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one image, its probability, and those of all labels.

    It describes the *apparent* expression in a picture, not what a person feels.

    >>> prediction = Prediction.of(("happy", "sad"), np.array([0.75, 0.25], np.float32))
    >>> prediction.label, prediction.top(1)
    ('happy', [('happy', 0.75)])

    Attributes:
        label: the most probable label (top-1), or "uncertain" where it is less probable than the
            `min_probability` that was asked for.
        probability: that of the most probable label, 0 to 1.
        probabilities: label -> probability, in the model's order.
        face: where the face is in its picture; None where the whole image was classified.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]
    face: Face | None = None

    @classmethod
    def of(
        cls, labels: tuple[str, ...], probabilities: Probabilities, min_probability: float = 0.0
    ) -> Prediction:
        """(K,) float32 probabilities in the order of the labels -> Prediction.

        >>> values = np.array([0.55, 0.45], np.float32)
        >>> Prediction.of(("happy", "sad"), values, min_probability=0.6).label
        'uncertain'
        """
        columns = plain_columns(labels, min_probability)
        return Row("", labels, probabilities, columns=columns).prediction()

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable labels with their probabilities, best first."""
        ranked = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return ranked[:count]


def before_error(rows: Sequence[Row]) -> tuple[Sequence[Row], str | None]:
    """The rows before the first one with an error, and that one as `name: error`; None without.

    >>> before_error([Row("a.jpg", ("happy",), None, "truncated")])
    ([], 'a.jpg: truncated')
    """
    for place, row in enumerate(rows):
        if row.error is not None:
            return rows[:place], f"{row.name}: {row.error}"
    return rows, None


def top1(probabilities: Probabilities) -> npt.NDArray[np.intp]:
    """(..., K) -> (...) the place of the most probable label; the first one of several equal."""
    best: npt.NDArray[np.intp] = np.asarray(probabilities.argmax(-1))
    return best
