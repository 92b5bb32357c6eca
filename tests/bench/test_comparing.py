"""Comparisons find what changed, stay silent about noise, and say when they cannot tell."""

from __future__ import annotations

import math
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fer_bench import compare, reference
from fer_bench.comparing import paired, stored, verdict
from fer_bench.comparing.verdict import CHANGED, NOISY, UNCHANGED, decide
from fer_bench.reporting.record import read
from fer_runtime.errors import DataError, FerError
from tests.bench.records import throughput, write


def drawn(ratio: float, spread: float, seed: int) -> list[float]:
    """Ratios of pairs, until it is known or there are no more looks; one of ten is far off."""
    rng = random.Random(seed)
    found: list[float] = []
    for number in range(verdict.LOOKS[-1]):
        disturbed = 10 if rng.random() < 0.1 else 1
        found.append(ratio * math.exp(rng.gauss(0, spread * disturbed)))
        if number + 1 in verdict.LOOKS and decide(found, floor=0.03).kind != NOISY:
            break
    return found


@pytest.mark.parametrize("spread", [0.005, 0.015, 0.03])
def test_verdicts_are_right_as_often_as_they_say(spread: float) -> None:
    """A hundred comparisons of each kind, of machines from quiet to noisy."""
    kinds = {
        ratio: [decide(drawn(ratio, spread, seed), floor=0.03).kind for seed in range(100)]
        for ratio in (1.0, 1.05, 1.1, 1 / 1.1)
    }
    assert kinds[1.0].count(CHANGED) <= 2
    assert kinds[1.05].count(UNCHANGED) == 0
    assert kinds[1.1].count(CHANGED) == kinds[1 / 1.1].count(CHANGED) == 100


def test_a_verdict_in_words() -> None:
    assert str(decide([1.1, 1.1001, 1.0999], floor=0.02)).startswith("B is slower than A: +10.0%")
    assert str(decide([0.9, 0.9001, 0.8999], floor=0.02)).startswith("B is faster than A: -10.0%")
    assert str(decide([1.0, 1.0001, 0.9999], floor=0.02)).startswith("unchanged")
    assert str(decide([1.0, 1.3, 0.8], floor=0.02)).startswith("too noisy to tell")


def test_a_change_below_the_floor_is_none() -> None:
    ratios = [1.05, 1.0501, 1.0499]
    assert decide(ratios, floor=0.03).kind == CHANGED
    assert decide(ratios, floor=0.02, smallest=0.1).kind == UNCHANGED


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [(0.975, 6, 2.447), (0.999, 6, 5.208), (0.999, 29, 3.396), (0.975, 1000, 1.962)],
)
def test_quantiles_of_students_distribution(
    probability: float, freedom: int, expected: float
) -> None:
    assert verdict.t_quantile(probability, freedom) == pytest.approx(expected, rel=0.01)


def test_stored_runs_are_scaled_by_the_reference_work(tmp_path: Path) -> None:
    """A machine of half the speed that makes half the images/s changed nothing."""
    one = read(write(tmp_path / "a.json", throughput(runtime=4000, eager=1000)))
    other = read(write(tmp_path / "b.json", throughput(runtime=2000, eager=250), slower=2.0))
    eager, ours = stored.differences(one, other)
    assert (eager.engine, eager.kind) == ("eager", CHANGED)
    assert eager.ratio == pytest.approx(2)
    assert (ours.engine, ours.kind) == ("runtime", UNCHANGED)
    assert ours.ratio == pytest.approx(1)


def test_stored_runs_of_a_noisy_machine_say_nothing(tmp_path: Path) -> None:
    one = read(write(tmp_path / "a.json", throughput(runtime=4000)))
    other = read(write(tmp_path / "b.json", throughput(runtime=2000), drift=0.4))
    assert [each.kind for each in stored.differences(one, other)] == [NOISY]


def test_the_reference_work_scales() -> None:
    assert reference.scale({"a": 2.0, "b": 8.0}, {"a": 1.0, "b": 2.0}) == pytest.approx(
        (math.sqrt(8), 1.0)
    )
    assert all(seconds > 0 for seconds in reference.seconds(1).values())


def run(*arguments: object) -> Any:
    return CliRunner().invoke(compare.app, [*map(str, arguments)])


