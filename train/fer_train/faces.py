"""Draws parametric expressive faces from FACS action units.

A face is a height field (skull, brow ridge, nose, cheeks, chin) lit by one lamp, with features
painted in face coordinates: (0, 0) between eyes and nose, u to the right and v down, the chin of
an average head at v = 0.95. An expression moves and creases the features by FACS action units
(AUs). The classes overlap at low intensity, as real ones do. The faces are drawn, not learnt:
accuracy on them says that a pipeline works and nothing about photographs of people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from fer_runtime.errors import DataError

Plane = npt.NDArray[np.floating[Any]]  # float32 throughout; mypy widens float32 * float


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


def _between(low: float, high: float) -> Any:
    return field(metadata={"range": (low, high)})


@dataclass(frozen=True)
class _Person:
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
    def draw(cls, rng: np.random.Generator) -> _Person:
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


@dataclass(frozen=True)
class _Canvas:
    """(n, n) float32 planes: the picture, and where each of its pixels lies on the face."""

    image: Plane  # 0 black to 1 white; painted in place
    x: Plane  # head coordinates: roll, position and scale undone
    y: Plane
    u: Plane  # face coordinates: yaw, pitch and asymmetry undone too
    v: Plane
    pixel: float  # width of a pixel in face units

    def edge(self, distance: Plane, softness: float = 0.0) -> Plane:
        """Coverage 0 to 1 of a region, from the distance into it: antialiased, or softer."""
        coverage: Plane = np.clip(distance * (1 / max(softness, self.pixel)) + 0.5, 0.0, 1.0)
        return coverage

    def paint(self, coverage: Plane, tone: Plane | float) -> None:
        self.image[...] += coverage * (tone - self.image)


def _ridge(distance: Plane, width: float) -> Plane:
    scaled = distance * (1 / width)
    return np.exp(-scaled * scaled)


def _bump(x: Plane, y: Plane, width: float, height: float) -> Plane:
    x, y = x * (1 / width), y * (1 / height)
    return np.exp(-x * x - y * y)


def _canvas(rng: np.random.Generator, n: int) -> _Canvas:
    centres = (np.arange(n, dtype=np.float32) + 0.5) * (2.0 / n) - 1.0
    scale, roll = rng.uniform(0.82, 0.98), rng.normal(0.0, 0.09)
    col = centres[None, :] - rng.normal(0.0, 0.035)
    row = centres[:, None] - rng.normal(0.0, 0.035)
    c, s = scale * float(np.cos(roll)), scale * float(np.sin(roll))
    x, y = c * col + s * row, c * row - s * col + 0.03
    # A cylinder of radius 0.95 under the features gives yaw its foreshortening.
    u = 0.95 * (np.arcsin(np.clip(x * (1 / 0.95), -1, 1)) - rng.normal(0.0, 0.15))
    v = y + rng.normal(0.0, 0.03) + rng.normal(0.0, 0.025) * u
    u = u + rng.normal(0.0, 0.025) * v
    image = np.full((n, n), rng.uniform(0.05, 0.95), np.float32)
    for _ in range(2):
        blob = _bump(col - rng.uniform(-1, 1), row - rng.uniform(-1, 1), rng.uniform(0.3, 1), 0.8)
        image += blob * rng.normal(0.0, 0.2)
    return _Canvas(image, x, y, u, v, 2.0 * scale / n)


def _paint_head(
    canvas: _Canvas, person: _Person, au: ActionUnits, rng: np.random.Generator
) -> Plane:
    """Paints hair behind, neck, shirt, ears and lit skin; returns 0 at the centre, 1 on the rim."""
    x, y, across = canvas.x, canvas.y, np.abs(canvas.x)
    low = np.clip(y, 0.0, 1.2)
    width = person.half_width * (1 - person.jaw * low * low)
    rim = np.sqrt((x / width) ** 2 + (y * np.where(low > 0, 1 / (0.95 + 0.09 * au.au26), 1.0)) ** 2)
    rim = rim.astype(np.float32)
    if person.long_hair:
        wave = 0.03 * np.sin(7 * y + 20 * person.parting)
        fall = person.half_width * (person.volume - 0.02) + 0.12 * (y + 0.2) + wave - across
        canvas.paint(canvas.edge(np.minimum(fall, y + 0.2), 0.08), person.hair * 0.75)
    canvas.paint(canvas.edge(np.minimum(0.4 - across, y), 0.05), person.skin * 0.6)
    canvas.paint(canvas.edge(y - 1.02 - 0.25 * (across - 0.4), 0.04), rng.uniform(0.05, 0.95))
    if not person.long_hair:
        ears = _bump(across - (person.half_width + 0.01), y + 0.02, 0.075, 0.2)
        canvas.paint(canvas.edge(ears - 0.4, 0.15), person.skin * 0.75)
    light = _light(canvas, person, au, rim, rng)
    canvas.paint(canvas.edge((1 - rim) * person.half_width, 0.03), person.skin * light)
    return rim


def _light(
    canvas: _Canvas, person: _Person, au: ActionUnits, rim: Plane, rng: np.random.Generator
) -> Plane:
    """Lambert shading of the height field, around 1 where the skin faces the viewer."""
    u, v, a = canvas.u, canvas.v, np.abs(canvas.u)
    nose_y = person.nose_length - 0.03 * au.au9
    cheek, cheek_y = 0.05 + 0.05 * au.au6 + 0.04 * au.au12, 0.24 - 0.07 * au.au6 - 0.03 * au.au12
    height = 0.6 * np.sqrt(np.maximum(1 - 0.9 * rim * rim, 0.05))
    height += 0.11 * _bump(u, v - (nose_y - 0.03), person.nose_width * 0.9, 0.09)
    height += 0.07 * _bump(u, v - (nose_y - 0.22), person.nose_width * 0.55, 0.22)
    height += cheek * _bump(a - 0.36, v - cheek_y, 0.17, 0.14)
    height -= 0.06 * _bump(a - (person.eye_x - 0.02), v + 0.10, 0.18, 0.11)
    height += 0.03 * _bump(a - 0.3, v + 0.3, 0.3, 0.08)
    height += (0.06 + 0.05 * au.au17) * _bump(u, v - (0.8 + 0.08 * au.au26), 0.16, 0.11)
    height += 0.05 * _bump(u, v - person.mouth_y, 0.26, 0.16)
    down, right = np.gradient(height, canvas.pixel)
    azimuth, lift = rng.normal(0.0, 0.45), rng.uniform(-0.05, 0.6)
    lambert = (1 - azimuth * right + lift * down) / np.sqrt(1 + right * right + down * down)
    lambert *= (azimuth**2 + lift**2 + 1) ** -0.5
    ambient = rng.uniform(0.32, 0.6)
    light: Plane = ambient + (1.1 - ambient) * np.maximum(lambert, 0)
    return light


def _paint_creases(canvas: _Canvas, person: _Person, au: ActionUnits) -> None:
    """Darkens the skin along forehead, glabella, nose root, cheek fold, lower lid and chin."""
    u, v, a = canvas.u, canvas.v, np.abs(canvas.u)
    age = person.age**2
    raised = 0.12 * age + 0.45 * max(0.0, 0.5 * (au.au1 + au.au2) - 0.2)
    waves = np.maximum(np.sin((v + 0.04 * np.cos(5 * u)) * 58), 0)
    shade = raised * _bump(u, v + 0.5, 0.36, 0.1) * waves
    shade += 0.5 * au.au4 * _bump(a - 0.045, v + 0.25, 0.02, 0.08)
    waves = np.maximum(np.sin((v + 0.5 * a) * 62), 0)
    shade += 0.65 * au.au9 * _bump(u, v + 0.09, 0.12, 0.1) * waves
    t = np.clip((v - 0.17) * 3, -0.2, 1.1)
    fold = 0.15 + (0.18 + 0.07 * au.au12) * t * (1.3 - 0.3 * t)
    depth = 0.03 + 0.15 * age + 0.4 * max(au.au12, au.au10, 0.8 * au.au9)
    shade += depth * _bump(a - fold, v - 0.34, 0.03, 0.15)
    bag = max(0.15 * age, 0.45 * au.au6, 0.25 * au.au7)
    arc = v - 0.035 + 2.2 * (a - person.eye_x) ** 2
    shade += bag * _bump(a - person.eye_x, arc, 0.15, 0.022)
    shade += (0.22 * au.au15 + 0.06 * age) * _bump(a - 0.31, v - (person.mouth_y + 0.1), 0.05, 0.08)
    shade += 0.35 * au.au17 * _bump(u, v - (person.mouth_y + 0.17), 0.15, 0.03)
    canvas.image[...] *= 1 - np.minimum(shade, 0.75)


def _paint_eyes(
    canvas: _Canvas, person: _Person, au: ActionUnits, rng: np.random.Generator
) -> None:
    side = np.sign(canvas.u)
    across = np.abs(canvas.u) - person.eye_x
    y = canvas.v + 0.11 + person.eye_tilt * across
    bow = 1 - (across * (1 / person.eye_width)) ** 2
    tight = 0.4 * au.au7 + 0.35 * au.au6
    droop = 0.25 * max(0.0, au.au15 - au.au24)
    upper = max(0.015, 0.066 * person.eye_opening * (1 + 0.75 * au.au5 - tight - droop))
    lower = max(0.006, 0.048 * person.eye_opening * (1 + 0.2 * au.au5 - 1.2 * tight))
    top, bottom = y + upper * bow, lower * bow - y
    white = canvas.edge(np.minimum(top, bottom), 0.012)
    canvas.paint(white, 0.45 + 0.42 * person.skin)
    look = across - side * rng.normal(0.0, 0.02)
    distance = np.sqrt(look**2 + (y + (0.008 + rng.normal(0.0, 0.008))) ** 2)
    canvas.paint(white * canvas.edge(0.066 - distance, 0.012), person.iris)
    canvas.paint(white * canvas.edge(0.032 - distance, 0.012), 0.02)
    canvas.paint(white * _bump(look - 0.02 * side, y + 0.028, 0.015, 0.015), 0.95)
    inside = canvas.edge(bow, 0.25)
    canvas.paint(0.85 * inside * _ridge(top, 0.02), 0.1 * person.skin)
    canvas.paint(0.35 * inside * _ridge(bottom, 0.016), 0.3 * person.skin)
    canvas.paint(0.3 * inside * _ridge(top + (0.045 - 0.01 * au.au5), 0.014), 0.35 * person.skin)


def _paint_brows(canvas: _Canvas, person: _Person, au: ActionUnits) -> None:
    s = (np.abs(canvas.u) - (0.13 - 0.04 * au.au4)) * (1 / 0.37)  # 0 inner end, 1 outer end
    lowered = au.au4 * (1 - 0.6 * min(au.au1, 1.0))  # the raiser wins over the middle of the brow
    inner = 0.13 * au.au1 - 0.13 * lowered
    outer = 0.12 * au.au2 - 0.02 * lowered
    arch = person.brow_arch + 0.03 * au.au2 - 0.02 * lowered
    rest = person.brow_y + 0.02 + 0.03 * au.au9 + 0.01 * au.au6
    line = rest - inner * (1 - s) - outer * s - 4 * arch * s * (1 - s)
    half = person.brow_width * (1.1 - 0.6 * s)
    ends = canvas.edge(np.minimum(s, 1 - s), 0.12)
    strength = 0.9 if person.hair < person.skin else 0.55
    cover = strength * ends * canvas.edge(half - np.abs(canvas.v - line), 0.025)
    canvas.paint(cover, 0.02 + 0.7 * min(person.hair, 0.45 * person.skin))


def _paint_nose(canvas: _Canvas, person: _Person, au: ActionUnits) -> None:
    u, v, a = canvas.u, canvas.v, np.abs(canvas.u)
    y = person.nose_length - 0.035 * au.au9 - 0.01 * au.au10
    flare = person.nose_width * (1 + 0.2 * au.au9)
    canvas.paint(0.8 * _bump(a - 0.5 * flare, v - (y + 0.03), 0.03, 0.018), 0.12 * person.skin)
    canvas.paint(0.35 * _bump(a - 1.05 * flare, v - y, 0.022, 0.05), 0.35 * person.skin)
    canvas.paint(0.25 * _bump(u, v - (y + 0.05), 0.8 * flare, 0.02), 0.4 * person.skin)
    canvas.paint(0.2 * _bump(u, v - (y - 0.05), 0.035, 0.05), 1.0)


def _paint_mouth(canvas: _Canvas, person: _Person, au: ActionUnits) -> None:
    width = person.mouth_width + 0.08 * au.au12 + 0.09 * au.au20
    width -= 0.06 * au.au26 + 0.02 * au.au17 + 0.02 * au.au24
    s = canvas.u * (1 / width)
    bow = np.maximum(1 - s * s, 0)  # 1 in the middle, 0 at the corners and beyond
    span = canvas.edge((1 - np.abs(s)) * width, 0.04)
    lift = 0.14 * au.au12 - 0.10 * au.au15 - 0.03 * au.au20
    middle = person.mouth_y + 0.35 * lift - 0.02 * au.au17 + 0.03 * au.au26
    line = middle - lift * np.minimum(s * s, 1.5)
    # A dropped jaw opens an oval, parted lips a lens.
    opening = bow ** (1 - 0.4 * min(au.au26, 1.0))
    raised = 0.04 * au.au10 + 0.015 * au.au9
    bared = 0.7 * raised if au.au25 > 0.12 else 0.0
    gap_up = 0.028 * au.au25 + 0.05 * au.au26 + bared
    gap_down = 0.045 * au.au25 + 0.14 * au.au26
    pressed = max(0.2, 1 - 0.65 * au.au24 - 0.25 * au.au12)
    lip_up, lip_down = person.lip * pressed, 1.3 * person.lip * pressed * (1 + 0.3 * au.au17)
    top = canvas.v - line + gap_up * opening + 0.5 * raised * bow
    bottom = line + gap_down * opening - canvas.v
    cupid = lip_up * bow * (1 - 0.3 * _ridge(s, 0.2))
    lips = span * canvas.edge(np.minimum(top + cupid, bottom + lip_down * bow), 0.02)
    canvas.paint(0.8 * lips, person.skin * (person.lip_tone + 0.2 * canvas.edge(-bottom, 0.08)))
    inside = span * canvas.edge(np.minimum(top, bottom) - 0.004, 0.012)
    canvas.paint(inside, 0.06)
    showing = 0.25 + au.au12 + au.au20 + 20 * raised - 0.7 * au.au26
    teeth = inside * canvas.edge(0.065 - top, 0.02) * min(max(showing, 0.0), 1.0)
    canvas.paint(teeth, (0.5 + 0.45 * person.skin) * (0.6 + 0.4 * bow))
    seam = _ridge(canvas.v - line, 0.018) * span * (1 - inside)
    canvas.paint(0.75 * seam, 0.12 * person.skin)
    canvas.paint(0.4 * _bump(np.abs(s) - 1, canvas.v - line, 0.14, 0.03), 0.25 * person.skin)
    below = canvas.v - line - (gap_down + lip_down + 0.03)
    canvas.paint(0.3 * _bump(s, below, 0.6, 0.025), 0.5 * person.skin)


def _paint_beard(canvas: _Canvas, person: _Person, rim: Plane) -> None:
    u, v = canvas.u, canvas.v
    cover = person.beard * canvas.edge(v + 0.5 * u * u - 0.58, 0.35)
    lip = 0.7 * person.beard * _bump(u, v - (person.mouth_y - 0.09), 0.22, 0.05)  # moustache
    canvas.paint(np.maximum(cover, lip) * canvas.edge(1 - rim, 0.12), 0.05 + 0.8 * person.hair)


def _paint_hair(canvas: _Canvas, person: _Person, rim: Plane) -> None:
    x, y, u, v = canvas.x, canvas.y, canvas.u, canvas.v
    across = np.abs(x) * (1 / person.half_width)
    line = person.hairline + person.temples * np.abs(u - person.parting) ** 2.5
    # Brows stay visible: they tell most of the expressions.
    line = np.minimum(line, -0.4 + 1.3 * np.maximum(across - 0.72, 0))
    frame = np.maximum(line - v, (rim - 0.97) * 0.7)
    crown = person.volume - np.sqrt(across * across + (0.98 * y) ** 2)
    if person.long_hair:
        curtain = across - 0.9 - 0.04 * np.sin(6 * y + 20 * person.parting)
        cover = np.where(y > 0, np.minimum(curtain, 1.1 - across), crown) * 0.7
        cover = np.minimum(np.maximum(frame, curtain), cover)
    else:
        cover = np.minimum(np.minimum(frame, crown), -0.04 - y)
    strands = (u - person.parting) / (v + 1.9)
    gloss = 1 + 0.10 * np.sin(75 * strands) + 0.12 * np.sin(23 * strands + 4 * v)
    gloss += 0.5 * _bump(x + 0.2, y + 0.8, 0.35, 0.12)
    canvas.paint(canvas.edge(cover, 0.06), person.hair * gloss)


def _paint_glasses(canvas: _Canvas, person: _Person) -> None:
    a, y = np.abs(canvas.u), canvas.v + 0.09
    ring = np.abs(np.sqrt((a - person.eye_x) ** 2 + 1.3 * y * y) - 0.2)
    bridge = np.maximum(a - 0.12, np.abs(y + 0.03))
    temple = np.maximum(person.eye_x + 0.2 - a, np.abs(y + 0.03))
    rim = canvas.edge(0.014 - np.minimum(np.minimum(ring, bridge), temple), 0.012)
    canvas.paint(person.glasses * rim * (np.abs(canvas.x) < person.half_width), 0.08)


def _paint_occlusion(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A hand or the edge of an object, from the side or below and never over both brows."""
    angle = rng.uniform(0.1, 0.9) * np.pi
    along = canvas.x * float(np.cos(angle)) + canvas.y * float(np.sin(angle))
    aside = canvas.y * float(np.cos(angle)) - canvas.x * float(np.sin(angle))
    depth = along - rng.uniform(0.5, 0.75) - rng.normal(0.0, 0.3) * aside * aside
    canvas.paint(canvas.edge(depth, 0.03), rng.uniform(0.05, 0.8) * (1 + 0.3 * depth))


