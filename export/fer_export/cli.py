"""`fer-export`: a thin skin over this package's functions; they are imported by the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_export import options
from fer_runtime.cli.console import EXIT_HELP, bound_spinning, refuse_overwriting, run_app

if TYPE_CHECKING:
    from fer_export.exporter import Exported
    from fer_export.parity.checker import Verification
    from fer_export.report.page import Entry

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Export a checkpoint with proof that the artefact computes the same, or not at all.",
    epilog=EXIT_HELP,
)

PARITY_FAILED = 5

CheckpointPath = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", help="A best.pt; or a state dict, with the options below."
    ),
]


@app.command()
@options.takes(
    options.OUTPUT,
    options.COMMON,
    options.OPSET,
    options.PRECISION,
    options.FOREIGN,
    options.PREPROCESSING,
)
def onnx(checkpoint: CheckpointPath, **chosen: Any) -> None:
    """Export to ONNX, which fer-infer runs without torch."""
    _export(checkpoint, ["onnx"], chosen)


@app.command()
@options.takes(options.OUTPUT, options.COMMON, options.FOREIGN, options.PREPROCESSING)
def torchscript(checkpoint: CheckpointPath, **chosen: Any) -> None:
    """Export to TorchScript, for torch.jit.load.

    PyTorch deprecates it since 2.11; pt2 is what follows it. Loading TorchScript executes the code
    inside the file.
    """
    _export(checkpoint, ["torchscript"], chosen)


@app.command()
@options.takes(options.OUTPUT, options.COMMON, options.FOREIGN, options.PREPROCESSING)
def pt2(checkpoint: CheckpointPath, **chosen: Any) -> None:
    """Export to a program of torch.export (.pt2), for torch.export.load.

    Loading a .pt2 unpickles its constants, which can execute code; fer-export refuses one that
    would.
    """
    _export(checkpoint, ["pt2"], chosen)


@app.command("all")
@options.takes(
    options.OUTPUT, options.COMMON, options.OPSET, options.FOREIGN, options.PREPROCESSING
)
def every_format(checkpoint: CheckpointPath, **chosen: Any) -> None:
    """Export to every format; --output is then a folder."""
    _export(checkpoint, ["onnx", "torchscript", "pt2"], chosen)


@app.command()
@options.takes(options.COMMON, options.EVALUATION, options.FOREIGN, options.PREPROCESSING)
def verify(
    checkpoint: CheckpointPath,
    artefact: Annotated[
        Path, typer.Argument(metavar="ARTEFACT", help=".onnx, .torchscript or .pt2.")
    ],
    provider: Annotated[
        str, typer.Option(help="Where an ONNX file runs: cpu, or cuda (or an error).")
    ] = "cpu",
    **chosen: Any,
) -> None:
    """Compare an artefact with its checkpoint anew; its verdict and spec as well.

    Loading TorchScript can execute code inside the file.
    """
    from fer_export.parity.verify import verify as verify_artefact
    from fer_export.report.page import Entry

    refuse_overwriting(chosen["report"], [checkpoint, artefact], "--report")
    verification = verify_artefact(
        checkpoint, artefact, options.judging(chosen), description=options.description(chosen),
        provider=provider, say=_say,
    )  # fmt: skip
    _show(verification, f"{artefact} against {checkpoint}", chosen["as_json"])
    _write_page(chosen["report"], checkpoint, [Entry(artefact.name, artefact, verification)])
    raise typer.Exit(0 if verification else PARITY_FAILED)


@app.command("attach-spec")
def attach_spec(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file made elsewhere.")],
    spec: Annotated[Path, typer.Option(help="ModelSpec as JSON; fer-infer shows one to fill in.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: FILE's stem with .fer.onnx.")
    ] = None,
) -> None:
    """Put a spec into a foreign ONNX file, so that fer-infer runs it; the file itself stays."""
    from fer_export import attach
    from fer_runtime.spec import ModelSpec

    target = output or file.with_suffix(".fer.onnx")
    refuse_overwriting(target, [file, spec])
    attach.attach_spec(file, ModelSpec.read(spec), target)
    _say(f"wrote {target}")


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="ONNX, TorchScript, .pt2 or best.pt.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Show what a model file holds; nothing in it is executed."""
    from rich.console import Console

    from fer_export import inspection
    from fer_export.report import text

    found = inspection.inspect(file)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        Console().print(text.inspection_table(found))


def main() -> None:
    """Entry point: errors become one sentence on stderr and a documented exit status."""
    bound_spinning()
    run_app(app)


def _export(checkpoint: Path, formats: Sequence[str], chosen: dict[str, Any]) -> None:
    """Export to each format in turn; the page is written whether parity holds or not."""
    from fer_export import exporter
    from fer_export.formats import FORMATS
    from fer_export.parity.checker import VerificationError
    from fer_export.report.page import Entry

    judging, description = options.judging(chosen), options.description(chosen)
    output, entries = chosen["output"], []
    refuse_overwriting(output, [checkpoint])
    refuse_overwriting(chosen["report"], [checkpoint], "--report")
    try:
        for name in formats:
            target = output
            if output and len(formats) > 1:
                target = output / f"{checkpoint.stem}{FORMATS[name].ending}"
            done = exporter.export(
                checkpoint, name, target, judging, description=description, say=_say
            )
            entries.append(Entry(done.path.name, done.path, done.verification))
            _tell(done, checkpoint, chosen["as_json"])
    except VerificationError as error:
        entries.append(Entry(f"{name}: failed, not written", None, error.verification))
        raise
    finally:
        _write_page(chosen["report"], checkpoint, entries)


def _tell(done: Exported, checkpoint: Path, as_json: bool) -> None:
    _show(done.verification, f"{done.path} against {checkpoint}", as_json)
    size = done.path.stat().st_size
    _say(f"wrote {done.path} ({size:,} bytes) and {done.report_path}")


def _show(verification: Verification, title: str, as_json: bool) -> None:
    from rich.console import Console

    from fer_export.report.text import parity_table

    if as_json:
        print(json.dumps(verification.to_dict(), indent=2))
    else:
        Console().print(parity_table(verification, title))


def _write_page(target: Path | None, checkpoint: Path, entries: Sequence[Entry]) -> None:
    if target and entries:
        from fer_export.report import page

        page.write(target, checkpoint, entries)
        _say(f"wrote {target}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
