"""fer-infer and fer-doctor as processes, for tests: how they are started and what they wrote."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.runtime.tiny import LABELS

INFER = [sys.executable, "-c", "from fer_runtime.cli.infer import main; main()"]
DOCTOR = [sys.executable, "-c", "from fer_runtime.cli.doctor import main; main()"]
Done = subprocess.CompletedProcess[bytes]
Infer = Callable[..., Done]

ROWS = [
    ("1 plain.jpg", ""),
    ("2 cut off.jpg", "broken JPEG"),
    ("3 notes.jpg", "not an image of a known format"),
    ("4 empty.png", "empty file"),
    ("5 nested/schönes, „Gesicht“.jpg", ""),
    (os.fsdecode(b"6 caf\xe9.jpg"), ""),
    ("7 pipe.jpg", "is a pipe, a device or a socket"),
]
"""Names in the folder `messy`, in order, and what their errors hold."""


def environment() -> dict[str, str]:
    """Ours, but with the model and the buffering of stdout as a user has them."""
    hidden = ("FER_MODEL", "PYTHONUNBUFFERED")
    return {key: value for key, value in os.environ.items() if key not in hidden}


def read_csv(data: bytes) -> list[dict[str, str]]:
    text = data.decode("utf-8", "surrogateescape")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def assert_messy(rows: list[dict[str, str]], folder: Path) -> None:
    """Exactly one row per image, in order; a label or an error, and never both."""
    assert [row["path"] for row in rows] == [str(folder / name) for name, _ in ROWS]
    for row, (_, error) in zip(rows, ROWS, strict=True):
        assert error in (row["error"] or "")
        assert bool(row["error"]) == bool(error)
        assert (row.get("label") or "") in ("" if error else LABELS)
        assert bool(row.get("label")) != bool(error)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that another process does; fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
