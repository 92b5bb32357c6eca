"""The same faces as OpenCV's detector finds, on pictures made with a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fer_bench.face_parity import BOX, LANDMARKS, OpenCV, compare, matched
from fer_bench.face_pictures import astronaut, pictures
from fer_runtime import Face, FaceDetector
from fer_runtime.images import Pixels


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector.load(provider="cpu", threads=1)


@pytest.fixture(scope="module")
def opencv(detector: FaceDetector) -> OpenCV:
    pytest.importorskip("cv2", reason="OpenCV is missing (extra `dev`)")
    return OpenCV(detector)


@pytest.mark.parametrize("count", [25, pytest.param(200, marks=pytest.mark.slow)])
def test_the_same_faces_as_opencv(detector: FaceDetector, opencv: OpenCV, count: int) -> None:
    found = compare(detector, opencv, pictures(count, [astronaut()], seed=16))
    assert found.pictures == count
    assert found.faces > count
    assert found.other_sets == 0
    assert found.box <= 0.01
    assert found.landmarks <= 0.05
    assert found.score <= 1e-5
    assert found.agree()


class Changed:
    """A detector whose faces are changed before they are compared."""

    def __init__(self, detector: FaceDetector, change: Callable[[Any], Any]) -> None:
        self._detector, self._change = detector, change

    def find(self, pixels: Pixels) -> tuple[Face, ...]:
        faces: tuple[Face, ...] = self._change(self._detector.find(pixels))
        return faces


def moved(by: float) -> Callable[[Any], Any]:
    return lambda faces: [f._replace(box=tuple(np.add(f.box, (0, 0, 0, by)))) for f in faces]


@pytest.mark.parametrize(
    ("change", "agree", "other_sets"),
    [
        (lambda faces: faces, True, 0),
        (lambda faces: faces[::-1], True, 0),
        (lambda faces: faces[1:], False, None),
        (lambda faces: [*faces, *faces[:1]], False, None),
        (moved(BOX / 2), True, 0),
        (moved(BOX * 2), False, 0),
        (lambda faces: [f._replace(landmarks=((0, 0),) * 5) for f in faces], False, 0),
    ],
)
def test_what_differs_is_found(
    detector: FaceDetector, change: Callable[[Any], Any], agree: bool, other_sets: int | None
) -> None:
    many = list(pictures(6, [astronaut()], seed=2, sides=(150, 400), heights=(80, 200)))
    found = compare(detector, Changed(detector, change), many)
    with_faces = sum(bool(detector.find(pixels)) for pixels in many)
    assert found.agree() == agree
    assert found.other_sets == (with_faces if other_sets is None else other_sets)


def test_comparing_nothing_does_not_agree(detector: FaceDetector) -> None:
    assert not compare(detector, detector, []).agree()
    assert not compare(detector, detector, [np.zeros((50, 50, 3), np.uint8)]).agree()


def test_a_face_is_matched_once_and_only_nearby() -> None:
    def face(left: float) -> Face:
        return Face((left, 0, left + 10, 10), ((0, 0),) * 5, 0.9)

    assert matched([face(0), face(50)], [face(50.2), face(0.1)]) == [
        (face(0), face(0.1)),
        (face(50), face(50.2)),
    ]
    assert matched([face(0), face(0)], [face(0)]) == [(face(0), face(0))]
    assert matched([face(0)], [face(2)]) == []
    assert LANDMARKS > BOX


def test_the_same_seed_makes_the_same_pictures() -> None:
    one, other = (list(pictures(5, [astronaut()], seed=3, sides=(40, 90))) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert {picture.dtype for picture in one} == {np.dtype(np.uint8)}
    assert all(40 <= side <= 90 for picture in one for side in picture.shape[:2])
    (different,) = pictures(1, [astronaut()], seed=4, sides=(40, 90))
    assert not np.array_equal(one[0], different)
