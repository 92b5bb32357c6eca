"""FER2013-like data sets, as they are downloaded, decoded once into memory.

A folder `ROOT/{train,validation,test}/<class>/*`, one without splits `ROOT/<class>/*`, packs
(`ROOT/train.ferpack`, or one without splits), or FER2013's own CSV (`fer2013.csv`,
`icml_face_data.csv`). Every image goes through
`fer_runtime.images`, exactly as at inference. `splits` makes what splits a data set lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from fer_runtime import images
from fer_runtime.errors import DataError, ImageError
from fer_runtime.hashing import dataset_sha256, file_sha256
from fer_runtime.sources.fer2013_csv import LABELS
from fer_runtime.spec import InputSpec
from fer_train import fer2013, packs
from fer_train.batches import WHOLE, EpochBatches, Share
from fer_train.folders import class_folders, image_files, split_folder
from fer_train.recipe import SPLITS

Progress = Callable[[int, int], None]
"""Called with (done, total) as work proceeds."""


@dataclass(frozen=True)
class Split(Dataset[tuple[torch.Tensor, ...]]):
    """One split in memory.

    `images` (N, C, H, W) uint8, `targets` (N,) int64 indices into `labels`, `names` one per image.
    """

    name: str
    images: torch.Tensor
    targets: torch.Tensor
    labels: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole batch by its indices: one gather instead of N small ones."""
        return self.images[indices], self.targets[indices]

    def counts(self) -> dict[str, int]:
        """Images per class, in label order."""
        totals = torch.bincount(self.targets, minlength=len(self.labels)).tolist()
        return dict(zip(self.labels, totals, strict=True))

    def take(self, indices: torch.Tensor, name: str) -> Split:
        """A new split of the images at (M,) `indices`."""
        kept = tuple(self.names[index] for index in indices.tolist())
        return Split(name, self.images[indices], self.targets[indices], self.labels, kept)


@dataclass(frozen=True)
class Taught(Dataset[tuple[torch.Tensor, ...]]):
    """A split whose batches have a third part: (B, V, K) logits that a teacher gave the images."""

    split: Split
    logits: torch.Tensor

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return *self.split[indices], self.logits[indices]


def train_loader(
    split: Split, batch_size: int, seed: int, sampler: str = "shuffle", share: Share = WHOLE,
    logits: torch.Tensor | None = None,
) -> DataLoader[tuple[torch.Tensor, ...]]:  # fmt: skip
    """Batches of ((B, C, H, W) uint8, (B,) int64), in a new order each epoch.

    With `logits` (N, V, K), those of the batch come third.
    """
    batches = EpochBatches(split.targets, batch_size, seed, sampler, share)
    taught: Dataset[tuple[torch.Tensor, ...]] = split if logits is None else Taught(split, logits)
    return DataLoader(taught, sampler=batches, batch_size=None)


def evaluation_loader(
    split: Split, batch_size: int = 256, share: Share = WHOLE
) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Batches of ((B, C, H, W) uint8, (B,) int64) in the order of the files, the last one short."""
    batches = torch.arange(len(split))[share.rank :: share.world].split(batch_size)
    return DataLoader(split, sampler=batches, batch_size=None)


def labels_of(root: Path) -> tuple[str, ...]:
    """The class names of a data set, sorted by name.

    Raises:
        DataError: no such folder or file, or one without a training split.
    """
    if not root.exists():
        raise DataError(f"{root} does not exist; `fer-train synth DIR` writes a data set to try.")
    if root.is_file():
        return tuple(sorted(LABELS))
    if pack := packs.split_pack(root, "train"):
        return packs.labels_in(pack)
    train = split_folder(root, "train")
    if train is None:
        raise DataError(
            f"{root} contains no training split; expected {root}/train/<class>/*.jpg, "
            f"{root}/<class>/*.jpg or FER2013's CSV file. `fer-train synth DIR` writes a data set "
            "to try."
        )
    names = class_folders(train)
    if len(names) < 2:
        raise DataError(f"{train} contains {len(names)} class folders; a classifier needs two.")
    return tuple(names)


def has(root: Path, name: str) -> bool:
    """Whether a data set has this split itself."""
    if root.is_file():
        return next(fer2013.entries(root, name), None) is not None
    return packs.split_pack(root, name) is not None or split_folder(root, name) is not None


def load_split(
    root: Path,
    name: str,
    spec: InputSpec,
    labels: Sequence[str],
    *,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> Split | None:
    """Decode one split ("train", "validation" or "test"); None where the data set has none.

    Args:
        root: the data set: a folder, or FER2013's CSV.
        name: the split.
        spec: size and channels of the decoded images.
        labels: the classes, in the order of the class numbers.
        skip_unreadable: omit broken images instead of raising.
        progress: called as progress(done, total) while images are decoded.

    Raises:
        DataError: an empty or missing class, a class that `labels` does not name, an unreadable
            image (unless those are to be skipped).
    """
    if not root.exists():
        raise DataError(f"{root} does not exist; `fer-train synth DIR` writes a data set to try.")
    if root.is_file():
        return _load_csv(root, name, spec, tuple(labels))
    if pack := packs.split_pack(root, name):
        return _load_pack(pack, name, spec, tuple(labels), skip_unreadable)
    if packs.is_pack(root):
        return None  # it has no other splits
    return _load_folder(root, name, spec, tuple(labels), skip_unreadable, progress)


def mean_and_std(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over all pixels, on the 0-1 scale."""
    planes = split.images.numpy().transpose(1, 0, 2, 3)
    return mean_and_std_of_levels(
        np.stack([np.bincount(plane.ravel(), minlength=256) for plane in planes])
    )


