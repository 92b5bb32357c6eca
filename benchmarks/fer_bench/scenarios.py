"""The scenarios of MLPerf Inference, by its own load generator: `fer-bench scenarios DATA`.

SingleStream sends one image after the other, MultiStream eight at once, Server single images at
random moments (Poisson), Offline all at once. The load generator itself takes the times and says
VALID or INVALID; an accuracy run answers for the same code and the same file. MLPerf's rules are
followed as far as they fit; the results are not MLPerf's, whose name is not claimed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fer_bench import environment
from fer_bench.load_generator import FULL, QUICK, SCENARIOS, Length, Outcome, System, highest_valid
from fer_runtime import images, labelled, metrics
from fer_runtime.cli.console import say
from fer_runtime.errors import DataError, FerError
from fer_runtime.hashing import file_sha256
from fer_runtime.machine import usable_threads
from fer_runtime.session import Session
from fer_runtime.shipped import find_model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
MORE = 1.25
"""Offline is sent so many times what a short run made, so that it lasts long enough."""
PERCENTILE = {"SingleStream": "p90", "MultiStream": "p99", "Server": "p99"}
"""The latency that counts, by MLPerf's rules."""


@app.command()
def scenarios(
    data: Annotated[Path, typer.Argument(help="Labelled images: DATA/<label>/*.")],
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    provider: Annotated[str, typer.Option(help="As fer-infer's.")] = "auto",
    scenario: Annotated[
        list[str], typer.Option(help=f"Some of {', '.join(SCENARIOS)}; default: all.")
    ] = list(SCENARIOS),  # noqa: B006
    full: Annotated[
        bool, typer.Option("--full", help="As long as MLPerf's rules ask: ten minutes each.")
    ] = False,
    server_ms: Annotated[
        float, typer.Option(help="Server: 99 of 100 images must be answered within it.", min=0.1)
    ] = 15.0,
    server_rate: Annotated[
        float | None, typer.Option(help="Server: images/s; default: the most that is valid.")
    ] = None,
    accuracy: Annotated[
        bool, typer.Option("--accuracy/--no-accuracy", help="An accuracy run of each scenario.")
    ] = True,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file.")] = None,
) -> None:
    """Images/s and latency in each scenario, with the load generator's verdict."""
    if unknown := sorted(set(scenario) - set(SCENARIOS)):
        raise DataError(f"--scenario {unknown[0]}: it is one of {', '.join(SCENARIOS)}.")
    path = find_model(model)
    session = Session.open(path, provider=provider, threads=1)
    known = labelled.read(data, session.spec.labels)
    pixels = images.load_batch(known.paths, session.spec.input)
    system = System(session, pixels, usable_threads())
    length = FULL if full else QUICK
    found: dict[str, Any] = {
        "environment": environment.environment(),
        "model": {"name": model, "sha256": file_sha256(path)},
        "provider": session.provider,
        "arithmetic": session.arithmetic,
        "samples": len(pixels),
        "length": length._asdict(),
        "scenarios": {},
    }
    print(f"{model} on {session.provider}, {len(pixels):,} samples")
    for name in scenario:
        entry = _run(system, name, length, server_ms, server_rate)._asdict()
        if accuracy:
            entry["accuracy"] = _accuracy(system, name, known.targets, len(session.spec.labels))
        found["scenarios"][name] = entry
        _show(entry, server_ms)
    if output is not None:
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if not all(entry["valid"] for entry in found["scenarios"].values()):
        raise FerError("a run is INVALID: the machine was too busy, or the rate or bound too high.")


def _run(
    system: System, name: str, length: Length, server_ms: float, server_rate: float | None
) -> Outcome:
    if name == "Offline":
        # It sends about so many images for the length of the run, at once.
        quick = length._replace(seconds=1.0)
        expected = system.run(name, quick, offline_expected_qps=1000.0).samples_per_second
        return system.run(name, length, offline_expected_qps=expected * MORE)
    if name != "Server":
        return system.run(name, length)

    def attempt(rate: float) -> Outcome:
        say(f"{name} at {rate:,.0f} images/s ...")
        return system.run(
            name, length, server_target_qps=rate, server_target_latency_ns=int(server_ms * 1e6),
            server_target_latency_percentile=0.99,
        )  # fmt: skip

    if server_rate is not None:
        return attempt(server_rate)
    most = system.run("Offline", length._replace(seconds=2.0), offline_expected_qps=1000.0)
    return highest_valid(attempt, most.samples_per_second)


def _accuracy(system: System, name: str, targets: Any, labels: int) -> dict[str, float]:
    matrix = metrics.confusion_matrix(targets, system.predictions(name).astype(np.int64), labels)
    return {"accuracy": metrics.accuracy(matrix), "macro_f1": metrics.macro_f1(matrix)}


def _show(entry: dict[str, Any], server_ms: float) -> None:
    name, times = entry["scenario"], entry["milliseconds"]
    latency = f"{PERCENTILE[name]} {times[PERCENTILE[name]]:.2f} ms" if name in PERCENTILE else ""
    if name == "Server":
        latency += f" of at most {server_ms:g} ms"
    verdict = "VALID" if entry["valid"] else f"INVALID ({'; '.join(_reasons(entry['why_not']))})"
    accuracy = entry.get("accuracy")
    right = f", accuracy {accuracy['accuracy']:.2%}" if accuracy else ""
    rate = entry["target"] if name == "Server" and entry["target"] else entry["samples_per_second"]
    print(f"  {name:<13}{rate:10,.0f} images/s  {latency:<32}{verdict}{right}")


def _reasons(lines: Sequence[str]) -> Sequence[str]:
    return lines or ("no reason given",)
