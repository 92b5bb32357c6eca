"""One classifier in many threads: `fer-bench threads FOLDER`.

Each thread classifies the same images in its own order, one call an image; every answer must be
what a single thread got, bit for bit, and resident memory must not grow over the second half.
"""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_runtime import Classifier
from fer_runtime.errors import FerError
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
GROWTH = 4_000_000
"""Bytes that the second half may add: what allocators keep, not what leaks."""


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    threads: Annotated[int, typer.Option(min=1)] = 8,
    calls: Annotated[int, typer.Option(help="Of each thread.", min=2)] = 10_000,
    images: Annotated[int, typer.Option(help="Different ones.", min=1)] = 100,
) -> None:
    """Print how many calls were equal, and resident memory at the half and at the end."""
    paths = [item.path for item in itertools.islice(Files([data]), images)]
    classifier = Classifier.load(model, provider="cpu", threads=1)
    expected = {path: classifier.predict(path) for path in paths}
    half, memory = threading.Barrier(threads), []

    def run(seed: int) -> int:
        rng = np.random.default_rng(seed)
        for call in range(calls):
            if call == calls // 2:
                half.wait()
                memory.append(_resident())
            path = paths[int(rng.integers(len(paths)))]
            if classifier.predict(path) != expected[path]:
                raise FerError(f"{path}: another prediction in thread {seed}")
        return calls

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(run, range(threads)))
    middle, end = max(memory), _resident()
    print(f"{done:,} calls in {threads} threads, all equal to one thread's")
    print(f"resident memory {middle / 1e6:.1f} MB at the half, {end / 1e6:.1f} MB at the end")
    if end > middle + GROWTH:
        raise FerError("memory grows")


def _resident() -> int:
    """Resident bytes of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
