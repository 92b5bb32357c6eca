"""An ONNX file as hubs expect it: `pixel_values` float32 -> calibrated `logits`.

`pixel_values` are RGB from 0 to 1 of a picture of any size. What `fer_runtime.images` does (grey,
resize, crop) is in front of the graph, because the loaders' own resize has no antialiasing; and the
temperature is in the logits, because their pipelines apply a plain softmax.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from fer_export.formats import graph as graphs
from fer_export.homes.hub import resizing
from fer_export.homes.hub.nodes import PREFIX, Nodes
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import InputSpec, ModelSpec

Pixels = npt.NDArray[np.uint8]
INPUT, OUTPUT = "pixel_values", "logits"
LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue, in 65536ths (ITU-R 601), as Pillow has them."""
OLDEST_OPSET = 13


def convert(model: Path, spec: ModelSpec, target: Path) -> None:
    """Write `model` with its preprocessing in front and its temperature behind.

    Args:
        model: an ONNX file.
        spec: its spec.
        target: the file to write.

    Raises:
        ModelFileError: its opset is too old, or its batch has a fixed size.
    """
    loaded = onnx.load(model)
    graph = loaded.graph
    _check(model, loaded)
    _rename(graph, OUTPUT, f"{PREFIX}{OUTPUT}")
    outputs = [output.name for output in graph.output]
    logits = f"{PREFIX}{OUTPUT}" if f"{PREFIX}{OUTPUT}" in outputs else outputs[0]
    before, after = Nodes(), Nodes()
    fed = _fed(before, spec.input)
    _rename(graph, spec.input.name, fed)
    temperature = before.constant(spec.temperature)
    after.nodes.append(helper.make_node("Div", [logits, temperature], [OUTPUT], name=OUTPUT))
    body = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(_needed(body, OUTPUT))
    graph.initializer.extend(before.constants)
    graph.input.append(
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, "height", "width"])
    )
    graph.output.append(
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(spec.labels)])
    )
    used = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.value_info[:], graph.initializer[:]
    graph.initializer.extend(kept)
    graphs.forget_making(loaded)
    onnx.checker.check_model(loaded)
    onnx.save(loaded, target)


def runner(converted: Path) -> Callable[[Pixels], npt.NDArray[np.float32]]:
    """Open what `convert` wrote: (N, C, H, W) uint8 pixels of the model -> (N, K) its logits.

    Pixels are given as the loaders' processors give them, in RGB from 0 to 1.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        str(converted), options, providers=["CPUExecutionProvider"]
    )

    def run(pixels: Pixels) -> npt.NDArray[np.float32]:
        colours = np.repeat(pixels, 3 // pixels.shape[1], axis=1)
        values = colours.astype(np.float32) / np.float32(255)
        logits: npt.NDArray[np.float32] = session.run([OUTPUT], {INPUT: values})[0]
        return logits

    return run


def _check(model: Path, loaded: onnx.ModelProto) -> None:
    opset = max(e.version for e in loaded.opset_import if e.domain in ("", "ai.onnx"))
    if opset < OLDEST_OPSET:
        raise ModelFileError(
            f"{model} has opset {opset}; a hub folder requires {OLDEST_OPSET} or later. Export the "
            "model again."
        )
    batch = loaded.graph.input[0].type.tensor_type.shape.dim[0]
    if batch.dim_value:
        raise ModelFileError(
            f"{model} takes batches of exactly {batch.dim_value}; a hub folder requires a graph "
            "whose batch is free."
        )


def _fed(nodes: Nodes, spec: InputSpec) -> str:
    """The nodes from `pixel_values` to the model's own input; returns its name."""
    levels = nodes("Round", nodes("Mul", INPUT, nodes.constant(255)))
    if spec.channels == 1:
        weights = nodes.constant(np.reshape(LUMA, (1, 3, 1, 1)))
        # Whole numbers below 2^24, so that float32 is exact.
        total = nodes("Conv", levels, weights, nodes.constant([32768]))
        levels = nodes("Floor", nodes("Mul", total, nodes.constant(1 / 65536)))
    fitted = resizing.fit(nodes, levels, spec)
    if spec.dtype == "uint8":
        tensor = nodes("Cast", fitted, to=TensorProto.UINT8)
    else:
        tensor = _normalised(nodes, fitted, spec)
    return tensor if spec.layout == "NCHW" else nodes("Transpose", tensor, perm=[0, 2, 3, 1])


def _normalised(nodes: Nodes, levels: str, spec: InputSpec) -> str:
    """As `fer_runtime.session.feed`."""
    low, high = spec.value_range
    mean, std = (nodes.constant(np.reshape(values, (-1, 1, 1))) for values in (spec.mean, spec.std))
    scaled = nodes("Sub", nodes("Div", levels, nodes.constant(255)), mean)
    span = nodes("Mul", nodes("Div", scaled, std), nodes.constant(high - low))
    return nodes("Add", span, nodes.constant(low))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a value of the graph another name, wherever it is used."""
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for output in graph.output:
        if output.name == old:
            output.name = new


def _needed(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes that the output depends on, in their order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
