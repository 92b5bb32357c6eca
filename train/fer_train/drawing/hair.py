"""Hair, beard, glasses, and what hides a part of the face."""

from __future__ import annotations

import numpy as np

from fer_train.drawing.canvas import Canvas, Plane, bump
from fer_train.drawing.person import Person


def paint_beard(canvas: Canvas, person: Person, rim: Plane) -> None:
    """Paints the beard and the moustache, as strong as `person.beard`."""
    u, v = canvas.u, canvas.v
    cover = person.beard * canvas.edge(v + 0.5 * u * u - 0.58, 0.35)
    lip = 0.7 * person.beard * bump(u, v - (person.mouth_y - 0.09), 0.22, 0.05)  # moustache
    canvas.paint(np.maximum(cover, lip) * canvas.edge(1 - rim, 0.12), 0.05 + 0.8 * person.hair)


def paint_hair(canvas: Canvas, person: Person, rim: Plane) -> None:
    """Paints the hair in front: from the hairline up, and beside the face if it is long."""
    x, y, u, v = canvas.x, canvas.y, canvas.u, canvas.v
    across = np.abs(x) * (1 / person.half_width)
    line = person.hairline + person.temples * np.abs(u - person.parting) ** 2.5
    # Brows stay visible: they show most of the expressions.
    line = np.minimum(line, -0.4 + 1.3 * np.maximum(across - 0.72, 0))
    frame = np.maximum(line - v, (rim - 0.97) * 0.7)
    crown = person.volume - np.sqrt(across * across + (0.98 * y) ** 2)
    if person.long_hair:
        curtain = across - 0.9 - 0.04 * np.sin(6 * y + 20 * person.parting)
        cover = np.where(y > 0, np.minimum(curtain, 1.1 - across), crown) * 0.7
        cover = np.minimum(np.maximum(frame, curtain), cover)
    else:
        cover = np.minimum(np.minimum(frame, crown), -0.04 - y)
    strands = (u - person.parting) / (v + 1.9)
    gloss = 1 + 0.10 * np.sin(75 * strands) + 0.12 * np.sin(23 * strands + 4 * v)
    gloss += 0.5 * bump(x + 0.2, y + 0.8, 0.35, 0.12)
    canvas.paint(canvas.edge(cover, 0.06), person.hair * gloss)


def paint_glasses(canvas: Canvas, person: Person) -> None:
    """Paints two rims, a bridge and the temples."""
    a, y = np.abs(canvas.u), canvas.v + 0.09
    ring = np.abs(np.sqrt((a - person.eye_x) ** 2 + 1.3 * y * y) - 0.2)
    bridge = np.maximum(a - 0.12, np.abs(y + 0.03))
    temple = np.maximum(person.eye_x + 0.2 - a, np.abs(y + 0.03))
    rim = canvas.edge(0.014 - np.minimum(np.minimum(ring, bridge), temple), 0.012)
    canvas.paint(person.glasses * rim * (np.abs(canvas.x) < person.half_width), 0.08)


def paint_occlusion(canvas: Canvas, rng: np.random.Generator) -> None:
    """A hand or the edge of an object, from the side or below and never over both brows."""
    angle = rng.uniform(0.1, 0.9) * np.pi
    along = canvas.x * float(np.cos(angle)) + canvas.y * float(np.sin(angle))
    aside = canvas.y * float(np.cos(angle)) - canvas.x * float(np.sin(angle))
    depth = along - rng.uniform(0.5, 0.75) - rng.normal(0.0, 0.3) * aside * aside
    canvas.paint(canvas.edge(depth, 0.03), rng.uniform(0.05, 0.8) * (1 + 0.3 * depth))
