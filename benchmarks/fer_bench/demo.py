"""`make demo`: the whole path as a user would type it, with a summary.

Every step is one of the three command lines, run as a process of its own.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_runtime import metrics
from fer_runtime.errors import FerError
from fer_runtime.images import EXTENSIONS

TRAINING_IMAGES = 45_000
"""Images that the demo trains on in all, so that it takes a minute or two on two cores."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Outcome:
    """How well `fer-infer` predicted the held-out folder, and how fast it was."""

    images: int
    accuracy: float
    macro_f1: float
    images_per_second: float


class StepError(FerError):
    """A step of the demo failed; its own message is above."""


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="FER2013-like folder; default: synthetic faces.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for all that is made.")] = Path("demo"),
    model: Annotated[
        Path | None, typer.Option(help="A best.pt to export and run, instead of training one.")
    ] = None,
) -> None:
    """Train, export with parity, infer; then print a summary."""
    started = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    root = data or _synthetic(output / "data")
    run = output / "run"
    shutil.rmtree(run, ignore_errors=True)
    held_out = root / "test" if (root / "test").is_dir() else root / "validation"
    checkpoint = run / "best.pt"
    if model:
        run.mkdir(parents=True)
        shutil.copy(model, checkpoint)
        _step("fer-train", "evaluate", checkpoint, "--data", root, "--split", held_out.name)
    else:
        _step("fer-train", "fit", "--data", root, "--output", run, "--epochs", _epochs(root))
    _step("fer-export", "onnx", checkpoint, "--images", held_out)
    _step("fer-export", "torchscript", checkpoint, "--images", held_out)
    predictions = run / "predictions.csv"
    seconds = _step("fer-infer", "--model", run / "best.onnx", held_out, "--output", predictions)
    _summarise(run, held_out, predictions, _outcome(predictions, seconds))
    print(f"the demo took {time.perf_counter() - started:.0f} s after installation")


def _synthetic(root: Path) -> Path:
    if not root.exists():
        _step("fer-train", "synth", root)
    return root


def _epochs(root: Path) -> int:
    """Few passes over much data, more over little."""
    count = sum(1 for path in (root / "train").rglob("*") if path.suffix.lower() in EXTENSIONS)
    return max(2, min(16, TRAINING_IMAGES // max(1, count)))


def _step(command: str, *arguments: object) -> float:
    """Run one command line of ours; returns the seconds it took."""
    words = [command, *map(str, arguments)]
    print(f"\n$ {shlex.join(words)}", flush=True)
    program = Path(sys.executable).with_name(command)
    started = time.perf_counter()
    status = subprocess.run([str(program), *words[1:]], check=False).returncode
    if status:
        raise StepError(f"{command} ended with status {status}")
    return time.perf_counter() - started


def _outcome(predictions: Path, seconds: float) -> Outcome:
    """Evaluate the CSV: the label of each image is the name of its folder."""
    with open(predictions, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    labels = sorted(
        {Path(row["path"]).parent.name for row in rows} | {row["label"] for row in rows}
    )
    targets = np.array([labels.index(Path(row["path"]).parent.name) for row in rows])
    predicted = np.array([labels.index(row["label"]) for row in rows])
    matrix = metrics.confusion_matrix(targets, predicted, len(labels))
    return Outcome(
        len(rows), metrics.accuracy(matrix), metrics.macro_f1(matrix), len(rows) / seconds
    )


def _summarise(run: Path, held_out: Path, predictions: Path, outcome: Outcome) -> None:
    print(f"\n{'-' * 72}")
    print(f"held-out   {outcome.images:,} images of {held_out}")
    print(f"           accuracy {outcome.accuracy:.1%}, macro-F1 {outcome.macro_f1:.3f}")
    for name in ("best.onnx", "best.torchscript"):
        report = json.loads((run / f"{name}.parity.json").read_text(encoding="utf-8"))
        print(
            f"parity     {'passed' if report['passed'] else 'FAILED'}: {name}, "
            f"{report['images']} images, largest difference {report['smallest_tolerance']:.1e} "
            f"of the logits' standard deviation (allowed {report['tolerance']:.0e})"
        )
    print(f"speed      {outcome.images_per_second:,.0f} images/s, from start to exit of fer-infer")
    print(f"files      {run / 'best.pt'}, {run / 'best.onnx'}, {run / 'best.torchscript'}")
    print(f"           {predictions}")
    for path in sorted(run.glob("metrics*.json")) + sorted(run.glob("*.png")):
        print(f"           {path}")
