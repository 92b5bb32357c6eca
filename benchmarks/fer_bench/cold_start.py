"""What `fer-infer one.jpg` costs from a cold start: `python -m fer_bench.cold_start`.

Against the least that any program with onnxruntime can cost: a process that imports numpy and
onnxruntime and opens the same model. Whole processes, alternating, ratio of medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fer_runtime.console import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

FLOOR = """
import numpy, onnxruntime, sys
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(help="An ONNX file with its spec.")],
    image: Annotated[Path, typer.Argument(help="An image file.")],
    repeats: Annotated[int, typer.Option(min=1)] = 15,
) -> None:
    """Milliseconds of both, medians of alternating runs, and their ratio."""
    fer_infer = Path(sys.executable).with_name("fer-infer")
    commands = {
        "import numpy, onnxruntime; open session": [sys.executable, "-c", FLOOR, str(model)],
        "fer-infer": [str(fer_infer), "--model", str(model), "--provider", "cpu", str(image)],
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
            milliseconds[name].append((time.perf_counter() - started) * 1e3)
    medians = [statistics.median(values) for values in milliseconds.values()]
    for name, value in zip(milliseconds, medians, strict=True):
        print(f"{name:<42}{value:7.0f} ms")
    print(f"ratio {medians[1] / medians[0]:.2f}")


if __name__ == "__main__":
    run_app(app)
