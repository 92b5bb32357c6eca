"""fer-infer's pipeline against the limit and a plain loop: `fer-bench pipeline FOLDER`.

In one run, alternating, from file to CSV row on all cores: the pipeline; another way to share the
cores (a thread that decodes, a session of n threads); the loop of Pillow and onnxruntime that
users write; and session and decoder alone, which give the limit 1 / (t_session + t_decode). Then
where an image's time goes, each part measured by itself on one core.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fer_bench import timing
from fer_runtime import images
from fer_runtime.machine import usable_threads
from fer_runtime.pipeline import Pipeline
from fer_runtime.rows import Row
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from fer_runtime.sinks import open_sink
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SHIPPED = ("compact_cnn", "compact_cnn.int8")
PIPELINE = "pipeline: a worker per core, session of 1 thread"
AHEAD = "a decoding thread, session of n threads"
PLAIN = "plain loop of Pillow and onnxruntime"
SESSION = "session alone, a thread per core"
DECODER = "decoder alone, a thread per core"


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder of images of the input's size.")],
    model: Annotated[list[str], typer.Option(help="ONNX file or shipped model.")] = list(SHIPPED),  # noqa: B006
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    repeats: Annotated[int, typer.Option(min=1)] = 15,
) -> None:
    """Images/s of each way, medians of alternating runs, and where an image's time goes."""
    names = [item.path for item in Files([data])]
    figures = {each: measure(find_model(each), data, names, batch_size, repeats) for each in model}
    for each, found in figures.items():
        print(f"{each}, {len(names):,} images, {usable_threads()} cores")
        for way, rate in found["images_per_second"].items():
            print(f"  {way:<52}{rate:8,.0f} images/s")
        print(f"  pipeline / limit of session and decoder {found['of_the_limit']:.3f}")
        print(f"  pipeline / plain loop {found['over_plain_loop']:.2f}")
        parts = ", ".join(f"{k} {v:.1f}" for k, v in found["core_microseconds"].items())
        print(f"  one core's time an image, in us: {parts}")


def measure(
    model: Path, data: Path, names: list[str], batch_size: int, repeats: int
) -> dict[str, Any]:
    """Images/s of each way, the two ratios (medians over the rounds), one core's time by part."""
    cores = usable_threads()
    single = Session.open(model, provider="cpu", threads=1)
    wide = Session.open(model, provider="cpu", threads=cores)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        rounds = timing.alternate(
            {
                PIPELINE: lambda: _pipeline(single, data, cores, batch_size, rows),
                SESSION: lambda: _session_alone(single, len(names), cores, batch_size),
                DECODER: lambda: _decode_alone(single, names, cores),
                PLAIN: _plain_loop(model, names, batch_size, rows),
                AHEAD: lambda: _ahead(wide, names, batch_size),
            },
            repeats,
        )
    seconds = timing.medians(rounds)
    limit = [sum(both) for both in zip(rounds[SESSION], rounds[DECODER], strict=True)]
    count = len(names)
    return {
        "images_per_second": {way: count / value for way, value in seconds.items()},
        "of_the_limit": timing.median_ratio(limit, rounds[PIPELINE]),
        "over_plain_loop": timing.median_ratio(rounds[PLAIN], rounds[PIPELINE]),
        "core_microseconds": _parts(single, names, batch_size, repeats)
        | {"all, in the pipeline": seconds[PIPELINE] * cores / count * 1e6},
    }


def _parts(session: Session, names: list[str], batch_size: int, repeats: int) -> dict[str, float]:
    """What one core spends on an image in each part, with nothing else running."""
    spec = session.spec.input
    encoded = [images.read(name) for name in names]
    rows = list(Pipeline(session, threads=1, batch_size=batch_size).run(Files(names)))
    folder = tempfile.TemporaryDirectory()
    output = os.path.join(folder.name, "rows.csv")
    parts = {
        "session": lambda: _session_alone(session, len(names), 1, batch_size),
        "decoding": lambda: [images.decode(data, spec) for data in encoded],
        "reading": lambda: [images.read(name) for name in names],
        "CSV": lambda: _write(rows, session.spec.labels, output),
    }
    with folder:
        seconds = timing.medians(timing.alternate(parts, repeats))
    return {part: value / len(names) * 1e6 for part, value in seconds.items()}


def _write(rows: list[Sequence[Row]], labels: tuple[str, ...], output: str) -> None:
    with open_sink(output, labels) as sink:
        for batch in rows:
            sink.write(batch)


def _pipeline(session: Session, data: Path, workers: int, batch_size: int, output: Path) -> None:
    with open_sink(str(output), session.spec.labels) as sink:
        for rows in Pipeline(session, threads=workers, batch_size=batch_size).run(Files([data])):
            sink.write(rows)


def _batches(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


def _ahead(session: Session, names: list[str], batch_size: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        decoded = [
            pool.submit(images.load_batch, batch, session.spec.input)
            for batch in _batches(names, batch_size)
        ]
        for batch in decoded:
            session.run(batch.result())


def _plain_loop(model: Path, names: list[str], batch_size: int, output: Path) -> Any:
    """What tutorials do: Pillow, a session as onnxruntime opens it by default, a CSV of labels."""
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    spec = Session.open(model, provider="cpu", threads=1).spec
    mode, size = ("L" if spec.input.channels == 1 else "RGB"), (spec.input.width, spec.input.height)

    def pixels(name: str) -> Any:
        image = Image.open(name).convert(mode)
        if image.size != size:
            image = image.resize(size)
        array = np.asarray(image)
        return array[None] if mode == "L" else array.transpose(2, 0, 1)

    def run() -> None:
        with open(output, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            for batch in _batches(names, batch_size):
                tensor = np.stack([pixels(name) for name in batch])
                probabilities = session.run(["probabilities"], {spec.input.name: tensor})[0]
                for name, row in zip(batch, probabilities, strict=True):
                    best = int(row.argmax())
                    writer.writerow([name, spec.labels[best], row[best]])

    return run


def _session_alone(session: Session, count: int, workers: int, batch_size: int) -> None:
    pixels = np.random.default_rng(0).integers(
        0, 256, (batch_size, *session.spec.input.shape), np.uint8
    )
    sizes = [batch_size] * (count // batch_size) + [count % batch_size] * (count % batch_size > 0)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda size: session.run(pixels[:size]), sizes))


def _decode_alone(session: Session, names: list[str], workers: int) -> None:
    def decode(batch: list[str]) -> None:
        for name in batch:
            images.load(name, session.spec.input)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(decode, _batches(names, 32)))
