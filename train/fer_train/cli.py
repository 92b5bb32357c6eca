"""`fer-train`: a thin skin over this package's functions; torch is imported inside the commands."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_runtime.cli.console import (
    EXIT_HELP,
    bound_spinning,
    progress_bar,
    refuse_overwriting,
    run_app,
)
from fer_runtime.errors import DataError, TrainingError
from fer_train.options import with_recipe
from fer_train.recipe import Recipe

if TYPE_CHECKING:
    from fer_train.stats import Stats

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train facial-expression classifiers whose checkpoints know what they expect.",
    epilog=EXIT_HELP,
)

Data = Annotated[
    Path,
    typer.Option(help="Folder with train/<class>/*, validation/, test/; or FER2013's CSV file."),
]


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

    with progress_bar("looking at images") as progress:
        found = statistics.measure(
            data, image_size=image_size, channels=channels, progress=progress
        )
    print(json.dumps(found.to_dict(), indent=2) if as_json else _stats_text(found), end="\n")


@app.command()
@with_recipe
def fit(
    recipe: Recipe,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder of the run; gets best.pt.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from last.pt.")] = False,
    time_limit: Annotated[
        float | None, typer.Option(help="Minutes after which this leg ends; go on by --resume.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
    devices: Annotated[
        int, typer.Option(help="GPUs (or CPU processes) per machine; each takes its share.", min=1)
    ] = 1,
    nodes: Annotated[
        int, typer.Option(help="Machines; start this on each (torchrun's variables).", min=1)
    ] = 1,
) -> None:
    """Train a net; writes best.pt with its spec, metrics and pictures."""
    from fer_train import fit as fitting

    limit = timedelta(minutes=time_limit) if time_limit else None
    leg = fitting.RunOptions(resume, limit, threads, devices, nodes)
    with progress_bar("decoding images") as progress:
        result = fitting.fit(data, output, recipe, leg, progress=progress)
    if result is None:
        return
    _print_evaluation(result.evaluation.to_dict(), f"best epoch {result.best_epoch}, validation")
    for remark in result.remarks:
        print(remark)
    print(f"{result.best}, and curves.png, confusion.png, predictions.png beside it")
    if result.interrupted:
        _say(f"interrupted after epoch {len(result.history)} of {recipe.epochs}; go on by --resume")
        raise KeyboardInterrupt


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt.")],
    data: Data,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    split_file: Annotated[
        Path | None, typer.Option(help="The split.csv of a run whose splits were made.")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave unreadable images out.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for metrics and picture; default: the checkpoint's.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="package.module:factory that the checkpoint may import.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate a checkpoint; writes metrics-SPLIT.json and two pictures beside it."""
    from fer_train import checkpoint as checkpoints
    from fer_train import evaluate as evaluation
    from fer_train import fit as fitting

    loaded = checkpoints.load(checkpoint, factory=architecture)
    with progress_bar("decoding images") as progress:
        images, train = evaluation.load_split(
            loaded, data, split, split_file=split_file, skip_unreadable=skip_unreadable,
            progress=progress,
        )  # fmt: skip
    result = evaluation.evaluate_split(loaded.deployable(), images, train)
    folder = output or checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    fitting.write_metrics(folder / f"metrics-{split}.json", result)
    fitting.draw(folder, result, images, f"-{split}")
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        _print_evaluation(result.to_dict(), split)


@app.command()
@with_recipe
def compare(
    recipe: Recipe,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder of the comparison.")],
    vary: Annotated[
        list[str],
        typer.Option(metavar="OPTION=A,B,…", help="What to vary; given twice, every combination."),
    ],
    seeds: Annotated[str, typer.Option(help="Seeds, each setting with each.")] = "0,1",
    resume: Annotated[bool, typer.Option("--resume", help="Keep what is done; go on.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
) -> None:
    """Vary one option or several, all else fixed; writes a table, a picture and a report."""
    from fer_train import compare as comparing
    from fer_train import results

    with progress_bar("decoding images") as progress:
        comparison = comparing.compare(
            data, output, recipe, vary, _numbers(seeds), command=_command_line(), resume=resume,
            threads=threads, progress=progress, report=_say, show=sys.stderr.isatty(),
        )  # fmt: skip
    results.write(output, comparison, " × ".join(vary))
    _print_table(results.table(comparison))
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
    """Entry point: errors become one sentence on stderr and a documented exit status."""
    bound_spinning()
    run_app(app)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or len(set(numbers)) != len(numbers):
        raise DataError(f"--seeds is {text!r}; say different whole numbers, as 0,1,2.")
    return numbers


def _command_line() -> str:
    """What was typed, by the command's name alone; for the record of a comparison."""
    return shlex.join(["fer-train", *sys.argv[1:]])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_table(table: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *rest]))


def _stats_text(found: Stats) -> str:
    names = list(found.splits)
    lines = [f"{'':<12}" + "".join(f"{name:>12}" for name in names)]
    for label in found.splits["train"].counts:
        row = "".join(f"{found.splits[name].counts[label]:>12,}" for name in names)
        lines.append(f"{label:<12}{row}")
    for title, value in (
        ("all", lambda split: sum(split.counts.values())),
        ("unreadable", lambda split: len(split.unreadable)),
        ("duplicates", lambda split: split.duplicates),
        ("relabelled", lambda split: split.relabelled),
    ):
        lines.append(f"{title:<12}" + "".join(f"{value(found.splits[n]):>12,}" for n in names))
    for overlap in found.overlaps:
        lines.append(
            f"{overlap.second} shares {overlap.images:,} images with {overlap.first}, "
            f"{overlap.relabelled:,} of them under another label"
        )
    for name, split in found.splits.items():
        sizes = ", ".join(f"{size} ({count:,})" for size, count in list(split.sizes.items())[:4])
        lines.append(f"{name}: {len(split.sizes)} sizes (height x width): {sizes}")
        lines += [f"  {entry}" for entry in split.unreadable[:5]]
    mean, std = (", ".join(f"{v:.4f}" for v in values) for values in (found.mean, found.std))
    lines.append(f"training split: mean {mean}, std {std} (0-1, per channel)")
    return "\n".join(lines)


def _print_evaluation(report: dict[str, Any], title: str) -> None:
    """Every figure with its 95 % interval; once more without what the net was trained on."""
    columns = {f"all {report['metrics']['count']:,.0f} images": report}
    unseen = report.get("without_training_images")
    if unseen:
        columns[f"{unseen['metrics']['count']:,.0f} not in training"] = unseen
    print(f"{title}; figures with their 95 % intervals")
    print(f"{'':<24}" + "".join(f"{name:<26}" for name in columns))
    for name in report["intervals_95"]:
        cells = ""
        for each in columns.values():
            low, high = each["intervals_95"][name]
            cells += f"{each['metrics'][name]:.4f} ({low:.4f}-{high:.4f})".ljust(26)
        print(f"  {name.replace('_', ' '):<22}{cells}".rstrip())
