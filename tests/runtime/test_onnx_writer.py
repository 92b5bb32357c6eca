"""The tests' own writer of ONNX files makes what onnx.helper makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.runtime import onnx_writer

onnx = pytest.importorskip("onnx", reason="the comparison needs onnx (extra `export`)")

NODES: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
    ("Cast", ["x"], ["floats"], {"to": onnx_writer.FLOAT}),
    ("LeakyRelu", ["floats"], ["leaky"], {"alpha": 0.25}),
    ("Conv", ["leaky", "filters"], ["maps"], {"strides": [2, 1], "pads": [0, 1, 0, 1]}),
    ("ReduceSum", ["maps", "axes"], ["sums"], {"keepdims": 0}),
    ("Softmax", ["sums"], ["y"], {"axis": -1}),
]
INPUTS: list[onnx_writer.Value] = [("x", onnx_writer.UINT8, ["batch", 1, 300, 20])]
OUTPUTS: list[onnx_writer.Value] = [("y", onnx_writer.FLOAT, ["batch", 6])]
WEIGHTS: dict[str, Any] = {
    "filters": np.random.default_rng(0).normal(size=(6, 1, 5, 5)).astype(np.float32),
    "axes": np.array([2, 3]),
    "scalar": np.float32(-1.5),
    "bytes": np.arange(5, dtype=np.uint8),
}
METADATA = {"key": "value", "ключ": "x" * 1000, "empty": ""}


def test_a_model_is_the_one_that_onnx_makes() -> None:
    from onnx import helper, numpy_helper

    written = onnx.load_model_from_string(
        onnx_writer.model(
            [onnx_writer.node(op, ins, outs, **named) for op, ins, outs, named in NODES],
            INPUTS, OUTPUTS, WEIGHTS, METADATA,
        )
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **named) for op, ins, outs, named in NODES],
        "tiny",
        [helper.make_tensor_value_info(*entry) for entry in INPUTS],  # type: ignore[arg-type]
        [helper.make_tensor_value_info(*entry) for entry in OUTPUTS],  # type: ignore[arg-type]
        [numpy_helper.from_array(np.asarray(value), name) for name, value in WEIGHTS.items()],
    )
    expected = helper.make_model(
        graph, ir_version=onnx_writer.IR_VERSION, opset_imports=[helper.make_opsetid("", 17)]
    )
    helper.set_model_props(expected, METADATA)
    assert written == expected
    onnx.checker.check_model(written, full_check=True)


def test_a_shape_without_axes_is_a_scalar() -> None:
    node = onnx_writer.node("Identity", ["x"], ["y"])
    model = onnx_writer.model(
        [node], [("x", onnx_writer.FLOAT, [])], [("y", onnx_writer.FLOAT, [])]
    )
    onnx.checker.check_model(onnx.load_model_from_string(model))
