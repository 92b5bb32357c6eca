"""ONNX through torch.export: uint8 in, logits and probabilities out, dynamic batch, one file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch

from fer_export.formats import graph
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import METADATA_KEY, ModelSpec
from fer_train.models import Deployable

OPSET = 18
OPSETS = (18, 25)
"""The first and the last opset that PyTorch writes; onnxruntime 1.23 runs up to 23."""
IR_VERSION = 10
"""IR of ONNX 1.16, the newest that every onnxruntime this project supports can read."""
MAX_BATCH = 65536
MAX_BYTES = (1 << 31) - (1 << 20)
"""What one ONNX file can hold: protobuf ends at 2 GiB."""


def convert(deployable: Deployable, spec: ModelSpec, path: Path, opset: int = OPSET) -> None:
    """Export the wrapper in evaluation mode, check the graph, and save it with its spec.

    Raises:
        ModelFileError: PyTorch cannot export the net, this opset cannot be had, or the weights are
            more than one file can hold.
        ParityError: the graph holds nodes in training mode.
    """
    first, last = OPSETS
    if not first <= opset <= last:
        raise ModelFileError(f"--opset {opset}: PyTorch writes opset {first} to {last}.")
    size = sum(t.numel() * t.element_size() for t in deployable.state_dict().values())
    if size > MAX_BYTES:
        raise ModelFileError(
            f"The weights take {size:,} bytes, and one ONNX file holds {MAX_BYTES:,} at most; "
            "fer-export pt2 has no such limit."
        )
    model = program(deployable, spec, opset).model_proto
    actual = {entry.domain: entry.version for entry in model.opset_import}.get("")
    if actual != opset:
        raise ModelFileError(
            f"PyTorch made a graph of opset {actual}, because it cannot convert this net to opset "
            f"{opset}; leave --opset away."
        )
    model.ir_version = min(model.ir_version, IR_VERSION)
    graph.forget_making(model)
    graph.require_evaluation_mode(model)
    _set_spec(model, spec)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def program(deployable: Deployable, spec: ModelSpec, opset: int = OPSET) -> Any:
    """PyTorch's ONNXProgram of the wrapper in evaluation mode, with a dynamic batch.

    Raises:
        ModelFileError: PyTorch cannot export the net.
    """
    example = torch.zeros((2, *spec.input.shape), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        with _quiet():
            made = torch.onnx.export(
                deployable.eval(),
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=[spec.input.name],
                output_names=["logits", "probabilities"],
                dynamic_shapes=({0: batch},),
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"PyTorch cannot export this net to ONNX: {reason}") from error
    assert made is not None
    return made


def embed(path: Path, spec: ModelSpec) -> None:
    """Write the file again with another spec."""
    model = onnx.load(path)
    _set_spec(model, spec)
    onnx.save(model, path)


def weights_sha256(path: Path) -> str:
    """Hash of the graph with its weights, which is all of the file but its spec."""
    model = onnx.load(path)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _set_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    kept = {prop.key: prop.value for prop in model.metadata_props if prop.key != METADATA_KEY}
    onnx.helper.set_model_props(model, {**kept, METADATA_KEY: spec.to_json()})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter narrates its steps on stdout and warns about its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
