"""How faces are looked for in a picture."""

from __future__ import annotations

from typing import NamedTuple

DETECT_SIZE = 1440
"""At 960 a twelfth of the faces of 120 pixels and more in 12-megapixel photographs is not found
(`fer-bench face-photos`)."""
MIN_FACE = 20
MIN_SCORE = 0.6


class FaceOptions(NamedTuple):
    """The options of a run that finds faces.

    Attributes:
        detect_size: faces are looked for in the picture with a longer side of about so many pixels;
            larger finds smaller faces and takes longer.
        min_face: pixels of the picture that the shorter side of a face's box must have.
        min_score: how sure the detector must be, 0 to 1.
    """

    detect_size: int = DETECT_SIZE
    min_face: int = MIN_FACE
    min_score: float = MIN_SCORE

    def checked(self) -> FaceOptions:
        """Itself; raises ValueError for a value out of range."""
        if self.detect_size < 32:
            raise ValueError(f"detect_size={self.detect_size}; it must be at least 32")
        if self.min_face < 0:
            raise ValueError(f"min_face={self.min_face}; it must be at least 0")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score={self.min_score}; it must be from 0 to 1")
        return self
