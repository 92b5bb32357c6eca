"""How far the models are from what this machine could do: `fer-bench roofline`.

The roofline of Williams et al. 2009: a layer takes at least its multiply-adds at the processor's
peak, and at least its bytes at the memory's. Both are measured here, in turns with the models: the
rate of large matrix products in onnxruntime on one thread (NumPy's use more), and of copying an
array that no cache holds. What a layer hands to the next may well stay in a cache, so
the bytes count too much; these nets are bound by their multiply-adds. A large product is not the
fastest thing that every processor does: on an AMD EPYC convolutions were, and fp32 was at 106 % of
the limit. One core, because the runtime gives each core a session.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from fer_bench import graph_cost, timing
from fer_bench.graph_cost import Cost
from fer_runtime.machine import processor
from fer_runtime.session import Session
from fer_runtime.shipped import find_model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SIDE = 1536
"""Of the matrices."""
COPIED = 256 * 1024 * 1024
SHIPPED = ("compact_cnn", "compact_cnn.int8")
CONVERSIONS = ("Reorder", "Quantize", "Dequantize", "Transpose", "Cast")


@app.command()
def compare(
    model: Annotated[list[str], typer.Option(help="ONNX file or shipped model.")] = list(SHIPPED),  # noqa: B006
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    repeats: Annotated[int, typer.Option(min=1)] = 15,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file.")] = None,
) -> None:
    """The peak of one core, each model's share of it, and where its time goes."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    paths = {each: find_model(each) for each in model}
    peaks, shares = measure(paths, batch_size, repeats)
    print(f"{processor()}, one core, medians of {repeats} rounds")
    print(f"  float32 {peaks.float32 / 1e9:8.1f} G multiply-adds/s (matrix product)")
    print(f"  int8    {peaks.int8 / 1e9:8.1f} G multiply-adds/s (matrix product)")
    print(f"  memory  {peaks.memory / 1e9:8.1f} GB/s (copy, read and written)")
    for each in model:
        _show(each, shares[each], batch_size)
    if output is not None:
        found = {"processor": processor(), "peaks": peaks._asdict(), "models": shares}
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


class Peaks(NamedTuple):
    """What one core can do: multiply-adds/s of float32 and int8, and bytes/s of memory."""

    float32: float
    int8: float
    memory: float

    def least_seconds(self, layers: Sequence[Cost], batch_size: int) -> float:
        """The least that an image can take: each layer's multiply-adds, or its bytes."""
        return sum(
            max(
                layer.multiply_adds / (self.int8 if layer.is_int8 else self.float32),
                (layer.activation_bytes + layer.weight_bytes / batch_size) / self.memory,
            )
            for layer in layers
        )


def peak_ways(folder: Path) -> dict[str, Callable[[], object]]:
    """What the peaks are measured by, by the name of the peak; its files are put in `folder`."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
    source = np.ones(COPIED // 2, np.uint8)
    target = np.empty_like(source)
    levels = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
    weights = rng.integers(-64, 64, (SIDE, SIDE), np.int8)
    return {
        "float32": _product(folder / "float.onnx", left, right),
        "int8": _product(folder / "int8.onnx", levels, weights),
        "memory": lambda: np.copyto(target, source),
    }


def peaks_of(seconds: Mapping[str, float]) -> Peaks:
    """The peaks by the seconds of `peak_ways`."""
    work = SIDE**3
    return Peaks(work / seconds["float32"], work / seconds["int8"], COPIED / seconds["memory"])


def measure(
    models: Mapping[str, Path], batch_size: int, repeats: int
) -> tuple[Peaks, dict[str, dict[str, Any]]]:
    """The peaks, and each model's time for an image, the least that they allow, and its layers.

    Peaks and models are measured in turns, and the shares are medians over the rounds: what other
    work on the machine takes away, it takes from both.
    """
    sessions = {
        name: Session.open(path, provider="cpu", threads=1) for name, path in models.items()
    }
    runs = max(3, 1600 // batch_size)
    pixels = {
        name: np.random.default_rng(0).integers(
            0, 256, (batch_size, *session.spec.input.shape), np.uint8
        )
        for name, session in sessions.items()
    }

    def run(name: str) -> None:
        for _ in range(runs):
            sessions[name].run(pixels[name])

    with tempfile.TemporaryDirectory() as folder:
        ways = peak_ways(Path(folder))
        ways |= {f"model {name}": partial(run, name) for name in models}
        timing.alternate(ways, 1)  # threads, pages and caches
        seconds = timing.alternate(ways, repeats)
    found = {}
    for name, path in models.items():
        layers = graph_cost.layers(path)
        each = [value / runs / batch_size for value in seconds[f"model {name}"]]
        found[name] = {
            "multiply_adds": sum(layer.multiply_adds for layer in layers),
            **shares(seconds, each, layers, batch_size),
            "spent_microseconds": spent(path, pixels[name]),
        }
    return peaks_of(timing.medians(seconds)), found


def shares(
    seconds: Mapping[str, Sequence[float]],
    each: Sequence[float],
    layers: Sequence[Cost],
    batch_size: int,
) -> dict[str, float]:
    """How near to the limit some layers were computed.

    Args:
        seconds: of `peak_ways`, by name, one for each round.
        each: seconds of an image in the same rounds.
        layers: of the model.
        batch_size: images at once.

    Returns:
        Medians over the rounds: microseconds of an image, the least microseconds, and the share.
    """
    rounds = range(len(each))
    peaks = [peaks_of({name: values[i] for name, values in seconds.items()}) for i in rounds]
    least = [one.least_seconds(layers, batch_size) for one in peaks]
    return {
        "microseconds": statistics.median(each) * 1e6,
        "least_microseconds": statistics.median(least) * 1e6,
        "share": statistics.median(a / b for a, b in zip(least, each, strict=True)),
    }


def _product(path: Path, left: Any, right: Any) -> Callable[[], object]:
    """A matrix product in onnxruntime, with the second matrix as weights."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    is_float = left.dtype == np.float32
    node = helper.make_node("MatMul" if is_float else "MatMulInteger", ["left", "right"], ["made"])
    kinds = (helper.np_dtype_to_tensor_dtype(left.dtype), 1 if is_float else 6)
    graph = helper.make_graph(
        [node], "product",
        [helper.make_tensor_value_info("left", kinds[0], left.shape)],
        [helper.make_tensor_value_info("made", kinds[1], left.shape)],
        [numpy_helper.from_array(right, "right")],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"left": left})


def spent(path: Path, pixels: Any) -> dict[str, float]:
    """Microseconds an image by kind of operator, by onnxruntime's own profile."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for _ in range(60):
            session.run(None, {name: pixels})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    times: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            times[event["args"]["op_name"] + "\0" + event["name"]].append(event["dur"])
    total: dict[str, float] = defaultdict(float)
    for key, values in times.items():
        kind = key.partition("\0")[0]
        group = "conversions" if any(word in kind for word in CONVERSIONS) else kind
        total[group] += float(np.median(values)) / len(pixels)
    return dict(sorted(total.items(), key=lambda pair: -pair[1]))


def _show(model: str, found: dict[str, Any], batch_size: int) -> None:
    print(f"{model}, {found['multiply_adds'] / 1e6:.1f} M multiply-adds, batch {batch_size}")
    print(
        f"  {found['microseconds']:.1f} us an image; the peaks allow "
        f"{found['least_microseconds']:.1f}: {found['share']:.0%} of the limit"
    )
    spent = ", ".join(f"{k} {v:.1f}" for k, v in found["spent_microseconds"].items() if v >= 0.5)
    print(f"  by operator, in us: {spent}")
