"""Predictions per second and latency of several servers with one model, in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fer_bench.serving_runs import servers, wrk
from fer_bench.serving_runs.wrk import Load
from fer_runtime import Classifier, images

MANY = 64
LIT = {f"LitServe, {name.replace('_', ' ')}": name for name in ("single", "batches", "fast_queue")}
OURS, BARE = "fer-serve", "bare httptools loop"


class Result(NamedTuple):
    """What one server did in each round: with many connections, and with one."""

    many: list[Load]
    one: list[Load]


def commands(model: str, litserve: Path | None) -> dict[str, Callable[[int], list[str]]]:
    """Name -> the command of a server at a port."""
    found: dict[str, Callable[[int], list[str]]] = {
        OURS: lambda port: servers.ours(port, "--model", model, "--threads", 1),
        BARE: lambda port: servers.bare(port, model),
    }
    for name, setting in LIT.items() if litserve is not None else ():
        assert litserve is not None
        found[name] = partial(servers.litserve, model=model, python=litserve, setting=setting)
    return found


def measure(
    files: list[Path], model: str, litserve: Path | None, *, rounds: int, seconds: float
) -> tuple[dict[str, Result], list[float]]:
    """Each server in turns -> its loads; and the seconds of one decode and run without a server."""
    results: dict[str, Result] = {}
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        script = wrk.write_script(Path(folder), files)
        for _ in range(rounds):
            alone.append(_alone(files, model))
            for name, command in commands(model, litserve).items():
                port = servers.free_port()
                with servers.started(command(port), port, body=files[0].read_bytes()):
                    wrk.load(port, script, connections=8, seconds=1)
                    result = results.setdefault(name, Result([], []))
                    result.many.append(wrk.load(port, script, connections=MANY, seconds=seconds))
                    result.one.append(wrk.load(port, script, connections=1, seconds=seconds / 2))
    return results, alone


def table(results: dict[str, Result], alone: list[float]) -> list[str]:
    """Lines for a terminal: medians over the rounds, and the median of each round's ratio."""
    ours = results[OURS]
    lines = [
        f"{'':24} {'images/s':>9} {'fer-serve / it':>15} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'one connection, p50 ms':>23}"
    ]
    for name, result in results.items():
        ratio = statistics.median(
            a.rate / b.rate for a, b in zip(ours.many, result.many, strict=True)
        )
        p50, p99, one = (
            1000 * statistics.median(values)
            for values in (
                [load.p50 for load in result.many],
                [load.p99 for load in result.many],
                [load.p50 for load in result.one],
            )
        )
        rate = statistics.median(load.rate for load in result.many)
        lines.append(f"{name:24} {rate:9,.0f} {ratio:15.2f} {p50:8.2f} {p99:8.2f} {one:23.3f}")
        refused = sum(load.refused + load.lost for load in (*result.many, *result.one))
        if refused:
            lines.append(f"{'':24} {refused} requests were refused or lost")
    over = statistics.median(
        1000 * (load.p50 - seconds) for load, seconds in zip(ours.one, alone, strict=True)
    )
    lines.append(
        f"decode and session alone take {1000 * statistics.median(alone):.3f} ms (median); one "
        f"request to fer-serve takes {over:.3f} ms more"
    )
    return lines


def _alone(files: list[Path], model: str) -> float:
    """Median seconds to decode an image and to run the session on it, one thread."""
    classifier = Classifier.load(model, provider="cpu", threads=1)
    classifier.warm_up()
    contents = [path.read_bytes() for path in files]
    spec = classifier.spec.input
    seconds: list[float] = []
    for content in contents * 3:
        started = time.perf_counter()
        classifier.session.run(images.decode(content, spec)[None])
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
