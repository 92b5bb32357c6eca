"""MLPerf's load generator on a session: its outcomes are read, and its labels are the model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fer_bench import load_generator
from fer_bench.load_generator import Length, Outcome, System, highest_valid, outcome
from fer_runtime.session import Session
from fer_runtime.shipped import find_model

SHORT = Length(0.2, dict.fromkeys(load_generator.SCENARIOS, 20))
SERVER = """================================================
MLPerf Results Summary
================================================
Scenario : Server
Completed samples per second    : 491.48
Result is : INVALID
  Performance constraints satisfied : NO
Recommendations:
 * Reduce target QPS to improve latency.
50.00 percentile latency (ns)   : 821149
99.00 percentile latency (ns)   : 2483057
99.90 percentile latency (ns)   : 3999797
"""
STREAM = """Scenario : SingleStream
90.0th percentile latency (ns) : 514312
Result is : VALID
Min latency (ns)                : 400000
Mean latency (ns)               : 500000
90.00 percentile latency (ns)   : 514000
"""


def test_a_summary_is_read() -> None:
    found = outcome("Server", SERVER, 500.0)
    assert found == Outcome(
        "Server", False, ("Reduce target QPS to improve latency.",), 491.48,
        {"p50": 0.821149, "p99": 2.483057, "p99.9": 3.999797}, 500.0,
    )  # fmt: skip
    stream = outcome("SingleStream", STREAM)
    assert stream.valid and stream.samples_per_second == pytest.approx(2000)
    assert stream.milliseconds == {"p90": 0.514}
    assert outcome("MultiStream", STREAM).samples_per_second == pytest.approx(16_000)


def test_the_highest_valid_rate_is_looked_for_downwards() -> None:
    tried = []

    def attempt(rate: float) -> Outcome:
        tried.append(rate)
        return Outcome("Server", rate < 600, (), rate, {}, rate)

    assert highest_valid(attempt, 1000, step=0.8).target == pytest.approx(512)
    assert tried == pytest.approx([1000, 800, 640, 512])
    assert not highest_valid(attempt, 1000, step=1.0, tries=2).valid


@pytest.fixture
def system() -> System:
    pytest.importorskip("mlperf_loadgen", reason="mlcommons-loadgen is not installed")
    session = Session.open(find_model("compact_cnn.int8"), provider="cpu", threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (40, *session.spec.input.shape), np.uint8)
    return System(session, pixels, threads=2)


@pytest.mark.parametrize("scenario", load_generator.SCENARIOS)
def test_every_scenario_runs_and_predicts_what_the_session_does(
    system: System, scenario: str
) -> None:
    settings: dict[str, Any] = {"server_target_qps": 100.0, "offline_expected_qps": 200.0}
    found = system.run(scenario, SHORT, **settings)
    assert found.scenario == scenario and found.samples_per_second > 0
    assert found.milliseconds["p50"] <= found.milliseconds["p99"]
    expected = system.session.run(system.pixels).probabilities.argmax(1)
    np.testing.assert_array_equal(system.predictions(scenario), expected)


def test_an_error_in_a_run_ends_it_and_is_raised(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load generator waits for every answer, so an error must be an answer too."""

    def broken(pixels: object) -> None:
        raise ValueError("no memory")

    monkeypatch.setattr(system, "_nanoseconds", lambda batch_size: 1_000_000)
    monkeypatch.setattr(system, "session", type("Broken", (), {"run": staticmethod(broken)}))
    with pytest.raises(ValueError, match="no memory"):
        system.run("Offline", SHORT, offline_expected_qps=200.0)
