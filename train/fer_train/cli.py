"""`fer-train`: a thin skin over this package's functions; torch is imported inside the commands."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_runtime.console import EXIT_HELP, bound_spinning, progress_bar, run_app
from fer_train.options import with_recipe
from fer_train.recipe import Recipe

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
) -> None:
    """Train a net; writes best.pt with its spec, metrics and pictures."""
    from fer_train import fit as fitting

    with progress_bar("decoding images") as progress:
        result = fitting.fit(
            data,
            output,
            recipe,
            resume=resume,
            time_limit=timedelta(minutes=time_limit) if time_limit else None,
            threads=threads,
            progress=progress,
        )
    _print_evaluation(result.evaluation.to_dict(), f"best epoch {result.best_epoch}")
    print(f"{result.best}, and curves.png, confusion.png, predictions.png beside it")
    if result.interrupted:
        raise KeyboardInterrupt


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt.")],
    data: Data,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
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
        images = evaluation.load_split(loaded, data, split, progress=progress)
    result = evaluation.evaluate_split(loaded.deployable(), images)
    folder = output or checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    fitting.write_metrics(folder / f"metrics-{split}.json", result)
    fitting.draw(folder, result, images, f"-{split}")
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        _print_evaluation(result.to_dict(), split)


def main() -> None:
    """Entry point: errors become one sentence on stderr and a documented exit status."""
    bound_spinning()
    run_app(app)


def _print_evaluation(report: dict[str, Any], title: str) -> None:
    figures, intervals = report["metrics"], report["intervals_95"]
    print(f"{title}, {report['split']}: {figures['count']:.0f} images, loss {figures['loss']:.4f}")
    for name in ("accuracy", "macro_f1", "macro_recall"):
        low, high = intervals[name]
        print(f"  {name:<13}{figures[name]:.4f}   95 % interval {low:.4f} to {high:.4f}")
    print(f"  {'calibration':<13}{figures['calibration_error']:.4f}   (expected calibration error)")
    for label in report["labels"]:
        recall, precision = figures[f"recall_{label}"], figures[f"precision_{label}"]
        print(f"  {label:<13}recall {recall:.3f}   precision {precision:.3f}")
