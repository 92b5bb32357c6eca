"""A folder of labelled images: the name of the folder that an image lies in is its label."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    """The images of `folder/<label>/...` in the runtime's order; nothing is decoded.

    Raises:
        DataError: no such folder, no image in it, or a subfolder that is none of the labels.
    """
    top = os.fspath(folder)
    if not os.path.isdir(top):
        raise DataError(f"{top} is no folder; labelled images lie in one folder per label.")
    paths, targets = [], []
    places = {label: place for place, label in enumerate(labels)}
    for item in Files([top]):
        label = os.path.relpath(item.path, top).split(os.sep)[0]
        if label not in places:
            raise DataError(
                f"{item.path}: {label!r} is none of the model's labels ({', '.join(labels)}); "
                "labelled images lie in one folder per label."
            )
        paths.append(item.path)
        targets.append(places[label])
    if not paths:
        raise DataError(f"{top} holds no images; labelled images lie in one folder per label.")
    return Labelled(tuple(paths), np.array(targets, np.int64))
