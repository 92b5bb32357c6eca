"""EXIF orientation: read from a JPEG, and undone on its pixels."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from fer_runtime.images import jpeg
from fer_runtime.images.warning_filter import quiet_pillow

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

_ORIENTATION_TAG = 0x0112
_APP1 = 0xE1
_EXIF = b"Exif\0\0"
_SEARCH_BYTES = 256 * 1024
# EXIF orientation -> how the stored (H, W) pixels become upright (EXIF 2.32, table 4.6.4-A).
_FLIPPED = {2, 4, 5, 7}
_QUARTER_TURNS = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}


def orientation(data: bytes) -> int:
    """EXIF orientation 1-8 of a JPEG; 1 where there is none or it cannot be read."""
    segment = _exif_segment(data)
    if not segment:
        return 1
    from PIL import Image

    exif = Image.Exif()
    try:
        with quiet_pillow:
            exif.load(segment)
            orientation = exif.get(_ORIENTATION_TAG, 1)
    except (OSError, ValueError, SyntaxError, struct.error, KeyError, TypeError):
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _exif_segment(data: bytes) -> bytes:
    """The payload of a JPEG's EXIF segment, b"" without one."""
    if data.find(_EXIF, 0, _SEARCH_BYTES) < 0:
        return b""
    for marker, start, end in jpeg.segments(data):
        if marker == _APP1 and data[start : start + len(_EXIF)] == _EXIF:
            return data[start:end]
    return b""


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation on (H, W, C) pixels."""
    if orientation == 1:  # nearly all, and rot90 takes 3 us
        return pixels
    if orientation in _FLIPPED:
        pixels = pixels[:, ::-1]
    return np.rot90(pixels, _QUARTER_TURNS.get(orientation, 0))


def upright_box(box: Box, shape: tuple[int, ...], orientation: int) -> Box:
    """Where (left, top, right, bottom) of stored (H, W, C) pixels lies once they are upright."""
    left, top, right, bottom = box
    height, width = shape[:2]
    if orientation in _FLIPPED:
        left, right = width - right, width - left
    for _ in range(_QUARTER_TURNS.get(orientation, 0)):
        left, top, right, bottom = top, width - right, bottom, width - left
        height, width = width, height
    return left, top, right, bottom
