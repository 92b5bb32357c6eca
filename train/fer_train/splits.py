"""The splits of a training run: the data set's own, or made here, saved, and read again.

A made split is a CSV file of two columns, `image,split`: an image's name as in `Split.names`, and
train, validation or test. Images of equal content stay on one side, since an image that was
trained on must not be tested on.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec
from fer_train import data
from fer_train.data import Progress, Split
from fer_train.recipe import SPLITS

DEFAULT_FRACTIONS = (0.8, 0.2)
FILE = "split.csv"
HASH_KEY = "split_sha256"
"""The key of a made split's hash in a checkpoint's provenance."""


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on and chooses on; `made` are all parts of a split that was made here."""

    train: Split
    validation: Split
    made: tuple[Split, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How splits are made where the data set has none.

    `fractions` of train, validation and perhaps test, or () for the data set's own; `file` is a
    saved split, which takes precedence.
    """

    fractions: tuple[float, ...] = ()
    stratify: bool = True
    seed: int = 0
    file: Path | None = None


def parse_fractions(text: str) -> tuple[float, ...]:
    """ "0.8" -> (0.8, 0.2), "0.7,0.2,0.1" (or with slashes) as they are, "" -> ().

    Raises:
        DataError: not one, two or three positive numbers that make 1.
    """
    if not text:
        return ()
    try:
        parts = tuple(float(part) for part in text.replace("/", ",").split(","))
    except ValueError:
        parts = ()
    if len(parts) == 1:
        parts = (*parts, 1 - parts[0])
    if len(parts) not in (2, 3) or min(parts) <= 0 or abs(sum(parts) - 1) > 1e-6:
        raise DataError(
            f"split is {text!r}; give the share of training (0.8), or of training, validation and "
            "test (0.7,0.2,0.1), which make 1."
        )
    return parts


def load_training_data(
    root: Path,
    spec: InputSpec,
    labels: Sequence[str],
    plan: Plan | None = None,
    *,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> TrainingData:
    """The training and validation splits; without a validation split, a stratified fifth of train.

    Raises:
        DataError: as `data.load_split`; a plan that would replace the data set's own splits; a
            saved split of other images.
    """
    plan = plan or Plan()

    def load(name: str) -> Split | None:
        return data.load_split(
            root, name, spec, labels, skip_unreadable=skip_unreadable, progress=progress
        )

    made_here = ("validation", "test")[: max(0, len(plan.fractions) - 1)] if plan.fractions else ()
    if plan.file:
        made_here = tuple(name for name in set(read(plan.file).values()) if name != "train")
    for name in made_here:
        if data.has(root, name):
            raise DataError(
                f"{root} has its own {name} split, which a made split would replace. Omit "
                f"--split and --split-file, or cut its training images alone: --data "
                f"{root / 'train'}."
            )
    pool = load("train")
    if pool is None:
        raise DataError(f"{root} contains no training split.")
    if plan.file:
        parts = assign(pool, read(plan.file), plan.file)
        found = {part.name: part for part in parts}
        if not {"train", "validation"} <= set(found):
            raise DataError(f"{plan.file} names no images of train, or none of validation.")
        return TrainingData(found["train"], found["validation"], parts)
    validation = None if plan.fractions else load("validation")
    if validation is not None:
        return TrainingData(pool, validation)
    parts = cut(pool, plan.fractions or DEFAULT_FRACTIONS, stratify=plan.stratify, seed=plan.seed)
    return TrainingData(parts[0], parts[1], parts)


def cut(
    pool: Split, fractions: Sequence[float], *, stratify: bool = True, seed: int = 0
) -> tuple[Split, ...]:
    """Cut a split into parts of these fractions, named train, validation and perhaps test.

    Images of equal content stay together. With `stratify` each class is cut in these fractions,
    else all images at once.

    Raises:
        DataError: a class with too few images for every part.
    """
    part = _dealt(pool, fractions, stratify=stratify, seed=seed)
    parts = tuple(
        pool.take(torch.from_numpy(np.flatnonzero(part == index)), SPLITS[index])
        for index in range(len(fractions))
    )
    for made in parts:
        lacking = [label for label, count in made.counts().items() if not count]
        if lacking:
            raise DataError(
                f"The class {lacking[0]} has too few images ({pool.counts()[lacking[0]]}) for a "
                f"share in {made.name}; add images, or cut larger parts."
            )
    return parts


def folds(pool: Split, count: int, *, seed: int = 0) -> tuple[TrainingData, ...]:
    """`count` ways to hold a part out: each image is in the validation split of just one.

    Each class is cut evenly, and images of equal content stay together.

    Raises:
        DataError: fewer than two folds, or a class with too few images for each of them.
    """
    if count < 2:
        raise DataError(f"There are {count} folds; two are the least.")
    part = _dealt(pool, [1 / count] * count, stratify=True, seed=seed)

    def side(members: npt.NDArray[np.bool_], name: str) -> Split:
        return pool.take(torch.from_numpy(np.flatnonzero(members)), name)

    made = tuple(
        TrainingData(side(part != index, "train"), side(part == index, "validation"))
        for index in range(count)
    )
    for label, least in (
        (label, fold.validation.counts()[label]) for fold in made for label in pool.labels
    ):
        if not least:
            raise DataError(
                f"The class {label} has too few images ({pool.counts()[label]}) for {count} folds."
            )
    return made


def _dealt(
    pool: Split, fractions: Sequence[float], *, stratify: bool, seed: int
) -> npt.NDArray[np.integer]:
    """(N,) the part of each image: 0 to len(fractions) - 1."""
    rng = np.random.default_rng(seed)
    _, first, group = np.unique(contents(pool), return_index=True, return_inverse=True)
    stratum = pool.targets.numpy()[first] if stratify else np.zeros(len(first), int)
    part_of_group = np.zeros(len(first), int)
    sizes = np.bincount(group)
    for value in np.unique(stratum):
        members = rng.permutation(np.flatnonzero(stratum == value))
        ends = np.rint(np.cumsum(fractions) * sizes[members].sum())
        starts = np.cumsum(sizes[members]) - sizes[members]
        part_of_group[members] = np.minimum(
            np.searchsorted(ends, starts, side="right"), len(fractions) - 1
        )
    found: npt.NDArray[np.integer] = part_of_group[group]
    return found


def contents(split: Split) -> npt.NDArray[np.bytes_]:
    """(N,) hash of each image's decoded pixels."""
    return np.array(
        [hashlib.sha256(image.tobytes()).hexdigest() for image in split.images.numpy()], "S64"
    )


def write(path: Path, parts: Sequence[Split]) -> None:
    """Save which image is in which part; the file appears only when complete.

    Raises:
        DataError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(_text(parts), encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sha256(parts: Sequence[Split]) -> str:
    """The hash of the file that `write` makes of these parts."""
    return hashlib.sha256(_text(parts).encode()).hexdigest()


def _text(parts: Sequence[Split]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("image", "split"))
    writer.writerows(sorted((name, part.name) for part in parts for name in part.names))
    return stream.getvalue()


def read(path: Path) -> dict[str, str]:
    """Image name -> split name of a saved split.

    Raises:
        DataError: no such file, or not a saved split.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if list(reader.fieldnames or ()) != ["image", "split"]:
                raise DataError(f"{path} is not a saved split; its columns must be image,split.")
            pairs = [(row["image"], row["split"]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a saved split: {error}") from None
    rows = dict(pairs)
    if len(rows) < len(pairs):
        raise DataError(f"{path} names an image twice; each may be in one split only.")
    wrong = [f"{image}: {name!r}" for image, name in rows.items() if name not in SPLITS]
    if wrong:
        raise DataError(f"{path}: {wrong[0]} is not a split; they are {', '.join(SPLITS)}.")
    return rows


def assign(pool: Split, rows: Mapping[str, str], path: Path) -> tuple[Split, ...]:
    """The parts of `pool` that a saved split names, without those that it leaves empty.

    Raises:
        DataError: an image that is in one of the two only.
    """
    for missing, message in (
        (set(pool.names) - set(rows), "is not in"),
        (set(rows) - set(pool.names), "is not among the images, but in"),
    ):
        if missing:
            raise DataError(
                f"{min(missing)} {message} {path} (and {len(missing) - 1:,} more); the split was "
                "saved for other images."
            )
    names = np.array([rows[name] for name in pool.names])
    return tuple(
        pool.take(torch.from_numpy(np.flatnonzero(names == part)), part)
        for part in SPLITS
        if (names == part).any()
    )
