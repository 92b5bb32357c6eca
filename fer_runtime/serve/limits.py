"""What the server refuses, so that no client can use up its memory or its time."""

from __future__ import annotations

from typing import NamedTuple

from fer_runtime.images import MAX_PIXELS

MEBIBYTE = 1 << 20


class Limits(NamedTuple):
    """The limits of a server.

    Attributes:
        max_body: bytes of a request's body; more is a 413.
        max_pixels: pixels of an image; more is a 422.
        max_images: images in one request; more is a 413.
        max_latency: seconds within which what is accepted is answered. A request that comes when
            the images before it take longer than a third of it is refused at once, with a 503
            and Retry-After; the rest is for what differs from image to image.
        time_limit: seconds that a request may take, from its headers to its answer.
        max_held: bytes of all requests that are being read or answered; more is a 503.
    """

    max_body: int = 16 * MEBIBYTE
    max_pixels: int = MAX_PIXELS
    max_images: int = 256
    max_latency: float = 0.5
    time_limit: float = 10.0
    max_held: int = 256 * MEBIBYTE

    def checked(self) -> Limits:
        """Itself; raises ValueError for one that lets nothing through."""
        for name, value in self._asdict().items():
            if not value > 0:
                raise ValueError(f"{name}={value}; it must be above 0")
        return self
