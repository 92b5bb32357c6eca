"""Each engine of the benchmarks runs in a process of its own, and computes the same."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fer_bench.artefacts import Artefacts
from fer_bench.engines import pytorch
from fer_bench.engines.engine import Engine
from fer_bench.engines.hosted import Hosted, clock
from fer_bench.engines.table import ENGINES, KEEP_BLOCKS, Entry
from fer_runtime.errors import FerError, ModelFileError

HERE = "tests.bench.test_engines"
"""This module, as the engine's process imports it."""
TOP_PAD = "MALLOC_TOP_PAD_"


def allocator(artefacts: Artefacts, threads: int) -> Engine:
    return Engine(lambda pixels: np.zeros((1, 7), np.float32), {"seen": os.environ[TOP_PAD]})


def broken(artefacts: Artefacts, threads: int) -> Engine:
    raise ModelFileError("broken.onnx is not a model")


def dying(artefacts: Artefacts, threads: int) -> Engine:
    return Engine(lambda pixels: os._exit(3), {})


@pytest.mark.parametrize(
    "name",
    [
        "eager",
        "runtime",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES if ", " in name),
    ],
)
def test_engines_agree(exported: Artefacts, faces: np.ndarray, name: str) -> None:
    entry = ENGINES[name]
    if (reason := entry.why_not()) is not None:
        pytest.skip(reason)
    expected = pytorch.eager(exported, 1).run(faces[:9].copy())
    with Hosted(entry, exported, threads=1) as engine:
        engine.take(faces[:9])
        before = clock()
        ran = engine.run()
        assert clock() - before == ran.seconds > 0
        np.testing.assert_allclose(engine.probabilities(), expected, atol=1e-6)
        assert engine.peak_bytes() > 30e6
        assert engine.facts["threads"] == 1 and len(engine.facts["model"]) == 64
        assert set(entry.environment) <= set(engine.facts)


def test_what_is_set_for_an_engine_reaches_its_process(exported: Artefacts) -> None:
    with Hosted(Entry(f"{HERE}:allocator", environment=KEEP_BLOCKS), exported, 1) as engine:
        assert engine.facts == {"seen": KEEP_BLOCKS[TOP_PAD], **KEEP_BLOCKS}


def test_an_engine_that_cannot_open_says_why(exported: Artefacts) -> None:
    with pytest.raises(ModelFileError, match=r"broken\.onnx"):
        Hosted(Entry(f"{HERE}:broken"), exported, 1)


def test_an_engine_whose_process_ends_is_an_error(exported: Artefacts) -> None:
    with Hosted(Entry(f"{HERE}:dying"), exported, 1) as engine:
        engine.take(np.zeros((1, 1, 48, 48), np.uint8))
        with pytest.raises(FerError, match="ended with 3"):
            engine.run()
