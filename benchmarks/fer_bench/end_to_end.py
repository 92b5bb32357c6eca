"""fer-infer against the usual PyTorch loop, in one run: `fer-bench end-to-end`.

Prints images/s of both, alternating, the ratio of the medians, and whether the decisions agree. The
baseline's start-up is not counted.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fer_bench import baseline, environment, subprocesses
from fer_bench.engines.table import KEEP_BLOCKS
from fer_runtime.errors import FerError
from fer_runtime.shipped import find_model

BASELINE = "baseline (ImageFolder + DataLoader)"
BEST = f"{BASELINE}, blocks kept"
BASELINES: Mapping[str, Mapping[str, str]] = {BASELINE: {}, BEST: KEEP_BLOCKS}
"""As it is started, and with glibc told to keep large blocks: the harder one to compare with."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt.")],
    data: Annotated[Path, typer.Argument(help="Folder with one subfolder per class.")],
    int8: Annotated[
        str, typer.Option(help="The same model as int8: an ONNX file or a shipped model.")
    ] = "compact_cnn.int8",
    repeats: Annotated[int, typer.Option(help="Runs of each, alternating.", min=1)] = 5,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file.")] = None,
) -> None:
    """Images/s from file to CSV row: fer-infer, its pipeline, and the baseline."""
    from fer_export import exporter

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        exporter.export(checkpoint, "onnx", model)
        models = {"fp32": model, "int8": find_model(int8)}
        figures = measure(checkpoint, models, data, repeats, Path(folder))
    for name, values in figures["images_per_second"].items():
        print(f"{name:<50}{statistics.median(values):8,.0f} images/s   (median of {len(values)})")
    for name, ratio in figures["ratio_to_baseline"].items():
        print(f"{name:<50}{ratio:8.2f} x baseline, blocks kept")
    for name, equal in figures["equal_top1"].items():
        print(f"{name}: top-1 equal on {equal:,} of {figures['images']:,} images")
    if output is not None:
        found = {"environment": environment.environment(), **figures}
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(
    checkpoint: Path, models: Mapping[str, Path], data: Path, repeats: int, folder: Path
) -> dict[str, Any]:
    """Run all in turn, `repeats` times; ratios are between medians, and to the best baseline."""
    rates: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, list[str]] = {}
    for _ in range(repeats):
        for name, model in models.items():
            seconds, labels[name] = _command(model, data, folder / "out.csv")
            rates[f"fer-infer {name} (whole command)"].append(len(labels[name]) / seconds)
            rate = _pipeline(model, data, folder / "pipeline.csv")
            rates[f"fer-infer {name} (file to CSV row)"].append(rate)
        for name, variables in BASELINES.items():
            rate, found = baseline.in_own_process(checkpoint, data, variables)
            rates[name].append(rate)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    folders = np.array(sorted(entry.name for entry in data.iterdir() if entry.is_dir()))
    expected = folders[found]
    return {
        "images": len(expected),
        "equal_top1": {
            name: int((expected == np.array(mine)).sum()) for name, mine in labels.items()
        },
        "images_per_second": rates,
        "ratio_to_baseline": {
            name: value / medians[BEST] for name, value in medians.items() if name not in BASELINES
        },
    }


def _command(model: Path, data: Path, output: Path) -> tuple[float, list[str]]:
    """Seconds of `fer-infer` as a process of its own, from start to exit, and its labels."""
    ended = subprocesses.run(
        data, "--model", model, "--provider", "cpu", "-o", output, "--overwrite"
    )
    if ended.status:
        raise FerError(f"fer-infer: status {ended.status}: {ended.stderr.decode()}")
    rows = output.read_text(encoding="utf-8").splitlines()[1:]
    return ended.seconds, [row.split(",")[1] for row in rows]


def _pipeline(model: Path, data: Path, output: Path) -> float:
    """Images per second from files to a finished CSV, with the session already open."""
    from fer_runtime.machine import usable_threads
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.session import Session
    from fer_runtime.sinks import open_sink
    from fer_runtime.sources import Files

    session = Session.open(model, provider="cpu", threads=1)
    session.warm_up(32)
    count = 0
    started = time.perf_counter()
    pipeline = Pipeline(session, threads=usable_threads(), batch_size=32)
    with open_sink(str(output), session.spec.labels) as sink:
        for rows in pipeline.run(Files([data])):
            sink.write(rows)
            count += len(rows)
    return count / (time.perf_counter() - started)
