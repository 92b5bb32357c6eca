"""`fer-pack`: options -> one call of `fer_runtime.packed.writer.pack` -> one line of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_runtime.cli.console import (
    EXIT_HELP,
    VersionFlag,
    count,
    make_app,
    progress_bar,
    run_app,
    say,
)
from fer_runtime.cli.infer_options import ReadFlags, source_options
from fer_runtime.cli.options import expand

ERROR_IMAGES = 3

app = make_app()


@app.command(no_args_is_help=True, epilog=EXIT_HELP)
@expand
def fer_pack(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="As those of fer-infer.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The pack to write: a folder NAME.ferpack.")
    ],
    reading: ReadFlags,
    model: Annotated[
        str | None,
        typer.Option(help="The model whose input the pixels are for; default: as fer-infer."),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="ModelSpec as JSON, instead of a model that contains one.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads that decode; default: all cores.", min=1)
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(help="Larger images are errors, and are not decoded.", min=1)
    ] = 50_000_000,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a pack that exists.")
    ] = False,
    version: VersionFlag = False,
) -> None:
    """Decode images once, for many runs over the same set.

    fer-infer and fer-train take the pack like a folder: same rows, same names, nothing to decode.
    """
    from fer_runtime.packed.writer import pack
    from fer_runtime.session import Session
    from fer_runtime.shipped import find_model
    from fer_runtime.spec import ModelSpec

    if spec is not None and model is None:
        expected = ModelSpec.read(spec).input
    else:
        given = ModelSpec.read(spec) if spec is not None else None
        opened = Session.open(find_model(model), provider="cpu", threads=1, spec=given)
        expected = opened.spec.input
    with progress_bar("packing") as show:
        result = pack(
            sources, output, expected, overwrite=overwrite, threads=threads,
            max_pixels=max_pixels, reading=source_options(reading),
            progress=lambda done: show(done, 0),
        )  # fmt: skip
    parts = [
        f"{count(result.images, 'image')} in {result.seconds:.2f} s, {result.bytes / 1e6:,.1f} MB "
        f"of pixels of {expected.width} x {expected.height}",
        f"{result.errors:,} with an error" if result.errors else "",
        f"{count(result.skipped, 'other file')} skipped" if result.skipped else "",
    ]
    say(f"{', '.join(part for part in parts if part)} -> {result.output}")
    raise typer.Exit(ERROR_IMAGES if result.errors else 0)


def main() -> None:
    """Run the command line."""
    run_app(app)
