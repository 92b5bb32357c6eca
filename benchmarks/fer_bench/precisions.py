"""fp32, fp16 and int8 of one checkpoint: `fer-bench precisions best.pt --data fer2013`.

Exports all three, runs each over the whole validation split, and prints agreement with PyTorch,
accuracy, size, speed at batch 32 on one thread (in turns), and what the fp32 export took.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from fer_bench import environment
from fer_runtime.cli.console import bound_spinning

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BATCH = 32


@app.command()
def compare(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt.")],
    data: Annotated[Path, typer.Option(help="Folder with train/<label>/* and validation/.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file.")] = None,
) -> None:
    """Print what each precision costs and gains."""
    bound_spinning()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(checkpoint, data, Path(folder))
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if output:
        output.write_text(text, encoding="utf-8")


def measure(checkpoint: Path, data: Path, folder: Path) -> dict[str, Any]:
    """The figures by precision, in plain values."""
    from fer_export import exporter, loading
    from fer_export.formats import runners, to_onnx
    from fer_export.options import ExportOptions
    from fer_export.precision import speed
    from fer_runtime import labelled, metrics

    evaluation = data / "validation"
    loaded = loading.load(checkpoint)
    known = labelled.read(evaluation, loaded.spec.labels)
    expected = _top1(runners.eager(loaded.deployable()), known.paths, loaded.spec.input)
    files, precisions, seconds = {}, {}, 0.0
    for name in ("fp32", "fp16", "int8"):
        started = time.perf_counter()
        options = ExportOptions(
            precision=name, images=evaluation, calibration=data / "train", evaluation=evaluation,
            skip_duplicates=True,
        )  # fmt: skip
        done = exporter.export(checkpoint, "onnx", folder / f"{name}.onnx", options)
        seconds = seconds or time.perf_counter() - started
        files[name] = done.path
        predicted = _top1(to_onnx.runner(done.path), known.paths, loaded.spec.input)
        matrix = metrics.confusion_matrix(known.targets, predicted, len(loaded.spec.labels))
        precisions[name] = {
            "agreement": float((predicted == expected).mean()),
            "accuracy": metrics.accuracy(matrix),
            "macro_f1": metrics.macro_f1(matrix),
            "bytes": done.path.stat().st_size,
        }
    for name, images_per_second in speed.images_per_second(files).items():
        precisions[name]["images_per_second"] = images_per_second
    first = precisions["fp32"]
    for entry in precisions.values():
        entry["speed_ratio"] = entry["images_per_second"] / first["images_per_second"]
        entry["size_ratio"] = entry["bytes"] / first["bytes"]
    return {
        "images": len(known.paths),
        "precisions": precisions,
        "seconds_of_the_fp32_export": seconds,
        "machine": environment.machine(),
    }


def _top1(run: Any, paths: tuple[str, ...], spec: Any) -> npt.NDArray[np.int64]:
    from fer_runtime import images

    chosen = [
        run(images.load_batch(paths[start : start + BATCH], spec))["logits"].argmax(1)
        for start in range(0, len(paths), BATCH)
    ]
    return np.concatenate(chosen).astype(np.int64)
