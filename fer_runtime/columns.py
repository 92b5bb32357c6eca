"""The columns of a run's rows: what every run has, and those of faces, videos and tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fer_runtime.errors import DataError

PREDICTION: Final = ("path", "label", "probability", "error")
"""The columns of every run, beside one for each label."""
UNCERTAIN: Final = "uncertain"
"""The label of a prediction that is less probable than the run's `min_probability`."""


class Column(NamedTuple):
    """A column that a source or a stage adds.

    Attributes:
        name: its name, which is also the key in an item's and a row's `extra`.
        kind: "text", "integer" or "number".
        arrow: the pyarrow type, where the source knows it.
    """

    name: str
    kind: str = "text"
    arrow: Any = None


FACE: Final = (
    Column("face", "integer"),
    *(Column(name, "number") for name in ("left", "top", "right", "bottom", "score")),
)
"""What rows of faces have: the number of the face in its picture, its box in pixels, its score."""
NOTE: Final = Column("note")
"""Why a picture has no face; rows of faces have it last."""
TRACK: Final = Column("track", "integer")
"""The number of a face that is followed from frame to frame."""


class Columns:
    """The columns of the rows of one run, in the order of a table.

    >>> Columns(("happy", "sad"), faces=True).names[:4]
    ('path', 'face', 'left', 'top')
    >>> Columns(("happy", "sad"), kept=(Column("caption"), Column("label"))).names[-3:]
    ('error', 'caption', 'source label')
    >>> Columns(("happy", "sad"), min_probability=0.6).label_of(0, 0.55)
    'uncertain'

    Args:
        labels: the model's labels.
        faces: whether rows are faces of pictures.
        leading: columns after `path` (frame and time of a video).
        kept: columns of the source that are passed through, at the end.
        min_probability: a less probable prediction gets the label "uncertain".

    Raises:
        ValueError: `min_probability` is not from 0 to 1.
        DataError: it is more than 0, and the model itself has a label "uncertain".
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        faces: bool = False,
        leading: Sequence[Column] = (),
        kept: Sequence[Column] = (),
        min_probability: float = 0.0,
    ) -> None:
        self.labels = tuple(labels)
        self.min_probability = checked_probability(min_probability, self.labels)
        self.faces = faces
        self.leading = tuple(leading)
        self.plain = not (faces or leading or kept)
        self.face_columns = FACE if faces else ()
        self.trailing = (NOTE,) if faces else ()
        before = ("path", *(c.name for c in (*self.leading, *self.face_columns)))
        more = (*before[1:], *(c.name for c in self.trailing))
        own_labels = probability_columns(self.labels, (*PREDICTION, *more))
        after = (*own_labels, "error", *(c.name for c in self.trailing))
        own = (*before, "label", "probability", *after)
        names: list[str] = []
        for column in kept:
            names.append(kept_name(column.name, (*own, *names)))
        self.kept = tuple(kept)
        self.kept_names = tuple(names)
        self.names = (*own, *names)
        self.keys = {c.name: c.name for c in self.leading}
        self.keys.update(zip(names, (c.name for c in kept), strict=True))
        self.label_places = {name: place for place, name in enumerate(own_labels)}

    def label_of(self, place: int, probability: float) -> str:
        """The label of a prediction: the most probable one, or "uncertain"."""
        return UNCERTAIN if probability < self.min_probability else self.labels[place]


@lru_cache(maxsize=64)
def plain_columns(labels: tuple[str, ...], min_probability: float = 0.0) -> Columns:
    """The columns of rows that are whole images: path, label, probability, labels, error."""
    return Columns(labels, min_probability=min_probability)


def checked_probability(min_probability: float, labels: Sequence[str]) -> float:
    """The least probability of a label, as it was given.

    Raises:
        ValueError: it is not from 0 to 1.
        DataError: it is more than 0, and one of the labels is "uncertain".
    """
    if not 0 <= min_probability <= 1:  # NaN neither
        raise ValueError(f"min_probability={min_probability}; it must be from 0 to 1")
    if min_probability and UNCERTAIN in labels:
        raise DataError(
            f"A least probability gives the label {UNCERTAIN!r}, which this model has already; "
            "omit it."
        )
    return min_probability


def columns(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the columns of rows that are whole images."""
    return plain_columns(labels).names


def probability_columns(
    labels: tuple[str, ...], taken: tuple[str, ...] = PREDICTION
) -> tuple[str, ...]:
    """The names of the labels' columns: their own, or `NAME probability` where that is taken."""
    return tuple(f"{label} probability" if label in taken else label for label in labels)


def kept_name(name: str, taken: Sequence[str]) -> str:
    """The name of a column that is passed through: its own, or `source NAME` where that is taken.

    >>> kept_name("label", ("path", "label"))
    'source label'
    """
    while name in taken:
        name = f"source {name}"
    return name


def has_faces(names: Sequence[str]) -> bool:
    """Whether a table with these columns has rows of faces: they are before `label`."""
    before = list(names)[: list(names).index("label")] if "label" in names else []
    return all(column.name in before for column in FACE)
