"""A face of a picture -> the crop that a model was trained on, as its spec's `face_crop` says."""

from __future__ import annotations

import math

from fer_runtime.errors import ImageError
from fer_runtime.face_crop import DEFAULTS, FaceCrop
from fer_runtime.faces.face import Face
from fer_runtime.images import cutting
from fer_runtime.images.cutting import Square
from fer_runtime.images.fitting import Pixels
from fer_runtime.spec import InputSpec

Point = tuple[float, float]

SHORTEST = 0.1
"""Eyes and mouth, or both eyes, that are nearer to each other than this part of the box's longer
side have no direction that could be measured."""


def crop(pixels: Pixels, face: Face, spec: InputSpec, *, scale: float = 1.0) -> Pixels:
    """(H, W, 3) uint8 RGB -> the face as (channels, height, width) uint8, as the spec describes.

    A crop may reach beyond the picture; its edge is repeated there. The array may be read-only.

    Args:
        pixels: the picture, upright; perhaps decoded at a reduced scale.
        face: where the face is, in pixels of the picture.
        spec: what the model takes; `spec.face_crop` is the rule.
        scale: pixels of the array for one pixel of the picture.

    Raises:
        ImageError: a face whose box is empty or not finite.
    """
    found = square(face, spec.face_crop)
    # The middle of a pixel is a whole number for a Face, and half a pixel from the edge here.
    return cutting.cut(
        pixels,
        Square((found.x + 0.5) * scale, (found.y + 0.5) * scale, found.side * scale, found.angle),
        spec,
    )


def side(face: Face, rule: FaceCrop) -> float:
    """The side of a face's crop in pixels of the picture; raises ImageError like `crop`.

    >>> from fer_runtime.faces import Face
    >>> eyes, nose, mouth = ((30, 40), (50, 40)), ((40, 50),), ((32, 60), (48, 60))
    >>> face = Face((20, 20, 60, 70), (*eyes, *nose, *mouth), 0.9)
    >>> side(face, FaceCrop(align="eyes", scale=2.9)), side(face, FaceCrop(align="box", scale=1.2))
    (58.0, 60.0)
    """
    return square(face, rule).side


def square(face: Face, rule: FaceCrop) -> Square:
    """The square of the picture that a rule takes around a face, in the face's coordinates.

    Landmarks that no face has (all in one place, not finite) are not used: the square is then the
    one of the box, not turned.

    Raises:
        ImageError: a box that is empty or not finite, where the box is used.
    """
    found = _between_eyes_and_mouth(face, rule) if rule.align == "eyes" else None
    if found is not None:
        return found
    if rule.align == "eyes":
        scale, up = DEFAULTS["box"]
        rule = FaceCrop(align="box", scale=scale * rule.scale / DEFAULTS["eyes"][0], up=up)
    return _around_box(face, rule, _angle(face) if rule.align == "level" else 0.0)


def _angle(face: Face) -> float:
    """Radians by which the line through the eyes is turned; 0 if the landmarks give none."""
    right_eye, left_eye = face.landmarks[:2]
    if not _are_apart(face, right_eye, left_eye):
        return 0.0
    return math.atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])


def _are_apart(face: Face, one: Point, other: Point) -> bool:
    """Whether two landmarks are at some distance, which is finite."""
    least = SHORTEST * max(face.box[2] - face.box[0], face.box[3] - face.box[1])
    # Written so that a NaN is refused too.
    return least < math.dist(one, other) < math.inf


def _between_eyes_and_mouth(face: Face, rule: FaceCrop) -> Square | None:
    """The square by the landmarks; None if they give none."""
    right_eye, left_eye, _, right_corner, left_corner = face.landmarks
    eyes = _middle(right_eye, left_eye)
    mouth = _middle(right_corner, left_corner)
    if not (_are_apart(face, eyes, mouth) and _are_apart(face, right_eye, left_eye)):
        return None
    length = math.dist(eyes, mouth) * rule.scale
    return _moved_up(Square(*_middle(eyes, mouth), length, _angle(face)), rule.up)


def _around_box(face: Face, rule: FaceCrop, angle: float) -> Square:
    left, top, right, bottom = face.box
    length = max(right - left, bottom - top)
    if not (0 < length < math.inf):
        raise ImageError(f"a face with the box {left}, {top}, {right}, {bottom} is empty")
    length *= rule.scale
    return _moved_up(Square((left + right) / 2, (top + bottom) / 2, length, angle), rule.up)


def _moved_up(square: Square, up: float) -> Square:
    """The square moved towards its top by a fraction of its side."""
    shift = up * square.side
    return square._replace(
        x=square.x + math.sin(square.angle) * shift, y=square.y - math.cos(square.angle) * shift
    )


def _middle(first: Point, second: Point) -> Point:
    return (first[0] + second[0]) / 2, (first[1] + second[1]) / 2
