"""Labelled images: the innermost of its folders that has a label's name says what an image is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import DataError
from fer_runtime.sources import Files


@dataclass(frozen=True)
class Labelled:
    """Image files, and (N,) int64 `targets`: the place of each one's label in the labels given."""

    paths: tuple[str, ...]
    targets: npt.NDArray[np.int64]


def read(folder: str | os.PathLike[str], labels: Sequence[str]) -> Labelled:
    """The images below `folder`, one folder per label, in the runtime's order; not yet decoded.

    Raises:
        DataError: no such folder, no image in it, or an image that lies in no label's folder.
    """
    top = os.fspath(folder)
    if not os.path.isdir(top):
        raise DataError(f"{top} is no folder; labelled images lie in one folder per label.")
    paths, targets = [], []
    places = {label: place for place, label in enumerate(labels)}
    for item in Files([top]):
        targets.append(target_of(os.path.relpath(item.path, top), places))
        paths.append(item.path)
    if not paths:
        raise DataError(f"{top} holds no images; labelled images lie in one folder per label.")
    return Labelled(tuple(paths), np.array(targets, np.int64))


def target_of(path: str, places: Mapping[str, int]) -> int:
    """The place of the label that a path's folders name; raises DataError where none does."""
    for folder in reversed(os.path.dirname(path).split(os.sep)):
        if folder in places:
            return places[folder]
    raise DataError(
        f"{path}: none of its folders is called like a label of the model's "
        f"({', '.join(places)}); labelled images lie in one folder per label."
    )
