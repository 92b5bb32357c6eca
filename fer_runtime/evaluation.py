"""How right a deployed model is: rows of images that lie in folders named by their label."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from fer_runtime import metrics
from fer_runtime.errors import DataError
from fer_runtime.labelled import target_of
from fer_runtime.pipeline import Row


class Evaluation:
    """Collects what was predicted for labelled images: 4 bytes an image and each of its labels.

    An image's label is the innermost of the folders that it lies in which has a label's name, in a
    tar shard too.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.errors = 0
        self._places = {label: place for place, label in enumerate(self.labels)}
        self._targets = array("i")
        self._probabilities = array("f")

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in; raises DataError for an image that lies in no label's folder."""
        for row in rows:
            if row.probabilities is None:
                self.errors += 1
                continue
            self._targets.append(target_of(row.name, self._places))
            self._probabilities.frombytes(row.probabilities.astype(np.float32).tobytes())

    def text(self) -> str:
        """Accuracy, macro-F1 and each label's recall with 95 % intervals, and the confusion matrix.

        Raises:
            DataError: no image could be judged.
        """
        if not self._targets:
            raise DataError("--evaluate: no image could be judged.")
        targets = np.array(self._targets, np.int64)
        probabilities = np.array(self._probabilities, np.float32).reshape(len(targets), -1)
        figures = metrics.summary(probabilities, targets, self.labels)
        intervals = metrics.intervals(probabilities, targets, self.labels)
        unread = f"; {self.errors:,} could not be read" if self.errors else ""
        lines = [f"{len(targets):,} labelled images judged{unread}; 95 % bootstrap intervals"]
        counts = np.bincount(targets, minlength=len(self.labels))
        for name in ("accuracy", "macro_f1", *(f"recall_{label}" for label in self.labels)):
            label = name.removeprefix("recall_")
            if name.startswith("recall_") and not counts[self._places[label]]:
                continue
            low, high = intervals[name]
            title = name.replace("_", " ").replace("macro f1", "macro-F1")
            lines.append(f"  {title:<24}{figures[name]:.4f} ({low:.4f}-{high:.4f})")
        matrix = metrics.confusion_matrix(targets, probabilities.argmax(1), len(self.labels))
        return "\n".join([*lines, *self._matrix(matrix)]) + "\n"

    def _matrix(self, matrix: npt.NDArray[np.integer]) -> list[str]:
        width = max(7, *(len(label) + 2 for label in self.labels))
        first = max(20, *(len(label) + 2 for label in self.labels))
        lines = [
            f"{'labelled, predicted':<{first}}" + "".join(f"{t:>{width}}" for t in self.labels)
        ]
        for label, row in zip(self.labels, matrix.tolist(), strict=True):
            lines.append(f"{label:<{first}}" + "".join(f"{count:>{width},}" for count in row))
        return lines


class Summary:
    """How often each label was predicted, and how sure the model was; constant memory."""

    WIDTH = 30

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.counts = np.zeros(len(self.labels), np.int64)
        self.confidence = np.zeros(len(self.labels))

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in; errors do not count."""
        for row in rows:
            if row.probabilities is not None:
                best = int(row.probabilities.argmax())
                self.counts[best] += 1
                self.confidence[best] += float(row.probabilities[best])

    def text(self) -> str:
        """A bar, a count, a share and the mean probability of each label."""
        total, most = max(1, int(self.counts.sum())), max(1, int(self.counts.max()))
        first = max(len(label) for label in self.labels)
        lines = []
        for label, count, sure in zip(self.labels, self.counts, self.confidence, strict=True):
            bar = "█" * round(self.WIDTH * int(count) / most)
            mean = f", mean probability {sure / count:.2f}" if count else ""
            lines.append(
                f"{label:<{first}}  {bar:<{self.WIDTH}} {count:>9,} {count / total:>6.1%}{mean}"
            )
        return "\n".join(lines) + "\n"
