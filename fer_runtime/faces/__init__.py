"""Faces of a picture: where they are. The names load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer_runtime._lazy import lazy_attributes
from fer_runtime.faces.face import Face

if TYPE_CHECKING:
    from fer_runtime.faces.detector import FaceDetector

__all__ = ["Face", "FaceDetector"]

__getattr__ = lazy_attributes(__name__, {"FaceDetector": "fer_runtime.faces.detector"})
