"""`fer-export`: a thin skin over this package's functions; they are imported by the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_runtime.console import EXIT_HELP, bound_spinning, run_app

if TYPE_CHECKING:
    from fer_export.parity import ParityReport

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Export a checkpoint with proof that the artefact computes the same, or not at all.",
    epilog=EXIT_HELP,
)

PARITY_FAILED = 5

CheckpointPath = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A best.pt.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Default: beside the checkpoint.")
]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of real images to compare on, beside noise (at most 1,024 of them)."),
]
Tolerance = Annotated[
    float,
    typer.Option(help="Largest difference of logits, in standard deviations of the checkpoint's."),
]
Agreement = Annotated[float, typer.Option(help="Least share of equal top-1.", min=0, max=1)]
Architecture = Annotated[
    str | None, typer.Option(help="package.module:factory that the checkpoint may import.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command()
def onnx(
    checkpoint: CheckpointPath,
    output: Output = None,
    images: Images = None,
    tolerance: Tolerance = 1e-4,
    min_agreement: Agreement = 1.0,
    architecture: Architecture = None,
    as_json: Json = False,
) -> None:
    """Export to ONNX, which fer-infer runs without torch."""
    _export("onnx", checkpoint, output, images, tolerance, min_agreement, architecture, as_json)


@app.command()
def torchscript(
    checkpoint: CheckpointPath,
    output: Output = None,
    images: Images = None,
    tolerance: Tolerance = 1e-4,
    min_agreement: Agreement = 1.0,
    architecture: Architecture = None,
    as_json: Json = False,
) -> None:
    """Export to TorchScript, for torch.jit.load (deprecated by PyTorch since 2.11).

    Loading TorchScript executes the code inside the file.
    """
    _export(
        "torchscript", checkpoint, output, images, tolerance, min_agreement, architecture, as_json
    )


@app.command()
def verify(
    checkpoint: CheckpointPath,
    artefact: Annotated[Path, typer.Argument(metavar="ARTEFACT", help=".onnx or .torchscript.")],
    images: Images = None,
    tolerance: Tolerance = 1e-4,
    min_agreement: Agreement = 1.0,
    architecture: Architecture = None,
    as_json: Json = False,
) -> None:
    """Compare an artefact with its checkpoint anew; its verdict and spec as well.

    Loading TorchScript executes the code inside the file.
    """
    from fer_export import exporter

    report = exporter.verify(
        checkpoint,
        artefact,
        images=images,
        tolerance=tolerance,
        min_agreement=min_agreement,
        factory=architecture,
    )
    _show(report, f"{artefact} against {checkpoint}", as_json)
    raise typer.Exit(0 if report else PARITY_FAILED)


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="ONNX, TorchScript, .pt2 or best.pt.")
    ],
    as_json: Json = False,
) -> None:
    """Show what a model file holds; nothing in it is executed."""
    from rich.console import Console

    from fer_export import inspect as inspection
    from fer_export import report

    found = inspection.inspect(file)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        Console().print(report.inspection_table(found))


def main() -> None:
    """Entry point: errors become one sentence on stderr and a documented exit status."""
    bound_spinning()
    run_app(app)


def _export(
    format_name: str,
    checkpoint: Path,
    output: Path | None,
    images: Path | None,
    tolerance: float,
    min_agreement: float,
    architecture: str | None,
    as_json: bool,
) -> None:
    from fer_export import exporter

    done = exporter.export(
        checkpoint,
        format_name,
        output,
        images=images,
        tolerance=tolerance,
        min_agreement=min_agreement,
        factory=architecture,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    _show(done.report, f"{done.path} against {checkpoint}", as_json)
    size = done.path.stat().st_size
    print(f"wrote {done.path} ({size:,} bytes) and {done.report_path}", file=sys.stderr)


def _show(report: ParityReport, title: str, as_json: bool) -> None:
    from rich.console import Console

    from fer_export.report import parity_table

    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        Console().print(parity_table(report, title))
