"""What tests look at in an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import onnx


def layers_in_float(path: Path) -> list[bool]:
    """Of each layer with weights, in order, whether its weights are float."""
    model = onnx.load(path)
    dequantised = {
        name for n in model.graph.node if n.op_type == "DequantizeLinear" for name in n.output
    }
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    return [layer.input[1] not in dequantised for layer in layers]