def _expose(image: Plane, size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Lamp fall-off, gamma, contrast, blur and noise: (n, n) 0 to 1 -> (size, size) uint8."""
    ramp = np.linspace(-1, 1, image.shape[0], dtype=np.float32)
    lit = image * (
        1 + rng.normal(0.0, 0.12) * ramp[None, :] + rng.normal(0.0, 0.12) * ramp[:, None]
    )
    lit *= (0.48 / float(lit.mean())) ** 0.5  # half of what a camera's exposure would do
    step = image.shape[0] // size
    lit = np.clip(lit, 0.0, 1.0).reshape(size, step, size, step).mean(axis=(1, 3))
    lit = lit ** float(np.exp(rng.normal(0.0, 0.2)))
    lit = 0.5 + (lit - 0.5) * rng.uniform(0.65, 1.1) + rng.normal(0.0, 0.05)
    radius = rng.uniform(-0.5, 0.7) * size / 48
    if radius > 0:
        picture = Image.fromarray((np.clip(lit, 0, 1) * 255).astype(np.uint8))
        lit = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
    lit = lit + rng.standard_normal(lit.shape, np.float32) * rng.uniform(0.0, 0.022)
    pixels: npt.NDArray[np.uint8] = np.clip(lit * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels


def render_face(label: str, rng: np.random.Generator, *, size: int = 48) -> npt.NDArray[np.uint8]:
    """Draws one face: (size, size) uint8, 0 black to 255 white.

    Every draw is another person in another light, and the expression is stronger or weaker.

    Args:
        label: one of `LABELS`.
        rng: where all chance comes from; equally seeded generators give equal pixels.
        size: height and width in pixels, at least 16.

    Raises:
        DataError: an unknown label, or a size under 16.
    """
    if label not in EXPRESSIONS:
        raise DataError(f"unknown label {label!r}; allowed are {', '.join(LABELS)}")
    if size < 16:
        raise DataError(f"size is {size}; a face needs at least 16 pixels")
    person = _Person.draw(rng)
    au = EXPRESSIONS[label].at_intensity(rng.uniform(0.25, 1.05), rng)
    canvas = _canvas(rng, size * 2 if size < 128 else size)
    rim = _paint_head(canvas, person, au, rng)
    _paint_creases(canvas, person, au)
    _paint_eyes(canvas, person, au, rng)
    _paint_nose(canvas, person, au)
    if person.beard > 0 and not person.long_hair:
        _paint_beard(canvas, person, rim)
    _paint_mouth(canvas, person, au)
    if not person.bald:
        _paint_hair(canvas, person, rim)
    _paint_brows(canvas, person, au)
    if person.glasses > 0:
        _paint_glasses(canvas, person)
    if rng.random() < 0.05:
        _paint_occlusion(canvas, rng)
    return _expose(canvas.image, size, rng)
