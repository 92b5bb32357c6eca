"""The figures in README and docs, from benchmarks/results: `fer-bench figures`.

A block is between `<!-- figures: NAME -->` and `<!-- end of figures -->`, and only this command
writes in it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fer_bench.clone import CLONE
from fer_bench.documents.blocks import BLOCKS, RESULTS, Results
from fer_runtime.errors import DataError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BLOCK = re.compile(r"(<!-- figures: (\S+) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)


@app.command()
def figures(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit status 1 if something is old.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder of the stored results.")] = RESULTS,
) -> None:
    """Write the blocks of README.md and docs/*.md again."""
    found = Results(results)
    old = []
    for page in (CLONE / "README.md", *sorted((CLONE / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        made = renewed(text, found)
        if made != text:
            old.append(str(page.relative_to(CLONE)))
            if not check:
                page.write_text(made, encoding="utf-8")
    if old:
        print(f"{'old' if check else 'written'}: {', '.join(old)}")
        if check:
            raise typer.Exit(1)
    else:
        print("all figures are those of benchmarks/results")


def renewed(text: str, found: Results) -> str:
    """A page with its blocks written again; raises DataError for an unknown block."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in BLOCKS:
            raise DataError(f"figures: {name} is not one of {', '.join(BLOCKS)}.")
        lines = BLOCKS[name](found)
        return match.group(1) + "".join(f"{line}\n" for line in lines) + match.group(4)

    return BLOCK.sub(block, text)
