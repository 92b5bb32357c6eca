"""The picture with the coordinates of its pixels on the face, and shapes to paint on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating[Any]]  # float32 throughout; mypy widens float32 * float


@dataclass(frozen=True)
class Canvas:
    """(n, n) float32 planes: the picture, and where each of its pixels is on the face."""

    image: Plane  # 0 black to 1 white; painted in place
    x: Plane  # head coordinates: roll, position and scale undone
    y: Plane
    u: Plane  # face coordinates: yaw, pitch and asymmetry undone too
    v: Plane
    pixel: float  # width of a pixel in face units

    def edge(self, distance: Plane, softness: float = 0.0) -> Plane:
        """Coverage 0 to 1 of a region, from the distance into it: antialiased, or softer."""
        coverage: Plane = np.clip(distance * (1 / max(softness, self.pixel)) + 0.5, 0.0, 1.0)
        return coverage

    def paint(self, coverage: Plane, tone: Plane | float) -> None:
        self.image[...] += coverage * (tone - self.image)


def ridge(distance: Plane, width: float) -> Plane:
    """A Gaussian across a line: 1 where `distance` is 0."""
    scaled = distance * (1 / width)
    return np.exp(-scaled * scaled)


def bump(x: Plane, y: Plane, width: float, height: float) -> Plane:
    """A Gaussian around a point: 1 where x and y are 0."""
    x, y = x * (1 / width), y * (1 / height)
    return np.exp(-x * x - y * y)


def make_canvas(rng: np.random.Generator, n: int) -> Canvas:
    """An n x n background with the face's position, scale, roll, yaw and pitch drawn at random."""
    centres = (np.arange(n, dtype=np.float32) + 0.5) * (2.0 / n) - 1.0
    scale, roll = rng.uniform(0.82, 0.98), rng.normal(0.0, 0.09)
    col = centres[None, :] - rng.normal(0.0, 0.035)
    row = centres[:, None] - rng.normal(0.0, 0.035)
    c, s = scale * float(np.cos(roll)), scale * float(np.sin(roll))
    x, y = c * col + s * row, c * row - s * col + 0.03
    # A cylinder of radius 0.95 under the features gives yaw its foreshortening.
    u = 0.95 * (np.arcsin(np.clip(x * (1 / 0.95), -1, 1)) - rng.normal(0.0, 0.15))
    v = y + rng.normal(0.0, 0.03) + rng.normal(0.0, 0.025) * u
    u = u + rng.normal(0.0, 0.025) * v
    image = np.full((n, n), rng.uniform(0.05, 0.95), np.float32)
    for _ in range(2):
        blob = bump(col - rng.uniform(-1, 1), row - rng.uniform(-1, 1), rng.uniform(0.3, 1), 0.8)
        image += blob * rng.normal(0.0, 0.2)
    return Canvas(image, x, y, u, v, 2.0 * scale / n)
