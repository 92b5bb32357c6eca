"""ONNX graphs looked into: what must not be in them, and what every node puts out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx

from fer_export.formats import runners
from fer_export.parity.inputs import BATCH_SIZES, InputBatch
from fer_runtime.errors import ParityError

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
PRODUCER_NOTES = (
    "pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node", "pkg.torch.onnx.class_hierarchy",
)  # fmt: skip
"""What PyTorch writes to every node about its making, with the paths of the machine."""


def forget_making(model: onnx.ModelProto) -> None:
    """Drop the stack traces: they name folders of whoever exported, and are a fifth of the file.

    `pkg.torch.onnx.name_scopes` stays; it says which module of the net a node belongs to.
    """
    for node in model.graph.node:
        kept = [prop for prop in node.metadata_props if prop.key not in PRODUCER_NOTES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)


def forget_unused_operators(model: onnx.ModelProto) -> None:
    """Drop the operator sets that no node is from; onnxruntime's optimiser lists all it knows."""
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def require_evaluation_mode(model: onnx.ModelProto) -> None:
    """Refuse a graph with nodes that behave as in training.

    Raises:
        ParityError: a BatchNormalization with `training_mode`, or a Dropout that is switched on.
    """
    switched_on = {
        entry.name
        for entry in model.graph.initializer
        if entry.data_type == onnx.TensorProto.BOOL and onnx.numpy_helper.to_array(entry).any()
    }
    for node in model.graph.node:
        mode = {entry.name: entry.i for entry in node.attribute}.get("training_mode", 0)
        dropping = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]
        if (node.op_type == "BatchNormalization" and mode) or dropping in switched_on:
            raise ParityError(
                f"The node {node.name} ({node.op_type}, {scope_of(node)}) is in training mode: its "
                "output for an image depends on chance or on the other images of the batch."
            )


def unfolded_batch_norms(model: onnx.ModelProto) -> list[str]:
    """The names of BatchNormalization nodes that follow a convolution and could be part of it."""
    producer = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    found = []
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            before = producer.get(node.input[0])
            if before is not None and before.op_type == "Conv" and readers[node.input[0]] == 1:
                found.append(node.name)
    return found


def scope_of(node: onnx.NodeProto) -> str:
    """The module of the net that a node was made from ("net.3.body.0"), or its name."""
    noted = {prop.key: prop.value for prop in node.metadata_props}
    names = noted.get("pkg.torch.onnx.name_scopes", "").strip("[]").replace("'", "").split(", ")
    return names[-2] if len(names) > 1 and names[-2] else node.name


def float_outputs(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Floating values that nodes compute -> the node of each, in the graph's order."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {
        entry.name: entry.type.tensor_type.elem_type
        for entry in [*inferred.graph.value_info, *inferred.graph.output]
    }
    return {
        name: node
        for node in model.graph.node
        for name in node.output
        if name and kinds.get(name) in FLOATS
    }


def with_outputs(source: Path, names: Collection[str], target: Path) -> None:
    """Copy an ONNX file so that it puts out the named values too, after its own outputs."""
    model = onnx.load(source)
    inferred = onnx.shape_inference.infer_shapes(model)
    present = {entry.name for entry in model.graph.output}
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in inferred.graph.value_info}
    for name in names:
        if name not in present:
            entry = onnx.helper.make_tensor_value_info(name, kinds[name], None)
            model.graph.output.append(entry)
    onnx.save(model, target)


def largest_value(
    source: Path, batches: Sequence[InputBatch], folder: Path
) -> tuple[float, str, str]:
    """The largest magnitude of any intermediate float, the node it is from, and on which image.

    NaN counts as the largest. `folder` takes a temporary copy of the file; at most 17 images of a
    batch are looked at, four at a time.
    """
    outputs = float_outputs(onnx.load(source))
    copy = folder / "intermediates.onnx"
    with_outputs(source, outputs, copy)
    run = runners.onnx(copy)
    best, where, image = 0.0, "", ""
    for batch in batches:
        for start in range(0, min(len(batch.names), BATCH_SIZES[-1]), 4):
            for name, values in run(batch.pixels[start : start + 4]).items():
                largest = float(np.abs(values).max(initial=0.0))
                if not largest <= best:  # also NaN
                    best, image = largest, batch.names[start]
                    where = outputs[name].name if name in outputs else name
    copy.unlink()
    return best, where, image
