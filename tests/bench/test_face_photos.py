"""The benchmark of photographs: what it makes, and what it counts as found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_bench import face_photos
from fer_bench.face_photos import Found, evaluate, make, measure, photograph
from fer_bench.face_pictures import astronaut
from fer_runtime.faces.options import FaceOptions

SIZE = (700, 500)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that fit SIZE."""
    monkeypatch.setattr(face_photos, "HEADS", (90, 160))


def test_a_face_is_found_where_both_middles_are_inside() -> None:
    truth = {"a": [(0, 0, 100, 100), (200, 0, 300, 100)], "b": [(0, 0, 10, 10)], "c": []}
    # inside; beside; too small to contain the middle; a second box on one face
    assert evaluate({"a": [(20, 20, 90, 90)]}, truth) == Found(1, 0)
    assert evaluate({"a": [(20, 20, 90, 90), (240, 0, 310, 90)]}, truth) == Found(2, 0)
    assert evaluate({"a": [(120, 0, 180, 90)]}, truth) == Found(0, 1)
    assert evaluate({"a": [(60, 60, 90, 90)]}, truth) == Found(0, 1)
    assert evaluate({"a": [(20, 20, 90, 90), (21, 20, 90, 90)]}, truth) == Found(1, 1)
    assert evaluate({"c": [(20, 20, 90, 90)]}, truth) == Found(0, 1)
    assert evaluate({}, truth) == Found(0, 0)


def test_heads_are_inside_and_apart(small: None) -> None:
    for seed in range(4):
        pixels, boxes = photograph(np.random.default_rng(seed), [astronaut()], SIZE)
        assert (pixels.shape, pixels.dtype) == ((500, 700, 3), np.uint8)
        assert 1 <= len(boxes) <= 8
        covered = np.zeros((500, 700), int)
        for left, top, right, bottom in boxes:
            assert left >= 0 and top >= 0 and right <= 700 and bottom <= 500
            covered[int(top) : int(bottom), int(left) : int(right)] += 1
        assert covered.max() == 1


def test_both_ways_run_over_the_same_photographs(small: None, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is missing (extra `dev`)")
    make(tmp_path, [astronaut()], 3, SIZE)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert [Image.open(tmp_path / name).size for name in truth] == [SIZE] * 3
    figures = measure(tmp_path, "compact_cnn", FaceOptions(), repeats=1)
    assert figures["photographs"] == 3
    assert figures["faces"] == sum(map(len, truth.values())) > 3
    for found in figures["found"].values():
        assert found.faces == figures["faces"]
        assert found.others == 0
    assert figures["found_ratio"] == 1
    assert all(rate > 0 for rate in figures["photographs_per_second"].values())
