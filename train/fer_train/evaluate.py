"""Evaluation of a checkpoint on one split, through the wrapper that export ships."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_runtime import metrics
from fer_runtime.errors import DataError
from fer_train import data
from fer_train.checkpoint import Checkpoint
from fer_train.models import Deployable


@dataclass(frozen=True)
class Evaluation:
    """Outputs on one split: `probabilities` (N, K) float32, `targets` (N,) int64."""

    split: str
    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]

    @property
    def confusion(self) -> npt.NDArray[np.integer]:
        """(K, K) counts, row true, column predicted."""
        return metrics.confusion_matrix(
            self.targets, self.probabilities.argmax(1), len(self.labels)
        )

    def summary(self) -> dict[str, float]:
        """All figures by name (`fer_runtime.metrics.summary`)."""
        return metrics.summary(self.probabilities, self.targets, self.labels)

    def to_dict(self) -> dict[str, Any]:
        """What `metrics.json` holds: figures, 95 % intervals and the confusion matrix."""
        predicted = self.probabilities.argmax(1)
        intervals = {
            name: metrics.bootstrap_interval(function, self.targets, predicted, len(self.labels))
            for name, function in (
                ("accuracy", metrics.accuracy),
                ("macro_f1", metrics.macro_f1),
                ("macro_recall", metrics.macro_recall),
            )
        }
        return {
            "split": self.split,
            "labels": list(self.labels),
            "metrics": self.summary(),
            "intervals_95": intervals,
            "confusion": self.confusion.tolist(),
        }


def predict(
    deployable: Deployable, images: torch.Tensor, batch_size: int = 256
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(N, C, H, W) uint8 -> (N, K) float32 logits and probabilities, in evaluation mode."""
    deployable.eval()
    logits, probabilities = [], []
    with torch.inference_mode():
        for batch in images.split(batch_size):
            outputs = deployable(batch)
            logits.append(outputs[0])
            probabilities.append(outputs[1])
    return torch.cat(logits).numpy(), torch.cat(probabilities).numpy()


def load_split(
    checkpoint: Checkpoint,
    root: Path,
    split: str = "validation",
    *,
    progress: data.Progress | None = None,
) -> data.Split:
    """One split of a data set, as the checkpoint's spec wants it.

    Raises:
        DataError: the data set has no such split, or a class that the model does not know.
    """
    spec = checkpoint.spec
    loaded = data.load_split(root, split, spec.input, spec.labels, progress=progress)
    if loaded is None:
        raise DataError(f"{root} holds no {split} split.")
    return loaded


def evaluate_split(deployable: Deployable, split: data.Split) -> Evaluation:
    """Run a model over a split that is already in memory."""
    _, probabilities = predict(deployable, split.images)
    return Evaluation(split.name, split.labels, probabilities, split.targets.numpy())
