"""Pillow images as pixels, and what Pillow raises as an ImageError.

Pillow is imported by the functions that need it: it costs a fifth of a cold start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from fer_runtime.errors import ImageError
from fer_runtime.images.fitting import Pixels, fromarray
from fer_runtime.images.limits import MAX_PIXELS
from fer_runtime.images.warning_filter import quiet_pillow

if TYPE_CHECKING:
    from PIL import Image


def to_channels(image: Image.Image, channels: int) -> Pixels:
    """A Pillow image of any mode -> (H, W, C) uint8; 16-bit grey is scaled, not clipped."""
    if image.mode == "I":
        raise ImageError("32-bit integer pixels have no agreed range; save it as 8 or 16 bit")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ImageError("floating-point pixels have no agreed range; save it as 8 or 16 bit")
    elif image.mode in ("P", "PA") and channels == 1:
        image = image.convert("RGB")
    mode = "L" if channels == 1 else "RGB"
    converted = np.asarray(image if image.mode == mode else image.convert(mode))
    return converted if converted.ndim == 3 else converted[:, :, None]


def upright_pixels(image: Image.Image) -> Pixels:
    """A Pillow image, upright, as (H, W, C) uint8: grey, RGB or RGBA, whatever its mode."""
    from PIL import ImageOps

    with errors(MAX_PIXELS):
        upright = ImageOps.exif_transpose(image)
        grey = upright.mode in ("1", "L", "LA", "La", "F") or upright.mode.startswith("I")
        return to_channels(upright, 1 if grey else 3)


@contextmanager
def errors(max_pixels: int) -> Iterator[None]:
    """Pillow's warnings silenced, and what it raises as an ImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with quiet_pillow:
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError:
        own = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # beyond it Pillow refuses before it tells the size
        raise ImageError(f"image is over the limit of {min(max_pixels, own):,} pixels") from None
    except UnidentifiedImageError:
        raise ImageError(
            "not an image of a known format (JPEG, PNG, WebP, BMP, TIFF, GIF)"
        ) from None
    except Exception as error:
        # Pillow's parsers raise OSError, ValueError, SyntaxError, struct.error, EOFError,
        # IndexError, MemoryError … on broken files; all of them mean the same to a caller.
        raise ImageError(f"broken image: {error or type(error).__name__}") from None
