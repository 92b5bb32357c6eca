"""Evaluation of a checkpoint on one split, through the wrapper that export ships."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_runtime import metrics
from fer_runtime.errors import DataError
from fer_runtime.hashing import file_sha256
from fer_train import data, splits
from fer_train.checkpoint import Checkpoint
from fer_train.models import Deployable
from fer_train.recipe import SPLITS


@dataclass(frozen=True)
class Evaluation:
    """Outputs on one split: `probabilities` (N, K) float32, `targets` (N,) int64.

    `seen` (N,) bool marks images whose content is also in the training split, where that is
    known.
    """

    split: str
    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    seen: npt.NDArray[np.bool_] | None = None

    @property
    def confusion(self) -> npt.NDArray[np.integer]:
        """(K, K) counts, row true, column predicted."""
        return metrics.confusion_matrix(
            self.targets, self.probabilities.argmax(1), len(self.labels)
        )

    @property
    def coverage(self) -> list[dict[str, float | None]]:
        """What a least probability keeps, and how much of it is right (`metrics.coverage`)."""
        return metrics.coverage(self.probabilities, self.targets)

    def summary(self) -> dict[str, float]:
        """All figures by name (`fer_runtime.metrics.summary`)."""
        return metrics.summary(self.probabilities, self.targets, self.labels)

    def unseen(self) -> Evaluation | None:
        """The same without images that were trained on; None if there are no such images."""
        if self.seen is None or not self.seen.any() or self.seen.all():
            return None
        kept = ~self.seen
        return replace(
            self, probabilities=self.probabilities[kept], targets=self.targets[kept], seen=None
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of `metrics.json`: figures, 95 % intervals and the confusion matrix.

        `without_training_images` has the same without images that were trained on, if any were.
        """
        values: dict[str, Any] = {
            "split": self.split,
            "labels": list(self.labels),
            "metrics": self.summary(),
            "intervals_95": metrics.intervals(self.probabilities, self.targets, self.labels),
            "confusion": self.confusion.tolist(),
            "coverage": self.coverage,
        }
        unseen = self.unseen()
        if unseen:
            values["without_training_images"] = unseen.to_dict()
        return values


def predict(
    deployable: Deployable, images: torch.Tensor, batch_size: int = 256
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(N, C, H, W) uint8 -> (N, K) float32 logits and probabilities.

    Runs on the CPU, `batch_size` images at a time; `deployable` stays in evaluation mode.
    """
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
    split_file: Path | None = None,
    skip_unreadable: bool = False,
    progress: data.Progress | None = None,
) -> tuple[data.Split, data.Split | None]:
    """One split of a data set as the checkpoint's spec requires, and its training split if any.

    Args:
        checkpoint: labels and input of its spec are what the images are decoded for.
        root: the data set: a folder, or FER2013's CSV.
        split: train, validation or test.
        split_file: the `split.csv` of the checkpoint's run, where that made its splits.
        skip_unreadable: omit broken images instead of raising.
        progress: called as progress(done, total) while images are decoded.

    Raises:
        DataError: the data set has no such split, or a class that the model does not know.
    """
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}; they are {', '.join(SPLITS)}.")
    spec = checkpoint.spec

    def load(name: str) -> data.Split | None:
        return data.load_split(
            root, name, spec.input, spec.labels, skip_unreadable=skip_unreadable, progress=progress
        )

    parts = {}
    if split_file:
        recorded = spec.provenance.recipe.get(splits.HASH_KEY)
        if recorded not in (None, file_sha256(split_file)):
            raise DataError(
                f"{split_file} is not the split that this checkpoint was trained with, so images "
                "it was trained on could count as unseen."
            )
        pool = load("train")
        if pool is None:
            raise DataError(f"{root} contains no training split to which {split_file} could apply.")
        made = splits.assign(pool, splits.read(split_file), split_file)
        parts = {part.name: part for part in made}
    chosen = parts.get(split) or load(split)
    if chosen is None:
        raise DataError(
            f"{root} contains no {split} split; where `fer-train fit` made one, pass --split-file "
            f"{splits.FILE} of that run."
        )
    return chosen, parts.get("train") or load("train")


def evaluate_split(
    deployable: Deployable, split: data.Split, train: data.Split | None = None
) -> Evaluation:
    """Run a model over a split in memory; `train` shows which of its images were trained on."""
    _, probabilities = predict(deployable, split.images)
    seen = None
    if train is not None and split.name != "train":
        seen = np.isin(splits.contents(split), splits.contents(train))
    return Evaluation(split.name, split.labels, probabilities, split.targets.numpy(), seen)
