"""The files of a run: which they are, when they may be replaced, and how they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fer_runtime.errors import DataError
from fer_train import data, evaluate, plots, splits
from fer_train.callbacks import BEST, HISTORY, LAST
from fer_train.recipe import SPLITS

METRICS, CURVES = "metrics.json", "curves.png"
CONFUSION, PREDICTIONS = "confusion.png", "predictions.png"
_OF_AN_EVALUATION = (METRICS, CONFUSION, PREDICTIONS)


def named(name: str, suffix: str) -> str:
    """ "metrics.json", "-test" -> "metrics-test.json"."""
    stem, dot, ending = name.partition(".")
    return f"{stem}{suffix}{dot}{ending}"


def written_names() -> list[str]:
    """Every file that `fit` writes into a run's folder, and `evaluate` beside a best.pt."""
    later = [named(name, f"-{split}") for split in SPLITS for name in _OF_AN_EVALUATION]
    return [BEST, LAST, HISTORY, CURVES, splits.FILE, *_OF_AN_EVALUATION, *later]


def check_new(output: Path, overwrite: bool) -> None:
    """Raises DataError where a new run may not be written into a folder."""
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file, not a folder to write a run into.")
    if not overwrite and any((output / name).exists() for name in (BEST, LAST)):
        raise DataError(
            f"{output} contains a run already; pass --resume to continue it, --overwrite to "
            "replace it, or another --output."
        )


def remove(output: Path) -> None:
    """Delete the files of a run; raises DataError. Other files, and folders, stay."""
    try:
        for name in written_names():
            (output / name).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{output} cannot be overwritten: {error.strerror or error}") from None


def draw(
    output: Path, evaluation: evaluate.Evaluation, split: data.Split, suffix: str = ""
) -> None:
    """Write the pictures of one evaluation: confusion matrix, and faces classified right and wrong.

    Args:
        output: the folder.
        evaluation: the outputs on `split`.
        split: the images.
        suffix: added to the names of the files, before their ending.
    """
    plots.confusion(evaluation.confusion, evaluation.labels, output / named(CONFUSION, suffix))
    plots.predictions(split.images.numpy(), evaluation, output / named(PREDICTIONS, suffix))


def write_metrics(path: Path, evaluation: evaluate.Evaluation, **more: Any) -> None:
    """Write an evaluation, and `more` values, as JSON."""
    text = json.dumps({**evaluation.to_dict(), **more}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
