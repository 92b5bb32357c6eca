"""One `fer-infer` on every core against a pinned one on each: `fer-bench cores FOLDER`.

The hardest baseline there is: as many `fer-infer --shard i/n` as there are cores, each on a core of
its own, nothing shared. Three models: one that costs nothing (an average pool and a matrix), whose
run is all reading, decoding and Python, and the two that ship. Whole commands, alternating. Then
what the parent itself spends on a row.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_bench import links, subprocesses, timing
from fer_runtime.errors import FerError
from fer_runtime.machine import usable_threads
from fer_runtime.session import Session
from fer_runtime.shipped import SHIPPED
from fer_runtime.spec import METADATA_KEY, ModelSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
A_FOLDER = 2000
"""Links in each folder: a listing is kept in memory."""
POOL = 8
FREE = "a model that costs nothing"
PARENT = """
import sys, time
from fer_runtime import infer
options = dict(model=sys.argv[3], provider="cpu", overwrite=True, workers=int(sys.argv[4]))
infer([sys.argv[1]], sys.argv[2], shard=(1, 1000), **options)  # imports everything
started = time.process_time()
result = infer([sys.argv[1]], sys.argv[2], **options)
print(result.rows, result.processes, time.process_time() - started)
"""


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder of images of the input's size.")],
    images: Annotated[int, typer.Option(help="Links to them.", min=1)] = 200_000,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    model: Annotated[
        list[str], typer.Option(help="ONNX file or shipped model; `free` costs nothing.")
    ] = ["free", "compact_cnn", "compact_cnn.int8"],  # noqa: B006
) -> None:
    """Images/s of both, and the median of their ratios over the rounds; the parent's time a row."""
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        faces = folder / "faces"
        links.link(data, faces, images, in_each=A_FOLDER)
        free = cheap_model(folder / "free.onnx", Session.open(SHIPPED, threads=1).spec)
        for each in model:
            is_free = each == "free"
            print(f"{FREE if is_free else each}, {images:,} images", flush=True)
            _compare(faces, str(free) if is_free else each, images, repeats, folder)
        _parent(faces, str(free), images, folder)


def cheap_model(path: Path, spec: ModelSpec) -> Path:
    """An ONNX file with this spec that does next to nothing."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    channels, height, width = spec.input.shape
    size = channels * (height // POOL) * (width // POOL)
    head = np.random.default_rng(0).normal(scale=4, size=(size, len(spec.labels)))
    nodes = [
        helper.make_node("Cast", [spec.input.name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "white"], ["scaled"]),
        helper.make_node(
            "AveragePool", ["scaled"], ["means"], kernel_shape=[POOL, POOL], strides=[POOL, POOL]
        ),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = [
        helper.make_tensor_value_info(each, TensorProto.FLOAT, ["N", len(spec.labels)])
        for each in ("logits", "probabilities")
    ]
    graph = helper.make_graph(
        nodes,
        "free",
        [
            helper.make_tensor_value_info(
                spec.input.name, TensorProto.UINT8, ["N", *spec.input.shape]
            )
        ],
        outputs,
        [
            numpy_helper.from_array(np.array(255, np.float32), "white"),
            numpy_helper.from_array(head.astype(np.float32), "head"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path


def _compare(faces: Path, model: str, count: int, repeats: int, folder: Path) -> None:
    """Time both ways, alternating; each must write a row for every image."""
    cores = usable_threads()
    job = (faces, "--model", model, "--provider", "cpu", "--overwrite")
    seconds = timing.alternate(
        {
            "one": lambda: _one(job, folder / "one.csv", count),
            "pinned": lambda: _pinned(job, folder, cores, count),
            "threads": lambda: _one((*job, "--workers", 0), folder / "threads.csv", count),
        },
        repeats,
    )
    if (folder / "one.csv").read_bytes() != (folder / "threads.csv").read_bytes():
        raise FerError("worker processes and threads wrote different rows")
    middle = {way: count / value for way, value in timing.medians(seconds).items()}
    print(f"  one run                          {middle['one']:9,.0f} images/s")
    print(f"  {cores} pinned runs by --shard         {middle['pinned']:9,.0f} images/s")
    print(f"  one run, threads (--workers 0)   {middle['threads']:9,.0f} images/s")
    ratio = timing.median_ratio(seconds["pinned"], seconds["one"])
    print(f"  one run / pinned runs {ratio:.3f}", flush=True)


def _one(job: tuple[object, ...], rows: Path, count: int) -> None:
    ended = subprocesses.run(*job, "-o", rows)
    _require(ended.status, [rows], count)


def _pinned(job: tuple[object, ...], folder: Path, cores: int, count: int) -> None:
    """As many commands as cores, each on one of its own."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    files = [folder / f"shard{index}.csv" for index in range(cores)]
    running = [
        subprocesses.start(
            *job, "-o", file, "--shard", f"{index + 1}/{cores}", "--workers", 0,
            preexec_fn=lambda core=core: os.sched_setaffinity(0, [core]),
            stderr=subprocess.DEVNULL,
        )
        for index, (core, file) in enumerate(zip(allowed, files, strict=True))
    ]  # fmt: skip
    _require(max(process.wait() for process in running), files, count)


def _require(status: int, files: list[Path], count: int) -> None:
    rows = sum(file.read_bytes().count(b"\n") - 1 for file in files) if status == 0 else 0
    if rows != count:
        raise FerError(f"fer-infer: status {status}, {rows:,} rows of {count:,} images")


def _parent(faces: Path, model: str, count: int, folder: Path) -> None:
    """The CPU time of the parent alone: without its workers', and without its imports."""
    cores = usable_threads()
    for workers in (cores, 2 * cores):
        found = subprocess.run(
            [sys.executable, "-c", PARENT, faces, folder / "parent.csv", model, str(workers)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        rows, processes, seconds = found.stdout.split()
        if int(rows) != count:
            raise FerError(f"{rows} rows of {count:,} images")
        print(f"the parent of {processes} workers: {float(seconds) / count * 1e6:.2f} us a row")
