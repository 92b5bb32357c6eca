"""Squares cut out of a picture: where they are, their edges, antialiasing, and any input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from fer_runtime.errors import ImageError
from fer_runtime.images.cutting import Square, cut
from fer_runtime.images.fitting import fit as fitted
from tests.runtime.pictures import fit, noise, smooth


def naive(pixels: np.ndarray, square: Square, size: int, samples: int = 8) -> np.ndarray:  # type: ignore[type-arg]
    """Each pixel of the result as the mean of many points, read with bilinear interpolation."""
    steps = (np.arange(size * samples) + 0.5) / (size * samples) - 0.5
    across, down = np.meshgrid(steps * square.side, steps * square.side)
    cos, sin = math.cos(square.angle), math.sin(square.angle)
    x = square.x + cos * across - sin * down - 0.5
    y = square.y + sin * across + cos * down - 0.5
    height, width = pixels.shape[:2]
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = (x - left)[..., None], (y - top)[..., None]
    wide = pixels.astype(float)
    points = (wide[top, left] * (1 - a) + wide[top, right] * a) * (1 - b)
    points += (wide[bottom, left] * (1 - a) + wide[bottom, right] * a) * b
    return points.reshape(size, samples, size, samples, -1).mean((1, 3)).transpose(2, 0, 1)


@pytest.mark.parametrize(
    "square",
    [
        Square(100.0, 80.0, 60.0),
        Square(100.3, 79.6, 61.7, 0.3),
        Square(120.0, 90.0, 150.0, -1.2),
        Square(60.0, 60.0, 24.0, math.pi),  # as large as the input
        Square(60.0, 60.0, 13.0, 0.5),  # smaller than the input
        Square(5.0, 5.0, 80.0, 0.8),  # reaches beyond the picture
        Square(-300.0, 90.0, 50.0, 0.2),  # is outside
    ],
)
def test_a_square_is_what_many_points_of_it_average_to(square: Square) -> None:
    picture = smooth(180, 240)
    found = cut(picture, square, fit(24, 24, 3)).astype(float)
    difference = np.abs(found - naive(picture, square, 24))
    assert difference.mean() < 2.5 and difference.max() < 16


def test_nothing_aliases() -> None:
    """Stripes of one pixel are grey once they are smaller than a pixel, whatever the angle."""
    stripes = np.zeros((600, 600, 1), np.uint8)
    stripes[:, ::2] = 255
    for angle in (0.0, 0.1, 0.7, math.pi / 2):
        found = cut(stripes, Square(300, 300, 380, angle), fit(48, 48)).astype(int)
        assert np.abs(found - 127).max() <= 12


def test_a_turned_square_stays_sharp() -> None:
    edge = np.full((300, 300, 1), 40, np.uint8)
    edge[:, 150:] = 220
    found = cut(edge, Square(150, 150, 48, math.pi / 2), fit(48, 48))[0].astype(int)
    jumps = np.abs(np.diff(found.mean(1)))
    assert jumps.max() > 150, "the edge is one pixel wide, not blurred over several"


def test_whole_pixels_are_taken_as_they_are() -> None:
    picture = noise(50, 60, 3)
    found = cut(picture, Square(30, 25, 20), fit(20, 20, 3))
    assert np.array_equal(found, picture[15:35, 20:40].transpose(2, 0, 1))
    larger = cut(picture, Square(30, 25, 40), fit(20, 20, 3))
    assert np.array_equal(larger, fitted(picture[5:45, 10:50], fit(20, 20, 3)))


def test_outside_the_edge_is_repeated() -> None:
    picture = np.full((10, 10, 1), 50, np.uint8)
    picture[:, 0] = 200
    found = cut(picture, Square(0, 5, 8), fit(8, 8))[0]
    assert (found[:, :5] == 200).all() and (found[:, 5:] == 50).all()


def test_grey_and_colour_views_and_read_only_arrays() -> None:
    picture = smooth(80, 80)
    picture.flags.writeable = False
    square = Square(40, 40, 30, 0.4)
    grey = cut(picture, square, fit(16, 16))
    luma = np.asarray(Image.fromarray(picture).convert("L"))[:, :, None]
    assert np.abs(grey.astype(int) - cut(luma, square, fit(16, 16))).max() <= 1
    assert cut(luma, square, fit(16, 16, 3)).shape == (3, 16, 16)
    mirrored = cut(picture[:, ::-1], square._replace(angle=-0.4), fit(16, 16))
    assert np.abs(mirrored[:, :, ::-1].astype(int) - grey).max() <= 2


@pytest.mark.parametrize(
    "square",
    [Square(1, 1, 0), Square(1, 1, -5), Square(math.nan, 1, 5), Square(1, 1, math.inf)],
)
def test_squares_that_are_none_are_refused(square: Square) -> None:
    with pytest.raises(ImageError, match="is empty"):
        cut(smooth(9, 9), square, fit(4, 4))


def test_a_huge_square_costs_no_memory() -> None:
    found = cut(smooth(20, 20), Square(10, 10, 1e7, 0.1), fit(8, 8))
    assert found.shape == (1, 8, 8)
