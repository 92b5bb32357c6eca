"""FER2013's own CSV as a data set: strict, where inference turns a broken row into an error row.

The rows are those of `fer_runtime.sources.fer2013_csv`, so that both read the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_runtime import images
from fer_runtime.errors import DataError, ImageError
from fer_runtime.sources.fer2013_csv import LABELS, Record, records
from fer_runtime.spec import InputSpec

USAGE = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
"""Split -> the value of the column Usage."""


@dataclass(frozen=True)
class Rows:
    """One split of the CSV: fitted pixels (C, H, W), class numbers, `file:line` names."""

    pixels: list[images.Pixels] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def read(path: Path, split: str, spec: InputSpec, labels: Sequence[str]) -> Rows:
    """Read one split ("train", "validation", "test"); `labels` give the class numbers.

    Raises:
        DataError: not this kind of CSV, a broken line (by its number), or a class not in `labels`.
    """
    missing = sorted(set(LABELS) - set(labels))
    if missing:
        raise DataError(f"{path} has the class {missing[0]}, which the model does not know.")
    rows = Rows()
    for name, label, pixels in entries(path, split):
        rows.pixels.append(images.load(pixels, spec))
        rows.targets.append(labels.index(label))
        rows.names.append(name)
    return rows


def entries(path: Path, split: str) -> Iterator[tuple[str, str, images.Pixels]]:
    """(`file:line`, label, (H, W) uint8 pixels) of every row of a split; raises DataError."""
    for record in records(str(path)):
        where = f"{path}, line {record.line}"
        if _usage(record, where) == USAGE[split]:
            yield f"{path.name}:{record.line}", _label(record, where), _pixels(record, where)


def _usage(record: Record, where: str) -> str:
    found = (record.usage or "").strip()
    if found not in USAGE.values():
        raise DataError(
            f"{where}: Usage is {found!r}; it must be one of {', '.join(USAGE.values())} (the "
            "columns of a training set are emotion, pixels, Usage)."
        )
    return found


def _label(record: Record, where: str) -> str:
    if record.label is None:
        raise DataError(f"{where}: emotion is {record.emotion or ''!r}; it must be 0 to 6.")
    return record.label


def _pixels(record: Record, where: str) -> images.Pixels:
    try:
        return record.image()
    except ImageError as error:
        raise DataError(f"{where}: {error}.") from None
