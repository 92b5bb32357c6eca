"""CPU providers against one another, on one core.

`fer-bench providers IMAGES` alternates onnxruntime and OpenVINO: the session alone at two
batch sizes, and whole runs from files to rows. It prints images a second and OpenVINO's share of
onnxruntime's rate.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_bench import timing
from fer_runtime import images, infer, pack
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
PROVIDERS = ("cpu", "openvino")
IMAGES = 512


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    model: Annotated[list[str], typer.Option(help="Models.")] = ["compact_cnn", "compact_cnn.int8"],  # noqa: B006
    rounds: Annotated[int, typer.Option(help="Rounds of each comparison.", min=3)] = 11,
) -> None:
    """Images a second of both providers, and the ratio."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        for name in model:
            path = find_model(name)
            sessions = {each: Session.open(path, provider=each, threads=1) for each in PROVIDERS}
            spec = sessions["cpu"].spec.input
            files = [item.path for item in Files([data])][:IMAGES]
            pixels = np.stack([images.load(file, spec) for file in files])
            for batch in (1, 32):
                runs = {
                    each: partial(_batches, sessions[each], pixels, batch) for each in PROVIDERS
                }
                _print(f"{name}, session, batch {batch}", runs, len(pixels), rounds)
            packed = Path(folder) / "images.ferpack"
            pack([data], packed, spec, overwrite=True)
            count = sum(1 for _ in Files([data]))
            for title, source in (("files", data), ("a pack", packed)):
                whole: dict[str, Callable[[], object]] = {
                    each: partial(
                        infer, source, Path(folder) / "rows.csv", model=path, provider=each,
                        threads=1, workers=0, overwrite=True,
                    )
                    for each in PROVIDERS
                }  # fmt: skip
                _print(f"{name}, {title} to rows, batch 32", whole, count, max(3, rounds // 2))


def _batches(session: Session, pixels: images.Pixels, size: int) -> None:
    for start in range(0, len(pixels), size):
        session.run(pixels[start : start + size])


def _print(title: str, runs: timing.Ways, count: int, rounds: int) -> None:
    for run in runs.values():
        run()
    seconds = timing.alternate(runs, rounds)
    rates = {name: count / median for name, median in timing.medians(seconds).items()}
    ratio = timing.median_ratio(seconds["cpu"], seconds["openvino"])
    text = ", ".join(f"{name} {rate:,.0f} images/s" for name, rate in rates.items())
    print(f"{title}: {text}; OpenVINO {ratio:.2f} times onnxruntime")
