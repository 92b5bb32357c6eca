"""Thumbnails: which part of the picture, its size, its box, grey and colour."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from fer_runtime.faces.face import Face
from fer_runtime.images.thumbnails import Thumbnail, thumbnail
from tests.runtime.pictures import Pixels, smooth


def face(*box: float) -> Face:
    left, top, right, bottom = box
    return Face((left, top, right, bottom), ((0.0, 0.0),) * 5, 0.9)


def decoded(found: Thumbnail) -> Pixels:
    grey = simplejpeg.decode_jpeg_header(found.jpeg)[2] == "Gray"
    pixels: Pixels = simplejpeg.decode_jpeg(found.jpeg, "GRAY" if grey else "RGB")
    assert pixels.shape[:2] == (found.height, found.width)
    return pixels


def test_a_face_has_its_surroundings_and_a_box() -> None:
    picture = smooth(200, 300)
    found = thumbnail(picture, face(100, 60, 140, 110))
    # The long side of the box is 50, so the square is 80 x 80 around (120, 85).
    assert found[1:] == (80, 80, (20.0, 15.0, 60.0, 65.0))
    difference = decoded(found).astype(int) - picture[45:125, 80:160]
    assert np.abs(difference).mean() < 2


def test_a_large_part_is_shrunk_and_its_box_too() -> None:
    picture = smooth(1000, 1500)
    found = thumbnail(picture, face(400, 200, 700, 500), side=96)
    # 480 x 480 from (310, 110), at a fifth.
    assert found[1:] == (96, 96, (18.0, 18.0, 78.0, 78.0))
    blocks = picture[110:590, 310:790].reshape(96, 5, 96, 5, 3).mean((1, 3))
    assert np.abs(decoded(found) - blocks).mean() < 2


def test_the_array_may_have_another_scale_than_the_picture() -> None:
    picture = smooth(100, 150)
    found = thumbnail(picture, face(200, 120, 280, 220), scale=0.5)
    assert found == thumbnail(picture, face(100, 60, 140, 110))


@pytest.mark.parametrize(
    ("box", "part", "expected"),
    [
        ((2, 4, 32, 24), (slice(0, 48), slice(0, 48)), (2.0, 4.0, 32.0, 24.0)),
        ((-20, 80, 20, 120), (slice(68, 100), slice(0, 32)), (0.0, 12.0, 20.0, 32.0)),
        ((130, 30, 200, 60), (slice(21, 69), slice(102, 150)), (28.0, 9.0, 48.0, 39.0)),
    ],
)
def test_at_an_edge_the_square_is_moved_into_the_picture(
    box: tuple[float, float, float, float], part: tuple[slice, slice], expected: tuple[float, ...]
) -> None:
    picture = smooth(100, 150)
    found = thumbnail(picture, face(*box))
    assert found.box == expected
    assert np.abs(decoded(found).astype(int) - picture[part]).mean() < 4


def test_a_crop_of_one_face_is_shown_whole() -> None:
    picture = smooth(48, 48, 1)
    found = thumbnail(picture, face(5, 4, 44, 46))
    assert found[1:] == (48, 48, (5.0, 4.0, 44.0, 46.0))
    assert decoded(found).shape == (48, 48, 1), "grey stays grey"


def test_a_picture_narrower_than_the_face_is_padded_and_not_distorted() -> None:
    picture = np.full((90, 30, 3), 250, np.uint8)
    found = thumbnail(picture, face(-10, 10, 50, 70))
    assert found[1:] == (60, 60, (15.0, 0.0, 45.0, 60.0))
    row = decoded(found)[30, :, 0]
    assert row[:14].max() < 135, "grey at the left of the picture"
    assert row[17:43].min() > 240, "the picture"
    assert row[46:].max() < 135, "grey at its right"


@pytest.mark.parametrize("box", [None, (200, 200, 220, 220), (30, 30, 30, 40)])
def test_without_a_face_in_it_the_whole_picture_is_shown(box: tuple[float, ...] | None) -> None:
    picture = smooth(100, 200)
    found = thumbnail(picture, None if box is None else face(*box))
    assert found[1:] == (96, 48, None)


def test_one_pixel_and_one_line_are_pictures_too() -> None:
    assert thumbnail(np.zeros((1, 1, 3), np.uint8), None)[1:] == (1, 1, None)
    assert thumbnail(np.zeros((1, 4000, 1), np.uint8), None)[1:] == (96, 1, None)
    assert thumbnail(np.zeros((1, 1, 3), np.uint8), face(-4, -4, 4, 4))[1:3] == (1, 1)


def test_a_read_only_view_is_not_changed() -> None:
    picture = smooth(200, 300)
    before = picture.copy()
    view = picture[::-1, ::-1]
    view.flags.writeable = False
    thumbnail(view, face(100, 60, 140, 110))
    assert (picture == before).all()
