"""FaceCrop: how a face is cut out of a picture for a model; a part of its `InputSpec`.

Standard library only, as `fer_runtime.spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec_values import check_choice, check_keys, number_between

Align = Literal["level", "eyes", "box"]
DEFAULTS: Mapping[str, tuple[float, float]] = {
    "level": (0.9, 0.0),
    "eyes": (2.9, 0.05),
    "box": (1.0, 0.0),
}
"""(scale, up) of each way to align; measured on FER2013, see `docs/faces.md`."""
SCALES = 0.1, 20.0
UPS = -1.0, 1.0
"""What is allowed for `scale` and for `up`, both ends included."""


@dataclass(frozen=True, kw_only=True)
class FaceCrop:
    """The square around a face that a model was trained on.

    `align` "level": a square around the centre of the detector's box, `scale` times as long as its
    longer side, turned so that the eyes are level. "box": the same, not turned. "eyes": turned so
    that the eyes are level; the centre is halfway between the middle of the eyes and the middle of
    the mouth, and the side is `scale` times the distance between these two. The square is then
    moved up (towards the forehead) by `up` times its side.

    Without `scale` and `up`, those of `DEFAULTS` for that `align`. It is immutable, so threads may
    share it.

    Example:
        >>> FaceCrop()
        FaceCrop(align='level', scale=0.9, up=0.0)
        >>> str(FaceCrop(align="box", scale=1.3))
        'box:1.3:0.0'

    Raises:
        ModelSpecError: another `align`; a `scale` outside 0.1 to 20, an `up` outside -1 to 1.
    """

    align: Align = "level"
    # None, which only __post_init__ sees, becomes the default that goes with `align`.
    scale: float = field(default=cast(float, None))
    up: float = field(default=cast(float, None))

    def __post_init__(self) -> None:
        check_choice("input.face_crop.align", self.align, Align)
        for key, default, limits in zip(
            ("scale", "up"), DEFAULTS[self.align], (SCALES, UPS), strict=True
        ):
            given = getattr(self, key)
            value = default if given is None else given
            found = number_between(f"input.face_crop.{key}", value, *limits)
            object.__setattr__(self, key, found)

    def __str__(self) -> str:
        """ALIGN:SCALE:UP, as options have it; the inverse of `parse`."""
        return f"{self.align}:{self.scale!r}:{self.up!r}"

    @classmethod
    def parse(cls, text: str) -> FaceCrop:
        """ "level", "box:1.3" or "eyes:2.9:0.05" -> the rule; what is omitted is the default.

        Raises:
            ModelSpecError: the text is not one, or has a value that is not allowed.
        """
        align, *values = text.strip().split(":")
        try:
            given = [float(value) for value in values]
        except ValueError:
            given = []
        if align not in DEFAULTS or len(values) > 2 or len(given) != len(values):
            raise ModelSpecError(
                f"{text!r} is not a face crop; pass ALIGN, ALIGN:SCALE or ALIGN:SCALE:UP with "
                f"one of {', '.join(DEFAULTS)} for ALIGN, as level:0.9 or box:1.3."
            )
        return cls(align=cast(Align, align), **dict(zip(("scale", "up"), given, strict=False)))

    @classmethod
    def from_margin(cls, margin: object) -> FaceCrop:
        """The rule for a spec's `crop_margin`, which schema 1 and 2 had and nothing ever read.

        It was the border around the detector's box, as a fraction of its size: 0.25 is a square of
        1.5 times the box. 0 was the default, and nobody's choice: it becomes the default rule.

        Raises:
            ModelSpecError: not a number from 0 to 2.
        """
        found = number_between("input.crop_margin", margin, 0, 2)
        return cls(align="box", scale=1 + 2 * found) if found else cls()

    @classmethod
    def from_dict(cls, values: object) -> FaceCrop:
        """Read it from the plain values of a spec; raises ModelSpecError."""
        if not isinstance(values, Mapping):
            raise ModelSpecError(
                f"input.face_crop is {values!r}; it must be an object, as "
                '{"align": "box", "scale": 1.3}.'
            )
        check_keys(cls, values, "input.face_crop.")
        given: dict[str, Any] = dict(values)
        return cls(**given)
