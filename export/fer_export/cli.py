"""`fer-export`: a thin layer over this package's functions, which the commands import.

The commands that export are made from the table of formats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fer_export.engines.table import ENGINES
from fer_export.formats.table import FORMATS, Format
from fer_export.homes import commands as homes
from fer_export.options import DescriptionOptions, ExportOptions, FormatOptions, VerifyOptions
from fer_runtime.cli.console import (
    EXIT_HELP,
    VersionFlag,
    bound_spinning,
    make_app,
    refuse_overwriting,
    run_app,
    say,
)
from fer_runtime.cli.options import choice, expand, option
from fer_runtime.errors import DataError
from fer_runtime.providers import PROVIDERS

if TYPE_CHECKING:
    from fer_export.parity.verification import Verification
    from fer_export.report.page import Entry

PARITY_FAILED = 5
ENGINE_NAMES = ", ".join(ENGINES)

app = make_app(
    no_args_is_help=True,
    help="Export a checkpoint, and check that the artefact computes the same; else write no file.",
    epilog=EXIT_HELP,
)

CheckpointPath = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A best.pt of fer-train; or weights, with the options below: a state dict, a "
        "checkpoint that has one in an entry (state_dict, model_state_dict, model, net, "
        "state_dict_ema, or any other that is the only one), or .safetensors.",
    ),
]


@dataclass(frozen=True)
class ShowOptions:
    """Where the result is shown."""

    report: Path | None = option(None, "Write one self-contained HTML page, pass or fail.")
    as_json: bool = option(False, "Print JSON on stdout.", "--json")


@app.callback()
def _options(version: VersionFlag = False) -> None:
    """Options before the command; each of them ends the program."""


def _add_format(name: str, chosen: Format) -> None:
    """The command of one format; it takes precisions and settings that the format has."""
    takes = ExportOptions if len(chosen.precisions) > 1 else FormatOptions

    def command(
        checkpoint: CheckpointPath,
        options: Any,
        settings: Any,
        described: DescriptionOptions,
        show: ShowOptions,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="File to write. Default: beside the checkpoint."),
        ] = None,
    ) -> None:
        refuse_overwriting(output, [checkpoint])
        _export(checkpoint, {name: output}, options, asdict(settings), described, show)

    command.__annotations__ |= {"options": takes, "settings": chosen.settings_type()}
    app.command(name, help=chosen.help)(expand(command))


def _add_all(formats: Mapping[str, Format]) -> None:
    """The command `all`; it takes the settings of every format."""

    def command(
        checkpoint: CheckpointPath,
        options: FormatOptions,
        settings: Any,
        described: DescriptionOptions,
        show: ShowOptions,
        output: Annotated[
            Path | None,
            typer.Option(
                "--output",
                "-o",
                help="Folder to write to; made if needed. Default: beside the checkpoint.",
            ),
        ] = None,
    ) -> None:
        targets: dict[str, Path | None] = dict.fromkeys(formats)
        if output is not None:
            targets = {
                name: output / f"{checkpoint.stem}{chosen.ending}"
                for name, chosen in formats.items()
            }
        for target in targets.values():
            refuse_overwriting(target, [checkpoint])
        with _folder(output):
            _export(checkpoint, targets, options, asdict(settings), described, show)

    command.__annotations__ |= {"settings": _all_settings(formats.values())}
    app.command("all", help=f"Export to every format: {', '.join(formats)}.")(expand(command))


def _all_settings(formats: Iterable[Format]) -> type:
    """One dataclass with the settings of all formats; an option of the same name is shared."""
    entries: dict[str, tuple[str, Any, Any]] = {}
    for kind in (chosen.settings_type() for chosen in formats):
        types = get_type_hints(kind)
        for entry in fields(kind):
            copied = field(default=entry.default, metadata=entry.metadata)
            entries.setdefault(entry.name, (entry.name, types[entry.name], copied))
    return make_dataclass("AllSettings", entries.values(), frozen=True)


for _name, _format in FORMATS.items():
    _add_format(_name, _format)
_add_all(dict(FORMATS))


@app.command()
@expand
def verify(
    checkpoint: CheckpointPath,
    artefact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTEFACT",
            help=f"The exported file ({', '.join(entry.ending for entry in FORMATS.values())}).",
        ),
    ],
    options: VerifyOptions,
    described: DescriptionOptions,
    show: ShowOptions,
    provider: Annotated[
        str, choice(tuple(PROVIDERS), help="Where the artefact runs, or an error.")
    ] = "cpu",
    engine: Annotated[
        str | None,
        typer.Option(
            help=f"Compare in other engines too: all that run here, or some of {ENGINE_NAMES}.",
            metavar="all|NAME,NAME",
        ),
    ] = None,
) -> None:
    """Compare an artefact with its checkpoint again, and check its verdict and spec.

    Loading TorchScript can execute code inside the file.
    """
    from fer_export.parity.verify import verify as verify_artefact
    from fer_export.report.page import Entry

    refuse_overwriting(show.report, [checkpoint, artefact], "--report")
    verification = verify_artefact(
        checkpoint, artefact, options, description=described.description(), provider=provider,
        engines=engine, say=say,
    )  # fmt: skip
    _print_verification(verification, f"{artefact} against {checkpoint}", show.as_json)
    _write_page(show.report, checkpoint, [Entry(artefact.name, artefact, verification)])
    raise typer.Exit(0 if verification else PARITY_FAILED)


@app.command("attach-spec")
def attach_spec(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file made elsewhere.")],
    spec: Annotated[Path, typer.Option(help="ModelSpec as JSON; fer-infer shows one to fill in.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: FILE's stem with .fer.onnx.")
    ] = None,
) -> None:
    """Add a spec to an ONNX file made elsewhere, so that fer-infer runs it; writes a copy."""
    from fer_export import attach
    from fer_runtime.spec import ModelSpec

    target = output or file.with_suffix(".fer.onnx")
    refuse_overwriting(target, [file, spec])
    attach.attach_spec(file, ModelSpec.read(spec), target)
    say(f"wrote {target}")


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file of any format, or a best.pt.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Show what a model file contains; nothing in it is executed."""
    from rich.console import Console

    from fer_export import inspection
    from fer_export.report import text

    found = inspection.inspect(file)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        Console().print(text.inspection_table(found))


