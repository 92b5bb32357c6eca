"""What a run leaves out of its training split; validation and test stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fer_runtime.errors import DataError
from fer_train import label_file, splits
from fer_train.data import Split


def without(split: Split, left_out: npt.NDArray[np.bool_], why: str) -> Split:
    """The images that are not marked in (N,) bool `left_out`.

    Raises:
        DataError: nothing, or nothing of a class, would remain.
    """
    kept = split.take(torch.from_numpy(np.flatnonzero(~left_out)), split.name)
    for label, count in kept.counts().items():
        if not count:
            raise DataError(
                f"{why}: no training image of {label} remains of {split.counts()[label]:,}."
            )
    return kept


def duplicates(train: Split, others: Sequence[Split]) -> Split:
    """The training images whose content is in none of the other splits."""
    known = np.concatenate([splits.contents(other) for other in others])
    return without(train, np.isin(splits.contents(train), known), "--skip-duplicates")


def improbable(train: Split, file: Path, least: float) -> Split:
    """The training images whose label is at least so probable in a labels.csv.

    Raises:
        DataError: an unreadable file, or one without some of the images.
    """
    known = label_file.read(file)
    missing = [name for name in train.names if name not in known]
    if missing:
        raise DataError(
            f"{file} has no row for {len(missing):,} of {len(train):,} training images, the first "
            f"{missing[0]}."
        )
    doubtful = np.array([known[name] < least for name in train.names])
    return without(train, doubtful, f"--min-label-probability {least:g}")
