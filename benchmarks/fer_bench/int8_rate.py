"""Two ONNX files of one model on one core, alternating: `fer-bench int8-rate OLD NEW`.

Prints images/s of the session alone at batch 1 and 32, and the median of new / old over the rounds;
with `--data` also the macro-F1 of both on labelled images.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_bench import timing
from fer_runtime.images import Pixels
from fer_runtime.machine import processor
from fer_runtime.session import Session

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
RUNS = {1: 300, 32: 20}
"""Batch size -> runs of the session in one measurement."""


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(help="ONNX file.")],
    new: Annotated[Path, typer.Argument(help="ONNX file with the same input.")],
    data: Annotated[Path | None, typer.Option(help="Labelled images, DIR/<label>/*.")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 31,
) -> None:
    """Images/s of both files on one core, and what the second one gains."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    files = {"old": old, "new": new}
    sessions = {n: Session.open(p, provider="cpu", threads=1) for n, p in files.items()}
    print(f"{processor()}, one core, medians of {repeats} alternating rounds")
    for batch, runs in RUNS.items():
        shape = (batch, *sessions["old"].spec.input.shape)
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

        seconds = timing.alternate(
            {name: partial(_times, each, pixels, runs) for name, each in sessions.items()}, repeats
        )
        rates = {n: batch * runs / s for n, s in timing.medians(seconds).items()}
        ratio = timing.median_ratio(seconds["old"], seconds["new"])
        print(
            f"batch {batch:>2}: old {rates['old']:8,.0f} images/s, new {rates['new']:8,.0f}, "
            f"new / old {ratio:.3f}"
        )
    if data is not None:
        _accuracy(files, data)


def _times(session: Session, pixels: Pixels, runs: int) -> None:
    for _ in range(runs):
        session.run(pixels)


def _accuracy(files: dict[str, Path], data: Path) -> None:
    from fer_export.formats import to_onnx
    from fer_export.inspection import read_spec
    from fer_export.precision import accuracy
    from fer_runtime import labelled

    for name, path in files.items():
        spec = read_spec(path)
        found = accuracy.measure(to_onnx.runner(path), labelled.read(data, spec.labels), spec)
        print(f"{name}: macro-F1 {found.macro_f1:.4f}, accuracy {found.accuracy:.4f}")
