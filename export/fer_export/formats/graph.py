"""ONNX graphs: what they contain, what must not be in them, and what every node outputs."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx

from fer_export.inspection import Inspection, spec_from
from fer_runtime.errors import ParityError
from fer_runtime.spec import METADATA_KEY

MAX_BYTES = 1 << 31
"""protobuf ends at 2 GiB."""
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")
"""Operators whose second input is a weight."""
PRODUCER_NOTES = (
    "pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node", "pkg.torch.onnx.class_hierarchy",
)  # fmt: skip
"""What PyTorch notes at every node about its origin, with the paths of the machine."""


def inspect(path: Path) -> Inspection | None:
    """What an ONNX file contains, or None for another kind of file; other files stay unopened.

    Raises:
        ModelSpecError: its spec is broken.
    """
    from google.protobuf.message import DecodeError

    size = path.stat().st_size
    if not 0 < size < MAX_BYTES or zipfile.is_zipfile(path):
        return None
    try:
        # Without a format onnx goes by the ending, and parses a .json or .txt as text.
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError):
        return None
    if not model.graph.node:
        return None
    text = {prop.key: prop.value for prop in model.metadata_props}.get(METADATA_KEY)
    operators = Counter(node.op_type for node in model.graph.node)
    facts = {
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": [_signature(entry) for entry in model.graph.input],
        "outputs": [_signature(entry) for entry in model.graph.output],
        "operators": dict(operators.most_common()),
        "parameters": sum(math.prod(entry.dims) for entry in model.graph.initializer),
        "external_data": _external(model),
    }
    return Inspection(path, "ONNX", size, spec_from(path, text) if text else None, facts)


def _signature(entry: Any) -> str:
    kind = entry.type.tensor_type
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    sizes = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
    return f"{entry.name}: {name} ({', '.join(sizes)})"


def _external(model: onnx.ModelProto) -> list[str]:
    """The other files that contain its weights, as it names them; they are not opened."""
    return sorted(
        {
            pair.value
            for entry in model.graph.initializer
            for pair in entry.external_data
            if pair.key == "location"
        }
    )


def forget_making(model: onnx.ModelProto) -> None:
    """Drop the stack traces: they name folders of whoever exported, and are a fifth of the file.

    `pkg.torch.onnx.name_scopes` stays: it is the module of the model that a node belongs to.
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
    """The module of the model that a node was made from ("net.3.body.0"), or its name."""
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
    """Copy an ONNX file so that it outputs the named values too, after its own outputs."""
    model = onnx.load(source)
    inferred = onnx.shape_inference.infer_shapes(model)
    present = {entry.name for entry in model.graph.output}
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in inferred.graph.value_info}
    for name in names:
        if name not in present:
            entry = onnx.helper.make_tensor_value_info(name, kinds[name], None)
            model.graph.output.append(entry)
    onnx.save(model, target)
