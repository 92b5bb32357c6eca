"""Each engine's share of what one core could do: `pytest benchmarks -k roofline`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench import graph_cost, roofline, timing
from fer_bench.artefacts import SHIPPED, Artefacts
from fer_bench.engines.hosted import Hosted
from fer_bench.engines.table import ENGINES
from fer_bench.recording import record
from fer_runtime.shipped import find_model

BATCH = 32
ROUNDS = 9
MEASURED = (
    "eager, blocks kept", "channels last, blocks kept", "torch.compile, blocks kept",
    "TorchScript, blocks kept", "runtime", "runtime, OpenVINO", "runtime, int8",
)  # fmt: skip


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """This process, and what it starts, on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [max(allowed)])
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.benchmark(group=f"roofline, batch {BATCH}")
@pytest.mark.usefixtures("one_core")
def test_roofline(
    benchmark: Any,
    exported: Artefacts,
    faces: npt.NDArray[np.uint8],
    tmp_path: Path,
    pytestconfig: pytest.Config,
    name: str,
) -> None:
    entry = ENGINES[name.removesuffix(", int8")]
    if (reason := entry.why_not()) is not None:
        pytest.skip(f"{name}: {reason}")
    artefacts = exported
    if name.endswith("int8"):
        if pytestconfig.getoption("--model") != SHIPPED:
            pytest.skip("the int8 file of --model is not known: fer-bench roofline --model FILE")
        artefacts = dataclasses.replace(exported, onnx=find_model("compact_cnn.int8"))
    layers = graph_cost.layers(artefacts.onnx)
    with Hosted(entry, artefacts, threads=1) as engine:
        engine.take(faces[:BATCH])
        runs = 1 if benchmark.disabled else 25
        ways = roofline.peak_ways(tmp_path) | {
            "engine": lambda: [engine.run() for _ in range(runs)]
        }
        timing.alternate(ways, 1)
        if benchmark.disabled:
            benchmark(engine.run)
            return
        seconds = timing.alternate(ways, ROUNDS)
        benchmark.pedantic(engine.run, rounds=runs)
        each = [value / runs / BATCH for value in seconds["engine"]]
        facts = roofline.shares(seconds, each, layers, BATCH)
        peaks = roofline.peaks_of(timing.medians(seconds))._asdict()
        record(benchmark, BATCH, **engine.facts, **facts, engine=name, peaks=peaks)
    assert 0 < facts["share"] < 1.2
