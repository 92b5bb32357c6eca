"""The options that ONNX alone has."""

from __future__ import annotations

from dataclasses import dataclass

from fer_runtime.cli.options import option

OPSET = 18
OPSETS = (18, 25)
"""The first and the last opset that PyTorch writes; onnxruntime 1.23 runs up to 23."""


@dataclass(frozen=True)
class OnnxSettings:
    """How the ONNX graph is written."""

    opset: int = option(OPSET, f"ONNX operator set, {OPSETS[0]} to {OPSETS[1]}.")
