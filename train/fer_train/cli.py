"""`fer-train`: a thin skin over this package's functions; torch is imported inside the commands."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_runtime.console import EXIT_HELP, progress_bar, run_app
from fer_runtime.errors import DataError

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
def fit(
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder of the run; gets best.pt.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 20,
    architecture: Annotated[str, typer.Option(help="compact_cnn or simple_cnn.")] = "compact_cnn",
    architecture_args: Annotated[
        str, typer.Option(help="The net's arguments as JSON, as in '{\"dropout\": 0.3}'.")
    ] = "{}",
    image_size: Annotated[int, typer.Option(help="Side of the input in pixels.", min=8)] = 48,
    channels: Annotated[int, typer.Option(help="1 (grey) or 3 (RGB).", min=1, max=3)] = 1,
    batch_size: Annotated[int, typer.Option(help="Images per step.", min=2)] = 64,
    optimizer: Annotated[str, typer.Option(help="sgd, adam or adamw.")] = "sgd",
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.05,
    momentum: Annotated[float, typer.Option(help="Of sgd (Nesterov).")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Not applied to norms and biases.")] = 5e-4,
    scheduler: Annotated[
        str, typer.Option(help="none, step, onecycle, cosine or plateau.")
    ] = "onecycle",
    step_size: Annotated[int, typer.Option(help="Epochs per step, or plateau's patience.")] = 10,
    gamma: Annotated[float, typer.Option(help="Factor of step and plateau.")] = 0.1,
    augment: Annotated[str, typer.Option(help="none, light, standard or strong.")] = "light",
    mixup: Annotated[float | None, typer.Option(help="Alpha; replaces the preset's.")] = None,
    label_smoothing: Annotated[float, typer.Option(help="0 to 1.")] = 0.0,
    ema: Annotated[float, typer.Option(help="Decay of averaged weights; 0 is off.")] = 0.0,
    gradient_clip: Annotated[float, typer.Option(help="Largest gradient norm; 0 is off.")] = 1.0,
    patience: Annotated[int, typer.Option(help="Stop after so many worse epochs; 0 never.")] = 0,
    monitor: Annotated[
        str, typer.Option(help="val_macro_f1, val_accuracy, val_macro_recall or val_loss.")
    ] = "val_macro_f1",
    precision: Annotated[str, typer.Option(help="32, bf16-mixed or 16-mixed (GPU).")] = "32",
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from last.pt.")] = False,
    time_limit: Annotated[
        float | None, typer.Option(help="Minutes after which this leg ends; go on by --resume.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.", min=1)] = None,
) -> None:
    """Train a net; writes best.pt with its spec, metrics and pictures."""
    from dataclasses import replace

    from fer_train import augment as augmentation
    from fer_train import fit as fitting
    from fer_train.module import Recipe

    if augment not in augmentation.PRESETS:
        raise DataError(f"augment is {augment!r}; allowed: {', '.join(augmentation.PRESETS)}.")
    chosen = augmentation.PRESETS[augment]
    recipe = Recipe(
        architecture=architecture,
        architecture_args=_json_object(architecture_args),
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        scheduler=scheduler,
        step_size=step_size,
        gamma=gamma,
        label_smoothing=label_smoothing,
        ema=ema,
        gradient_clip=gradient_clip,
        patience=patience,
        monitor=monitor,
        precision=precision,
        seed=seed,
        augmentation=chosen if mixup is None else replace(chosen, mixup=mixup),
    )
    with progress_bar("decoding images") as progress:
        result = fitting.fit(
            data,
            output,
            recipe,
            channels=channels,
            image_size=image_size,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate a checkpoint; writes metrics-SPLIT.json and two pictures beside it."""
    from fer_train import checkpoint as checkpoints
    from fer_train import evaluate as evaluation
    from fer_train import fit as fitting

    loaded = checkpoints.load(checkpoint)
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
    # PyTorch's threads wait for one another by spinning without end. Beside one other busy process
    # that cost nine tenths of the speed; with a bounded spin it costs half, as it should, and on a
    # quiet machine a few percent. libgomp reads it when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
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


def _json_object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"--architecture-args is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise DataError("--architecture-args must be a JSON object, as in '{\"dropout\": 0.3}'.")
    return values
