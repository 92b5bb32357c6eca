"""`fer-train`: a thin skin over this package's functions; torch is imported inside the commands."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from fer_runtime.cli.console import (
    EXIT_HELP,
    VersionFlag,
    bound_spinning,
    make_app,
    progress_bar,
    refuse_overwriting,
    run_app,
    say,
)
from fer_runtime.cli.options import choice, expand
from fer_runtime.errors import DataError, TrainingError
from fer_runtime.spec import Interpolation
from fer_train.loggers import LOGGERS
from fer_train.printing import print_evaluation, print_table, stats_text
from fer_train.recipe import SPLITS, Recipe

app = make_app(
    no_args_is_help=True,
    help="Train facial-expression classifiers whose checkpoints contain their preprocessing.",
    epilog=EXIT_HELP,
)

Data = Annotated[
    Path,
    typer.Option(help="Folder with train/<class>/*, validation/, test/; or FER2013's CSV file."),
]
BestPt = Annotated[Path, typer.Argument(help="A best.pt.")]
SplitName = Annotated[str, choice(SPLITS, help="Split of the data set.")]
Factory = Annotated[
    str | None, typer.Option(help="package.module:factory that a checkpoint may import.")
]


@app.callback()
def before_a_command(version: VersionFlag = False) -> None:
    """Options of `fer-train` itself."""


@app.command()
def synth(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; new or empty.")],
    train: Annotated[int, typer.Option(help="Training images.")] = 2800,
    validation: Annotated[int, typer.Option(help="Validation images.")] = 700,
    test: Annotated[int, typer.Option(help="Test images.")] = 700,
    image_size: Annotated[int, typer.Option(help="Side in pixels.", min=16)] = 48,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
) -> None:
    """Write a set of synthetic expressive faces, in FER2013's folder layout."""
    from fer_train import synthetic

    with progress_bar("drawing faces") as progress:
        counts = synthetic.write_dataset(
            output, train=train, validation=validation, test=test, seed=seed, size=image_size,
            progress=progress,
        )  # fmt: skip
    for split, classes in counts.items():
        print(f"{split:<11}{sum(classes.values()):>6} images  {output / split}")


