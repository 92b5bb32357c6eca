"""FACS action units, and which of them make up each expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True)
class ActionUnits:
    """How far each FACS action unit is contracted: 0 at rest, 1 at its usual extreme."""

    au1: float = 0.0  # inner brow raiser
    au2: float = 0.0  # outer brow raiser
    au4: float = 0.0  # brow lowerer
    au5: float = 0.0  # upper lid raiser
    au6: float = 0.0  # cheek raiser
    au7: float = 0.0  # lid tightener
    au9: float = 0.0  # nose wrinkler
    au10: float = 0.0  # upper lip raiser
    au12: float = 0.0  # lip corner puller
    au15: float = 0.0  # lip corner depressor
    au17: float = 0.0  # chin raiser
    au20: float = 0.0  # lip stretcher
    au24: float = 0.0  # lip pressor
    au25: float = 0.0  # lips part
    au26: float = 0.0  # jaw drop

    def at_intensity(self, intensity: float, rng: np.random.Generator) -> ActionUnits:
        """Interpolates from neutral (0) to this expression (1); people move each AU differently."""
        full = np.array([getattr(self, f.name) for f in fields(self)])
        strength = rng.uniform(0.5, 1.2, full.size) * np.where(rng.random(full.size) < 0.1, 0.3, 1)
        resting = np.abs(rng.normal(0.0, 0.08, full.size))
        moved = np.minimum(intensity * strength * full + resting, 1.2)
        return ActionUnits(*(float(a) for a in moved))


# Which AUs belong to which expression: S. Du, Y. Tao, A. M. Martinez, "Compound facial
# expressions of emotion", PNAS 111(15), 2014, table 1, https://doi.org/10.1073/pnas.1322355111
# The strengths are ours: near 1 for AUs that most people show, lower for occasional ones.
EXPRESSIONS: Mapping[str, ActionUnits] = MappingProxyType(
    {
        "angry": ActionUnits(au4=1.0, au5=0.3, au7=0.7, au10=0.2, au17=0.4, au24=0.9),
        "disgust": ActionUnits(au4=0.4, au6=0.3, au7=0.5, au9=1.0, au10=1.0, au17=0.5, au25=0.2),
        "fear": ActionUnits(au1=1.0, au2=0.4, au4=0.5, au5=0.9, au20=1.0, au25=0.6, au26=0.25),
        "happy": ActionUnits(au6=0.8, au12=1.0, au25=0.6),
        "neutral": ActionUnits(),
        "sad": ActionUnits(au1=0.9, au4=0.5, au7=0.2, au15=1.0, au17=0.6),
        "surprise": ActionUnits(au1=1.0, au2=1.0, au5=0.8, au25=0.8, au26=1.0),
    }
)
LABELS: tuple[str, ...] = tuple(sorted(EXPRESSIONS))
