"""What a graph has to compute and to move for one image: multiply-adds, and bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import onnx

WEIGHTED = ("Conv", "Gemm", "MatMul")


class Cost(NamedTuple):
    """Of one layer with weights, for one image.

    Attributes:
        name: the node's.
        multiply_adds: of floats, or of integers where `is_int8`.
        activation_bytes: that are read and written once each.
        weight_bytes: which a batch reads once.
        is_int8: whether its input and its weights are quantised.
    """

    name: str
    multiply_adds: int
    activation_bytes: int
    weight_bytes: int
    is_int8: bool


def layers(path: Path) -> list[Cost]:
    """The layers of an ONNX file in order; QDQ files are counted as they are run, fused."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    graph = model.graph
    shapes = {entry.name: tuple(entry.dims) for entry in graph.initializer}
    for entry in (*graph.value_info, *graph.input, *graph.output):
        dims = entry.type.tensor_type.shape.dim
        shapes.setdefault(entry.name, tuple(d.dim_value if d.dim_value > 0 else 1 for d in dims))
    dequantised = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    quantised = {n.input[0] for n in graph.node if n.op_type == "QuantizeLinear"}
    return [
        _cost(node, shapes, dequantised, quantised)
        for node in graph.node
        if node.op_type in WEIGHTED and node.input[1] in shapes
    ]


def _cost(node: Any, shapes: Any, dequantised: set[str], quantised: set[str]) -> Cost:
    data, weights, made = (shapes[name] for name in (*node.input[:2], node.output[0]))
    each = math.prod(weights[1:]) if node.op_type == "Conv" else data[-1]
    is_int8 = node.input[0] in dequantised and node.input[1] in dequantised
    read = math.prod(data) * (1 if node.input[0] in dequantised else 4)
    written = math.prod(made) * (1 if node.output[0] in quantised else 4)
    size = math.prod(weights) * (1 if is_int8 else 4)
    return Cost(node.name, math.prod(made) * each, read + written, size, is_int8)
