"""What is refused before it costs memory or time."""

from __future__ import annotations

from fer_runtime.errors import ImageError

MAX_PIXELS = 50_000_000
"""Images with more pixels than this are refused before they are decoded."""
MAX_SCANNED_PIXELS = 100 * MAX_PIXELS
"""A progressive JPEG with more pixels times scans is refused: a small file can say thousands."""
MAX_FILE_BYTES = 512 * 1024 * 1024
"""Files larger than this are refused before they are read."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for an image of too many pixels, or of none."""
    if width * height > max_pixels:
        raise ImageError(
            f"image of {width} x {height} pixels is over the limit of {max_pixels:,} pixels"
        )
    if width < 1 or height < 1:
        raise ImageError(f"image of {width} x {height} pixels")
