"""`fer-infer` and `fer-doctor`; whatever is heavy is imported inside the commands."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_runtime._version import __version__
from fer_runtime.console import EXIT_HELP, count, print_text, refuse_overwriting, run_app, say
from fer_runtime.errors import DataError

if TYPE_CHECKING:
    from fer_runtime.evaluation import Evaluation, Summary
    from fer_runtime.progress import Tally
    from fer_runtime.sources import Item

ERROR_ROWS = 3
RESUMABLE = (".csv", ".jsonl", ".parquet")
_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

infer_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
doctor_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"fer-runtime {__version__}")
        raise typer.Exit


@infer_app.command(context_settings=_SETTINGS, no_args_is_help=True, epilog=EXIT_HELP)
def fer_infer(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Image files, folders, globs, .tar shards, FER2013's .csv; - is a list on stdin.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="ONNX file; default: $FER_MODEL, else ./best.onnx, else the shipped one. "
            "compact_cnn.int8 is the shipped one as int8."
        ),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="ModelSpec as JSON, for an ONNX file that carries none.")
    ] = None,
    provider: Annotated[
        str, typer.Option(help="cpu, cuda (or an error), or auto, which says what it chose.")
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option(help="Images per run of the session.", min=1, max=4096)
    ] = 32,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="FILE.csv, .jsonl, .parquet or .txt; - is CSV on stdout."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON Lines on stdout (a file goes by its ending).")
    ] = False,
    top_k: Annotated[int, typer.Option(help="Labels shown per image in text and JSON.", min=1)] = 3,
    on_error: Annotated[
        str, typer.Option(help="row: an unreadable image is a row; fail: it ends the run.")
    ] = "row",
    max_pixels: Annotated[
        int, typer.Option(help="Larger images are error rows, and are not decoded.", min=1)
    ] = 50_000_000,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with FILE.partial after a crash or Ctrl-C: the same sources and options.",
        ),
    ] = False,
    shard: Annotated[
        str, typer.Option(help="Of 2/8: every 8th image from the 2nd on, for job arrays.")
    ] = "1/1",
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate",
            help="The folders are the true labels: print accuracy, macro-F1, recalls, confusion.",
        ),
    ] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Print how often each label was predicted.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; default: all this process may use.", min=1)
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and end.")
    ] = False,
) -> None:
    """Classify the apparent facial expression in images, in batches.

    A prediction is about a picture, not about what a person feels.
    """
    from fer_runtime.classifier import find_model
    from fer_runtime.machine import usable_threads
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.progress import Tally, shown
    from fer_runtime.resume import identity, remaining
    from fer_runtime.session import Session
    from fer_runtime.sinks import STDOUT, open_sink
    from fer_runtime.sources import Sources, shard_of
    from fer_runtime.spec import ModelSpec

    if on_error not in ("row", "fail"):
        raise typer.BadParameter(f"{on_error!r}; allowed: row, fail", param_hint="--on-error")
    to_file = output is not None and output != STDOUT
    if to_file:
        _check_output(str(output), [*sources, model, spec])
    resumable = to_file and str(output).lower().endswith(RESUMABLE)
    if resume:
        _check_resume(output if resumable else None, evaluate or summary)
    try:
        files = Sources(sources, shard=shard_of(shard))
    except DataError as error:
        raise typer.BadParameter(str(error)) from None
    files.check()
    if resume:
        _end_if_complete(str(output), files)
    path = find_model(model)
    workers = threads or usable_threads()
    # Foreign specs are read first: a mistake in one should not cost a session's start.
    given = ModelSpec.read(spec) if spec else None
    session = Session.open(path, provider=provider, threads=1, spec=given)
    say(f"model {path} on {session.provider_reason}")
    pipeline = Pipeline(session, workers=workers, batch_size=batch_size, max_pixels=max_pixels)
    ending = None if to_file else ".jsonl" if as_json else ".csv" if output else ".txt"
    labels = session.spec.labels
    tally = Tally(on_error)
    watching = _watching(labels, evaluate, summary)
    run = None
    if resumable:
        run = identity(
            session, sources=sources, shard=shard, batch_size=batch_size, max_pixels=max_pixels,
            top_k=top_k if str(output).lower().endswith(".jsonl") else None,
        )  # fmt: skip
    with _expected_ends(tally, output if resumable and not watching else None):
        with open_sink(
            output or STDOUT, labels, ending=ending, top_k=top_k, run=run, resume=resume
        ) as sink:
            tally.finished = sink.finished
            rest, repeated = remaining(files, sink.finished, batch_size)
            rows_left = tally.counted(pipeline.run(rest), repeated)
            for rows in shown(rows_left, files, sink.finished.rows, output or STDOUT):
                sink.write(rows)
                for each in watching:
                    each.add(rows)
            if files.shard == (1, 1):
                tally.require_images(files.sources, files.skipped)
        for each in watching:
            print_text(each.text(), sys.stdout if to_file else sys.stderr)
    say(tally.summary(files.skipped, session, output))
    raise typer.Exit(ERROR_ROWS if tally.errors or tally.finished.errors else 0)


def _watching(labels: tuple[str, ...], evaluate: bool, summary: bool) -> list[Evaluation | Summary]:
    """What looks at the rows as they go by; imported only where it was asked for."""
    if not evaluate and not summary:
        return []
    from fer_runtime.evaluation import Evaluation, Summary

    return [kind(labels) for kind, wanted in ((Summary, summary), (Evaluation, evaluate)) if wanted]


def _check_output(output: str, inputs: Iterable[str | Path | None]) -> None:
    """Refuse a file of no known kind, and one that is read from."""
    from fer_runtime.sinks import FORMATS, unknown_ending

    if not output.lower().endswith((*FORMATS, ".parquet")):
        raise typer.BadParameter(str(unknown_ending(output)), param_hint="--output")
    refuse_overwriting(output, inputs)


def _check_resume(file: str | None, watching: bool) -> None:
    """Refuse what --resume cannot do."""
    if file is None:
        raise typer.BadParameter(
            "it needs --output FILE.csv, .jsonl or .parquet.", param_hint="--resume"
        )
    if watching:
        raise typer.BadParameter(
            "--evaluate and --summary look at every row; leave them away.", param_hint="--resume"
        )


def _end_if_complete(file: str, items: Iterable[Item]) -> None:
    """End at once where --resume finds nothing left to do."""
    from fer_runtime.resume import complete, record_path, remove_record

    partial = Path(f"{file}.partial")
    if not os.path.isfile(file) or (partial.exists() and record_path(partial).exists()):
        return
    errors = complete(file, items).errors
    remove_record(partial)  # it may have been killed between the rename and this
    rows = f", with {count(errors, 'error row')}" if errors else ""
    say(f"{file} is complete{rows}; there is nothing to resume")
    raise typer.Exit(ERROR_ROWS if errors else 0)


@contextmanager
def _expected_ends(tally: Tally, file: str | None) -> Iterator[None]:
    """A reader that has gone ends the run quietly; Ctrl-C says what is kept."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read our output (`| head`) has enough; that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None
    except KeyboardInterrupt:
        kept = ""
        if file and tally.images + tally.finished.rows:
            kept = f"; go on with --resume, finished rows are in {file}.partial"
        say(f"interrupted after {count(tally.images, 'image')}{kept}")
        raise


@doctor_app.command(context_settings=_SETTINGS)
def fer_doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is installed, which providers run here, and why the others do not."""
    from fer_runtime import doctor

    report = doctor.report()
    if as_json:
        import json

        print(json.dumps(report, indent=2))
    else:
        print(doctor.as_text(report), end="")


def infer() -> None:
    """Entry point of `fer-infer`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt_once)
    run_app(infer_app)


def _interrupt_once(*_: object) -> None:
    """The first Ctrl-C ends the run in order, within a batch; another would break that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def doctor() -> None:
    """Entry point of `fer-doctor`."""
    run_app(doctor_app)
