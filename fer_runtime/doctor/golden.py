"""Logits that the shipped models had where they were made, to be compared with those of here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fer_runtime.classifier import SHIPPED

if TYPE_CHECKING:
    from fer_runtime.session import Session

FILE = SHIPPED.parent / "golden.json"
MODELS = ("compact_cnn", "compact_cnn.int8")
PICTURES = 8
Logits = npt.NDArray[np.float32]
TOLERANCE = {"compact_cnn": 1e-3, "compact_cnn.int8": 0.25}
"""Of the logits' standard deviation. int8 rounds differently on CPUs without VNNI and in other
runtimes; of fp32, only the order of additions differs."""


def pictures(height: int, width: int) -> npt.NDArray[np.uint8]:
    """(8, 1, height, width) uint8, from arithmetic alone: equal everywhere and always."""
    rows, columns = np.mgrid[:height, :width]
    many = [
        (columns * (3 + k) + rows * (7 + 2 * k) + rows * columns // (1 + k)) % 256
        for k in range(PICTURES)
    ]
    return np.stack(many)[:, None].astype(np.uint8)


def logits(session: Session) -> Logits:
    """(8, K) of the pictures."""
    _, height, width = session.spec.input.shape
    return session.run(pictures(height, width)).logits


def read() -> Mapping[str, Logits]:
    """Model -> the logits that it had; raises OSError or ValueError for a broken file."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: np.array(values, np.float32) for name, values in found.items()}


def write(sessions: Mapping[str, Session], file: Path = FILE) -> None:
    """Write the logits of the shipped models, when they are made."""
    rounded = {
        name: logits(each).astype(np.float64).round(5).tolist() for name, each in sessions.items()
    }
    file.write_text(json.dumps(rounded) + "\n", encoding="utf-8")


def difference(found: Logits, expected: Logits) -> float:
    """The largest difference, in standard deviations of the expected logits."""
    return float(np.abs(found - expected).max() / expected.std())