@app.command()
def stats(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="Data set: a folder, or FER2013's CSV.")
    ],
    image_size: Annotated[int, typer.Option(help="Side at which mean and std are taken.")] = 48,
    channels: Annotated[int, typer.Option(help="1 (grey) or 3 (RGB).", min=1, max=3)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count classes, sizes, broken files and duplicates; measure mean and std."""
    from fer_train import stats as statistics

    with progress_bar("reading images") as progress:
        found = statistics.measure(
            data, image_size=image_size, channels=channels, progress=progress
        )
    print(json.dumps(found.to_dict(), indent=2) if as_json else stats_text(found), end="\n")


@app.command()
@expand
def fit(
    recipe: Recipe,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder of the run; best.pt is written there.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from last.pt; a larger --epochs extends it.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --output; other files stay.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Minutes after which this run stops; continue with --resume."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
    devices: Annotated[
        int, typer.Option(help="GPUs (or CPU processes) per machine; each takes its share.", min=1)
    ] = 1,
    nodes: Annotated[
        int, typer.Option(help="Machines; start this on each (torchrun's variables).", min=1)
    ] = 1,
    logger: Annotated[
        str | None,
        choice(tuple(LOGGERS), help="Record the epochs' figures in OUTPUT/logs too (or at wandb)."),
    ] = None,
) -> None:
    """Train a model; writes best.pt with its spec, metrics and pictures."""
    from fer_train import fit as fitting

    limit = timedelta(minutes=time_limit) if time_limit else None
    options = fitting.RunOptions(
        resume=resume, time_limit=limit, threads=threads, devices=devices, nodes=nodes,
        overwrite=overwrite, logger=logger,
    )  # fmt: skip
    with progress_bar("decoding images") as progress:
        result = fitting.fit(data, output, recipe, options, progress=progress)
    if result is None:
        return
    print_evaluation(result.evaluation.to_dict(), f"best epoch {result.best_epoch}, validation")
    for remark in result.remarks:
        print(remark)
    print(f"{result.best}, and curves.png, confusion.png, predictions.png beside it")
    if result.interrupted:
        done = len(result.history)
        say(f"interrupted after epoch {done} of {recipe.epochs}; continue with --resume")
        raise KeyboardInterrupt


@app.command()
def evaluate(
    checkpoint: BestPt,
    data: Data,
    split: SplitName = "validation",
    split_file: Annotated[
        Path | None, typer.Option(help="The split.csv of a run that made its splits.")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Skip unreadable images.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for metrics and picture; default: the checkpoint's.")
    ] = None,
    architecture: Factory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate a checkpoint; writes metrics-SPLIT.json and two pictures beside it."""
    from fer_train import checkpoint as checkpoints
    from fer_train import evaluate as evaluation
    from fer_train import outputs

    loaded = checkpoints.load(checkpoint, factory=architecture)
    with progress_bar("decoding images") as progress:
        images, train = evaluation.load_split(
            loaded, data, split, split_file=split_file, skip_unreadable=skip_unreadable,
            progress=progress,
        )  # fmt: skip
    result = evaluation.evaluate_split(loaded.deployable(), images, train)
    folder = output or checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    outputs.write_metrics(folder / outputs.named(outputs.METRICS, f"-{split}"), result)
    outputs.draw(folder, result, images, f"-{split}")
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        print_evaluation(result.to_dict(), split)


@app.command()
@expand
def labels(
    recipe: Recipe,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder for labels.csv, pictures and the runs.")],
    folds: Annotated[int, typer.Option(help="Models to train.", min=2)] = 5,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished folds; continue.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
) -> None:
    """Find labels that no model believes: each fold of training is held out from one model.

    `fit --label-probabilities labels.csv` trains without the least probable ones.
    """
    from fer_train import fit as fitting
    from fer_train import labels as finding
    from fer_train.label_file import FILE

    with progress_bar("decoding images") as progress:
        prepared = fitting.prepare(data, recipe, progress=progress)
    options = fitting.RunOptions(resume=resume, threads=threads)
    found = finding.out_of_fold(prepared, output, recipe, options, folds=folds)
    print_table(finding.table(found))
    print(f"{output / FILE}, and confusion.png, predictions.png beside it")


@app.command()
def cropping(
    checkpoint: BestPt,
    data: Data,
    split: SplitName = "validation",
    output: Annotated[
        Path | None, typer.Option(help="Folder for figures and picture; default: the checkpoint's.")
    ] = None,
    architecture: Factory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what accuracy is lost where faces are cropped a little differently."""
    from fer_train import checkpoint as checkpoints
    from fer_train import cropping as crops
    from fer_train import evaluate as evaluation
    from fer_train import plots

    loaded = checkpoints.load(checkpoint, factory=architecture)
    with progress_bar("decoding images") as progress:
        images, _ = evaluation.load_split(loaded, data, split, progress=progress)
    with progress_bar("classifying crops") as progress:
        result = crops.measure(loaded.deployable(), images, progress=progress)
    folder = output or checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.to_dict(), indent=2)
    (folder / f"cropping-{split}.json").write_text(text + "\n", encoding="utf-8")
    plots.cropping(result, folder / f"cropping-{split}.png")
    if as_json:
        print(text)
    else:
        print_table(result.rows())


@app.command()
def average(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="BEST.PT…", help="Checkpoints of one model, or one.")
    ],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="The checkpoint to write.")],
    fit_temperature: Annotated[bool, typer.Option(help="Calibrate on validation anew.")] = True,
    statistics: Annotated[bool, typer.Option(help="Measure BatchNorm's statistics anew.")] = True,
    interpolation: Annotated[
        str | None,
        choice(get_args(Interpolation), help="How it resizes pictures; default: as the first."),
    ] = None,
    architecture: Factory = None,
) -> None:
    """Average weights of runs from one start, and fit BatchNorm to images as they are.

    Augmentation blurs images: with statistics of sharp ones, one checkpoint may gain too.
    """
    from fer_train import averaging, evaluate
    from fer_train import checkpoint as reading

    refuse_overwriting(output, checkpoints)
    loaded = [reading.load(path, factory=architecture) for path in checkpoints]
    mean = averaging.average(loaded, interpolation=cast("Interpolation | None", interpolation))
    with progress_bar("decoding images") as progress:
        validation, train = evaluate.load_split(mean, data, progress=progress)
    if statistics:
        if train is None:
            raise DataError(f"{data} contains no training split to measure BatchNorm on.")
        with progress_bar("measuring BatchNorm") as progress:
            mean = averaging.measure_statistics(mean, train.images, progress=progress)
    result = averaging.finish(mean, validation, train, output, calibrate=fit_temperature)
    print_evaluation(result.to_dict(), f"{output}, validation")


@app.command()
@expand
def compare(
    recipe: Recipe,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder of the comparison.")],
    vary: Annotated[
        list[str],
        typer.Option(metavar="OPTION=A,B,…", help="What to vary; given twice, every combination."),
    ],
    seeds: Annotated[str, typer.Option(help="Seeds, each setting with each.")] = "0,1",
    resume: Annotated[bool, typer.Option("--resume", help="Keep finished runs; continue.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
) -> None:
    """Vary one option or several, all else fixed; writes a table, a picture and a report."""
    from fer_train import compare as comparing
    from fer_train import results

    with progress_bar("decoding images") as progress:
        comparison = comparing.compare(
            data, output, recipe, vary, _numbers(seeds), command=_command_line(), resume=resume,
            threads=threads, progress=progress, report=say, show=sys.stderr.isatty(),
        )  # fmt: skip
    results.write(output, comparison, " × ".join(vary))
    print_table(results.table(comparison))
    if all(outcome.error for outcome in comparison.outcomes):
        raise TrainingError("No run succeeded; the report gives each one's reason.")
    print(f"{output / 'compare.md'}, and compare.png, compare.csv, compare.json beside it")


@app.command()
def results(
    comparisons: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="compare.json files, or copies of them.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Markdown file.")] = None,
    introduction: Annotated[
        Path | None, typer.Option(help="Markdown that the page begins with.")
    ] = None,
) -> None:
    """Gather comparisons that were saved into one Markdown page."""
    from fer_train import results as pages

    refuse_overwriting(output, [*comparisons, introduction])
    begin = introduction.read_text(encoding="utf-8") if introduction else "# Results\n"
    text = pages.page(pages.read(comparisons), begin)
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def main() -> None:
    """Entry point: errors become one line on stderr and a documented exit status."""
    bound_spinning()
    run_app(app)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or len(set(numbers)) != len(numbers):
        raise DataError(f"--seeds is {text!r}; give different whole numbers, as 0,1,2.")
    return numbers


def _command_line() -> str:
    """The command line, with the command's bare name; for the record of a comparison."""
    return shlex.join(["fer-train", *sys.argv[1:]])
