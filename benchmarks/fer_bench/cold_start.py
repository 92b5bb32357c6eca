"""What `fer-infer one.jpg` costs from a cold start: `fer-bench cold-start`.

Against the least that any program with onnxruntime can cost: a process that imports numpy and
onnxruntime and opens the same model (with --faces, the face detector too). Whole processes,
alternating, ratio of medians; with compiled bytecode, as an installation has it after one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fer_bench import timing
from fer_runtime.errors import FerError
from fer_runtime.faces.detector import SHIPPED as DETECTOR
from fer_runtime.shipped import find_model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

FLOOR = """
import numpy, onnxruntime, sys
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
for path in sys.argv[1:]:
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
"""


@app.command()
def compare(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    repeats: Annotated[int, typer.Option(min=1)] = 15,
    faces: Annotated[bool, typer.Option("--faces", help="Find the faces in the image.")] = False,
) -> None:
    """Milliseconds of both, medians of alternating runs, and their ratio."""
    paths = [str(find_model(model)), *([str(DETECTOR)] if faces else [])]
    flags = ["--faces"] if faces else []
    fer_infer = Path(sys.executable).with_name("fer-infer")
    commands = {
        "import numpy, onnxruntime; open session": [sys.executable, "-c", FLOOR, *paths],
        " ".join(["fer-infer", *flags]): [
            str(fer_infer), "--model", paths[0], "--provider", "cpu", *flags, str(image),
        ],
    }  # fmt: skip
    ways = {name: partial(_run, command) for name, command in commands.items()}
    timing.alternate(ways, 1)
    medians = timing.medians(timing.alternate(ways, repeats))
    for name, value in medians.items():
        print(f"{name:<42}{value * 1e3:7.0f} ms")
    floor, ours = medians.values()
    print(f"ratio {ours / floor:.2f}")


def _run(command: list[str]) -> None:
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}  # the floor without it too
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, check=False, capture_output=True, env=environment)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise FerError(f"{command[0]} ended with status {done.returncode}: {said}")
