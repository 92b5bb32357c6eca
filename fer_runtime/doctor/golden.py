"""Logits that a model had where it was made, to be compared with those that it has here.

An export writes them into the file's verdict; those of the shipped models are in golden.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fer_runtime.shipped import FOLDER, NAMES

if TYPE_CHECKING:
    from fer_runtime.session import Session
    from fer_runtime.spec import ModelSpec

FILE = FOLDER / "golden.json"
PICTURES = 8
Logits = npt.NDArray[np.float32]
TOLERANCES = {"fp32": 1e-3, "fp16": 0.05, "fp16-weights": 1e-3, "int8": 0.25}
"""Precision -> allowed difference, of the logits' standard deviation. int8 rounds differently on
CPUs without VNNI and in other runtimes; of fp32, only the order of additions differs."""
TOLERANCE = {name: TOLERANCES["int8" if name.endswith(".int8") else "fp32"] for name in NAMES}
"""That of each shipped model."""
KEY = "golden_logits"
"""Where a verdict has them."""


def pictures(height: int, width: int, channels: int = 1) -> npt.NDArray[np.uint8]:
    """(8, channels, height, width) uint8, from arithmetic alone: equal everywhere and always."""
    rows, columns = np.mgrid[:height, :width]
    many = [
        (columns * (3 + k) + rows * (7 + 2 * k) + rows * columns // (1 + k)) % 256
        for k in range(PICTURES)
    ]
    return np.repeat(np.stack(many)[:, None].astype(np.uint8), channels, 1)


def logits(session: Session) -> Logits:
    """(8, K) of the pictures."""
    channels, height, width = session.spec.input.shape
    return session.run(pictures(height, width, channels)).logits


def kept(spec: ModelSpec) -> tuple[Logits, float] | None:
    """The logits in a model's verdict, and how much they may differ; None where it has none."""
    parity = spec.parity or {}
    if parity.get(KEY) is None:
        return None
    tolerance = TOLERANCES.get(str(parity.get("precision")), max(TOLERANCES.values()))
    return np.array(parity[KEY], np.float32), tolerance


def read() -> Mapping[str, Logits]:
    """Model -> the logits that it had; raises OSError or ValueError for a broken file."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: np.array(values, np.float32) for name, values in found.items()}


def write(sessions: Mapping[str, Session], file: Path = FILE) -> None:
    """Write the logits of shipped models when they are made; those of others in the file stay."""
    others = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    rounded = {**others, **{name: as_plain(logits(each)) for name, each in sessions.items()}}
    file.write_text(json.dumps(rounded) + "\n", encoding="utf-8")


def as_plain(found: Logits) -> list[list[float]]:
    """Logits as they are kept in JSON."""
    plain: list[list[float]] = found.astype(np.float64).round(5).tolist()
    return plain


def difference(found: Logits, expected: Logits) -> float:
    """The largest difference, in standard deviations of the expected logits."""
    return float(np.abs(found - expected).max() / expected.std())
