"""Eyes, brows, nose and mouth, moved by the action units."""

from __future__ import annotations

import numpy as np

from fer_train.drawing.action_units import ActionUnits
from fer_train.drawing.canvas import Canvas, bump, ridge
from fer_train.drawing.person import Person


def paint_eyes(canvas: Canvas, person: Person, au: ActionUnits, rng: np.random.Generator) -> None:
    """Paints the eyes, opened, narrowed or drooping, with a look to one side drawn at random."""
    side = np.sign(canvas.u)
    across = np.abs(canvas.u) - person.eye_x
    y = canvas.v + 0.11 + person.eye_tilt * across
    bow = 1 - (across * (1 / person.eye_width)) ** 2
    tight = 0.4 * au.au7 + 0.35 * au.au6
    droop = 0.25 * max(0.0, au.au15 - au.au24)
    upper = max(0.015, 0.066 * person.eye_opening * (1 + 0.75 * au.au5 - tight - droop))
    lower = max(0.006, 0.048 * person.eye_opening * (1 + 0.2 * au.au5 - 1.2 * tight))
    top, bottom = y + upper * bow, lower * bow - y
    white = canvas.edge(np.minimum(top, bottom), 0.012)
    canvas.paint(white, 0.45 + 0.42 * person.skin)
    look = across - side * rng.normal(0.0, 0.02)
    distance = np.sqrt(look**2 + (y + (0.008 + rng.normal(0.0, 0.008))) ** 2)
    canvas.paint(white * canvas.edge(0.066 - distance, 0.012), person.iris)
    canvas.paint(white * canvas.edge(0.032 - distance, 0.012), 0.02)
    canvas.paint(white * bump(look - 0.02 * side, y + 0.028, 0.015, 0.015), 0.95)
    inside = canvas.edge(bow, 0.25)
    canvas.paint(0.85 * inside * ridge(top, 0.02), 0.1 * person.skin)
    canvas.paint(0.35 * inside * ridge(bottom, 0.016), 0.3 * person.skin)
    canvas.paint(0.3 * inside * ridge(top + (0.045 - 0.01 * au.au5), 0.014), 0.35 * person.skin)


def paint_brows(canvas: Canvas, person: Person, au: ActionUnits) -> None:
    """Paints the brows, raised at either end or lowered and drawn together."""
    s = (np.abs(canvas.u) - (0.13 - 0.04 * au.au4)) * (1 / 0.37)  # 0 inner end, 1 outer end
    lowered = au.au4 * (1 - 0.6 * min(au.au1, 1.0))  # the raiser wins over the middle of the brow
    inner = 0.13 * au.au1 - 0.13 * lowered
    outer = 0.12 * au.au2 - 0.02 * lowered
    arch = person.brow_arch + 0.03 * au.au2 - 0.02 * lowered
    rest = person.brow_y + 0.02 + 0.03 * au.au9 + 0.01 * au.au6
    line = rest - inner * (1 - s) - outer * s - 4 * arch * s * (1 - s)
    half = person.brow_width * (1.1 - 0.6 * s)
    ends = canvas.edge(np.minimum(s, 1 - s), 0.12)
    strength = 0.9 if person.hair < person.skin else 0.55
    cover = strength * ends * canvas.edge(half - np.abs(canvas.v - line), 0.025)
    canvas.paint(cover, 0.02 + 0.7 * min(person.hair, 0.45 * person.skin))


def paint_nose(canvas: Canvas, person: Person, au: ActionUnits) -> None:
    """Paints nostrils, wings, the shadow below, and a highlight."""
    u, v, a = canvas.u, canvas.v, np.abs(canvas.u)
    y = person.nose_length - 0.035 * au.au9 - 0.01 * au.au10
    flare = person.nose_width * (1 + 0.2 * au.au9)
    canvas.paint(0.8 * bump(a - 0.5 * flare, v - (y + 0.03), 0.03, 0.018), 0.12 * person.skin)
    canvas.paint(0.35 * bump(a - 1.05 * flare, v - y, 0.022, 0.05), 0.35 * person.skin)
    canvas.paint(0.25 * bump(u, v - (y + 0.05), 0.8 * flare, 0.02), 0.4 * person.skin)
    canvas.paint(0.2 * bump(u, v - (y - 0.05), 0.035, 0.05), 1.0)


def paint_mouth(canvas: Canvas, person: Person, au: ActionUnits) -> None:
    """Paints lips, the open mouth with its teeth, and the seam between the lips."""
    width = person.mouth_width + 0.08 * au.au12 + 0.09 * au.au20
    width -= 0.06 * au.au26 + 0.02 * au.au17 + 0.02 * au.au24
    s = canvas.u * (1 / width)
    bow = np.maximum(1 - s * s, 0)  # 1 in the middle, 0 at the corners and beyond
    span = canvas.edge((1 - np.abs(s)) * width, 0.04)
    lift = 0.14 * au.au12 - 0.10 * au.au15 - 0.03 * au.au20
    middle = person.mouth_y + 0.35 * lift - 0.02 * au.au17 + 0.03 * au.au26
    line = middle - lift * np.minimum(s * s, 1.5)
    # A dropped jaw opens an oval, parted lips a lens.
    opening = bow ** (1 - 0.4 * min(au.au26, 1.0))
    raised = 0.04 * au.au10 + 0.015 * au.au9
    bared = 0.7 * raised if au.au25 > 0.12 else 0.0
    gap_up = 0.028 * au.au25 + 0.05 * au.au26 + bared
    gap_down = 0.045 * au.au25 + 0.14 * au.au26
    pressed = max(0.2, 1 - 0.65 * au.au24 - 0.25 * au.au12)
    lip_up, lip_down = person.lip * pressed, 1.3 * person.lip * pressed * (1 + 0.3 * au.au17)
    top = canvas.v - line + gap_up * opening + 0.5 * raised * bow
    bottom = line + gap_down * opening - canvas.v
    cupid = lip_up * bow * (1 - 0.3 * ridge(s, 0.2))
    lips = span * canvas.edge(np.minimum(top + cupid, bottom + lip_down * bow), 0.02)
    canvas.paint(0.8 * lips, person.skin * (person.lip_tone + 0.2 * canvas.edge(-bottom, 0.08)))
    inside = span * canvas.edge(np.minimum(top, bottom) - 0.004, 0.012)
    canvas.paint(inside, 0.06)
    showing = 0.25 + au.au12 + au.au20 + 20 * raised - 0.7 * au.au26
    teeth = inside * canvas.edge(0.065 - top, 0.02) * min(max(showing, 0.0), 1.0)
    canvas.paint(teeth, (0.5 + 0.45 * person.skin) * (0.6 + 0.4 * bow))
    seam = ridge(canvas.v - line, 0.018) * span * (1 - inside)
    canvas.paint(0.75 * seam, 0.12 * person.skin)
    canvas.paint(0.4 * bump(np.abs(s) - 1, canvas.v - line, 0.14, 0.03), 0.25 * person.skin)
    below = canvas.v - line - (gap_down + lip_down + 0.03)
    canvas.paint(0.3 * bump(s, below, 0.6, 0.025), 0.5 * person.skin)
