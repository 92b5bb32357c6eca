"""The measurements of fer-serve and of object stores: what they find, and what they call wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from fer_bench.serving import pictures
from fer_bench.serving_runs import ending, hostile_requests, wrk
from fer_bench.serving_runs.overload import Answers, Overload
from fer_bench.serving_runs.speed import BARE, OURS, Result, table


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for n in range(6):
        pixels = rng.integers(0, 255, (48, 48), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.jpg")
    return pictures(folder)


@pytest.mark.slow
def test_hostile_requests_are_all_answered_as_they_must_be(files: list[Path]) -> None:
    found = hostile_requests.measure(files, "compact_cnn", requests=60, seed=3)
    assert not found.wrong
    assert (found.good, sum(sum(each.values()) for each in found.statuses.values())) == (54, 6)
    assert found.files[1] <= found.files[0]


def test_an_answer_that_says_nothing_is_wrong() -> None:
    assert hostile_requests._clear(422, '{"error": "broken JPEG: it ends too soon"}')
    assert not hostile_requests._clear(500, '{"error": "broken JPEG: it ends too soon"}')
    assert not hostile_requests._clear(422, "Unprocessable")
    assert not hostile_requests._clear(400, '{"error": "bad"}')


@pytest.mark.slow
def test_ending_under_load_loses_nothing(files: list[Path]) -> None:
    found = ending.measure(files, "compact_cnn", times=1, connections=4)
    assert not found.wrong
    assert found.answered > 10


def load(rate: float) -> wrk.Load:
    return wrk.Load(int(10 * rate), 10.0, 0, 0, 0.002, 0.01)


def test_the_table_has_the_median_of_each_rounds_ratio() -> None:
    results = {
        OURS: Result([load(300), load(200), load(400)], [load(90)] * 3),
        BARE: Result([load(100), load(100), load(100)], [load(80)] * 3),
    }
    lines = table(results, [0.001, 0.001, 0.001])
    assert lines[1].split()[:3] == ["fer-serve", "300", "1.00"]
    assert lines[2].split()[3:5] == ["100", "3.00"]
    assert "takes 1.000 ms more" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "lost", "holds"),
    [
        ({200: [0.1] * 100, 503: [0.01]}, 0, True),
        ({200: [0.1] * 97 + [0.9] * 3}, 0, False),
        ({200: [0.1]}, 1, False),
        ({200: [0.1], 500: [0.1]}, 0, False),
    ],
)
def test_the_limit_holds_or_not(seconds: dict[int, list[float]], lost: int, holds: bool) -> None:
    answers = Answers(seconds, lost, 10.0)
    found = Overload(100, 400, 0.5, answers, 0.001, 0.001, [100] * 20, None)
    assert found.holds is holds
    assert found.grown == 1
    assert "the limit is 500 ms" in found.lines()[1]
