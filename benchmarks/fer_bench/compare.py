"""What changed beyond noise: `fer-bench compare --run HEAD~1 .`, `fer-bench compare a.json b.json`.

With --run both are measured here and now, in turns, in pairs of processes, until it is known. Of
two stored runs the times are scaled by the reference work that each record contains.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_bench.clone import CLONE
from fer_runtime.cli.console import say
from fer_runtime.errors import DataError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
IMAGES = 512
CHANGED_STATUS = 1


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(help="A: a stored run; with --run a revision, settings, or both.")
    ],
    second: Annotated[str, typer.Argument(help="B, as A. A dot is the source as it is.")],
    run: Annotated[
        bool,
        typer.Option(
            "--run",
            help="Measure here: HEAD~1 against ., threads=1 against threads=2; also model=FILE, "
            "provider=, batch_size=, what=session|predict|files.",
        ),
    ] = False,
    model: Annotated[
        str, typer.Option(help="ONNX file or shipped model, with --run.")
    ] = "compact_cnn",
    what: Annotated[
        str, typer.Option(help="With --run: session, predict (one image) or files (to rows).")
    ] = "session",
    threads: Annotated[int, typer.Option(help="With --run: CPU threads.", min=1)] = 1,
    batch_size: Annotated[int, typer.Option(help="With --run: images in a batch.", min=1)] = 32,
    floor: Annotated[
        float, typer.Option(help="With --run: the smallest change that is one, 0.03 for 3 %.")
    ] = 0.03,
    floor_us: Annotated[
        float, typer.Option(help="With --run: the same in microseconds of a call.", min=0)
    ] = 1.0,
) -> None:
    """Say whether B is faster or slower than A, unchanged, or that it is too noisy to tell.

    The exit status is 1 where something changed, else 0.
    """
    if not run:
        _stored(Path(first), Path(second))
        return
    defaults = {"model": model, "what": what, "threads": threads, "batch_size": batch_size}
    _measured((first, second), defaults, floor, floor_us / 1e6)


def _measured(
    texts: tuple[str, str], chosen: dict[str, Any], floor: float, smallest_seconds: float
) -> None:
    from fer_bench.comparing import paired, verdict
    from fer_runtime.shipped import find_model

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        model = str(find_model(chosen["model"]))
        defaults = {**chosen, "model": model, "provider": "cpu", "folder": folder}
        ways = [stack.enter_context(paired.way(each, defaults, CLONE)) for each in texts]
        if any(each.settings["what"] == "files" for each in ways):
            from fer_bench.image_files import ImageFiles

            images = str(ImageFiles(Path(folder)).images(48, ".jpg", IMAGES))
            ways = [each._replace(settings={**each.settings, "images": images}) for each in ways]
        found = paired.compare(
            *ways,
            floor=floor,
            smallest_seconds=smallest_seconds,
            progress=lambda each: say(str(each)),
        )
    print("A is {}, B is {}".format(*texts))
    print(found)
    if found.kind == verdict.CHANGED:
        raise typer.Exit(CHANGED_STATUS)


def _stored(first: Path, second: Path) -> None:
    from fer_bench.comparing import stored
    from fer_bench.comparing.verdict import CHANGED
    from fer_bench.reporting.page import machine
    from fer_bench.reporting.record import read

    one, other = read(first), read(second)
    scale = stored.scale(one, other)
    print(f"A {first}: {machine(one)}")
    print(f"B {second}: {machine(other)}")
    print(
        f"The reference work takes B {scale.factor:.2f} times A's time; its kinds disagree by "
        f"{scale.spread:.0%}, and the machines changed by up to {scale.drift:.0%} during the runs: "
        f"scaled times may be off by {scale.noise:.0%}."
    )
    found = stored.differences(one, other)
    if not found:
        raise DataError(f"{first} and {second} have no benchmark in common.")
    for each in found:
        print(f"{each.ratio - 1:+7.0%}  {each.kind:<18} {each.group}, {each.engine}")
    changed = sum(each.kind == CHANGED for each in found)
    print(f"{changed} of {len(found)} changed")
    if changed:
        raise typer.Exit(CHANGED_STATUS)
