"""Each engine of the benchmarks runs in a process of its own, and computes the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fer_bench import graph_cost, links, roofline
from fer_bench.artefacts import Artefacts
from fer_bench.engines import pytorch
from fer_bench.engines.engine import Engine
from fer_bench.engines.hosted import Hosted, clock
from fer_bench.engines.table import ENGINES, KEEP_BLOCKS, Entry
from fer_bench.graph_cost import Cost
from fer_bench.roofline import Peaks
from fer_runtime.errors import DataError, FerError, ModelFileError
from fer_runtime.shipped import find_model
from fer_train import checkpoint, models

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


def test_graphs_are_counted_as_pytorch_counts_them(exported: Artefacts) -> None:
    loaded = checkpoint.load(exported.checkpoint)
    layers = graph_cost.layers(exported.onnx)
    expected = models.multiply_adds(loaded.net(), loaded.spec.input)
    assert sum(layer.multiply_adds for layer in layers) == expected
    assert not any(layer.is_int8 for layer in layers)


def test_int8_layers_are_counted_as_such() -> None:
    floats, int8 = (graph_cost.layers(find_model(f"compact_cnn{end}")) for end in ("", ".int8"))
    # In another order: both branches of a residual block are counted.
    assert sorted(x.multiply_adds for x in int8) == sorted(x.multiply_adds for x in floats)
    assert [x.name for x in int8 if not x.is_int8] == [int8[0].name]
    assert sum(x.weight_bytes for x in int8) < sum(x.weight_bytes for x in floats) / 3.9


def test_roofline_is_the_larger_of_computing_and_moving() -> None:
    layers = graph_cost.layers(find_model("compact_cnn.int8"))
    fast, slow = 1e15, 1e9
    computing = Peaks(float32=slow, int8=slow, memory=fast).least_seconds(layers, 2)
    added = sum(layer.multiply_adds for layer in layers)
    assert computing == pytest.approx(added / slow)
    moving = Peaks(float32=fast, int8=fast, memory=slow).least_seconds(layers, 2)
    moved = sum(layer.activation_bytes + layer.weight_bytes / 2 for layer in layers)
    assert moving == pytest.approx(moved / slow)


def test_the_share_of_the_limit_is_of_one_round() -> None:
    """Another program that slows two rounds slows peak and model, and the share stays."""
    layers = [Cost("a", roofline.SIDE**3, 0, 0, is_int8=False)]
    slow = [1.0, 2.0, 3.0]
    seconds = {"float32": [0.5, 1.0, 1.5], "int8": slow, "memory": slow}
    found = roofline.shares(seconds, slow, layers, 1)
    assert found["share"] == pytest.approx(0.5)
    assert found["microseconds"] == pytest.approx(2e6)


def test_roofline_measures_peaks_and_models() -> None:
    peaks, found = roofline.measure({"int8": find_model("compact_cnn.int8")}, 2, 1)
    assert min(peaks) > 1e8
    assert 0 < found["int8"]["share"] < 1.5
    assert found["int8"]["spent_microseconds"]["QLinearConv"] > 0


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image files"):
        links.link(tmp_path, tmp_path / "links", 5)
