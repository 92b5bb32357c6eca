"""Which of several artefacts is faster on this machine, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import torch

from fer_export.formats.runners import Runner
from fer_export.formats.table import format_of
from fer_export.inspection import read_spec

BATCH = 32
ROUNDS = 9
LEAST_SECONDS = 0.05


def images_per_second(files: Mapping[str, Path]) -> dict[str, float]:
    """Name -> images/s at batch 32 on one thread: the median of 9 rounds, A B A B.

    The files take the same input; decoding is not included. Loading TorchScript executes the code
    inside it.
    """
    spec = read_spec(next(iter(files.values()))).input
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *spec.shape), np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in files}
    with _one_thread():
        loaded = {name: format_of(path).timed_runner(path) for name, path in files.items()}
        for run in loaded.values():
            run(pixels)
        repeats = max(1, round(LEAST_SECONDS / _seconds(next(iter(loaded.values())), pixels, 1)))
        for _ in range(ROUNDS):
            for name, run in loaded.items():
                seconds[name].append(_seconds(run, pixels, repeats))
    return {name: BATCH / median(values) for name, values in seconds.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(run: Runner, pixels: npt.NDArray[np.uint8], repeats: int) -> float:
    """Of one run, over `repeats` of them."""
    started = time.perf_counter()
    for _ in range(repeats):
        run(pixels)
    return (time.perf_counter() - started) / repeats
