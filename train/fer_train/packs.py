"""Packs of decoded images (`fer-pack`) as the splits of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_runtime.errors import DataError
from fer_runtime.hashing import dataset_sha256, file_sha256
from fer_runtime.images import Pixels
from fer_runtime.packed.layout import ENDING, LABELS, NAMES, PIXELS
from fer_runtime.packed.reader import PackedSet
from fer_runtime.spec import InputSpec
from fer_train.folders import FOLDERS


@dataclass(frozen=True)
class Packed:
    """One split: (N, C, H, W) uint8, class numbers, names; ordered by class, then as packed."""

    pixels: Pixels
    targets: list[int]
    names: tuple[str, ...]


def is_pack(root: Path) -> bool:
    """Whether a data set is one pack, without splits."""
    return root.suffix == ENDING


def split_pack(root: Path, name: str) -> Path | None:
    """The pack of a split, as `ROOT/train.ferpack`; for train, `root` where it is a pack itself."""
    if is_pack(root):
        return root if name == "train" else None
    for candidate in FOLDERS[name]:
        if (root / f"{candidate}{ENDING}").is_dir():
            return root / f"{candidate}{ENDING}"
    return None


def labels_in(pack: Path) -> tuple[str, ...]:
    """The class names of a pack, sorted by name; raises DataError."""
    found = tuple(sorted(set(_labels(PackedSet(pack)))))
    if len(found) < 2:
        raise DataError(f"{pack} contains {len(found)} classes; a classifier needs two.")
    return found


def read(
    pack: Path,
    spec: InputSpec,
    labels: Sequence[str],
    *,
    skip_unreadable: bool,
    refuse_broken: Callable[[Sequence[str]], None],
) -> Packed:
    """A split from a pack.

    Raises:
        DataError: other pixels than the model's input requires, a class that `labels` does not
            name, one without images, or an unreadable image (unless those are to be skipped).
    """
    found = PackedSet(pack)
    found.header.require(spec, str(pack))
    own = _labels(found)
    if unknown := sorted(set(own) - set(labels)):
        raise DataError(
            f"{pack} has the class {unknown[0]}, which the model does not know; it knows "
            f"{', '.join(labels)}."
        )
    if lacking := [label for label in labels if label not in own]:
        raise DataError(f"{pack} contains no image of {lacking[0]}; every class needs some.")
    names = list(found.names())
    errors = found.header.errors
    if errors and not skip_unreadable:
        refuse_broken([f"{names[place]}: {why}" for place, why in errors.items()])
    numbers = np.array([labels.index(label) for label in own])
    places = [p for p in np.argsort(numbers, kind="stable").tolist() if p not in errors]
    return Packed(
        found.pixels[places], numbers[places].tolist(), tuple(names[place] for place in places)
    )


def sha256(packs: Sequence[Path]) -> str:
    """One hash for the pixels, names and labels of packs."""
    files = [pack / name for pack in packs for name in (PIXELS, NAMES, LABELS)]
    return dataset_sha256((f"{f.parent.name}/{f.name}", file_sha256(f)) for f in files)


def _labels(pack: PackedSet) -> list[str]:
    """The true labels: those that were packed, else the folders of the images."""
    return [
        label if label is not None else Path(name).parent.name
        for name, label in zip(pack.names(), pack.labels(), strict=True)
    ]