homes.add_commands(app)


def main() -> None:
    """Entry point: errors become a clear message on stderr and a documented exit status."""
    bound_spinning()
    run_app(app)


def _export(
    checkpoint: Path,
    targets: Mapping[str, Path | None],
    options: FormatOptions,
    settings: Mapping[str, Any],
    described: DescriptionOptions,
    show: ShowOptions,
) -> None:
    """Export to each format in turn; the page is written whether parity holds or not."""
    from fer_export import exporter
    from fer_export.parity.verification import VerificationError
    from fer_export.report.page import Entry

    description, entries = described.description(), []
    refuse_overwriting(show.report, [checkpoint], "--report")
    try:
        for name, target in targets.items():
            own = {key: settings[key] for key in FORMATS[name].setting_names()}
            wanted = ExportOptions(**{**asdict(options), "settings": own})
            done = exporter.export(
                checkpoint, name, target, wanted, description=description, say=say
            )
            entries.append(Entry(done.path.name, done.path, done.verification))
            _print_verification(
                done.verification, f"{done.path} against {checkpoint}", show.as_json
            )
            size = done.path.stat().st_size
            say(f"wrote {done.path} ({size:,} bytes) and {done.report_path}")
    except VerificationError as error:
        entries.append(Entry(f"{name}: failed, not written", None, error.verification))
        raise
    finally:
        _write_page(show.report, checkpoint, entries)


@contextmanager
def _folder(path: Path | None) -> Iterator[None]:
    """Make a folder; where the work fails, remove what was made and stayed empty."""
    if path is None or path.is_dir():
        yield
        return
    try:
        missing = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True)
    except OSError as error:
        raise DataError(
            f"{path} cannot be made: {error.strerror}; --output of fer-export all is a folder."
        ) from None
    try:
        yield
    except BaseException:
        for each in missing:
            if not any(each.iterdir()):
                each.rmdir()
        raise


def _print_verification(verification: Verification, title: str, as_json: bool) -> None:
    from rich.console import Console

    from fer_export.report.text import engine_table, parity_table

    if as_json:
        print(json.dumps(verification.to_dict(), indent=2))
        return
    Console().print(parity_table(verification, title))
    if verification.engines:
        Console().print(engine_table(verification.engines))


def _write_page(target: Path | None, checkpoint: Path, entries: Sequence[Entry]) -> None:
    if target and entries:
        from fer_export.report import page

        page.write(target, checkpoint, entries)
        say(f"wrote {target}")
