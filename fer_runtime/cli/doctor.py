"""`fer-doctor`: what is installed and what runs here, and why the rest does not."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fer_runtime.cli.console import EXIT_HELP, VersionFlag, make_app, print_text, run_app

app = make_app()


@app.command(epilog=EXIT_HELP)
def fer_doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table to paste into a bug report.")
    ] = False,
    version: VersionFlag = False,
) -> None:
    """Show what is installed, which providers run here, and why the others do not.

    The status is 0 where all runs that this machine seems made for.
    """
    from fer_runtime.doctor import report

    if as_json and markdown:
        raise typer.BadParameter("it excludes --json.", param_hint="--markdown")
    findings = report.examine()
    if as_json:
        import json

        print(json.dumps(report.as_plain(findings), indent=2))
    else:
        text = report.as_markdown(findings) if markdown else report.as_text(findings)
        print_text(text, sys.stdout)
    raise typer.Exit(report.exit_status(findings))


def main() -> None:
    """Run the command line."""
    run_app(app)
