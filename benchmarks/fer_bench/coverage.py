"""torchvision's nets through every format: `fer-bench coverage -o export/COVERAGE.md`.

Nobody's weights are needed: BatchNorm's statistics are those of noise and the head is drawn with
std 0.1, so that the outputs have a scale (with PyTorch's own initialisation several nets output
constants, and parity would mean nothing).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from fer_bench import environment
from fer_runtime.cli.console import bound_spinning
from fer_runtime.errors import FerError

if TYPE_CHECKING:
    from fer_export.loading import ModelDescription

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

NETS = (
    "alexnet", "vgg11_bn", "resnet18", "resnext50_32x4d", "densenet121", "googlenet",
    "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "shufflenet_v2_x0_5", "squeezenet1_1", "efficientnet_b0", "efficientnet_v2_s",
    "convnext_tiny", "regnet_y_400mf", "mnasnet0_5", "maxvit_t", "vit_b_16", "swin_t",
)  # fmt: skip
LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
SIDES = {"inception_v3": 299}
SIDE = 224


@dataclass(frozen=True)
class Outcome:
    """One net in one format: the smallest tolerance that would have passed, or what went wrong."""

    net: str
    format_name: str
    smallest_tolerance: float | None
    seconds: float
    megabytes: float
    error: str | None = None


@app.command()
def cover(
    nets: Annotated[list[str] | None, typer.Argument(help="Default: all twenty.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Markdown file.")] = None,
) -> None:
    """Export each net to each format with parity, and write the results."""
    bound_spinning()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [
            outcome
            for net in nets or NETS
            for outcome in through_all_formats(net, Path(folder), print)
        ]
    text = page(outcomes)
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def through_all_formats(
    net: str, folder: Path, report: Callable[[str], None] = lambda line: None
) -> list[Outcome]:
    """Export a seeded net to every format; a failure is an outcome."""
    from fer_export import exporter, formats

    weights, description = seeded(net, folder)
    outcomes = []
    for name, chosen in formats.FORMATS.items():
        target = folder / f"{net}{chosen.ending}"
        started = time.perf_counter()
        try:
            done = exporter.export(weights, name, target, description=description)
        except FerError as error:
            outcome = Outcome(net, name, None, time.perf_counter() - started, 0.0, str(error))
        else:
            outcome = Outcome(
                net,
                name,
                done.report.smallest_tolerance,
                time.perf_counter() - started,
                target.stat().st_size / 1e6,
            )
            target.unlink()
        report(f"{net} {name}: {outcome.error or outcome.smallest_tolerance}")
        outcomes.append(outcome)
    weights.unlink()
    return outcomes


def seeded(net: str, folder: Path, seed: int = 0) -> tuple[Path, ModelDescription]:
    """Write a bare state dict of a net whose outputs have a scale; its path and description."""
    import torch
    from torch import nn

    from fer_export.loading import ModelDescription
    from fer_export.parity import inputs
    from fer_train import models

    side = SIDES.get(net, SIDE)
    description = ModelDescription(
        architecture=net, labels=LABELS, image_size=(side, side), channels=3,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    spec = description.spec()
    torch.manual_seed(seed)
    made = models.build(net, spec.input, len(LABELS), spec.architecture_args)
    heads = [layer for layer in made.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    nn.init.normal_(heads[-1].weight, std=0.1)
    deployable = models.Deployable(made, spec).eval()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # All that parity looks at, at once, and nothing else in training mode: with statistics
            # of other images, or of dropped branches, deep nets amplify every rounding until
            # nothing agrees (efficientnet_b0: logits of 210 for a black image).
            layer.momentum = 1.0
            # Most units stay on, as in trained nets; centred at zero, a hundred random layers
            # multiply a rounding by a thousand (inception_v3, efficientnet_v2_s).
            nn.init.constant_(layer.bias, 1.0)
            layer.train()
    given = spec.input
    seen = [*inputs.noise(given), inputs.extremes(given), inputs.largest(given)]
    pixels = np.concatenate([batch.pixels for batch in seen])
    with torch.no_grad():
        deployable(torch.from_numpy(pixels))
    made.eval()
    path = folder / f"{net}.pth"
    torch.save(made.state_dict(), path)
    return path, description


def page(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as Markdown, a row a net."""
    formats = list(dict.fromkeys(outcome.format_name for outcome in outcomes))
    machine = environment.machine()
    lines = [
        "# What exports, and how close it stays",
        "",
        "Each net of torchvision with seeded weights (seed 0, seven classes, 224 x 224 RGB; "
        "inception_v3 299 x 299), exported with parity on noise in batches of 1, 2, 3 and 17 and "
        "on black, white and one pixel. A figure is the smallest tolerance that would have "
        "passed, in standard deviations of the logits; 1e-4 is allowed. Seconds are those of the "
        "whole export.",
        "",
        "```",
        "fer-bench coverage -o export/COVERAGE.md",
        "```",
        ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
        "",
        "| net | " + " | ".join(f"{name} | s" for name in formats) + " |",
        "|---|" + "---:|---:|" * len(formats),
    ]
    for net in dict.fromkeys(outcome.net for outcome in outcomes):
        cells = []
        for outcome in (o for o in outcomes if o.net == net):
            figure = outcome.smallest_tolerance
            cells += ["**failed**" if figure is None else f"{figure:.1e}", f"{outcome.seconds:.0f}"]
        lines.append(f"| {net} | {' | '.join(cells)} |")
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        lines += ["", "## What failed", ""]
        lines += [
            f"- {o.net}, {o.format_name}: {' '.join((o.error or '').split())}" for o in failed
        ]
    return "\n".join(lines) + "\n"
