"""FER2013's own CSV (`fer2013.csv`, `icml_face_data.csv`): columns emotion, pixels, Usage.

Source: Goodfellow et al. 2013, "Challenges in Representation Learning"; the header of
icml_face_data.csv has stray spaces.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fer_runtime import images
from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The CSV's integers 0-6 by name (the order of the challenge, not of the alphabet)."""
USAGE = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}


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
    for line, emotion, text in _lines(path, USAGE[split]):
        yield f"{path.name}:{line}", _label(path, line, emotion), _pixels(path, line, text)


def _lines(path: Path, usage: str) -> Iterator[tuple[int, str, str]]:
    csv.field_size_limit(min(sys.maxsize, 1 << 24))
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = {name.strip().lower(): name for name in reader.fieldnames or ()}
            lacking = [key for key in ("emotion", "pixels", "usage") if key not in header]
            if lacking:
                raise DataError(
                    f"{path} has no column {lacking[0]!r}; FER2013's are emotion, pixels, Usage."
                )
            for row in reader:
                found = (row[header["usage"]] or "").strip()
                if found not in USAGE.values():
                    raise DataError(
                        f"{path}, line {reader.line_num}: Usage is {found!r}; it must be one of "
                        f"{', '.join(USAGE.values())}."
                    )
                if found == usage:
                    emotion, pixels = row[header["emotion"]] or "", row[header["pixels"]] or ""
                    yield reader.line_num, emotion, pixels
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None


def _pixels(path: Path, line: int, text: str) -> images.Pixels:
    try:
        values = np.array(text.split(), dtype=np.uint8)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}, line {line}: pixels are numbers from 0 to 255: {error}") from None
    side = round(len(values) ** 0.5)
    if side == 0 or side * side != len(values):
        raise DataError(f"{path}, line {line}: {len(values)} pixels make no square picture.")
    return values.reshape(side, side)


def _label(path: Path, line: int, emotion: str) -> str:
    if emotion.strip() not in {str(number) for number in range(len(LABELS))}:
        raise DataError(f"{path}, line {line}: emotion is {emotion!r}; it must be 0 to 6.")
    return LABELS[int(emotion)]
