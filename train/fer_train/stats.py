"""What a data set contains before anyone trains on it: counts, sizes, broken files, duplicates.

Duplicates are found by the hash of a file's bytes (of a row's pixels in FER2013's CSV). FER2013's
own test split shares images with its training split, some under another label, and what was
trained on must not be tested on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fer_runtime import images
from fer_runtime.errors import DataError, ImageError
from fer_runtime.spec import InputSpec
from fer_train import data, fer2013, packs
from fer_train.folders import image_files, split_folder
from fer_train.recipe import SPLITS


@dataclass(frozen=True)
class SplitStats:
    """One split: images per label, per size ("48 x 48"), broken files, repeated images.

    `duplicates` counts images beyond the first of each content; `relabelled` those of them whose
    label differs from the first one's.
    """

    counts: Mapping[str, int]
    sizes: Mapping[str, int]
    unreadable: Sequence[str]
    duplicates: int
    relabelled: int


@dataclass(frozen=True)
class Overlap:
    """Images of `second` whose content is also in `first`; some under another label."""

    first: str
    second: str
    images: int
    relabelled: int


@dataclass(frozen=True)
class Stats:
    """All splits, what they share, and mean and std of the training split per channel (0-1)."""

    splits: Mapping[str, SplitStats]
    overlaps: Sequence[Overlap]
    mean: Sequence[float]
    std: Sequence[float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class _Tally:
    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    labels_by_content: dict[str, list[str]] = field(default_factory=dict)
    levels: np.ndarray[Any, np.dtype[np.int64]] | None = None

    def split_stats(self, labels: Sequence[str]) -> SplitStats:
        repeated = [found for found in self.labels_by_content.values() if len(found) > 1]
        return SplitStats(
            counts={label: self.counts[label] for label in labels},
            sizes=dict(self.sizes.most_common()),
            unreadable=self.unreadable,
            duplicates=sum(len(found) - 1 for found in repeated),
            relabelled=sum(label != found[0] for found in repeated for label in found[1:]),
        )


def measure(
    root: Path, *, image_size: int = 48, channels: int = 1, progress: data.Progress | None = None
) -> Stats:
    """Look at every image of a data set; a broken one is listed, and does not stop the count.

    Args:
        root: a data set, see `data`.
        image_size: side in pixels at which mean and std are taken.
        channels: 1 (grey) or 3 (RGB).
        progress: called as progress(done, total).

    Raises:
        DataError: no data set there, or no readable training image.
    """
    spec = InputSpec(
        height=image_size, width=image_size, channels=channels,
        mean=(0.5,) * channels, std=(0.25,) * channels,
    )  # fmt: skip
    if packs.split_pack(root, "train"):
        raise DataError(f"{root} is packed; `stats` looks at the files: name their folder.")
    labels = data.labels_of(root)
    tallies = {}
    for split in SPLITS:
        entries = list(_entries(root, split, labels))
        if entries:
            tallies[split] = _tally(entries, spec, progress)
    if "train" not in tallies or tallies["train"].levels is None:
        raise DataError(f"{root} contains no readable training image.")
    mean, std = data.mean_and_std_of_levels(tallies["train"].levels)
    return Stats(
        splits={name: tally.split_stats(labels) for name, tally in tallies.items()},
        overlaps=[_overlap(a, b, tallies) for a, b in combinations(tallies, 2)],
        mean=mean,
        std=std,
    )


def _entries(
    root: Path, split: str, labels: Sequence[str]
) -> Iterator[tuple[str, str, images.Source]]:
    """(name, label, path or pixels) of every image of a split."""
    if root.is_file():
        yield from fer2013.entries(root, split)
        return
    folder = split_folder(root, split)
    if folder is None:
        return
    for label in labels:
        if (folder / label).is_dir():
            for path in image_files(folder / label):
                yield str(path.relative_to(root)), label, path


def _tally(
    entries: Sequence[tuple[str, str, images.Source]],
    spec: InputSpec,
    progress: data.Progress | None,
) -> _Tally:
    tally = _Tally()
    levels = np.zeros((spec.channels, 256), np.int64)
    for index, (name, label, source) in enumerate(entries):
        tally.counts[label] += 1
        try:
            stored = source if isinstance(source, np.ndarray) else images.read(str(source))
            content = stored.tobytes() if isinstance(stored, np.ndarray) else stored
            known = tally.labels_by_content.setdefault(hashlib.sha256(content).hexdigest(), [])
            known.append(label)
            pixels = images.load(stored, spec)
            height, width = (
                stored.shape[:2] if isinstance(stored, np.ndarray) else images.size(stored)
            )
        except ImageError as error:
            tally.unreadable.append(f"{name}: {error}")
            continue
        tally.sizes[f"{height} x {width}"] += 1
        for channel, plane in enumerate(pixels):
            levels[channel] += np.bincount(plane.ravel(), minlength=256)
        if progress and (index % 200 == 199 or index + 1 == len(entries)):
            progress(index + 1, len(entries))
    tally.levels = levels if levels.any() else None
    return tally


def _overlap(first: str, second: str, tallies: Mapping[str, _Tally]) -> Overlap:
    known = tallies[first].labels_by_content
    shared = [
        (label, known[content])
        for content, found in tallies[second].labels_by_content.items()
        if content in known
        for label in found
    ]
    return Overlap(first, second, len(shared), sum(label not in there for label, there in shared))
