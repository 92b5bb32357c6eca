"""Cold start and memory: `pytest benchmarks -k cold_start`, `pytest benchmarks -k memory`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.artefacts import Artefacts
from fer_bench.engines.hosted import Hosted
from fer_bench.engines.table import ENGINES
from fer_bench.recording import record
from fer_runtime.machine import usable_threads

ROUNDS = 3
BATCH = 32
STARTED = [name for name in ENGINES if "blocks kept" not in name or "compile" in name]
"""How large blocks are kept does not matter to a start."""


def one_run(name: str, artefacts: Artefacts, pixels: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Start an engine's process, run it once, and end it; its facts and its result."""
    with Hosted(ENGINES[name], artefacts, usable_threads()) as engine:
        engine.take(pixels)
        first = engine.run().seconds
        return engine.facts | {
            "engine": name,
            "first_run_seconds": first,
            "peak_bytes": engine.peak_bytes(),
            "artefact_bytes": (
                artefacts.onnx if name.startswith("runtime") else artefacts.checkpoint
            ).stat().st_size,
            "probabilities": engine.probabilities(),
            "tolerance": engine.tolerance,
        }  # fmt: skip


@pytest.fixture
def can_run(name: str) -> None:
    """Skips engines that cannot run here, with the reason."""
    if (reason := ENGINES[name].why_not()) is not None:
        pytest.skip(f"{name}: {reason}")


@pytest.mark.usefixtures("can_run")
@pytest.mark.parametrize("name", STARTED)
@pytest.mark.benchmark(group="cold start, one image")
def test_cold_start(
    benchmark: Any,
    exported: Artefacts,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    name: str,
) -> None:
    facts: dict[str, Any] = {}
    benchmark.pedantic(
        lambda: facts.update(one_run(name, exported, faces[:1])),
        rounds=1 if benchmark.disabled else ROUNDS,
    )
    found, tolerance = facts.pop("probabilities"), facts["tolerance"]
    np.testing.assert_allclose(found, reference[:1], atol=tolerance)
    if not benchmark.disabled:
        record(benchmark, 1, **facts)


@pytest.mark.usefixtures("can_run")
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.benchmark(group=f"memory, batch {BATCH}")
def test_memory(
    benchmark: Any,
    exported: Artefacts,
    faces: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.float32],
    name: str,
) -> None:
    facts: dict[str, Any] = {}
    benchmark.pedantic(lambda: facts.update(one_run(name, exported, faces[:BATCH])))
    found, tolerance = facts.pop("probabilities"), facts["tolerance"]
    np.testing.assert_allclose(found, reference[:BATCH], atol=tolerance)
    if not benchmark.disabled:
        record(benchmark, BATCH, **facts)
