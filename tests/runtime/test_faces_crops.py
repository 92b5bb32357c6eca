"""The crop of a face: which square each rule takes, and what is in it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st

from fer_runtime.errors import ImageError
from fer_runtime.face_crop import FaceCrop
from fer_runtime.faces import Face
from fer_runtime.faces.crops import crop, side, square
from fer_runtime.images.fitting import fit as fitted
from tests.properties import given, settings
from tests.runtime.pictures import fit, smooth

POINTS = ((30.0, 40.0), (50.0, 40.0), (40.0, 50.0), (32.0, 60.0), (48.0, 60.0))
UPRIGHT = Face((20.0, 20.0, 60.0, 70.0), POINTS, 0.9)


def turned(face: Face, degrees: float) -> Face:
    """The face with its landmarks turned clockwise around (40, 45), the middle of its box."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    points = tuple(
        (40 + cos * (x - 40) - sin * (y - 45), 45 + sin * (x - 40) + cos * (y - 45))
        for x, y in face.landmarks
    )
    return face._replace(landmarks=points)


@pytest.mark.parametrize(
    ("rule", "degrees", "expected"),
    [
        ("box:1", 0, (40, 45, 50, 0)),  # the longer side of the box
        ("box:1", 30, (40, 45, 50, 0)),
        ("box:1.2:0.1", 0, (40, 45 - 6, 60, 0)),
        ("level:1", 0, (40, 45, 50, 0)),
        ("level:1", 30, (40, 45, 50, 30)),
        ("level:0.8:0.1", 90, (40 + 4, 45, 40, 90)),  # up is towards the forehead, at the right
        ("eyes:2.9:0.05", 0, (40, 50 - 2.9, 58, 0)),  # eyes and mouth are 20 apart
        ("eyes:2:0", 180, (40, 40, 40, 180)),
    ],
)
def test_the_square_of_each_rule(
    rule: str, degrees: float, expected: tuple[float, float, float, float]
) -> None:
    found = square(turned(UPRIGHT, degrees), FaceCrop.parse(rule))
    x, y, length, angle = expected
    assert (found.x, found.y, found.side) == pytest.approx((x, y, length))
    assert math.degrees(found.angle) % 360 == pytest.approx(angle, abs=1e-9)
    assert side(turned(UPRIGHT, degrees), FaceCrop.parse(rule)) == pytest.approx(length)


@pytest.mark.parametrize("points", [((40.0, 45.0),) * 5, ((math.nan, 1.0),) * 5])
def test_landmarks_that_no_face_has_are_not_used(points: tuple[tuple[float, float], ...]) -> None:
    face = UPRIGHT._replace(landmarks=points)
    assert square(face, FaceCrop(align="level", scale=1)) == (40, 45, 50, 0)
    assert square(face, FaceCrop(align="eyes")) == (40, 45, 50, 0), "the box's default"
    assert side(face, FaceCrop(align="eyes", scale=5.8)) == pytest.approx(100)


def test_an_empty_box_is_an_error() -> None:
    for box in ((5.0, 5.0, 5.0, 5.0), (0.0, 0.0, math.nan, 9.0), (0.0, 0.0, math.inf, 9.0)):
        face = Face(box, ((0.0, 0.0),) * 5, 0.9)
        with pytest.raises(ImageError, match="is empty"):
            crop(smooth(50, 50), face, fit(8, 8))


def test_a_crop_that_is_not_turned_is_that_part_of_the_picture() -> None:
    picture = smooth(120, 160)
    spec = replace(fit(48, 48, 3), face_crop=FaceCrop(align="box", scale=1))
    # The middles of the pixels 30 to 77 are whole numbers: the edges are half a pixel outside.
    face = Face((29.5, 39.5, 77.5, 87.5), POINTS, 0.9)
    assert np.array_equal(crop(picture, face, spec), picture[40:88, 30:78].transpose(2, 0, 1))
    grey = crop(picture, face, replace(fit(48, 48), face_crop=spec.face_crop))
    assert np.array_equal(grey, fitted(_luma(picture[40:88, 30:78]), fit(48, 48)))


def _luma(pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def test_a_turned_face_gives_the_crop_of_the_upright_one() -> None:
    from PIL import Image

    picture = Image.fromarray(smooth(90, 90))
    spec = replace(fit(24, 24), face_crop=FaceCrop(align="level", scale=0.8))
    face = Face((20.0, 20.0, 70.0, 70.0), POINTS, 0.9)
    upright = crop(np.asarray(picture), face, spec)
    quarter = np.asarray(picture.transpose(Image.Transpose.ROTATE_270))  # clockwise
    points = tuple((89 - y, x) for x, y in POINTS)
    lying = Face((19.0, 20.0, 69.0, 70.0), points, 0.9)
    # A turned square is read at single points, so that pixels differ where the picture is steep.
    difference = np.abs(crop(quarter, lying, spec).astype(int) - upright)
    assert difference.mean() < 1 and difference.max() <= 6


def test_the_scale_of_the_array_does_not_matter() -> None:
    from PIL import Image

    large = Image.fromarray(smooth(400, 400))
    spec = fit(32, 32)
    face = Face((100.0, 100.0, 300.0, 320.0), tuple((3 * x + 80, 3 * y + 40) for x, y in POINTS), 1)
    whole = crop(np.asarray(large), face, spec).astype(int)
    half = crop(np.asarray(large.reduce(2)), face, spec, scale=0.5)
    assert np.abs(whole - half).max() <= 3


@settings(deadline=None, max_examples=60)
@given(
    x=st.floats(-200, 300), y=st.floats(-200, 300), size=st.floats(0.01, 900),
    degrees=st.floats(-180, 180), rule=st.sampled_from(["level", "box:1.5:0.3", "eyes"]),
)  # fmt: skip
def test_any_face_gives_a_crop_within_the_levels_of_the_picture(
    x: float, y: float, size: float, degrees: float, rule: str
) -> None:
    picture = 60 + smooth(60, 80) // 2
    picture.flags.writeable = False
    spec = replace(fit(16, 16, 3), face_crop=FaceCrop.parse(rule))
    points = tuple((x + (a - 40) * size / 50, y + (b - 45) * size / 50) for a, b in POINTS)
    face = Face((x - size / 2, y - size / 2, x + size / 2, y + size / 2), points, 0.9)
    found = crop(picture[:, ::-1], turned(face, degrees), spec)
    assert found.shape == (3, 16, 16) and found.dtype == np.uint8
    # Bicubic interpolation may overshoot a little.
    assert int(found.min()) >= 60 - 20 and int(found.max()) <= 187 + 20
