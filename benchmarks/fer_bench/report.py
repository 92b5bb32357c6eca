"""A stored run as a page with charts, and what to deploy: `fer-bench report run.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_runtime.cli.console import say
from fer_runtime.errors import DataError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="What pytest benchmarks --benchmark-json wrote.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for report.html and the charts.")
    ] = Path("report"),
    peers: Annotated[
        Path | None, typer.Option(help="What fer-bench peers -o wrote, for a chart of its own.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page and charts in that folder.")
    ] = False,
) -> None:
    """Write one self-contained page, and its charts as PNG; print what to deploy."""
    from fer_bench.reporting import page
    from fer_bench.reporting.advice import advise
    from fer_bench.reporting.peers import section as section_of_peers
    from fer_bench.reporting.record import read

    record = read(run)
    parts = page.sections(record)
    if peers is not None:
        parts.append(section_of_peers(peers))
    target = output / "report.html"
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists; pass --overwrite to replace it.")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for section in parts:
            (output / f"{section.name}.png").write_bytes(section.chart)
        target.write_text(page.page(record, parts), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error.strerror}") from None
    print(page.machine(record))
    print(page.steadiness(record)[0])
    advice = advise(record)
    if advice is not None:
        print("\n".join(advice.sentences))
        print(f"  {advice.command}")
    say(f"wrote {target}")
