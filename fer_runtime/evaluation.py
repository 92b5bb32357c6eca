"""How accurate a deployed model is, and what it predicts: observers of a run's rows."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_runtime import metrics
from fer_runtime.columns import UNCERTAIN
from fer_runtime.errors import DataError
from fer_runtime.labelled import place_of
from fer_runtime.rows import Row, top1
from fer_runtime.sources.files import Files


class Evaluation:
    """Collects predictions of labelled images: 4 bytes per image and label. An observer of a run.

    The label of an image is that of its source where the source knows it (FER2013's CSV), else the
    innermost of its folders that is named after a label, in a tar shard too. Images without either
    are counted and left out. Of a picture with several faces the largest one counts; a picture
    without a face is counted and left out.

    >>> evaluation = Evaluation(("happy", "sad"))
    >>> evaluation.add([Row("happy/a.jpg", ("happy", "sad"), np.array([0.9, 0.1], np.float32))])
    >>> evaluation.to_dict()["metrics"]["accuracy"]
    1.0

    Args:
        labels: the model's labels.
        exclude_duplicates_of: a folder; images with the bytes of a file in it are left out, so that
            images that were trained on do not count.
        min_probability: that of the run, whose coverage is printed too.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        exclude_duplicates_of: str | os.PathLike[str] | None = None,
        min_probability: float = 0.0,
    ) -> None:
        self.labels, self.min_probability = tuple(labels), min_probability
        self.errors = self.unlabelled = self.duplicates = self.faceless = 0
        self._places = {label: place for place, label in enumerate(self.labels)}
        self._targets = array("i")
        self._probabilities = array("f")
        self._known = _contents(exclude_duplicates_of)

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in."""
        for row in rows:
            if row.note is not None:
                self.faceless += 1
                continue
            if not row.starts_picture:
                continue
            if row.probabilities is None:
                self.errors += 1
                continue
            place = self._places.get(row.truth or "")
            place = place_of(row.name, self._places) if place is None else place
            if place is None:
                self.unlabelled += 1
            elif self._known and _content(row.name) in self._known:
                self.duplicates += 1
            else:
                self._targets.append(place)
                self._probabilities.frombytes(row.probabilities.astype(np.float32).tobytes())

    def to_dict(self) -> dict[str, Any]:
        """Figures, 95 % intervals, the confusion matrix and what was left out, in plain values.

        Raises:
            DataError: no labelled image was seen.
        """
        targets, probabilities = self._arrays()
        predicted = top1(probabilities)
        matrix = metrics.confusion_matrix(targets, predicted, len(self.labels))
        return {
            "labels": list(self.labels),
            "metrics": metrics.summary(probabilities, targets, self.labels),
            "intervals_95": metrics.intervals(probabilities, targets, self.labels),
            "confusion": matrix.tolist(),
            "coverage": metrics.coverage(probabilities, targets, self._thresholds()),
            "errors": self.errors,
            "without_a_face": self.faceless,
            "unlabelled": self.unlabelled,
            "duplicates_excluded": self.duplicates,
        }

    def text(self) -> str:
        """Accuracy, macro-F1 and each label's recall with 95 % intervals, and the confusion matrix.

        Raises:
            DataError: no labelled image was seen.
        """
        found = self.to_dict()
        figures, intervals = found["metrics"], found["intervals_95"]
        left_out = [
            f"{count:,} {what}"
            for count, what in (
                (self.errors, "could not be read"),
                (self.faceless, "without a face"),
                (self.unlabelled, "without a label skipped"),
                (self.duplicates, "duplicates excluded"),
            )
            if count
        ]
        more = "".join(f"; {each}" for each in left_out)
        lines = [
            f"{len(self._targets):,} labelled images evaluated{more}; 95 % bootstrap intervals"
        ]
        counts = np.array(found["confusion"]).sum(1)
        for name in ("accuracy", "macro_f1", *(f"recall_{label}" for label in self.labels)):
            label = name.removeprefix("recall_")
            if name.startswith("recall_") and not counts[self._places[label]]:
                continue
            low, high = intervals[name]
            title = name.replace("_", " ").replace("macro f1", "macro-F1")
            lines.append(f"  {title:<24}{figures[name]:.4f} ({low:.4f}-{high:.4f})")
        if self.min_probability:
            lines.append(self._coverage(found["coverage"]))
        return "\n".join([*lines, *self._matrix(np.array(found["confusion"]))]) + "\n"

    def _thresholds(self) -> list[float]:
        """The usual ones, and that of the run."""
        return sorted({*metrics.THRESHOLDS, self.min_probability})

    def _coverage(self, curve: list[dict[str, float | None]]) -> str:
        (here,) = (each for each in curve if each["min_probability"] == self.min_probability)
        share = "none" if here["accuracy"] is None else f"{here['accuracy']:.4f}"
        return (
            f"  at least {self.min_probability:g} probable: {here['coverage']:.1%} of the images, "
            f"accuracy {share}; the figures above count the uncertain ones too"
        )

    def _arrays(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        if not self._targets:
            skipped = f" ({self.unlabelled:,} images without)" if self.unlabelled else ""
            raise DataError(
                f"--evaluate: no image with a label was read{skipped}. Labelled images are in one "
                f"folder per label ({', '.join(self.labels)})."
            )
        targets = np.array(self._targets, np.int64)
        return targets, np.array(self._probabilities, np.float32).reshape(len(targets), -1)

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
    """How often each label was predicted, and how probable it was; an observer of a run.

    Args:
        labels: the model's labels.
        min_probability: that of the run; more than 0 adds the label "uncertain".
    """

    WIDTH = 30

    def __init__(self, labels: Sequence[str], *, min_probability: float = 0.0) -> None:
        self.labels = (*labels, UNCERTAIN) if min_probability else tuple(labels)
        self._places = {label: place for place, label in enumerate(self.labels)}
        self.counts = np.zeros(len(self.labels), np.int64)
        self.confidence = np.zeros(len(self.labels))

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in; errors do not count."""
        for row in rows:
            if row.label is not None and row.probability is not None:
                place = self._places[row.label]
                self.counts[place] += 1
                self.confidence[place] += row.probability

    def to_dict(self) -> dict[str, Any]:
        """Count and mean probability of each label, in plain values."""
        return {
            label: {"count": int(count), "mean_probability": float(sure / count) if count else None}
            for label, count, sure in zip(self.labels, self.counts, self.confidence, strict=True)
        }

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


def _contents(folder: str | os.PathLike[str] | None) -> set[bytes]:
    """The hashes of the images in a folder; raises DataError where there are none."""
    if folder is None:
        return set()
    found = {content for item in Files([folder]) if (content := _content(item.path))}
    if not found:
        raise DataError(f"{os.fspath(folder)}: no image files there to exclude.")
    return found


def _content(path: str) -> bytes | None:
    """The hash of a file's bytes; None for what is not a file that can be read."""
    from hashlib import blake2b

    try:
        return blake2b(Path(path).read_bytes(), digest_size=16).digest()
    except (OSError, ValueError):
        return None
