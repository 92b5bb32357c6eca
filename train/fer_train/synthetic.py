"""A seeded set of synthetic expressive faces, so that the demo and the tests need no download.

The faces are drawn, not learnt: accuracy on them shows that a pipeline works, and nothing about
photographs of people.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg

from fer_runtime.errors import DataError
from fer_train.drawing import LABELS, render_face


def write_dataset(
    root: Path,
    *,
    train: int = 2800,
    validation: int = 700,
    test: int = 700,
    seed: int = 0,
    size: int = 48,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, int]]:
    """Writes `root/{train,validation,test}/<label>/<label>_<index>.jpg`, grey JPEG files.

    Each image depends on (seed, split, index) alone: the same call gives the same bytes with the
    same library versions, and a larger split begins with the images of a smaller one. The folder
    appears under its name only when it is complete.

    Args:
        root: the folder to make; it may exist if it is empty.
        train: images in that split, spread evenly over the labels; at least 1.
        validation: likewise; with 0 the split gets no folder.
        test: likewise.
        seed: any integer from 0 up.
        size: height and width in pixels, at least 16.
        progress: called as progress(done, total) after every image.

    Returns:
        The number of images per split and label, `{"train": {"angry": 400, ...}, ...}`.

    Raises:
        DataError: a count, seed or size out of range, a folder in use, or one that cannot be
            written.
    """
    counts = {"train": train, "validation": validation, "test": test}
    if train < 1 or validation < 0 or test < 0 or seed < 0:
        given = ", ".join(f"{name}={value}" for name, value in (counts | {"seed": seed}).items())
        raise DataError(f"{given}: train must be at least 1 and the others at least 0")
    target = Path(root).resolve()
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise DataError(f"{root} is not an empty folder; name a new one, or delete it first")
        partial = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
        try:
            partial.mkdir(parents=True)
            written = _write_splits(partial, counts, seed, size, progress)
            if target.exists():
                target.rmdir()
            partial.rename(target)
        finally:  # Ctrl-C too must leave no half-written set behind
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"cannot write the data set to {root}: {error.strerror or error}; "
            "name a folder that you may write to"
        ) from error
    return written


def _write_splits(
    folder: Path,
    counts: dict[str, int],
    seed: int,
    size: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, dict[str, int]]:
    total, done = sum(counts.values()), 0
    written = {split: dict.fromkeys(LABELS, 0) for split in counts}
    for number, (split, count) in enumerate(counts.items()):
        for label in LABELS[:count]:
            (folder / split / label).mkdir(parents=True)
        for index in range(count):
            label = LABELS[index % len(LABELS)]
            rng = np.random.default_rng([seed, number, index])
            pixels = render_face(label, rng, size=size)[:, :, None]
            quality = int(rng.integers(60, 96))
            jpeg = simplejpeg.encode_jpeg(pixels, quality, "GRAY", "Gray")
            (folder / split / label / f"{label}_{index:05d}.jpg").write_bytes(jpeg)
            written[split][label] += 1
            done += 1
            if progress is not None:
                progress(done, total)
    return written
