"""How the pipeline shares the cores, against other ways to: `python -m fer_bench.pipeline`.

Prints images/s from file to probabilities of (a) the pipeline: n workers that decode and infer on
a one-thread session, (b) one n-thread session with one decoding thread ahead of it, (c) a plain
loop, and of session and decoder alone; all in one run, alternating.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_runtime import images
from fer_runtime.console import run_app
from fer_runtime.machine import usable_threads
from fer_runtime.pipeline import Pipeline
from fer_runtime.session import Session
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(help="An ONNX file with its spec.")],
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Images/s of each way, and of session and decoder alone, medians of alternating runs."""
    names = [item.path for item in Files([data])]
    cores = usable_threads()
    single = Session.open(model, provider="cpu", threads=1)
    wide = Session.open(model, provider="cpu", threads=cores)
    ways: dict[str, Callable[[], None]] = {
        f"pipeline: {cores} workers, session of 1 thread": lambda: _pipeline(
            single, data, cores, batch_size
        ),
        f"decoding thread, session of {cores} threads": lambda: _ahead(wide, names, batch_size),
        f"plain loop, session of {cores} threads": lambda: _loop(wide, names, batch_size),
        f"session alone, {cores} threads side by side": lambda: _session_alone(
            single, len(names), cores, batch_size
        ),
        f"decoder alone, {cores} threads": lambda: _decode_alone(single, names, cores),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:<48}{len(names) / value:8,.0f} images/s")
    pipeline, *_, session, decoder = medians.values()
    print(f"pipeline / limit 1/(t_session + t_decode): {(session + decoder) / pipeline:.3f}")


def _pipeline(session: Session, data: Path, workers: int, batch_size: int) -> None:
    for _ in Pipeline(session, workers=workers, batch_size=batch_size).run(Files([data])):
        pass


def _batches(names: list[str], size: int) -> Iterator[list[str]]:
    source = iter(names)
    while batch := list(islice(source, size)):
        yield batch


def _ahead(session: Session, names: list[str], batch_size: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        decoded = [
            pool.submit(images.load_batch, batch, session.spec.input)
            for batch in _batches(names, batch_size)
        ]
        for batch in decoded:
            session.run(batch.result())


def _loop(session: Session, names: list[str], batch_size: int) -> None:
    for batch in _batches(names, batch_size):
        session.run(images.load_batch(batch, session.spec.input))


def _session_alone(session: Session, count: int, workers: int, batch_size: int) -> None:
    pixels = np.random.default_rng(0).integers(
        0, 256, (batch_size, *session.spec.input.shape), np.uint8
    )
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: session.run(pixels), range(round(count / batch_size))))


def _decode_alone(session: Session, names: list[str], workers: int) -> None:
    def decode(batch: list[str]) -> None:
        for name in batch:
            images.load(name, session.spec.input)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(decode, _batches(names, 32)))


if __name__ == "__main__":
    run_app(app)
