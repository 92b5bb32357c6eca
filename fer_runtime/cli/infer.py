"""`fer-infer`: options -> one call of `fer_runtime.run` -> a few lines of text."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_runtime.cli.console import (
    EXIT_HELP,
    VersionFlag,
    count,
    make_app,
    print_text,
    refuse_overwriting,
    run_app,
    say,
)
from fer_runtime.cli.infer_options import (
    FaceFlags,
    ModelOptions,
    OutputOptions,
    ReadFlags,
    check_annotate,
    check_faces,
    face_options,
    provider_options,
    seconds_of,
    source_options,
)
from fer_runtime.cli.infer_tuning import speed_options, tune
from fer_runtime.cli.infer_words import last_line, photograph_hint
from fer_runtime.cli.options import expand
from fer_runtime.errors import DataError
from fer_runtime.parts.outputs import is_folder_of_parts
from fer_runtime.sources.table import SOURCES

if TYPE_CHECKING:
    from fer_runtime.evaluation import Evaluation, Summary
    from fer_runtime.run import Run
    from fer_runtime.run_options import Observer, RunResult
    from fer_runtime.sources.table import SourceOptions

ERROR_ROWS = 3

app = make_app()


@app.command(no_args_is_help=True, epilog=EXIT_HELP)
@expand
def fer_infer(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Image files, folders, globs, or what contains many images: "
            f"{', '.join(SOURCES)} (.csv is FER2013's). - is a list on stdin.",
        ),
    ],
    running: ModelOptions,
    writing: OutputOptions,
    finding: FaceFlags,
    reading: ReadFlags,
    version: VersionFlag = False,
) -> None:
    """Classify the apparent facial expression in images, in batches.

    A prediction is about a picture, not about what a person feels.
    """
    _import_numpy()
    from fer_runtime.run import Run
    from fer_runtime.spec import ModelSpec

    _check(writing, [*sources, running.model, running.spec])
    check_faces(finding)
    check_annotate(finding, writing)
    spec = running.spec
    run = Run(
        _sources(sources, writing.shard, source_options(reading, finding.every)),
        writing.output or "-",
        model=running.model, spec=ModelSpec.read(spec) if spec else None,
        provider=running.provider, max_pixels=running.max_pixels, on_error=writing.on_error,
        ending=_ending(writing), top_k=writing.top_k, min_probability=running.min_probability,
        resume=writing.resume, overwrite=writing.overwrite, faces=face_options(finding),
        smooth=seconds_of(finding.smooth),
        thumbnails=writing.gallery is not None, part_images=writing.part_images, ray=writing.ray,
        provider_options=provider_options(running),
        **speed_options(running, faces=finding.faces),
    )  # fmt: skip
    session = run.classifier.session
    if running.tune:
        tune(run, running)
    if run.complete:
        _end_complete(run)
    say(f"model {session.path} on {session.provider_reason}")
    result = _execute(run, writing, finding.annotate)
    hint = photograph_hint(*run.photographs(), run.classifier.spec.input)
    if hint:
        say(hint)
    say(last_line(result, faces=run.faces is not None))
    raise typer.Exit(ERROR_ROWS if result.errors or result.finished_errors else 0)


def _import_numpy() -> None:
    """Import it first: from within the nested imports of `run` it takes 10 ms longer.

    There its calls cross the end of a chunk of Python 3.11's frame stack again and again.
    """
    import numpy  # noqa: F401


def _check(writing: OutputOptions, inputs: list[str | Path | None]) -> None:
    """Refuse options that contradict one another, before anything is loaded."""
    from fer_runtime.sinks.table import ending_of, resumable_endings

    to_file = writing.output not in (None, "-")
    in_parts = to_file and is_folder_of_parts(str(writing.output))
    if to_file and not in_parts:
        try:
            ending_of(str(writing.output))
        except DataError as error:
            raise typer.BadParameter(str(error), param_hint="--output") from None
        refuse_overwriting(writing.output, inputs)
    if writing.gallery:
        from fer_runtime.gallery.collection import gallery_ending

        try:
            gallery_ending(writing.gallery)
        except DataError as error:
            raise typer.BadParameter(str(error), param_hint="--gallery") from None
        refuse_overwriting(writing.gallery, [*inputs, writing.output], "--gallery")
    if in_parts and (writing.evaluate or writing.summary or writing.gallery):
        raise typer.BadParameter(
            "--evaluate, --summary and --gallery need one output file.", param_hint="--output"
        )
    if writing.exclude_duplicates_of and not writing.evaluate:
        raise typer.BadParameter("it needs --evaluate.", param_hint="--exclude-duplicates-of")
    if not writing.resume:
        return
    endings = resumable_endings()
    if in_parts:
        return
    if not to_file or ending_of(str(writing.output)) not in endings:
        raise typer.BadParameter(
            f"it needs --output FILE{' or FILE'.join(endings)}.", param_hint="--resume"
        )
    if writing.evaluate or writing.summary or writing.gallery:
        raise typer.BadParameter(
            "--evaluate, --summary and --gallery look at every row; omit them.",
            param_hint="--resume",
        )


def _sources(sources: list[str], shard: str, options: SourceOptions) -> Any:
    from fer_runtime.sources import Sources, shard_of

    try:
        return Sources(sources, shard=shard_of(shard), options=options)
    except DataError as error:
        raise typer.BadParameter(str(error)) from None


def _ending(writing: OutputOptions) -> str | None:
    """The format on standard output and of parts; None for a file, whose name has it."""
    if writing.output is not None and is_folder_of_parts(writing.output):
        return f".{writing.part_format}"
    if writing.output not in (None, "-"):
        return None
    return ".jsonl" if writing.as_json else ".csv" if writing.output else ".txt"


def _execute(run: Run, writing: OutputOptions, annotate: str | None) -> RunResult:
    """Run it with a progress bar, and print what was asked for beside the rows."""
    from fer_runtime.cli.progress import Bar

    watching = _watching(run, writing)
    to_file = writing.output not in (None, "-")
    keeps = to_file and run.identity is not None and not watching
    stream = sys.stdout if to_file else sys.stderr
    with _expected_ends(run, writing.output if keeps else None):
        with _products(run, writing, annotate) as products, Bar(run) as bar:
            result = run.execute([*watching, *products], progress=bar.progress)
        if writing.evaluate and (hint := run.sources.label_hint()):
            say(hint)
        for each in watching:
            as_json = writing.as_json
            text = json.dumps(each.to_dict(), indent=2) + "\n" if as_json else each.text()
            print_text(text, stream)
    if writing.evaluate and writing.exclude_duplicates_of is None:
        say("images of the training data count too; --exclude-duplicates-of DIR leaves them out")
    return result


@contextmanager
def _products(run: Run, writing: OutputOptions, annotate: str | None) -> Iterator[list[Observer]]:
    """The gallery and the annotated video; both appear when the run is complete."""
    with ExitStack() as stack:
        products: list[Observer] = []
        if writing.gallery:
            from fer_runtime.gallery import Gallery

            labels = run.classifier.spec.labels
            gallery = Gallery(writing.gallery, labels, overwrite=writing.overwrite)
            products.append(stack.enter_context(gallery))
        if annotate:
            from fer_runtime.video.annotate import Annotator

            annotator = Annotator(run.sources.sources, annotate, overwrite=writing.overwrite)
            products.append(stack.enter_context(annotator))
        yield products


def _watching(run: Run, writing: OutputOptions) -> list[Evaluation | Summary]:
    """What looks at the rows as they go by; imported only where it was asked for."""
    if not writing.evaluate and not writing.summary:
        return []
    from fer_runtime.evaluation import Evaluation, Summary

    labels, least = run.columns.labels, run.columns.min_probability
    watching: list[Evaluation | Summary] = []
    if writing.summary:
        watching.append(Summary(labels, min_probability=least))
    if writing.evaluate:
        others = writing.exclude_duplicates_of
        watching.append(Evaluation(labels, exclude_duplicates_of=others, min_probability=least))
    return watching


def _end_complete(run: Run) -> None:
    """End at once where --resume finds nothing left to do."""
    errors = run.finished.errors
    rows = f", with {count(errors, 'error row')}" if errors else ""
    say(f"{run.output} is complete{rows}; there is nothing to resume")
    raise typer.Exit(ERROR_ROWS if errors else 0)


@contextmanager
def _expected_ends(run: Run, file: str | None) -> Iterator[None]:
    """A reader that has gone ends the run quietly; Ctrl-C prints what is kept."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read our output (`| head`) has enough; that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None
    except KeyboardInterrupt:
        done = run.result
        kept = ""
        if file and done.rows + done.finished_rows:
            kept = f"; finished rows are in {file}.partial"
            if not run.sources.live:
                kept += ", and --resume continues it"
        say(f"interrupted after {count(done.rows, 'image')}{kept}")
        raise


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt_once)
    run_app(app)


def _interrupt_once(*_: object) -> None:
    """The first Ctrl-C ends the run in order, within a batch; another would break that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
