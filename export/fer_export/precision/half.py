"""fp16: half precision inside the graph; inputs and outputs keep theirs.

The conversion is onnxruntime's own (`onnxruntime.transformers.float16`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from fer_export.formats import graph, to_onnx
from fer_export.parity import inputs
from fer_export.precision.job import Job, Made
from fer_runtime.errors import ParityError

LARGEST = 32_000
"""Largest fp32 intermediate that is allowed: half of fp16's largest value (65,504)."""
IN_FLOAT = ("Softmax",)
"""Operators that stay in fp32, so that probabilities sum to one."""


def make(job: Job) -> Made:
    """Write the fp16 model of an fp32 file.

    Raises:
        DataError: the calibration folder cannot be used.
        ParityError: an intermediate is too large for fp16.
    """
    typical = (
        [] if job.calibration is None else list(inputs.files(job.calibration, job.spec.input, 512))
    )
    largest = convert(job.source, job.target, [*job.batches, *typical], job.target.parent)
    return Made(largest_intermediate=largest)


def is_half(artefact: Path) -> bool:
    """Whether an ONNX file has weights in half precision."""
    model = onnx.load(artefact, load_external_data=False)
    half = onnx.TensorProto.FLOAT16
    return any(entry.data_type == half for entry in model.graph.initializer)


def largest_value(
    source: Path, batches: Sequence[inputs.InputBatch], folder: Path
) -> tuple[float, str, str]:
    """The largest magnitude of any intermediate float, its node, and its image.

    NaN counts as the largest. `folder` takes a temporary copy of the file. At most 17 images of a
    batch are run, four at a time; the image is the first of its four.
    """
    outputs = graph.float_outputs(onnx.load(source))
    copy = folder / "intermediates.onnx"
    graph.with_outputs(source, outputs, copy)
    run = to_onnx.runner(copy)
    best, where, image = 0.0, "", ""
    for batch in batches:
        for start in range(0, min(len(batch.names), inputs.BATCH_SIZES[-1]), 4):
            for name, values in run(batch.pixels[start : start + 4]).items():
                largest = float(np.abs(values).max(initial=0.0))
                if not largest <= best:  # also NaN
                    best, image = largest, batch.names[start]
                    where = outputs[name].name if name in outputs else name
    copy.unlink()
    return best, where, image


def _join_casts(model: onnx.ModelProto) -> None:
    """Remove the casts to fp16 and back before an output that was computed in fp32."""
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

    largest, node, image = largest_value(source, batches, folder)
    if not largest <= LARGEST:
        raise ParityError(
            f"{node} outputs {largest:,.0f} on {image} or one of the three after it; fp16 ends at "
            f"65,504, and {LARGEST:,} is allowed. Use fp32, or int8 with --calibration."
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