def mean_and_std_of_levels(
    levels: npt.NDArray[np.int64],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(C, 256) pixels per grey level -> mean and standard deviation per channel (0-1)."""
    means, stds = [], []
    for counts in levels:
        share = counts / counts.sum()
        values = np.arange(256) / 255
        mean = float((share * values).sum())
        means.append(round(mean, 6))
        std = float(np.sqrt((share * (values - mean) ** 2).sum()))
        stds.append(max(round(std, 6), 1e-3))
    return tuple(means), tuple(stds)


def sha256(root: Path) -> str:
    """One hash for a whole data set: its file if it is a CSV, else every image of its splits."""
    if root.is_file():
        return file_sha256(root)
    if packed := [pack for name in SPLITS if (pack := packs.split_pack(root, name))]:
        return packs.sha256(packed)
    folders = [folder for name in SPLITS if (folder := split_folder(root, name))]
    files = [path for folder in folders for path in image_files(folder)]
    return dataset_sha256((str(path.relative_to(root)), file_sha256(path)) for path in files)


def _load_folder(
    root: Path,
    name: str,
    spec: InputSpec,
    labels: tuple[str, ...],
    skip_unreadable: bool,
    progress: Progress | None,
) -> Split | None:
    folder = split_folder(root, name)
    if folder is None:
        return None
    unknown = [found for found in class_folders(folder) if found not in labels]
    if unknown:
        raise DataError(
            f"{folder / unknown[0]} is a class that the model does not know; it knows "
            f"{', '.join(labels)}."
        )
    files: list[Path] = []
    targets: list[int] = []
    for target, label in enumerate(labels):
        if not (folder / label).is_dir():
            raise DataError(f"{folder} has no folder for the class {label}.")
        found = image_files(folder / label)
        if not found:
            raise DataError(f"{folder / label} contains no image; every class needs some.")
        files += found
        targets += [target] * len(found)
    names = tuple(str(path.relative_to(root)) for path in files)
    for text in names:
        if not text.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise DataError(
                f"{text!a} in {root} has a name that is not text (UTF-8, no control characters); "
                "rename it."
            )
    pixels, broken = _decode(files, spec, progress)
    split = Split(name, pixels, torch.tensor(targets), labels, names)
    if not broken:
        return split
    if not skip_unreadable:
        _refuse_broken(list(broken.values()))
    whole = [index for index in range(len(files)) if index not in broken]
    return split.take(torch.tensor(whole), name)


def _load_pack(
    pack: Path, name: str, spec: InputSpec, labels: tuple[str, ...], skip_unreadable: bool
) -> Split:
    found = packs.read(
        pack, spec, labels, skip_unreadable=skip_unreadable, refuse_broken=_refuse_broken
    )
    return Split(
        name, torch.from_numpy(found.pixels), torch.tensor(found.targets), labels, found.names
    )


def _decode(
    files: Sequence[Path], spec: InputSpec, progress: Progress | None
) -> tuple[torch.Tensor, dict[int, str]]:
    """Files -> (N, C, H, W) uint8, on two threads (the decoders release the GIL); the unreadable.

    An unreadable file's image stays black; the reason is returned by its index.
    """
    pixels = np.zeros((len(files), *spec.shape), np.uint8)
    broken: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = pool.map(partial(_decode_one, spec=spec), files, chunksize=64)
        for index, (path, result) in enumerate(zip(files, results, strict=True)):
            if isinstance(result, ImageError):
                broken[index] = f"{path}: {result}"
            else:
                pixels[index] = result
            if progress and (index % 500 == 499 or index + 1 == len(files)):
                progress(index + 1, len(files))
    return torch.from_numpy(pixels), broken


def _decode_one(path: Path, spec: InputSpec) -> images.Pixels | ImageError:
    try:
        return images.load(path, spec)
    except ImageError as error:
        return error


def _refuse_broken(broken: Sequence[str]) -> None:
    shown = "\n  ".join(broken[:5])
    raise DataError(
        f"{len(broken)} images cannot be read; fix or remove them, or pass --skip-unreadable:\n"
        f"  {shown}" + ("\n  …" if len(broken) > 5 else "")
    )


def _load_csv(root: Path, name: str, spec: InputSpec, labels: tuple[str, ...]) -> Split | None:
    rows = fer2013.read(root, name, spec, labels)
    if not rows.names:
        return None
    pixels = torch.from_numpy(np.stack(rows.pixels))
    split = Split(name, pixels, torch.tensor(rows.targets), labels, tuple(rows.names))
    lacking = [label for label, count in split.counts().items() if not count]
    if lacking:
        raise DataError(f"{root} has no {name} image of {lacking[0]}; every class needs some.")
    return split
