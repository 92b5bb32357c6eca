"""fer-infer against the package `fer` on the same face crops, one core each, in one run:
`fer-bench fer-package fer2013/validation --python other/bin/python`.

`other/bin/python` is an interpreter with the package: `pip install fer 'opencv-contrib-python<5'
'setuptools<81'`. It gets the whole crop as the face, so that no detector is timed.
"""

from __future__ import annotations

import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_bench import environment
from fer_runtime.errors import FerError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

THEIRS = """
import json, os, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
import cv2
from fer.fer import FER
detector = FER(offsets=(0, 0))
paths = [line for line in open(sys.argv[1], encoding="utf-8").read().splitlines()]
def classify(path):
    image = cv2.imread(path)
    height, width = image.shape[:2]
    found = detector.detect_emotions(image, face_rectangles=[(0, 0, width, height)])
    emotions = found[0]["emotions"]
    return max(emotions, key=emotions.get)
for path in paths[:50]:
    classify(path)
started = time.perf_counter()
labels = [classify(path) for path in paths]
print(json.dumps({"seconds": time.perf_counter() - started, "labels": labels}))
"""


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder with one subfolder per class.")],
    python: Annotated[Path, typer.Option(help="Interpreter that has the package fer.")],
    repeats: Annotated[int, typer.Option(help="Runs of each, alternating.", min=1)] = 3,
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Images/s and accuracy of both on one core, each with its model loaded; ours also with it."""
    paths = sorted(path for path in data.rglob("*") if path.is_file())
    figures = measure(paths, data, python, repeats)
    for name, rates in figures["images_per_second"].items():
        print(
            f"{name:<42}{statistics.median(rates):8,.0f} images/s   accuracy "
            f"{figures['accuracy'][name]:.2%}"
        )
    for name in ("ratio", "ratio_int8"):
        print(f"{name + ' of the medians':<42}{figures[name]:8.2f}")
    if output:
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(paths: list[Path], data: Path, python: Path, repeats: int) -> dict[str, Any]:
    """Run both in turn on the first core that this process may use."""
    core = min(os.sched_getaffinity(0))
    names = ("fer-infer", "fer-infer, from start to exit", "fer-infer, int8", "package fer")
    rates: dict[str, list[float]] = {name: [] for name in names}
    ours, whole, small, theirs = names
    accuracy = {}
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "paths.txt"
        listing.write_text("\n".join(map(str, paths)), encoding="utf-8")
        for _ in range(repeats):
            output = Path(folder) / "out.csv"
            seconds, rate, labels = _fer_infer(data, output, core, "compact_cnn")
            rates[ours].append(rate)
            rates[whole].append(len(labels) / seconds)
            accuracy[ours] = accuracy[whole] = _accuracy(labels)
            _, rate, labels = _fer_infer(data, output, core, "compact_cnn.int8")
            rates[small].append(rate)
            accuracy[small] = _accuracy(labels)
            seconds, found = _package(python, listing, core)
            rates[theirs].append(len(paths) / seconds)
            accuracy[theirs] = _accuracy(dict(zip(map(str, paths), found, strict=True)))
    return {
        "images": len(paths),
        "images_per_second": rates,
        "accuracy": accuracy,
        "ratio": statistics.median(rates[ours]) / statistics.median(rates[theirs]),
        "ratio_int8": statistics.median(rates[small]) / statistics.median(rates[theirs]),
        "machine": environment.machine(),
    }


def _fer_infer(
    data: Path, output: Path, core: int, model: str
) -> tuple[float, float, dict[str, str]]:
    """Seconds of the whole command on one core, the images/s that it reports, path -> label."""
    program = (
        f"import os; os.sched_setaffinity(0, {{{core}}}); "
        "from fer_runtime.cli.infer import main; main()"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable, "-c", program, str(data), "--model", model, "--provider", "cpu",
            "--overwrite", "-o", str(output),
        ],
        check=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    found = re.search(r"\(([\d,]+) images/s\)", done.stderr)
    assert found, done.stderr
    with open(output, newline="", encoding="utf-8") as stream:
        labels = {row["path"]: row["label"] for row in csv.DictReader(stream)}
    return seconds, float(found.group(1).replace(",", "")), labels


def _package(python: Path, listing: Path, core: int) -> tuple[float, list[str]]:
    """Seconds of the package's loop, its start and model not counted, and the labels."""
    done = subprocess.run(
        [str(python), "-c", THEIRS, str(listing), str(core)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise FerError(f"The package fer does not run in {python}: {reason[0]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return float(found["seconds"]), list(found["labels"])


def _accuracy(labels: dict[str, str]) -> float:
    """Share of images whose label is the name of their folder."""
    return sum(Path(path).parent.name == label for path, label in labels.items()) / len(labels)
