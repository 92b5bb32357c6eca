"""How accuracy depends on where faces are cropped: the crops, the curve, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fer_bench.artefacts import Artefacts
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train import cropping
from fer_train.cli import app
from fer_train.data import Split
from fer_train.models import Deployable


class Where(torch.nn.Module):
    """Names the quarter of an image that contains the most light: 0 to 3, row by row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture
def spots() -> tuple[Deployable, Split]:
    """A model that names the quarter of a spot, and spots at a tenth of the side from the middle:
    a shift of more than that moves them into another quarter, and turning moves none."""
    images = torch.zeros(4, 1, 40, 40, dtype=torch.uint8)
    for place, (row, column) in enumerate(((16, 16), (16, 24), (24, 16), (24, 24))):
        images[place, 0, row - 1 : row + 1, column - 1 : column + 1] = 255
    labels = ("a", "b", "c", "d")
    spec = InputSpec(height=40, width=40, channels=1, mean=(0.5,), std=(0.5,))
    names = tuple(f"train/{label}/0.png" for label in labels)
    model = Deployable(Where(), ModelSpec(labels=labels, input=spec))
    return model, Split("validation", images, torch.arange(4), labels, names)


def test_each_change_moves_what_it_says(spots: tuple[Deployable, Split]) -> None:
    found = cropping.measure(*spots)
    assert (found.images, found.accuracy) == (4, 1.0)
    curves = found.curves()
    assert list(curves) == ["size", "shift to the right", "shift down", cropping.ANGLE]
    for points in curves.values():
        amounts = [point.amount for point in points]
        assert amounts == sorted(amounts) and 0.0 in amounts
    # A tenth of the side separates a spot from the next quarter, and no change goes that far.
    assert all(point.accuracy == 1.0 for points in curves.values() for point in points)
    larger = cropping._crop(spots[1].images, right=0.2)
    assert (cropping._classify(spots[0], larger) == np.array([0, 0, 2, 2])).all()
    lower = cropping._crop(spots[1].images, down=0.2)
    assert (cropping._classify(spots[0], lower) == np.array([0, 1, 0, 1])).all()
    turned = cropping._crop(spots[1].images, angle=90)
    assert sorted(cropping._classify(spots[0], turned).tolist()) == [0, 1, 2, 3]
    assert (turned != spots[1].images).any()


def test_a_larger_crop_shows_a_smaller_face(spots: tuple[Deployable, Split]) -> None:
    smaller = cropping._crop(spots[1].images, zoom=2)
    assert smaller.dtype == torch.uint8
    columns = smaller[3, 0].float().sum(0)
    middle = float((columns * torch.arange(40)).sum() / columns.sum())
    assert middle == pytest.approx(19.5 + (23.5 - 19.5) / 2, abs=0.3)


def test_the_random_point_is_repeatable_and_counts_other_labels(
    spots: tuple[Deployable, Split],
) -> None:
    model, split = spots
    first, again = cropping.measure(model, split, seed=3), cropping.measure(model, split, seed=3)
    assert first == again
    assert first.at_random.change == "all at random"
    wrong = Split(split.name, split.images, split.targets.flip(0), split.labels, split.names)
    reversed_labels = cropping.measure(model, wrong, seed=3)
    assert reversed_labels.accuracy == 0.0
    assert reversed_labels.at_random.changed == first.at_random.changed


def test_command_writes_figures_and_a_picture(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    command = ["cropping", str(exported.checkpoint), "--data", str(dataset), "--output"]
    outcome = CliRunner().invoke(app, [*command, str(tmp_path / "new")])
    assert outcome.exit_code == 0, outcome.output
    assert "shift down" in outcome.stdout and "up to 8%, 6%, 10 degrees" in outcome.stdout
    written = json.loads((tmp_path / "new" / "cropping-validation.json").read_text("utf-8"))
    assert written["images"] == 70 and len(written["points"]) == 25
    assert (tmp_path / "new" / "cropping-validation.png").read_bytes()[:4] == b"\x89PNG"
