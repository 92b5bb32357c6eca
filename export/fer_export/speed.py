"""Which of several ONNX files is faster on this machine, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np

from fer_runtime.session import Session

BATCH = 32
ROUNDS = 9
LEAST_SECONDS = 0.05


def images_per_second(files: Mapping[str, Path]) -> dict[str, float]:
    """Name -> images/s at batch 32 on one thread: the median of 9 rounds, A B A B.

    The files take the same input. Decoding is not in it.
    """
    sessions = {name: Session.open(path, provider="cpu", threads=1) for name, path in files.items()}
    spec = next(iter(sessions.values())).spec.input
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *spec.shape), np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    repeats = max(1, round(LEAST_SECONDS / _seconds(next(iter(sessions.values())), pixels, 1)))
    for session in sessions.values():
        session.warm_up(BATCH)
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            seconds[name].append(_seconds(session, pixels, repeats))
    return {name: BATCH / median(values) for name, values in seconds.items()}


def _seconds(session: Session, pixels: np.ndarray, repeats: int) -> float:
    """Of one run, over `repeats` of them."""
    started = time.perf_counter()
    for _ in range(repeats):
        session.run(pixels)
    return (time.perf_counter() - started) / repeats
