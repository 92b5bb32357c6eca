"""What distinguishes one drawn person from another."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np


def _between(low: float, high: float) -> Any:
    return field(metadata={"range": (low, high)})


@dataclass(frozen=True)
class Person:
    """What stays the same when the expression changes; lengths in face units, tones 0 to 1."""

    skin: float = _between(0.34, 0.86)
    hair_tone: float = _between(0.0, 1.0)
    hair_style: float = _between(0.0, 1.0)
    half_width: float = _between(0.66, 0.77)
    jaw: float = _between(0.12, 0.34)
    hairline: float = _between(-0.76, -0.56)
    parting: float = _between(-0.22, 0.22)
    temples: float = _between(0.3, 1.2)
    volume: float = _between(1.05, 1.16)
    beard: float = _between(-0.9, 0.8)
    eye_x: float = _between(0.285, 0.335)
    eye_width: float = _between(0.145, 0.18)
    eye_opening: float = _between(0.9, 1.2)
    eye_tilt: float = _between(-0.12, 0.06)
    iris: float = _between(0.06, 0.32)
    brow_y: float = _between(-0.33, -0.28)
    brow_arch: float = _between(0.01, 0.05)
    brow_width: float = _between(0.022, 0.048)
    nose_width: float = _between(0.10, 0.15)
    nose_length: float = _between(0.20, 0.27)
    mouth_y: float = _between(0.49, 0.55)
    mouth_width: float = _between(0.23, 0.29)
    lip: float = _between(0.032, 0.065)
    lip_tone: float = _between(0.6, 0.85)
    age: float = _between(0.0, 1.0)
    glasses: float = _between(-8.0, 1.0)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Person:
        return cls(**{f.name: rng.uniform(*f.metadata["range"]) for f in fields(cls)})

    @property
    def bald(self) -> bool:
        return self.hair_style < 0.08

    @property
    def long_hair(self) -> bool:
        return self.hair_style > 0.55

    @property
    def hair(self) -> float:
        """Tone of the hair: mostly darker than the skin, sometimes grey or blond."""
        return self.skin * (0.06 + 0.5 * self.hair_tone) if self.hair_tone < 0.86 else 0.65
