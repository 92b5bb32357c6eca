"""Layers of an int8 model that are faster in float stay in float, and the record says why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from fer_bench.artefacts import Artefacts
from fer_export import exporter, inspection
from fer_export.options import ExportOptions
from fer_export.precision import float_layers
from fer_runtime.errors import DataError
from tests.export.graphs import layers_in_float


@pytest.mark.slow
def test_layers_that_are_faster_in_float_stay_in_float(
    exported: Artefacts,
    int8_options: ExportOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The timing is made up: the second layer gains, the third one only by itself."""

    def made_up(files: Mapping[str, Path], spec: object) -> dict[str, float_layers.Seconds]:
        floats = {name: layers_in_float(path) for name, path in files.items()}
        for each in floats.values():
            assert sum(each) <= 2
        cost = {n: 10 - 4 * f[1] - (0.5 if f[2] and not f[1] else 0) for n, f in floats.items()}
        return {n: {b: [s * b, s * b * 2, s * b] for b in (1, 32)} for n, s in cost.items()}

    monkeypatch.setattr(float_layers, "in_turns", made_up)
    chosen = replace(int8_options, float_layers="auto")
    done = exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", chosen)
    floats = layers_in_float(done.path)
    assert floats == [place == 1 for place in range(len(floats))]
    report = json.loads(done.report_path.read_text("utf-8"))["float_layers"]
    assert [layer["kept"] for layer in report["layers"]] == floats
    verdict = inspection.read_spec(done.path).parity
    assert verdict is not None
    (kept,) = verdict["float_layers"]["layers"]
    assert kept == report["layers"][1]
    assert (kept["int8_microseconds"], kept["float_microseconds"]) == (10e6, 6e6)
    assert verdict["float_layers"]["processor"]
    again = replace(int8_options, float_layers=kept["name"])
    named = exporter.export(exported.checkpoint, "onnx", tmp_path / "named.onnx", again)
    assert layers_in_float(named.path) == floats


@pytest.mark.slow
def test_every_layer_is_really_timed(
    exported: Artefacts, int8_options: ExportOptions, tmp_path: Path
) -> None:
    chosen = replace(int8_options, float_layers="auto")
    done = exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", chosen)
    floats = layers_in_float(done.path)
    layers = json.loads(done.report_path.read_text("utf-8"))["float_layers"]["layers"]
    assert len(layers) == len(floats)
    assert [layer["kept"] for layer in layers] == floats
    for layer in layers:
        assert layer["int8_microseconds"] > 0 and layer["float_microseconds"] > 0
        gain = layer["int8_microseconds"] / layer["float_microseconds"]
        assert gain > 1 or not layer["kept"]


def test_a_layer_that_does_not_exist_is_refused(
    exported: Artefacts, int8_options: ExportOptions, tmp_path: Path
) -> None:
    chosen = replace(int8_options, float_layers="stem, head")
    with pytest.raises(DataError, match="names 'stem', which is not a layer; allowed: auto, none"):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", chosen)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("one", "many", "expected"),
    [
        ([8.0, 9.0, 9.0], [300.0, 250.0, 260.0], "stem"),
        ([8.0, 9.0, 9.0], [314.0, 305.0, 399.0], None),  # a gain of 2 % is chance
        ([10.9, 9.9, 10.9], [300.0, 250.0, 260.0], None),  # it loses at batch 1
    ],
)
def test_a_layer_must_gain_clearly(
    one: list[float], many: list[float], expected: str | None
) -> None:
    base = {1: [10.0, 9.0, 10.0], 32: [320.0, 310.0, 400.0]}
    worse = {1: [11.0, 10.0, 11.0], 32: [330.0, 320.0, 410.0]}
    found = float_layers.fastest({"": base, "stem": {1: one, 32: many}, "head": worse})
    assert found == expected


@pytest.mark.slow
def test_pixels_and_probabilities_stay_in_float(
    exported: Artefacts, int8_options: ExportOptions, tmp_path: Path
) -> None:
    """Nothing is int8 before the first int8 layer or after the last."""

    def around(float_layers: str, path: Path) -> tuple[list[str], list[str]]:
        chosen = replace(int8_options, float_layers=float_layers)
        nodes = onnx.load(
            exporter.export(exported.checkpoint, "onnx", path, chosen).path
        ).graph.node
        kinds = [node.op_type for node in nodes if node.op_type != "DequantizeLinear"]
        end = len(kinds) - kinds[::-1].index("QuantizeLinear")
        return kinds[: kinds.index("QuantizeLinear")], kinds[end:]

    before, after = around("none", tmp_path / "int8.onnx")
    assert before[-2:] == ["Mul", "Sub"] and after == ["Softmax"]
    first = next(n.name for n in onnx.load(exported.onnx).graph.node if n.op_type == "Conv")
    assert around(first, tmp_path / "first.onnx")[0] == [*before, "Conv", "Relu"]
