"""Packed images end to end against the session alone: `fer-bench packed FOLDER`.

In one run, alternating, on all cores: whole runs from a pack to a CSV file, whole runs from the
image files to a CSV file, and the session alone on pixels that are in memory already, one thread
a core. Then what packing takes.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from fer_bench import links, timing
from fer_runtime import infer, pack
from fer_runtime.errors import FerError
from fer_runtime.machine import usable_threads
from fer_runtime.packed.reader import PackedSet
from fer_runtime.session import Session
from fer_runtime.shipped import find_model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SHIPPED = ("compact_cnn", "compact_cnn.int8")


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder of images of the input's size.")],
    model: Annotated[list[str], typer.Option(help="ONNX file or shipped model.")] = list(SHIPPED),  # noqa: B006
    images: Annotated[int, typer.Option(help="Links to them.", min=1)] = 200_000,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    workers: Annotated[int | None, typer.Option(help="As fer-infer's.")] = None,
) -> None:
    """Images/s of each way, and the medians of the ratios to the session alone."""
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        faces = folder / "faces"
        links.link(data, faces, images)
        session = Session.open(find_model(model[0]), provider="cpu", threads=1)
        packed = folder / "faces.ferpack"
        started = time.perf_counter()
        pack([faces], packed, session.spec.input)
        seconds = time.perf_counter() - started
        print(f"{images:,} images packed in {seconds:.1f} s ({images / seconds:,.0f} images/s)")
        for each in model:
            _compare(each, faces, packed, images, batch_size, repeats, workers)


def _compare(
    model: str, faces: Path, packed: Path, count: int, batch_size: int, repeats: int,
    workers: int | None,
) -> None:  # fmt: skip
    session = Session.open(find_model(model), provider="cpu", threads=1)
    pixels = PackedSet(packed).pixels
    outputs = {name: faces.parent / f"{name}.csv" for name in ("packed", "files")}

    processes = {}

    def run(source: Path, output: Path) -> None:
        done = infer(
            [source], output, model=model, provider="cpu", batch_size=batch_size,
            overwrite=True, workers=workers,
        )  # fmt: skip
        if done.rows != count:
            raise FerError(f"{done.rows:,} rows of {count:,} images")
        processes[output.stem] = done.processes

    def session_alone() -> None:
        with ThreadPoolExecutor(usable_threads()) as pool:
            starts = range(0, count, batch_size)
            list(pool.map(lambda start: session.run(pixels[start : start + batch_size]), starts))

    seconds = timing.alternate(
        {
            "packed": lambda: run(packed, outputs["packed"]),
            "session": session_alone,
            "files": lambda: run(faces, outputs["files"]),
        },
        repeats,
    )
    if outputs["packed"].read_bytes() != outputs["files"].read_bytes():
        raise FerError("packed rows differ from those of the files")
    rates = {name: count / value for name, value in timing.medians(seconds).items()}
    print(f"{model}, {usable_threads()} cores, medians of {repeats} rounds; equal rows")
    print(f"  session alone {rates['session']:10,.0f} images/s")
    for name in ("packed", "files"):
        ratio = timing.median_ratio(seconds["session"], seconds[name])
        print(
            f"  {name:<13} {rates[name]:10,.0f} images/s, {ratio:.3f} of the session alone, "
            f"{processes[name]} worker processes"
        )
