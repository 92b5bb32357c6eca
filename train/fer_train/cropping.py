"""How accuracy depends on where a face is cropped: a detector crops a little differently each time.

Images that are cropped to faces are cropped again: a little larger or smaller, shifted, turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_train import evaluate
from fer_train.augment.operations import resample, warp
from fer_train.data import Progress, Split
from fer_train.models import Deployable

SCALES = (-0.12, -0.08, -0.04, 0.04, 0.08, 0.12)
SHIFTS = (-0.09, -0.06, -0.03, 0.03, 0.06, 0.09)
ANGLE = "angle"
ANGLES = (-15.0, -10.0, -5.0, 5.0, 10.0, 15.0)
JITTER = {"scale": 0.08, "shift": 0.06, "rotate": 10.0}
"""What a detector may do: each drawn evenly between minus and plus, all at once."""
DRAWS = 5


@dataclass(frozen=True)
class Point:
    """Accuracy on images that are cropped in one other way.

    Attributes:
        change: "size", "shift to the right", "shift down", `ANGLE`, or "all at random".
        amount: fraction of the side, or degrees; 0 for "all at random".
        accuracy: share of images with the right label.
        changed: share of images with another label than that of the image as it is.
    """

    change: str
    amount: float
    accuracy: float
    changed: float


@dataclass(frozen=True)
class Cropping:
    """`accuracy` on `images` images as they are, and a curve over each change.

    The last point of `points` is the mean of five draws of `JITTER`.
    """

    images: int
    accuracy: float
    points: tuple[Point, ...]

    @property
    def at_random(self) -> Point:
        """Size, shift and angle drawn for each image."""
        return self.points[-1]

    def curves(self) -> dict[str, list[Point]]:
        """Change -> its points from the smallest amount to the largest, the image as it is too."""
        whole: dict[str, list[Point]] = {}
        for point in self.points[:-1]:
            whole.setdefault(point.change, []).append(point)
        for change, points in whole.items():
            points.append(Point(change, 0.0, self.accuracy, 0.0))
            points.sort(key=lambda each: each.amount)
        return whole

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A heading and a row for each point: change, amount, accuracy, difference, changed."""
        rows = [("crop", "by", "accuracy", "difference", "other label")]
        rows.append(("as it is", "", f"{self.accuracy:.4f}", "", ""))
        for each in self.points:
            amount = f"{each.amount:+.0%}"
            if each.change == ANGLE:
                amount = f"{each.amount:+.0f} degrees"
            if each is self.at_random:
                amount = "up to {scale:.0%}, {shift:.0%}, {rotate:.0f} degrees".format(**JITTER)
            rows.append(
                (
                    each.change,
                    amount,
                    f"{each.accuracy:.4f}",
                    f"{each.accuracy - self.accuracy:+.4f}",
                    f"{each.changed:.1%}",
                )
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "jitter": dict(JITTER)}


def measure(
    deployable: Deployable, split: Split, *, seed: int = 0, progress: Progress | None = None
) -> Cropping:
    """Crop a split's images anew in each way, and classify them.

    By bicubic interpolation, since a detector's crops of photographs are as sharp as the images;
    the new pixels are rounded to uint8, and edges are repeated where a crop reaches beyond the
    image.

        cropping.measure(loaded.deployable(), validation).at_random.accuracy

    Args:
        deployable: the model.
        split: images that are cropped to faces, and their classes.
        seed: of the random draws.
        progress: called as progress(done, total).
    """
    targets = split.targets.numpy()
    before = _classify(deployable, split.images)
    total = len(SCALES) + 2 * len(SHIFTS) + len(ANGLES) + DRAWS
    points: list[Point] = []
    drawn: list[Point] = []
    for done, (change, amount, images) in enumerate(_recropped(split.images, seed), 1):
        found = _classify(deployable, images)
        right, changed = float((found == targets).mean()), float((found != before).mean())
        point = Point(change, amount, right, changed)
        (drawn if change == "all at random" else points).append(point)
        if progress:
            progress(done, total)
    accuracy = float(np.mean([each.accuracy for each in drawn]))
    mean = Point("all at random", 0.0, accuracy, float(np.mean([each.changed for each in drawn])))
    return Cropping(len(targets), float((before == targets).mean()), (*points, mean))


def _recropped(images: torch.Tensor, seed: int) -> Iterator[tuple[str, float, torch.Tensor]]:
    for amount in SCALES:
        yield "size", amount, _crop(images, zoom=1 + amount)
    for amount in SHIFTS:
        yield "shift to the right", amount, _crop(images, right=amount)
    for amount in SHIFTS:
        yield "shift down", amount, _crop(images, down=amount)
    for amount in ANGLES:
        yield ANGLE, amount, _crop(images, angle=amount)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(DRAWS):
        yield "all at random", 0.0, _jittered(images, generator)


def _jittered(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    scale, shift, rotate = (JITTER[name] for name in ("scale", "shift", "rotate"))
    drawn = warp(
        images.float(), generator, scale=scale, shift=shift, rotate=rotate, flip=False, sharp=True
    )
    return _bytes(drawn)


def _crop(
    images: torch.Tensor,
    zoom: float = 1.0,
    angle: float = 0.0,
    right: float = 0.0,
    down: float = 0.0,
) -> torch.Tensor:
    """(N, C, H, W) uint8 -> the same crop of all of them, uint8."""
    ones = torch.ones(len(images))
    moved = torch.tensor([right, down]).expand(len(images), 2)
    return _bytes(resample(images.float(), zoom * ones, angle * ones, moved, ones, "bicubic"))


def _bytes(images: torch.Tensor) -> torch.Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


def _classify(deployable: Deployable, images: torch.Tensor) -> npt.NDArray[np.integer]:
    found: npt.NDArray[np.integer] = evaluate.predict(deployable, images)[0].argmax(1)
    return found