def test_two_stored_runs_by_the_command(tmp_path: Path) -> None:
    one = write(tmp_path / "a.json", throughput(runtime=4000, eager=1000))
    other = write(tmp_path / "b.json", throughput(runtime=1000, eager=1000))
    done = run(one, other)
    assert done.exit_code == 1 and "+300%  changed" in done.output
    assert "1 of 2 changed" in done.output
    same = run(one, one)
    assert same.exit_code == 0 and "0 of 2 changed" in same.output
    nothing = run(one, write(tmp_path / "c.json", []))
    assert isinstance(nothing.exception, DataError) and "in common" in str(nothing.exception)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short pairs: what is found matters here, not how surely."""
    monkeypatch.setattr(verdict, "LOOKS", (3,))
    monkeypatch.setattr(paired, "TURNS", 2)
    monkeypatch.setattr(paired, "WARM_UP", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "what",
    ["predict", *(pytest.param(name, marks=pytest.mark.slow) for name in ("session", "files"))],
)
def test_a_slower_way_takes_longer(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as long, so that a busy machine does not matter."""
    monkeypatch.setattr(compare, "IMAGES", 16)
    found: list[verdict.Verdict] = []

    def decide(ratios: list[float], **floors: float) -> verdict.Verdict:
        found.append(verdict.decide(ratios, **floors))
        return found[-1]

    monkeypatch.setattr(paired, "decide", decide)
    done = run("--run", ".", "slowdown=9", "--what", what, "--batch-size", 4)
    assert found[-1].ratio > 2, done.output
    assert str(found[-1]) in done.output


@pytest.mark.parametrize(("kind", "status"), [(CHANGED, 1), (UNCHANGED, 0), (NOISY, 0)])
def test_the_exit_status_is_1_where_something_changed(
    kind: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verdict.Verdict(kind, 1.2, 1.1, 1.3, 7)
    monkeypatch.setattr(paired, "compare", lambda *_, **__: found)
    done = run("--run", ".", ".")
    assert (done.exit_code, str(found) in done.output) == (status, True)


@pytest.mark.usefixtures("quick")
def test_a_revision_is_measured_in_a_checkout_of_its_own(tmp_path: Path) -> None:
    """A repository whose second revision repeats each run of the session five times."""
    repository, source = tmp_path / "repository", tmp_path / "repository" / "fer_runtime"
    source.mkdir(parents=True)

    def git(*arguments: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(repository), *author, *arguments], check=True)

    git("init", "-q")
    for sleep in (0.001, 0.005):
        (source / "__init__.py").write_text(
            "import time, types\n"
            "def infer(): pass\n"
            "class Classifier:\n"
            "    spec = types.SimpleNamespace(input=types.SimpleNamespace(shape=(1, 48, 48)))\n"
            f"    session = types.SimpleNamespace(run=lambda pixels: time.sleep({sleep}))\n"
            "    load = classmethod(lambda cls, *_, **__: cls())\n",
            encoding="utf-8",
        )
        git("add", "-A")
        git("commit", "-qm", str(sleep))
    defaults = {
        "model": "none", "provider": "cpu", "what": "session", "threads": 1, "batch_size": 1,
    }  # fmt: skip
    with (
        paired.way("HEAD~1", defaults, repository) as old,
        paired.way(".", defaults, repository) as new,
    ):
        assert old.source != repository
        found = paired.compare(old, new, floor=0.02, smallest_seconds=0.0)
    assert found.ratio > 2
    assert not old.source.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no-such-revision", "git has no no-such-revision"),
        ("speed=3", "speed is not a setting"),
        ("threads=many", "is not a number"),
        ("what=nothing", "it is one of session, predict, files"),
        ("HEAD,HEAD~1", "only one revision"),
    ],
)
def test_what_cannot_be_compared_is_named(text: str, message: str) -> None:
    done = run("--run", text, ".")
    assert isinstance(done.exception, DataError)
    assert message in str(done.exception)


@pytest.mark.usefixtures("quick")
def test_a_side_that_cannot_work_says_why(tmp_path: Path) -> None:
    settings = {
        "model": str(tmp_path / "none.onnx"), "provider": "cpu", "what": "session", "threads": 1,
        "batch_size": 1,
    }  # fmt: skip
    with (
        paired.way(".", settings, compare.CLONE) as broken,
        pytest.raises(FerError, match=r"none\.onnx"),
    ):
        paired.pair(broken, broken, second_starts=False)
