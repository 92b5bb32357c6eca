"""fp16 weights: stored in half precision, computed in fp32; half the size at full accuracy.

Each weight is followed by a cast, which runtimes evaluate once, when they load the file, so it runs
at the speed of fp32 everywhere and needs no CPU or GPU that computes in fp16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_export.formats.graph import WEIGHTED
from fer_export.precision.job import Job, Made
from fer_runtime.errors import ParityError

LARGEST = float(np.finfo(np.float16).max)


def make(job: Job) -> Made:
    """Write the model of an fp32 file with its weights in half precision.

    Biases, normalisation and all else keep theirs: they are few.

    Raises:
        ParityError: a weight is too large for fp16.
    """
    model = onnx.load(job.source)
    values = {entry.name: entry for entry in model.graph.initializer}
    for name in sorted(_weights(model) & set(values)):
        entry = values[name]
        if entry.data_type != TensorProto.FLOAT:
            continue
        full = numpy_helper.to_array(entry)
        largest = float(np.abs(full).max(initial=0.0))
        if not largest <= LARGEST:
            raise ParityError(
                f"The weight {name} has a value of {largest:,.0f}; fp16 ends at {LARGEST:,.0f}. "
                "Use fp32, or int8 with --calibration."
            )
        # The stored weight is renamed, so that the nodes go on reading the full one.
        entry.CopyFrom(numpy_helper.from_array(full.astype(np.float16), f"{name}.half"))
        cast = helper.make_node("Cast", [entry.name], [name], f"{name}.cast", to=TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, job.target)
    return Made()


def has_half_weights(artefact: Path) -> bool:
    """Whether an ONNX file stores weights in half precision that it computes with in fp32."""
    model = onnx.load(artefact, load_external_data=False)
    half = {e.name for e in model.graph.initializer if e.data_type == TensorProto.FLOAT16}
    users = [node for node in model.graph.node if half & set(node.input)]
    return bool(users) and all(_casts_to_float(node) for node in users)


def _casts_to_float(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(
        each.name == "to" and each.i == TensorProto.FLOAT for each in node.attribute
    )


def _weights(model: onnx.ModelProto) -> set[str]:
    """The second inputs of convolutions and matrix products."""
    return {node.input[1] for node in model.graph.node if node.op_type in WEIGHTED}
