"""labels.csv: how probable each image's label is to models that did not see the image."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from fer_runtime.errors import DataError

FILE = "labels.csv"
COLUMNS = ("image", "label", "label_probability", "predicted", "predicted_probability")


def write(path: Path, rows: Iterable[tuple[str, str, float, str, float]]) -> None:
    """Write rows of `COLUMNS`.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        with open(path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for image, label, ours, predicted, largest in rows:
                writer.writerow((image, label, f"{ours:.4f}", predicted, f"{largest:.4f}"))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None


def read(path: Path) -> dict[str, float]:
    """Image -> the probability of its label, from a labels.csv.

    Raises:
        DataError: no such file, or not one of these.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise ValueError(f"its columns must be {','.join(COLUMNS)}")
            return {row["image"]: float(row["label_probability"]) for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as {FILE}, which `fer-train labels` writes: {error}"
        ) from None
