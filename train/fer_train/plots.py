"""Pictures of a run: its curves and its confusion matrix.

Colours from Okabe & Ito's palette, and never colour alone: lines differ in style, cells carry
numbers, so that the pictures survive print and colour blindness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

BLUE, VERMILION = "#0072B2", "#D55E00"


def curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss (left axis) and score (right axis) over epochs, training dashed, validation solid."""
    epochs = [row["epoch"] for row in history]
    figure, losses = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    scores = losses.twinx()
    for axis, name, label, colour, style in (
        (losses, "train_loss", "training loss", BLUE, "--"),
        (losses, "val_loss", "validation loss", BLUE, "-"),
        (scores, "train_accuracy", "training accuracy", VERMILION, "--"),
        (scores, "val_accuracy", "validation accuracy", VERMILION, "-"),
        (scores, "val_macro_f1", "validation macro-F1", VERMILION, ":"),
    ):
        values = [row.get(name, np.nan) for row in history]
        marker = "o" if len(history) < 30 else ""
        axis.plot(epochs, values, style, color=colour, label=label, marker=marker, markersize=3)
    losses.set_xlabel("epoch")
    losses.set_ylabel("loss (nats)", color=BLUE)
    scores.set_ylabel("score", color=VERMILION)
    scores.set_ylim(0, 1)
    losses.set_ylim(bottom=0)
    losses.xaxis.set_major_locator(MaxNLocator(integer=True))
    losses.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def confusion(matrix: npt.NDArray[np.integer], labels: Sequence[str], path: Path) -> None:
    """Row-normalised confusion matrix; each cell gives the share and the count."""
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 1.6 + 0.75 * len(labels)
    figure, axis = pyplot.subplots(figsize=(side, side * 0.92), layout="constrained")
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(labels)):
        for column in range(len(labels)):
            axis.text(
                column,
                row,
                f"{share[row, column]:.0%}\n{matrix[row, column]}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share[row, column] > 0.55 else "black",
            )
    names = [f"{label} ({count})" for label, count in zip(labels, matrix.sum(1), strict=True)]
    axis.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axis.set_yticks(range(len(labels)), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("labelled (images)")
    axis.set_title("share of each labelled class, and count", fontsize=10)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
