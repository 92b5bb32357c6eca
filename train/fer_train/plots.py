"""Pictures of a run: its curves, its confusion matrix, and faces classified right and wrong.

Colours from Okabe & Ito's palette, and never colour alone: lines differ in style, cells carry
numbers, so that the pictures survive print and colour blindness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from fer_train.cropping import ANGLE, Cropping
from fer_train.evaluate import Evaluation

BLUE, VERMILION = "#0072B2", "#D55E00"
STYLES = (
    (BLUE, "-", "o"), (VERMILION, "--", "s"), ("#009E73", ":", "^"), ("#CC79A7", "-.", "D"),
    ("#000000", "-", "x"), ("#E69F00", "--", "v"), ("#56B4E9", ":", "P"),
)  # fmt: skip
"""Colour, line and marker of the settings in a comparison."""


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


def comparison(
    rows: Sequence[tuple[str, Sequence[float]]],
    histories: Sequence[tuple[str, Sequence[Mapping[str, float]]]],
    path: Path,
    *,
    score: str = "accuracy",
) -> None:
    """Left: each setting's runs as dots and their mean as a bar; right: validation over epochs.

    `rows` are (setting, score of each run), `histories` (setting, epochs) of one run a setting.
    """
    height = max(3.2, 1.6 + 0.42 * len(rows))
    figure, (dots, lines) = pyplot.subplots(1, 2, figsize=(11, height), layout="constrained")
    for place, (_, values) in enumerate(rows):
        style = STYLES[place % len(STYLES)]
        dots.plot(values, [place] * len(values), "o", color=style[0], alpha=0.8, markersize=6)
        if values:
            mean = float(np.mean(values))
            dots.plot([mean, mean], [place - 0.28, place + 0.28], color=style[0], linewidth=2)
        else:
            dots.text(0.5, place, "failed", transform=dots.get_yaxis_transform(), va="center")
    dots.set_yticks(range(len(rows)), [name for name, _ in rows])
    dots.set_ylim(len(rows) - 0.5, -0.5)
    dots.set_xlabel(f"validation {score}; a dot a run, a bar the mean")
    dots.grid(axis="x", alpha=0.3)
    for place, (name, epochs) in enumerate(histories):
        if not epochs:
            continue
        colour, dash, marker = STYLES[place % len(STYLES)]
        lines.plot(
            [row["epoch"] for row in epochs], [row[f"val_{score}"] for row in epochs],
            linestyle=dash, marker=marker, markersize=4, color=colour, label=name,
        )  # fmt: skip
    lines.set_xlabel("epoch")
    lines.set_ylabel(f"validation {score} (first seed)")
    lines.xaxis.set_major_locator(MaxNLocator(integer=True))
    lines.grid(alpha=0.3)
    if lines.lines:
        lines.legend(frameon=False, fontsize=8)
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


def cropping(result: Cropping, path: Path) -> None:
    """Accuracy over the size and place of the crop (left) and over its angle (right)."""
    figure, axes = pyplot.subplots(
        1, 2, figsize=(9, 3.8), sharey=True, layout="constrained", width_ratios=(2, 1)
    )
    for place, (change, points) in enumerate(result.curves().items()):
        axis, unit = (axes[1], 1) if change == ANGLE else (axes[0], 100)
        colour, dash, marker = STYLES[place]
        axis.plot(
            [point.amount * unit for point in points], [point.accuracy for point in points],
            linestyle=dash, marker=marker, markersize=4, color=colour, label=change,
        )  # fmt: skip
    for axis in axes:
        axis.axhline(
            result.at_random.accuracy, color="0.4", linewidth=1, label=result.at_random.change
        )
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_xlabel("% of the crop's side")
    axes[1].set_xlabel("degrees")
    axes[0].set_ylabel(f"accuracy on {result.images:,} images")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def predictions(
    images: npt.NDArray[np.uint8],
    evaluation: Evaluation,
    path: Path,
    *,
    rows: int = 4,
    columns: int = 6,
) -> None:
    """Contact sheet: the most confident right answers, and the most confident wrong ones.

    `images` (N, C, H, W) uint8 in the order of `evaluation`. Right answers are taken from the
    classes in turn, so that the easiest class does not fill the sheet.
    """
    confidence = evaluation.probabilities.max(1)
    predicted = evaluation.probabilities.argmax(1)
    right = predicted == evaluation.targets
    order = np.argsort(-confidence, kind="stable")
    count = rows * columns
    sheets = (
        (
            "right: the most sure of each class in turn",
            _in_turn(order[right[order]], predicted)[:count],
        ),
        ("wrong: the most sure of all", order[~right[order]][:count]),
    )
    figure, halves = pyplot.subplots(1, 2, figsize=(2.3 * columns, 1.5 * rows + 0.4))
    for axis, (title, chosen) in zip(halves, sheets, strict=True):
        axis.set_title(f"{title} ({len(chosen)})", fontsize=11)
        axis.axis("off")
        for place, index in enumerate(chosen.tolist()):
            cell = axis.inset_axes(_cell(place, rows, columns))
            _face(cell, images[index])
            name = _short(evaluation.labels[predicted[index]])
            text = f"{name} {confidence[index]:.0%}"
            if not right[index]:
                text += f"\nlabelled {_short(evaluation.labels[evaluation.targets[index]])}"
            cell.set_xlabel(text, fontsize=8, labelpad=2)
    figure.subplots_adjust(0.01, 0.02, 0.99, 0.93, wspace=0.03)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _short(label: str) -> str:
    """What fits under a small picture."""
    return label if len(label) <= 10 else f"{label[:9]}…"


def _in_turn(order: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer]) -> Any:
    """Deal the indices out class by class, keeping their order within each class."""
    ranks = np.zeros(len(order), int)
    for label in np.unique(predicted[order]):
        of_label = predicted[order] == label
        ranks[of_label] = np.arange(of_label.sum())
    return order[np.argsort(ranks, kind="stable")]


def _cell(place: int, rows: int, columns: int) -> tuple[float, float, float, float]:
    """(x, y, width, height) of a cell in the fractions of its half, text below included."""
    row, column = divmod(place, columns)
    width, height = 1 / columns, 1 / rows
    return (column * width + 0.005, 1 - (row + 0.74) * height, width - 0.01, 0.72 * height)


def _face(axis: Any, image: npt.NDArray[np.uint8]) -> None:
    """(C, H, W) uint8, grey or RGB, without axes."""
    axis.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
