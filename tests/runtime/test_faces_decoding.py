"""YuNet's outputs become faces: worked-out boxes, suppression, and both against plain loops."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime.faces.decoding import STRIDES, Candidates, decode, suppress, to_faces
from fer_runtime.faces.detector import OUTPUTS
from tests.properties import given, settings, st

Floats = npt.NDArray[np.float32]
SIZE = (64, 96)
"""Height and width of the model's input in these tests."""
COLUMNS = {stride: SIZE[1] // stride for stride in STRIDES}


def blank() -> dict[str, Floats]:
    """Outputs without a face."""
    cells = {stride: SIZE[0] * SIZE[1] // stride**2 for stride in STRIDES}
    return {
        name: np.zeros((1, cells[int(name.partition("_")[2])], width), np.float32)
        for name, width in OUTPUTS.items()
    }


def boxes_of(*entries: tuple[float, ...]) -> Candidates:
    """(left, top, width, height, score) each, without landmarks of their own."""
    array = np.array(entries, np.float32).reshape(-1, 5)
    return Candidates(array[:, :4], np.zeros((len(array), 5, 2), np.float32), array[:, 4])


# --- decoding --------------------------------------------------------------------------------


def test_a_cell_becomes_a_box_and_landmarks() -> None:
    """Stride 16 has 6 columns, so cell 8 is row 1, column 2."""
    outputs = blank()
    outputs["cls_16"][0, 8] = 0.81
    outputs["obj_16"][0, 8] = 1
    outputs["bbox_16"][0, 8] = (0.5, 0.25, 0, math.log(2))
    outputs["kps_16"][0, 8] = (0, 0, 1, 0.5, -1, 0, 0.25, 2, 0, -0.5)
    candidates = decode(outputs, COLUMNS, 0.6)
    # centre (2.5, 1.25) cells = (40, 20) pixels; 16 wide, 32 high
    np.testing.assert_allclose(candidates.boxes, [[32, 4, 16, 32]], rtol=1e-6)
    points = [[32, 16], [48, 24], [16, 16], [36, 48], [32, 8]]
    np.testing.assert_array_equal(candidates.landmarks, [points])
    assert candidates.scores == pytest.approx([0.9])
    (face,) = to_faces(candidates, suppress(candidates, 0.6))
    assert face.box == pytest.approx((32, 4, 48, 36))
    assert face.landmarks == tuple(map(tuple, points))


def test_probabilities_outside_0_to_1_are_clipped() -> None:
    outputs = blank()
    for name, value in {"cls_8": 1.5, "obj_8": 0.49}.items():
        outputs[name][0, 3] = value
    for name, value in {"cls_8": -0.2, "obj_8": 3}.items():
        outputs[name][0, 4] = value
    candidates = decode(outputs, COLUMNS, 0.5)
    assert candidates.scores == pytest.approx([0.7])
    everything = decode(outputs, COLUMNS, 0)
    assert len(everything.scores) == sum(len(outputs[f"cls_{s}"][0]) for s in STRIDES)
    assert len(suppress(everything, 0)) == 1  # those of score 0 are not candidates


def test_nothing_found() -> None:
    candidates = decode(blank(), COLUMNS, 0.6)
    assert [len(part) for part in candidates] == [0, 0, 0]
    assert to_faces(candidates, suppress(candidates, 0.6)) == ()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), least=st.sampled_from([0.0, 0.3, 0.6, 0.95]))
