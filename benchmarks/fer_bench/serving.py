"""`fer-serve` against other servers, and under bad conditions: `fer-bench serving COMMAND`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Data = Annotated[Path, typer.Argument(help="Folder of JPEGs of the input's size.")]
Model = Annotated[str, typer.Option(help="ONNX file or shipped model.")]
POSTED = 500


@app.command()
def speed(
    data: Data,
    model: Model = "compact_cnn.int8",
    litserve: Annotated[
        Path | None,
        typer.Option(help="Python of an environment with litserve and fer-runtime[cpu]."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(help="Of each load.", min=1)] = 5,
) -> None:
    """Raw JPEGs from wrk at 64 connections and at one, one inference thread each, in turns."""
    from fer_bench.serving_runs.speed import measure, table

    for line in table(*measure(pictures(data), model, litserve, rounds=rounds, seconds=seconds)):
        print(line)


@app.command()
def overload(
    data: Annotated[Path, typer.Argument(help="Folder of photographs, or of crops.")],
    model: Model = "compact_cnn.int8",
    minutes: Annotated[float, typer.Option(min=0.01)] = 10,
    times: Annotated[float, typer.Option(help="Of what it does, of photographs.", min=1)] = 4,
    crops: Annotated[
        int | None, typer.Option(help="Connections of wrk, each with a crop at all times.", min=64)
    ] = None,
    max_latency: Annotated[float, typer.Option(help="The limit, in seconds.")] = 0.5,
) -> None:
    """Offer several times what the server can do; status 1 if its limit does not hold."""
    from fer_bench.serving_runs.overload import Setting, measure

    setting = Setting(60 * minutes, times, max_latency, crops)
    found = measure(pictures(data), model, setting)
    for line in found.lines():
        print(line)
    raise typer.Exit(0 if found.holds else 1)


@app.command()
def hostile(
    data: Data,
    model: Model = "compact_cnn",
    requests: Annotated[int, typer.Option(min=10)] = 1000,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Each tenth request is hostile; status 1 if one is answered wrongly, or anything leaks."""
    from fer_bench.serving_runs.hostile_requests import measure

    found = measure(pictures(data), model, requests=requests, seed=seed)
    for line in found.lines():
        print(line)
    raise typer.Exit(1 if found.wrong else 0)


@app.command()
def ending(
    data: Data,
    model: Model = "compact_cnn.int8",
    times: Annotated[int, typer.Option(min=1)] = 20,
    connections: Annotated[int, typer.Option(min=1)] = 32,
) -> None:
    """SIGTERM under load; status 1 if a request is lost, a process stays, or the port is taken."""
    from fer_bench.serving_runs.ending import measure

    found = measure(pictures(data), model, times=times, connections=connections)
    for line in found.lines():
        print(line)
    raise typer.Exit(1 if found.wrong else 0)


def pictures(folder: Path) -> list[Path]:
    """Up to 500 images of a folder, evenly spread."""
    names = [Path(item.path).resolve() for item in Files([folder])]
    step = max(1, len(names) // POSTED)
    return names[::step][:POSTED]
