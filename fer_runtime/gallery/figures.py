"""The figures above a gallery: how many of what, and how many right where the truth is known."""

from __future__ import annotations

import numpy as np

from fer_runtime.labelled import place_of
from fer_runtime.rows import Row


class Figures:
    """Counts of a run's rows, taken one at a time.

    Attributes:
        labels: the model's labels.
        faces: rows with a prediction: faces, or whole pictures where no faces were searched.
        uncertain: those of them that are less probable than the run's least probability; they have
            no part in the counts per label.
        without_face: pictures in which no face was found.
        errors: pictures that could not be read.
        found: whether any row is of a face that was found in a picture.
        predicted: (K,) int64, rows per predicted label.
        confidence: (K,) float64, the sum of their probabilities.
        labelled: (K,) int64, rows per true label, where it is known.
        right: (K,) int64, those of them that were predicted as such.
        known: (K,) int64, rows per predicted label, of those with a true one.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.places = {label: place for place, label in enumerate(labels)}
        self.faces = self.uncertain = self.without_face = self.errors = 0
        self.found = False
        self.predicted = np.zeros(len(labels), np.int64)
        self.confidence = np.zeros(len(labels))
        self.labelled = np.zeros(len(labels), np.int64)
        self.right = np.zeros(len(labels), np.int64)
        self.known = np.zeros(len(labels), np.int64)

    def add(self, row: Row) -> None:
        """Take a row in."""
        if row.error is not None:
            self.errors += 1
            return
        if row.label is None or row.probability is None:
            self.without_face += 1
            return
        self.faces += 1
        self.found = self.found or row.face is not None
        if row.uncertain:
            self.uncertain += 1
            return
        place = self.places[row.label]
        self.predicted[place] += 1
        self.confidence[place] += row.probability
        truth = self.truth(row)
        if truth is not None:
            self.labelled[truth] += 1
            self.known[place] += 1
            self.right[truth] += truth == place

    def truth(self, row: Row) -> int | None:
        """The place of a row's true label; None where it is not known.

        A picture's label is that of its largest face, as for `--evaluate`; nothing is known about
        the others.
        """
        if not row.starts_picture:
            return None
        place = self.places.get(row.truth or "")
        return place_of(row.name, self.places) if place is None else place

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return self.faces + self.without_face + self.errors

    @property
    def noun(self) -> str:
        """What a row with a label is: a "face", or an "image" where no faces were searched."""
        return "face" if self.found or self.without_face else "image"

    def lines(self) -> list[tuple[str, str]]:
        """(title, figure) of what there is to say, as text."""
        found = [(f"{self.noun}s", f"{self.faces:,}")]
        if self.uncertain:
            found.append(("uncertain", f"{self.uncertain:,}"))
        if self.without_face:
            found.append(("without a face", f"{self.without_face:,}"))
        if self.errors:
            found.append(("with an error", f"{self.errors:,}"))
        known, right = int(self.labelled.sum()), int(self.right.sum())
        if known:
            found.append(("accuracy", f"{right / known:.1%}".replace("%", "\N{NO-BREAK SPACE}%")))
            found.append(("wrong, truth known", f"{known - right:,} of {known:,}"))
        return found
