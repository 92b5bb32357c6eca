"""What many images cost `fer-infer` in memory and time: `fer-bench memory FOLDER`.

Hard links to the images of a folder stand for more and more of them. Prints peak resident memory
and seconds of whole runs, bytes for each further file name, and the time of an image.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_bench import links, subprocesses
from fer_runtime.errors import FerError
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    most: Annotated[int, typer.Option(help="The largest number of images.", min=8)] = 200_000,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=0)] = 0,
    in_each: Annotated[
        int | None, typer.Option(help="Images in each folder; default: all in one.", min=1)
    ] = None,
) -> None:
    """Peak memory and seconds of runs over the images, a quarter of the largest number, and it."""
    originals = sum(1 for _ in Files([data]))
    runs = []
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:  # links stay on one file system
        for count in (originals, most // 4, most):
            faces = Path(folder) / str(count)
            links.link(data, faces, count, in_each=in_each)
            runs.append(_run(faces, model, Path(folder) / "rows.csv", count, workers))
    first, *_, last = runs
    further = (last["peak_bytes"] - first["peak_bytes"]) / (last["images"] - first["images"])
    for run in runs:
        print(
            f"{run['images']:>9,} images: peak {run['peak_bytes'] / 1e6:6.1f} MB"
            f"{run['workers']}, {run['seconds']:6.1f} s, {run['microseconds_each']:.0f} us an image"
        )
    print(f"{further:.0f} bytes for each further file name")


def _run(folder: Path, model: str, rows: Path, count: int, workers: int) -> dict[str, Any]:
    """One `fer-infer` as a process of its own; checks that it wrote a row an image."""
    with subprocesses.Watched() as watched:
        ended = subprocesses.run(
            folder, "--model", model, "--provider", "cpu", "-o", rows, "--overwrite",
            "--workers", workers,
        )  # fmt: skip
    total = f" (with its workers {watched.peak_bytes / 1e6:.1f} MB)"
    with open(rows, "rb") as stream:
        written = sum(1 for _ in stream) - 1
    if ended.status or written != count:
        raise FerError(f"fer-infer: status {ended.status}, {written:,} rows of {count:,} images")
    return {
        "images": count,
        "seconds": ended.seconds,
        "peak_bytes": ended.peak_bytes,
        "workers": total if workers and watched.peak_bytes else "",
        "microseconds_each": ended.seconds / count * 1e6,
    }
