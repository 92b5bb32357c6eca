"""Tracks: numbers that stay with a face through movement, crossings, gaps and jitter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_runtime.errors import DataError
from fer_runtime.faces.assignment import assignment
from fer_runtime.faces.face import Face
from fer_runtime.faces.tracks import Follower, Tracker
from fer_runtime.rows import Row

Path = Callable[[float], tuple[float, float]]


def face(x: float, y: float, size: float = 100.0) -> Face:
    """A face with its centre at (x, y)."""
    half = size / 2
    return Face((x - half, y - half, x + half, y + half), (), 0.9)


def followed(
    paths: Sequence[Path],
    step: float,
    seconds: float,
    *,
    seed: int = 0,
    missed: float = 0.0,
    hidden: float = 0.0,
) -> list[list[int]]:
    """The track numbers of each path's face, frame by frame, with 2 % jitter in place and size.

    `missed` is the share of faces that the detector does not find. Where a face is within `hidden`
    of one earlier in the list, that one is in front of it and it is not found.
    """
    rng = np.random.default_rng(seed)
    tracker = Tracker()
    numbers: list[list[int]] = [[] for _ in paths]
    for frame in range(round(seconds / step)):
        places = [path(frame * step) for path in paths]
        found = [
            number
            for number, place in enumerate(places)
            if rng.random() >= missed
            and all(math.dist(place, before) >= hidden for before in places[:number])
        ]
        rng.shuffle(found)
        faces = []
        for number in found:
            x, y = places[number] + rng.normal(0, 2, 2)
            faces.append(face(x, y, 100 * math.exp(rng.normal(0, 0.02))))
        for number, track in zip(found, tracker.update(frame * step, faces), strict=True):
            numbers[number].append(track)
    return numbers


def test_two_faces_keep_their_numbers_in_any_order() -> None:
    tracker = Tracker()
    assert tracker.update(0.0, [face(100, 100), face(500, 100)]) == [1, 2]
    assert tracker.update(0.2, [face(505, 100), face(110, 100)]) == [2, 1]
    assert tracker.update(0.4, [face(120, 100), face(900, 100), face(510, 100)]) == [1, 3, 2]


@pytest.mark.parametrize("step", [1 / 30, 0.1, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_faces_that_cross_keep_their_numbers(step: float, seed: int) -> None:
    """They pass at 240 pixels a second; for half a second one hides the other."""
    paths: list[Path] = [lambda t: (200 + 120 * t, 400), lambda t: (1160 - 120 * t, 400)]
    first, second = followed(paths, step, 8, seed=seed, missed=0.05, hidden=60)
    assert len(set(first)) == 1 and len(set(second)) == 1 and first[0] != second[0]


@pytest.mark.parametrize("seed", range(5))
def test_faces_side_by_side_that_are_missed_often_keep_their_numbers(seed: int) -> None:
    paths: list[Path] = [
        lambda t, place=place: (400 + 130 * place + 15 * math.sin(t + place), 300)  # type: ignore[misc]
        for place in range(4)
    ]
    tracks = followed(paths, 0.2, 20, seed=seed, missed=0.25)
    assert [len(set(each)) for each in tracks] == [1, 1, 1, 1]


def test_a_gap_of_less_than_a_second_keeps_the_number_and_a_longer_one_does_not() -> None:
    """It moves 300 pixels a second, which is three times its size, also while it is not found."""
    for gap, expected in ((0.9, 1), (1.3, 2)):
        tracker = Tracker()
        for frame in range(10):
            assert tracker.update(frame / 10, [face(100 + 30 * frame, 200)]) == [1]
        for frame in range(10, 9 + round(gap * 10)):
            assert tracker.update(frame / 10, []) == []
        x = 100 + 300 * (0.9 + gap)
        assert tracker.update(0.9 + gap, [face(x, 200)]) == [expected]


def test_at_sparse_frames_a_face_keeps_its_number_over_one_miss() -> None:
    tracker = Tracker()
    assert tracker.update(0, [face(100, 100)]) == [1]
    assert tracker.update(5, [face(105, 100)]) == [1]
    assert tracker.update(10, []) == []
    assert tracker.update(15, [face(100, 105)]) == [1]


def test_another_size_or_place_is_another_face() -> None:
    tracker = Tracker()
    assert tracker.update(0.0, [face(100, 100, 40)]) == [1]
    assert tracker.update(0.1, [face(100, 100, 120)]) == [2], "three times as large"
    assert tracker.update(0.2, [face(420, 100, 120)]) == [3], "more than twice its size away"


def test_the_rest_of_a_frame_takes_none_of_the_tracks_that_its_first_part_took() -> None:
    tracker = Tracker()
    assert tracker.update(0.0, [face(100, 100), face(180, 100)]) == [1, 2]
    assert tracker.update(0.2, [face(180, 100)]) == [2]
    assert tracker.update(0.2, [face(178, 102), face(100, 100)]) == [3, 1]


def test_no_number_is_used_again() -> None:
    tracker = Tracker()
    numbers = [tracker.update(3.0 * n, [face(100 + 400 * n, 100)])[0] for n in range(5)]
    assert numbers == [1, 2, 3, 4, 5]


@given(arrays(np.float64, st.tuples(*[st.integers(0, 5)] * 2), elements=st.floats(0, 1)))
def test_the_assignment_has_the_smallest_sum(cost: np.ndarray) -> None:
    pairs = assignment(cost)
    rows, columns = cost.shape
    assert len(set(pairs.values())) == len(pairs)
    assert all(cost[row, column] < 1 for row, column in pairs.items())
    square = np.ones((max(rows, columns),) * 2)  # to be alone costs as much as an impossible pair
    square[:rows, :columns] = cost
    places = range(len(square))
    best = min(
        sum(square[row, order[row]] for row in places) for order in itertools.permutations(places)
    )
    alone = max(rows, columns) - len(pairs)
    assert sum(cost[pair] for pair in pairs.items()) + alone == pytest.approx(best)


boxes = st.tuples(st.floats(-50, 2000), st.floats(-50, 1100), st.floats(0, 900))


@given(st.lists(st.tuples(st.floats(0, 3), st.lists(boxes, max_size=6)), max_size=12))
def test_any_faces_get_numbers_that_differ_within_a_frame(
    frames: list[tuple[float, list[tuple[float, float, float]]]],
) -> None:
    tracker, time, seen = Tracker(), 0.0, set()
    for pause, places in frames:
        time += pause + 0.001
        numbers = tracker.update(time, [face(*place) for place in places])
        assert len(numbers) == len(places) == len(set(numbers))
        seen |= set(numbers)
    assert seen == set(range(1, len(seen) + 1))


LABELS = ("happy", "sad")


def row(frame: int, x: float | None, happy: float = 0.5, *, stream: str | None = "a.mp4") -> Row:
    """A row of a video at ten frames a second; x None for a frame without a face."""
    found = None if x is None else face(x, 100)
    extra = {"frame": frame, "time": frame / 10} if stream else {}
    probabilities = None if x is None else np.array([happy, 1 - happy], np.float32)
    made = Row(stream or "a.jpg", LABELS, probabilities, truth="sad", extra=extra, stream=stream)
    made.face, made.number = found, 1 if found else None
    return made


def test_rows_get_the_track_of_their_face_and_keep_the_rest() -> None:
    rows = [row(0, 100), row(0, 500), row(1, 505), row(1, 105), row(2, None)]
    out = Follower().follow(rows)
    assert [each.extra["track"] for each in out] == [1, 2, 2, 1, None]
    assert [each.extra["frame"] for each in out] == [0, 0, 1, 1, 2]
    for before, after in zip(rows, out, strict=True):
        assert "track" not in before.extra, "the rows that were given are as they were"
        assert after.probabilities is before.probabilities
        names = ("name", "labels", "label", "probability", "face", "number", "stream", "truth")
        assert all(getattr(before, name) == getattr(after, name) for name in names)


def test_pieces_of_any_size_give_the_same_tracks() -> None:
    rows = [row(frame, x + 10 * frame) for frame in range(12) for x in (100, 320, 540)]
    whole = [each.extra["track"] for each in Follower().follow(rows)]
    assert whole == [1, 2, 3] * 12
    for size in (1, 2, 5, 7):
        follower = Follower()
        pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
        found = [each.extra["track"] for piece in pieces for each in follower.follow(piece)]
        assert found == whole


def test_each_stream_starts_anew_and_pictures_pass_unchanged() -> None:
    picture = row(0, 100, stream=None)
    rows = [
        *(row(0, 100), row(1, 600), row(0, 100, stream="b.mp4"), picture),
        *(row(0, 900), row(1, 900), row(0, 100)),
    ]
    out = Follower(1.0).follow(rows)
    assert out[3] is picture
    tracks = [each.extra.get("track") for each in out]
    assert tracks == [1, 2, 1, None, 1, 1, 1], "the last is the same video a second time"


def test_smoothing_is_the_mean_of_the_track_over_the_last_seconds() -> None:
    happy = [1.0, 0.0, 0.5, 0.25, 0.75]
    rows = [each for n, value in enumerate(happy) for each in (row(n, 100, value), row(n, 500, 1))]
    out = Follower(0.3).follow(rows)
    first = [float(each.probabilities[0]) for each in out[::2] if each.probabilities is not None]
    assert first == pytest.approx([1.0, 0.5, 0.5, 0.25, 0.5]), "three frames are 0.3 seconds"
    assert [each.label for each in out[::2]] == ["happy", "happy", "happy", "sad", "happy"]
    assert [each.probability for each in out[::2]] == pytest.approx([1.0, 0.5, 0.5, 0.75, 0.5])
    assert {each.probability for each in out[1::2]} == {1.0}, "the other track is on its own"
    assert rows[2].probabilities is not None and rows[2].probabilities[0] == 0.0, "as it was"


def test_smoothing_leaves_out_rows_without_probabilities() -> None:
    broken = row(1, 100)
    broken.set_probabilities(None)
    broken.error = "too small"
    out = Follower(1.0).follow([row(0, 100, 1.0), broken, row(2, 100, 0.5)])
    assert [each.extra["track"] for each in out] == [1, 1, 1]
    assert out[1].error == "too small" and out[1].probabilities is None
    assert out[2].probability == pytest.approx(0.75)


@pytest.mark.parametrize("smooth", [-1.0, math.nan, math.inf])
def test_an_impossible_time_is_refused(smooth: float) -> None:
    with pytest.raises(DataError, match="it is a time in seconds, 0 or more"):
        Follower(smooth)
