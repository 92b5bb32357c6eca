"""A teacher's logits that were stored, for every training image: distillation without the teacher.

The file is an .npz with `names` (N,), the images' paths below the training split's folder, and
`logits` (N, K) or (N, V, K) for V views of each image, in the order of the data set's labels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import torch

from fer_runtime.errors import DataError


def read(path: Path, names: Sequence[str], classes: int) -> torch.Tensor:
    """(N, V, K) float32 logits in the order of the split's `names`.

    Names are compared by their last two parts, CLASS/FILE, so that it does not matter where the
    data set is.

    Raises:
        DataError: a file that cannot be read, of other classes, or without one of the images.
    """
    try:
        with np.load(path) as stored:
            known, logits = stored["names"], np.asarray(stored["logits"], np.float32)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as stored logits: {error}; an .npz with names and logits is "
            "required."
        ) from None
    if logits.ndim == 2:
        logits = logits[:, None]
    if logits.ndim != 3 or len(logits) != len(known) or not np.isfinite(logits).all():
        raise DataError(
            f"{path}: logits of shape {logits.shape} for {len(known)} names; finite numbers of "
            "shape (names, classes) or (names, views, classes) are required."
        )
    if logits.shape[2] != classes:
        raise DataError(
            f"{path} has logits of {logits.shape[2]} classes; the data set has {classes}."
        )
    places = {_key(name): place for place, name in enumerate(known.tolist())}
    missing = [name for name in names if _key(name) not in places]
    if missing:
        raise DataError(
            f"{path} has no logits of {len(missing):,} of {len(names):,} training images, the "
            f"first {missing[0]}."
        )
    return torch.from_numpy(logits[[places[_key(name)] for name in names]])


def _key(name: str) -> tuple[str, ...]:
    return PurePath(name).parts[-2:]
