"""Other packages for the same task on the same face crops: `fer-bench peers DATA --install`.

Each is installed into an environment of its own, runs on one core, and is used through its public
API on the whole crop, so that no detector is timed where a package allows that. What cannot be
installed or run is named, without a number.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_bench import environment
from fer_bench.artefacts import SHIPPED
from fer_bench.peer_runs.measuring import Runs, install, of_table, python_of
from fer_bench.peer_runs.table import PEERS
from fer_runtime.cli.console import say
from fer_runtime.errors import FerError
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
STARTS = 3


@app.command()
def peers(
    data: Annotated[Path, typer.Argument(help="Folder of crops with a subfolder for each label.")],
    environments: Annotated[
        Path, typer.Option(help="Folder for the environments (some gigabytes).")
    ] = Path("peers"),
    install_them: Annotated[
        bool, typer.Option("--install", help="Install what is not there yet.")
    ] = False,
    peer: Annotated[list[str], typer.Option(help="Some of the peers; default: all.")] = list(PEERS),  # noqa: B006
    repeats: Annotated[int, typer.Option(help="Rounds, in turns.", min=1)] = 3,
    images: Annotated[int | None, typer.Option(help="Only so many images.", min=1)] = None,
    checkpoint: Annotated[Path, typer.Option(help="Weights of the PyTorch loop.")] = SHIPPED,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file.")] = None,
) -> None:
    """Images/s on one core, cold start, installed size, accuracy and macro-F1 of each."""
    chosen = of_table(peer)
    missing = _missing(chosen, environments, install_them=install_them)
    paths = [Path(item.path).resolve() for item in Files([str(data)])]
    if images is not None:
        paths = paths[:: max(1, len(paths) // images)][:images]
    rounds: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(paths, environments, checkpoint, Path(folder))
        for number in range(repeats):
            for name in chosen:
                if name in missing:
                    continue
                say(f"round {number + 1} of {repeats}: {name}")
                try:
                    found = runs.run(name)
                    starts = [runs.run(name, one=True)["start_seconds"] for _ in range(STARTS)]
                except FerError as error:
                    missing[name] = f"cannot be run: {error}"
                    continue
                rounds.setdefault(name, []).append(found | {"start_seconds": sorted(starts)[1]})
        figures = {
            name: runs.figures(name, found) for name, found in rounds.items() if name not in missing
        }
    _show(figures, missing)
    if output is not None:
        record = {
            "environment": environment.environment(),
            "images": len(paths),
            "repeats": repeats,
            "peers": figures,
            "missing": missing,
        }
        output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _missing(names: Iterable[str], environments: Path, *, install_them: bool) -> dict[str, str]:
    """Installs each environment once if asked; why some of the peers have none, by name."""
    missing: dict[str, str] = {}
    installed: set[Path] = set()
    for name in names:
        python = python_of(name, environments)
        try:
            if install_them and python not in installed:
                say(f"installing {name} ...")
                install(name, environments)
                installed.add(python)
        except FerError as error:
            missing[name] = f"cannot be installed: {error}"
            continue
        if not python.exists():
            missing[name] = "is not installed: pass --install"
    return missing


def _show(figures: dict[str, dict[str, Any]], missing: dict[str, str]) -> None:
    heads = ("images/s", "batched", "start, s", "MB", "accuracy", "macro-F1")
    print(f"{'one core':<32}" + "".join(f"{head:>10}" for head in heads))
    for name, each in figures.items():
        batched = each.get("batched_images_per_second")
        right = f"{each['accuracy']:>10.1%}{each['macro_f1']:>10.3f}" if "accuracy" in each else ""
        print(
            f"{name:<32}{each['images_per_second']:>10,.0f}"
            f"{f'{batched:,.0f}' if batched else '':>10}{each['start_seconds']:>10.2f}"
            f"{each['installed_bytes'] / 1e6:>10,.0f}{right}"
        )
    notes = {name: each["note"] for name, each in figures.items() if each["note"]}
    for name, note in notes.items():
        print(f"{name}: {note}")
    for name, why in missing.items():
        print(f"{name} {why}")
