"""fp16: weights and arithmetic in half precision inside the graph; inputs and outputs keep theirs.

The conversion is onnxruntime's own (`onnxruntime.transformers.float16`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import onnx

from fer_export.formats import graph
from fer_export.parity import inputs
from fer_runtime.errors import ParityError

LARGEST = 32_000
"""Largest fp32 intermediate that is let through: half of what fp16 can hold (65,504)."""
IN_FLOAT = ("Softmax",)
"""Operators that stay in fp32, so that probabilities sum to one."""


def _join_casts(model: onnx.ModelProto) -> None:
    """Let an output that was computed in fp32 leave as it is, not by way of fp16."""
    producers = {name: node for node in model.graph.node for name in node.output}
    for output in model.graph.output:
        last = producers[output.name]
        before = producers.get(last.input[0])
        if last.op_type == "Cast" and before is not None and before.op_type == "Cast":
            source = producers[before.input[0]]
            if source.op_type in IN_FLOAT:
                source.output[0] = output.name
                model.graph.node.remove(last)
                model.graph.node.remove(before)


def convert(
    source: Path, target: Path, batches: Sequence[inputs.InputBatch], folder: Path
) -> float:
    """Write the fp16 model of an fp32 file; returns the largest fp32 intermediate on `batches`.

    Raises:
        ParityError: an intermediate is too large for fp16.
    """
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    largest, node, image = graph.largest_value(source, batches, folder)
    if not largest <= LARGEST:
        raise ParityError(
            f"{node} puts out {largest:,.0f} on {image} or one of the three after it; fp16 ends at "
            f"65,504 and {LARGEST:,} is allowed. Keep fp32, or int8 with --calibration."
        )
    logger = logging.getLogger("onnxruntime.transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        model = float16.convert_float_to_float16(
            onnx.load(source),
            keep_io_types=True,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *IN_FLOAT],
        )
    finally:
        logger.setLevel(before)
    _join_casts(model)
    OnnxModel(model).topological_sort()  # the conversion appends its casts at the end
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
    return largest
