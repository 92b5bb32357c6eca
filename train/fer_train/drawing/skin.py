"""The head, its light, and the creases of the skin."""

from __future__ import annotations

import numpy as np

from fer_train.drawing.action_units import ActionUnits
from fer_train.drawing.canvas import Canvas, Plane, bump
from fer_train.drawing.person import Person


def paint_head(canvas: Canvas, person: Person, au: ActionUnits, rng: np.random.Generator) -> Plane:
    """Paints hair behind, neck, shirt, ears and lit skin; returns 0 at the centre, 1 on the rim."""
    x, y, across = canvas.x, canvas.y, np.abs(canvas.x)
    low = np.clip(y, 0.0, 1.2)
    width = person.half_width * (1 - person.jaw * low * low)
    rim = np.sqrt((x / width) ** 2 + (y * np.where(low > 0, 1 / (0.95 + 0.09 * au.au26), 1.0)) ** 2)
    rim = rim.astype(np.float32)
    if person.long_hair:
        wave = 0.03 * np.sin(7 * y + 20 * person.parting)
        fall = person.half_width * (person.volume - 0.02) + 0.12 * (y + 0.2) + wave - across
        canvas.paint(canvas.edge(np.minimum(fall, y + 0.2), 0.08), person.hair * 0.75)
    canvas.paint(canvas.edge(np.minimum(0.4 - across, y), 0.05), person.skin * 0.6)
    canvas.paint(canvas.edge(y - 1.02 - 0.25 * (across - 0.4), 0.04), rng.uniform(0.05, 0.95))
    if not person.long_hair:
        ears = bump(across - (person.half_width + 0.01), y + 0.02, 0.075, 0.2)
        canvas.paint(canvas.edge(ears - 0.4, 0.15), person.skin * 0.75)
    light = _light(canvas, person, au, rim, rng)
    canvas.paint(canvas.edge((1 - rim) * person.half_width, 0.03), person.skin * light)
    return rim


def _light(
    canvas: Canvas, person: Person, au: ActionUnits, rim: Plane, rng: np.random.Generator
) -> Plane:
    """Lambert shading of the height field, around 1 where the skin faces the viewer."""
    u, v, a = canvas.u, canvas.v, np.abs(canvas.u)
    nose_y = person.nose_length - 0.03 * au.au9
    cheek, cheek_y = 0.05 + 0.05 * au.au6 + 0.04 * au.au12, 0.24 - 0.07 * au.au6 - 0.03 * au.au12
    height = 0.6 * np.sqrt(np.maximum(1 - 0.9 * rim * rim, 0.05))
    height += 0.11 * bump(u, v - (nose_y - 0.03), person.nose_width * 0.9, 0.09)
    height += 0.07 * bump(u, v - (nose_y - 0.22), person.nose_width * 0.55, 0.22)
    height += cheek * bump(a - 0.36, v - cheek_y, 0.17, 0.14)
    height -= 0.06 * bump(a - (person.eye_x - 0.02), v + 0.10, 0.18, 0.11)
    height += 0.03 * bump(a - 0.3, v + 0.3, 0.3, 0.08)
    height += (0.06 + 0.05 * au.au17) * bump(u, v - (0.8 + 0.08 * au.au26), 0.16, 0.11)
    height += 0.05 * bump(u, v - person.mouth_y, 0.26, 0.16)
    down, right = np.gradient(height, canvas.pixel)
    azimuth, lift = rng.normal(0.0, 0.45), rng.uniform(-0.05, 0.6)
    lambert = (1 - azimuth * right + lift * down) / np.sqrt(1 + right * right + down * down)
    lambert *= (azimuth**2 + lift**2 + 1) ** -0.5
    ambient = rng.uniform(0.32, 0.6)
    light: Plane = ambient + (1.1 - ambient) * np.maximum(lambert, 0)
    return light


def paint_creases(canvas: Canvas, person: Person, au: ActionUnits) -> None:
    """Darkens the skin along forehead, glabella, nose root, cheek fold, lower lid and chin."""
    u, v, a = canvas.u, canvas.v, np.abs(canvas.u)
    age = person.age**2
    raised = 0.12 * age + 0.45 * max(0.0, 0.5 * (au.au1 + au.au2) - 0.2)
    waves = np.maximum(np.sin((v + 0.04 * np.cos(5 * u)) * 58), 0)
    shade = raised * bump(u, v + 0.5, 0.36, 0.1) * waves
    shade += 0.5 * au.au4 * bump(a - 0.045, v + 0.25, 0.02, 0.08)
    waves = np.maximum(np.sin((v + 0.5 * a) * 62), 0)
    shade += 0.65 * au.au9 * bump(u, v + 0.09, 0.12, 0.1) * waves
    t = np.clip((v - 0.17) * 3, -0.2, 1.1)
    fold = 0.15 + (0.18 + 0.07 * au.au12) * t * (1.3 - 0.3 * t)
    depth = 0.03 + 0.15 * age + 0.4 * max(au.au12, au.au10, 0.8 * au.au9)
    shade += depth * bump(a - fold, v - 0.34, 0.03, 0.15)
    bag = max(0.15 * age, 0.45 * au.au6, 0.25 * au.au7)
    arc = v - 0.035 + 2.2 * (a - person.eye_x) ** 2
    shade += bag * bump(a - person.eye_x, arc, 0.15, 0.022)
    shade += (0.22 * au.au15 + 0.06 * age) * bump(a - 0.31, v - (person.mouth_y + 0.1), 0.05, 0.08)
    shade += 0.35 * au.au17 * bump(u, v - (person.mouth_y + 0.17), 0.15, 0.03)
    canvas.image[...] *= 1 - np.minimum(shade, 0.75)
