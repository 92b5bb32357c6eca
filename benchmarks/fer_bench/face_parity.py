"""The detector against OpenCV's with the same model: `fer-bench face-parity FOLDER`.

On pictures made with a seed, of the astronaut of tests/data and of the faces of a FER2013 folder:
the same set of faces at the same threshold, and how far boxes, landmarks and scores differ. Where a
set differs, or a box by more than 0.01 pixel, the exit status is not 0. Needs
opencv-python-headless 5 (extra `dev`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from PIL import Image

from fer_bench.face_pictures import astronaut, fer2013_heads, pictures
from fer_runtime.errors import ParityError
from fer_runtime.faces import Face, FaceDetector
from fer_runtime.faces.decoding import MOST, OVERLAP
from fer_runtime.images import Pixels

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BOX, LANDMARKS = 0.01, 0.05
"""Allowed differences in pixels."""


class Comparison(NamedTuple):
    """What differs between both detectors over some pictures."""

    pictures: int
    faces: int
    other_sets: int
    """Pictures in which one of them found a face that the other did not."""
    other_order: int
    """Pictures with the same faces in another order, because two scores are nearly equal."""
    box: float
    landmarks: float
    score: float
    """The largest differences of faces that both found; pixels, pixels, and the score's."""

    def agree(self) -> bool:
        """Whether something was compared, and all of it is within the allowed differences."""
        close = self.box <= BOX and self.landmarks <= LANDMARKS
        return self.faces > 0 and self.other_sets == 0 and close


class OpenCV:
    """`cv2.FaceDetectorYN` with the same model, threshold, suppression and limit as ours."""

    def __init__(self, detector: FaceDetector) -> None:
        import cv2

        limits = (detector.min_score, float(OVERLAP), MOST)
        self._detector = cv2.FaceDetectorYN.create(str(detector.path), "", (32, 32), *limits)

    def find(self, pixels: Pixels) -> tuple[Face, ...]:
        """The faces in (H, W, 3) uint8 RGB pixels, as OpenCV finds them."""
        height, width = pixels.shape[:2]
        self._detector.setInputSize((width, height))
        _, found = self._detector.detect(np.ascontiguousarray(pixels[:, :, ::-1]))
        return tuple(as_face(values) for values in ([] if found is None else found.tolist()))


def as_face(values: list[float]) -> Face:
    """OpenCV's 15 numbers: left, top, width, height, five points, score."""
    left, top, width, height = values[:4]
    points = tuple(zip(values[4:14:2], values[5:14:2], strict=True))
    return Face((left, top, left + width, top + height), points, values[14])


def compare(detector: FaceDetector, opencv: Any, many: Iterable[Pixels]) -> Comparison:
    """Both over the pictures, face by face; `opencv` has `find`, as the detector."""
    counted = faces = other_sets = other_order = 0
    box = landmarks = score = 0.0
    for pixels in many:
        counted += 1
        pairs = matched(ours := detector.find(pixels), theirs := opencv.find(pixels))
        if len(pairs) < max(len(ours), len(theirs)):
            other_sets += 1
        elif pairs != list(zip(ours, theirs, strict=True)):
            other_order += 1
        faces += len(pairs)
        for one, other in pairs:
            box = max(box, _largest(one.box, other.box))
            landmarks = max(landmarks, _largest(one.landmarks, other.landmarks))
            score = max(score, abs(one.score - other.score))
    return Comparison(counted, faces, other_sets, other_order, box, landmarks, score)


def matched(ours: Iterable[Face], theirs: Iterable[Face]) -> list[tuple[Face, Face]]:
    """Each face with the other detector's nearest box, as long as that is within one pixel."""
    pairs, free = [], list(theirs)
    for face in ours:
        nearest = min(free, key=lambda other: _largest(face.box, other.box), default=None)
        if nearest is not None and _largest(face.box, nearest.box) < 1:
            free.remove(nearest)
            pairs.append((face, nearest))
    return pairs


def _largest(one: Any, other: Any) -> float:
    return float(np.abs(np.subtract(one, other)).max())


@app.command()
def parity(
    data: Annotated[
        Path | None, typer.Argument(help="Folder of face images, such as FER2013's validation.")
    ] = None,
    count: Annotated[int, typer.Option(help="Pictures of each kind.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Makes the pictures.")] = 0,
    min_score: Annotated[float, typer.Option(help="The threshold of both.", min=0, max=1)] = 0.6,
) -> None:
    """The largest differences over pictures of each kind, and whether all are allowed."""
    detector = FaceDetector.load(provider="cpu", min_score=min_score)
    opencv = OpenCV(detector)
    kinds: dict[str, tuple[list[Image.Image], tuple[int, int]]] = {
        "astronaut": ([astronaut()], (14, 330))
    }
    if data is not None:  # enlarged 2 to 6 times: smaller ones are seldom found
        kinds["FER2013"] = (fer2013_heads(data, 4 * count, seed), (96, 288))
    print(
        f"{'':<11}{'pictures':>9}{'faces':>7}{'other set':>11}{'other order':>13}"
        f"{'box, px':>11}{'landmark, px':>14}{'score':>10}"
    )
    agree = True
    for name, (heads, heights) in kinds.items():
        made = pictures(count, heads, seed=seed, heights=heights)
        found = compare(detector, opencv, made)
        agree &= found.agree()
        print(
            f"{name:<11}{found.pictures:>9}{found.faces:>7}{found.other_sets:>11}"
            f"{found.other_order:>13}{found.box:>11.6f}{found.landmarks:>14.6f}{found.score:>10.7f}"
        )
    if not agree:
        raise ParityError(
            f"The detectors differ; allowed: the same set of faces, boxes within {BOX} pixel, "
            f"landmarks within {LANDMARKS}."
        )
