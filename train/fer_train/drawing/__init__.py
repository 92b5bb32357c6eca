"""Draws parametric expressive faces from FACS action units.

A face is a height field (skull, brow ridge, nose, cheeks, chin) lit by one lamp, with features
painted in face coordinates: (0, 0) between eyes and nose, u to the right and v down, the chin of
an average head at v = 0.95. An expression moves and creases the features by FACS action units
(AUs). The classes overlap at low intensity, as real ones do. The faces are drawn, not learnt:
accuracy on them shows that a pipeline works, and nothing about photographs of people.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import DataError
from fer_train.drawing.action_units import EXPRESSIONS, LABELS, ActionUnits
from fer_train.drawing.camera import expose
from fer_train.drawing.canvas import make_canvas
from fer_train.drawing.features import paint_brows, paint_eyes, paint_mouth, paint_nose
from fer_train.drawing.hair import paint_beard, paint_glasses, paint_hair, paint_occlusion
from fer_train.drawing.person import Person
from fer_train.drawing.skin import paint_creases, paint_head

__all__ = ["EXPRESSIONS", "LABELS", "ActionUnits", "render_face"]


def render_face(label: str, rng: np.random.Generator, *, size: int = 48) -> npt.NDArray[np.uint8]:
    """Draws one face: (size, size) uint8, 0 black to 255 white.

    Every draw is another person in another light, and the expression is stronger or weaker.

    Args:
        label: one of `LABELS`.
        rng: where all chance comes from; equally seeded generators give equal pixels.
        size: height and width in pixels, at least 16.

    Raises:
        DataError: an unknown label, or a size under 16.
    """
    if label not in EXPRESSIONS:
        raise DataError(f"unknown label {label!r}; allowed are {', '.join(LABELS)}")
    if size < 16:
        raise DataError(f"size is {size}; a face needs at least 16 pixels")
    person = Person.draw(rng)
    au = EXPRESSIONS[label].at_intensity(rng.uniform(0.25, 1.05), rng)
    canvas = make_canvas(rng, size * 2 if size < 128 else size)
    rim = paint_head(canvas, person, au, rng)
    paint_creases(canvas, person, au)
    paint_eyes(canvas, person, au, rng)
    paint_nose(canvas, person, au)
    if person.beard > 0 and not person.long_hair:
        paint_beard(canvas, person, rim)
    paint_mouth(canvas, person, au)
    if not person.bald:
        paint_hair(canvas, person, rim)
    paint_brows(canvas, person, au)
    if person.glasses > 0:
        paint_glasses(canvas, person)
    if rng.random() < 0.05:
        paint_occlusion(canvas, rng)
    return expose(canvas.image, size, rng)
