"""Labelled images: the innermost folder named after a label is the image's label."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import DataError
from fer_runtime.sources.files import Files


@dataclass(frozen=True)
class Labelled:
    """Image files with their labels.

    Attributes:
        paths: the files, in the runtime's order.
        targets: (N,) int64, the place of each one's label in the given labels.
    """

    paths: tuple[str, ...]
    targets: npt.NDArray[np.int64]


def read(folder: str | os.PathLike[str], labels: Sequence[str]) -> Labelled:
    """The images below `folder`, one folder per label, in the runtime's order; not yet decoded.

    Raises:
        DataError: no such folder, no image in it, or an image that is in no label's folder.
    """
    top = os.fspath(folder)
    if not os.path.isdir(top):
        raise DataError(f"{top} is not a folder; labelled images are in one folder per label.")
    paths, targets = [], []
    places = {label: place for place, label in enumerate(labels)}
    for item in Files([top]):
        target = place_of(os.path.relpath(item.path, top), places)
        if target is None:
            raise DataError(
                f"{item.path}: none of its folders is named after one of the model's labels "
                f"({', '.join(places)}); labelled images are in one folder per label."
            )
        targets.append(target)
        paths.append(item.path)
    if not paths:
        raise DataError(f"{top} contains no images; labelled images are in one folder per label.")
    return Labelled(tuple(paths), np.array(targets, np.int64))


def place_of(path: str, places: Mapping[str, int]) -> int | None:
    """The place of the label that one of a path's folders is named after, innermost first."""
    for folder in reversed(os.path.dirname(path).split(os.sep)):
        if folder in places:
            return places[folder]
    return None