def test_decoding_equals_a_loop_over_cells(seed: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    outputs = {
        name: rng.normal(0.4, 0.6, empty.shape).astype(np.float32)
        for name, empty in blank().items()
    }
    expected = []
    for stride in STRIDES:
        for index in range(SIZE[0] * SIZE[1] // stride**2):
            kinds = ("cls", "obj", "bbox", "kps")
            face, thing, box, points = (outputs[f"{kind}_{stride}"][0, index] for kind in kinds)
            score = np.sqrt(face[0].clip(0, 1) * thing[0].clip(0, 1))
            if score < np.float32(least):
                continue
            row, column = divmod(index, SIZE[1] // stride)
            width, height = np.exp(box[2:]) * np.float32(stride)
            x, y = (column + box[0]) * stride - width / 2, (row + box[1]) * stride - height / 2
            marks = [v + (row if i % 2 else column) for i, v in enumerate(points)]
            expected.append([x, y, width, height, *(mark * stride for mark in marks), score])
    found = decode(outputs, COLUMNS, least)
    landmarks = found.landmarks.reshape(-1, 10)
    together = np.column_stack([found.boxes, landmarks, found.scores])
    np.testing.assert_allclose(together, np.reshape(expected, (-1, 15)), rtol=1e-5, atol=1e-4)


# --- suppression -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        ((7, 0, 13, 10), [0, 1]),  # 60 of 200 pixels are shared: 0.3 is allowed
        ((6, 0, 13, 10), [0]),  # 70 of 190
        ((7.9, 0.9, 13.9, 10.9), [0, 1]),  # the same as the first once it is truncated
        ((6.99, 0, 13, 10), [0]),  # 6 once it is truncated
        ((13, 0, 13, 10), [0, 1]),  # side by side
        ((0, 10, 13, 10), [0, 1]),  # one below the other
        ((0, 0, 13, 10), [0]),
        ((-6.99, 0, 13, 10), [0]),  # truncated towards zero, not to -7
    ],
)
def test_boxes_that_overlap(other: tuple[float, ...], kept: list[int]) -> None:
    assert suppress(boxes_of((0, 0, 13, 10, 0.9), (*other, 0.8)), 0.6).tolist() == kept


def test_the_best_wins_and_what_it_suppressed_suppresses_nothing() -> None:
    chain = boxes_of((10, 0, 20, 10, 0.7), (0, 0, 20, 10, 0.8), (20, 0, 20, 10, 0.65))
    # 0 and 1 share 100 of 300 pixels, and so do 0 and 2; 1 and 2 share nothing.
    assert suppress(chain, 0.6).tolist() == [1, 2]


def test_equal_scores_keep_their_order() -> None:
    several = boxes_of(*((30 * index, 0, 10, 10, 0.8) for index in range(4)))
    assert suppress(several, 0.6).tolist() == [0, 1, 2, 3]


def test_a_score_at_the_threshold_counts_only_alone() -> None:
    """As OpenCV does it: its suppression compares with >, and one candidate is not suppressed."""
    assert suppress(boxes_of((0, 0, 9, 9, 0.6)), 0.6).tolist() == [0]
    assert suppress(boxes_of((0, 0, 9, 9, 0.6), (50, 0, 9, 9, 0.7)), 0.6).tolist() == [1]


def test_boxes_without_an_area_are_the_same_one() -> None:
    assert suppress(boxes_of((0, 0, 0.5, 9, 0.9), (50, 0, 0.5, 9, 0.8)), 0.6).tolist() == [0]
    assert suppress(boxes_of((0, 0, 0.5, 9, 0.9), (50, 0, 5, 9, 0.8)), 0.6).tolist() == [0, 1]


def test_at_most_5000_take_part() -> None:
    row = np.arange(6000, dtype=np.float32)
    boxes = np.stack([10 * row, row * 0, row * 0 + 9, row * 0 + 9], 1)
    many = Candidates(boxes, np.zeros((6000, 5, 2), np.float32), 1 - row / np.float32(10_000))
    assert suppress(many, 0.1).tolist() == list(range(5000))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40))
def test_suppression_equals_a_loop_over_pairs(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    sides = rng.uniform(0, 30, (count, 4)).astype(np.float32)
    scores = rng.integers(60, 80, count).astype(np.float32) / np.float32(100)  # many of them equal
    order = sorted(range(count), key=lambda index: -scores[index])
    if count > 1:
        order = [index for index in order if scores[index] > np.float32(0.6)]
    expected: list[int] = []
    for index in order:
        if all(_overlap(sides[index], sides[kept]) <= np.float32(0.3) for kept in expected):
            expected.append(index)
    candidates = Candidates(sides, np.zeros((count, 5, 2), np.float32), scores)
    assert suppress(candidates, 0.6).tolist() == expected


def _overlap(one: Floats, other: Floats) -> np.float32:
    """Shared pixels over all, from sets of pixels."""
    a, b = (
        {(x, y) for x in range(left, left + width) for y in range(top, top + height)}
        for left, top, width, height in (map(int, box) for box in (one, other))
    )
    return np.float32(1) if not a | b else np.float32(len(a & b) / len(a | b))
