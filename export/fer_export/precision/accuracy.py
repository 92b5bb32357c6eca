"""How accurate a model is on labelled images, so that two precisions can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_export.formats.runners import Runner
from fer_runtime import images, metrics
from fer_runtime.labelled import Labelled
from fer_runtime.spec import ModelSpec

BATCH = 32


@dataclass(frozen=True)
class Figures:
    """Shares of 1 on `images` labelled images, with the 95 % bootstrap interval of macro-F1."""

    images: int
    accuracy: float
    macro_f1: float
    macro_f1_interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure(run: Runner, labelled: Labelled, spec: ModelSpec) -> Figures:
    """Run a model on labelled images, in batches of 32 decoded as the runtime decodes them.

    Raises:
        ImageError: an image that cannot be read.
    """
    probabilities = np.concatenate(
        [run(pixels)["probabilities"] for pixels in _batches(labelled.paths, spec)]
    )
    matrix = metrics.confusion_matrix(labelled.targets, probabilities.argmax(1), len(spec.labels))
    interval = metrics.intervals(probabilities, labelled.targets, spec.labels)["macro_f1"]
    return Figures(
        len(labelled.paths), metrics.accuracy(matrix), metrics.macro_f1(matrix), interval
    )


def _batches(paths: tuple[str, ...], spec: ModelSpec) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(paths), BATCH):
        yield images.load_batch(paths[start : start + BATCH], spec.input)
