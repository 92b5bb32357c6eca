"""The contact sheet: its size, where the tiles are, and how wrong ones are marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_runtime.gallery import collection
from fer_runtime.gallery.contact_sheet import BAD, GAP, LINE, MARGIN, TILE, draw_sheet
from fer_runtime.gallery.figures import Figures
from fer_runtime.rows import Row
from tests.runtime.gallery_rows import LABELS, empty_row, face_row, write
from tests.runtime.pictures import Pixels

RUST = tuple(int(BAD[place : place + 2], 16) for place in (1, 3, 5))


def sheet(*rows: Row) -> Pixels:
    figures = Figures(LABELS)
    for row in rows:
        figures.add(row)
    return np.asarray(draw_sheet(rows, figures))


def tiles(pixels: Pixels, count: int, lines: int) -> list[Pixels]:
    """The thumbnails of a sheet of one row of tiles, from its last line of text upwards."""
    bottom = pixels.shape[0] - MARGIN - lines * LINE
    starts = [MARGIN + index * (TILE + GAP) for index in range(count)]
    return [pixels[bottom - TILE : bottom, start : start + TILE] for start in starts]


def test_tiles_are_in_order_with_their_box() -> None:
    dark_grey = face_row("1.jpg", 0.9, 0.1, 0.0, grey=60)
    light_grey = face_row("2.jpg", 0.1, 0.9, 0.0, grey=200)
    found = tiles(sheet(dark_grey, light_grey), 2, lines=2)
    assert [int(np.median(tile)) for tile in found] == [60, 200]
    # The box (14, 9, 34, 39) of a 48-pixel thumbnail, 112 pixels wide here: 2.33 times as large.
    middle = found[1][TILE // 2, :, 0].astype(int)
    dark = np.flatnonzero(middle < 50)
    assert (dark.min(), dark.max()) == (33, 78)
    column = found[1][:, TILE // 2, 0].astype(int)
    dark = np.flatnonzero(column < 50)
    assert (dark.min(), dark.max()) == (21, 90)


def test_wrong_ones_have_a_frame_and_a_cross() -> None:
    pixels = sheet(
        face_row("sad/1.jpg", 0.9, 0.1, 0.0), face_row("sad/2.jpg", 0.1, 0.9, 0.0)
    )  # fmt: skip
    wrong, right = tiles(pixels, 2, lines=3)
    assert (wrong[2, TILE - 3] == RUST).all(), "the cross is on a square of that colour"
    assert (wrong == 255).all(2).sum() > 10, "the cross itself is white"
    assert not (right == RUST).all(2).any()
    frames = (pixels == RUST).all(2)[:, :MARGIN]
    assert frames.any(0).sum() == 3, "a frame of three pixels left of the first tile"


def test_pictures_without_a_face_and_errors_have_a_tile(tmp_path: Path) -> None:
    pixels = sheet(empty_row("1.jpg"), Row("2.jpg", LABELS, error="broken image"))
    empty, broken = tiles(pixels, 2, lines=2)
    assert empty[TILE // 2, TILE // 2].tolist() == [20, 20, 20]
    assert empty[2, 2].tolist() == [228, 228, 228], "a wide picture keeps its shape"
    assert (broken == 228).all()


@pytest.mark.parametrize(("count", "columns", "rows"), [(0, 4, 0), (1, 4, 1), (60, 11, 6)])
def test_the_size_follows_the_number_of_faces(count: int, columns: int, rows: int) -> None:
    pixels = sheet(*[face_row("1.jpg", 0.9, 0.1, 0.0)] * count)
    assert pixels.shape[1] == 2 * MARGIN + columns * (TILE + GAP) - GAP
    above = pixels.shape[0] - MARGIN - rows * (TILE + GAP + 2 * LINE) + GAP
    assert 0 < above - MARGIN < 100, "the rest is the heading"


def test_letters_that_the_font_lacks_and_long_names_fit() -> None:
    pixels = sheet(face_row("日本" * 100 + ".jpg", 0.9, 0.1, 0.0))
    beside = pixels[-MARGIN - 2 * LINE :, MARGIN + TILE :]
    assert (beside == 255).all(), "nothing is drawn beside the tile"


def test_many_faces_are_capped_and_the_sheet_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(collection.MOST, ".png", 5)
    rows = [face_row("1.jpg", 0.9, 0.1, 0.0)] * 9
    path = write(tmp_path / "out.png", rows)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        capped = np.asarray(image)
    whole = sheet(*rows[:5])
    assert capped.shape[1] == whole.shape[1]
    assert (capped[-(TILE + GAP) :] == whole[-(TILE + GAP) :]).all(), "the same five tiles"
    assert (capped[:60] != whole[:60]).any(), "another heading"
