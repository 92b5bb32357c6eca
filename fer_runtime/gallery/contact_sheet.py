"""The contact sheet: one picture with every thumbnail, its label, probability and box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import simplejpeg

from fer_runtime.gallery.figures import Figures
from fer_runtime.gallery.shown import percent, shown
from fer_runtime.rows import Row

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

TILE, GAP, LINE, MARGIN = 112, 14, 16, 18
"""Pixels: side of a thumbnail, between tiles, of a line of text, around the sheet."""
SHAPE = 4 / 3
"""Width to height that the number of columns aims at."""
FEWEST_COLUMNS = 4
INK, PAPER, MUTED, BAD, SOFT = "#1a1a1a", "#ffffff", "#555555", "#a63c00", "#e4e4e4"
SENTENCE = "Labels are the apparent expression as a model sees it, not what a person feels."


class Fonts(NamedTuple):
    """The fonts of a sheet."""

    heading: ImageFont.FreeTypeFont | ImageFont.ImageFont
    label: ImageFont.FreeTypeFont | ImageFont.ImageFont
    small: ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_sheet(rows: Sequence[Row], figures: Figures) -> Image.Image:
    """An RGB picture of the rows in their order, with the figures of the run above them.

    Thumbnails are 112 pixels wide or high. A row whose label differs from the truth has a frame, a
    cross and the true label; one without a face or with an error says so.

    Args:
        rows: the rows to show.
        figures: what there was in all; where that is more, the sheet says how many it shows.
    """
    from PIL import Image, ImageDraw, ImageFont

    fonts = Fonts(*(ImageFont.load_default(size) for size in (17, 13, 11)))
    known = bool(figures.labelled.sum())
    step_x, step_y = TILE + GAP, TILE + GAP + LINE * (3 if known else 2)
    columns = max(FEWEST_COLUMNS, math.ceil(math.sqrt(len(rows) * SHAPE * step_y / step_x)))
    columns = min(columns, max(FEWEST_COLUMNS, len(rows)))
    width = 2 * MARGIN + columns * step_x - GAP
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    heading = _wrapped(ruler, _heading(len(rows), figures), fonts.label, width - 2 * MARGIN)
    title = f"Apparent expressions in {figures.faces:,} {figures.noun}{'s' * (figures.faces != 1)}"
    top = MARGIN + 26 + len(heading) * (LINE + 2) + GAP
    height = top + math.ceil(len(rows) / columns) * step_y - GAP + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, fonts.heading)
    for index, line in enumerate(heading):
        draw.text((MARGIN, MARGIN + 26 + index * (LINE + 2)), line, MUTED, fonts.label)
    for index, row in enumerate(rows):
        place = MARGIN + index % columns * step_x, top + index // columns * step_y
        _draw_tile(sheet, draw, place, row, figures, fonts)
    return sheet


def _heading(count: int, figures: Figures) -> str:
    text = ", ".join(f"{figure} {title}" for title, figure in figures.lines()[1:])
    parts = [text.replace("\N{NO-BREAK SPACE}", " ")] if text else []
    if count < figures.rows:
        parts.insert(0, f"The first {count:,} of {figures.rows:,}")
    return ". ".join([*parts, SENTENCE])


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    row: Row,
    figures: Figures,
    fonts: Fonts,
) -> None:
    left, top = place
    draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), SOFT)
    if row.thumbnail is not None:
        _draw_thumbnail(sheet, draw, place, row)
    truth = figures.truth(row)
    lines = [(_basename(row), MUTED)]
    if row.label is None or row.probability is None:
        label, share = ("no face" if row.error is None else "error"), ""
    else:
        label, share = row.label, percent(row.probability).replace("\N{NO-BREAK SPACE}", " ")
        if truth is not None and not row.uncertain and figures.labels[truth] != row.label:
            _draw_wrong(draw, place)
            lines.insert(0, (f"wrong, truth: {figures.labels[truth]}", BAD))
    y = top + TILE + 2
    room = TILE - math.ceil(draw.textlength(share, fonts.label))
    draw.text((left, y), _fitting(draw, label, fonts.label, room - 4), INK, fonts.label)
    draw.text((left + room, y), share, INK, fonts.label)
    for index, (text, colour) in enumerate(lines, 1):
        fitting = _fitting(draw, text, fonts.small, TILE)
        draw.text((left, y + index * LINE), fitting, colour, fonts.small)


def _draw_thumbnail(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], row: Row
) -> None:
    """The thumbnail in the middle of its tile, as large as fits, and the face's box on it."""
    from PIL import Image

    found = row.thumbnail
    if found is None:
        return
    ratio = TILE / max(found.width, found.height)
    size = max(1, round(found.width * ratio)), max(1, round(found.height * ratio))
    image = Image.fromarray(simplejpeg.decode_jpeg(found.jpeg, "RGB"))
    left, top = place[0] + (TILE - size[0]) // 2, place[1] + (TILE - size[1]) // 2
    sheet.paste(image.resize(size, Image.Resampling.BICUBIC), (left, top))
    if found.box is not None:
        x0, y0, x1, y1 = (round(value * ratio) for value in found.box)
        box = left + x0, top + y0, left + max(x1 - 1, x0), top + max(y1 - 1, y0)
        draw.rectangle(box, outline="#000000", width=3)
        if x1 - x0 > 3 and y1 - y0 > 3:
            draw.rectangle((box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1), outline="#ffffff")


def _draw_wrong(draw: ImageDraw.ImageDraw, place: tuple[int, int]) -> None:
    """A frame around the tile, and a cross in its corner."""
    left, top = place
    draw.rectangle((left - 3, top - 3, left + TILE + 2, top + TILE + 2), outline=BAD, width=3)
    right = left + TILE - 1
    draw.rectangle((right - 18, top, right, top + 18), BAD)
    draw.line((right - 14, top + 4, right - 4, top + 14), PAPER, 2)
    draw.line((right - 14, top + 14, right - 4, top + 4), PAPER, 2)


def _basename(row: Row) -> str:
    name = shown(row.name.replace("\\", "/").rpartition("/")[2])
    return f"{name} {row.number}" if row.number else name


def _fitting(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    room: float,
) -> str:
    """The text, or as much of its beginning as fits; letters that the font lacks are "?"."""
    text = shown(text)[:80].encode("latin-1", "replace").decode("latin-1")
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "...", font) > room:
        text = text[:-1]
    return text.rstrip() + "..."


def _wrapped(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    room: float,
) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
