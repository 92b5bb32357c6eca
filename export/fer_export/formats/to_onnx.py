"""ONNX through torch.export: uint8 in, logits and probabilities out, dynamic batch, one file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from fer_export.formats import graph
from fer_export.formats.onnx_settings import OPSET, OPSETS
from fer_export.formats.recorder import values_of
from fer_export.formats.runners import Runner
from fer_export.formats.table import Values
from fer_runtime.errors import ModelFileError
from fer_runtime.session import Session
from fer_runtime.spec import METADATA_KEY, ModelSpec
from fer_train.models import Deployable

IR_VERSION = 10
"""IR of ONNX 1.16, the newest that every onnxruntime this project supports can read."""
MAX_BATCH = 65536
MAX_BYTES = (1 << 31) - (1 << 20)
"""Largest weights of one ONNX file: protobuf ends at 2 GiB."""


def convert(deployable: Deployable, spec: ModelSpec, path: Path, opset: int = OPSET) -> None:
    """Export the wrapper in evaluation mode, check the graph, and save it with its spec.

    Raises:
        ModelFileError: PyTorch cannot export the model or write this opset, or the weights are too
            large for one file.
        ParityError: the graph contains nodes in training mode.
    """
    first, last = OPSETS
    if not first <= opset <= last:
        raise ModelFileError(f"--opset {opset}: PyTorch writes opset {first} to {last}.")
    size = sum(t.numel() * t.element_size() for t in deployable.state_dict().values())
    if size > MAX_BYTES:
        raise ModelFileError(
            f"The weights take {size:,} bytes, and one ONNX file contains {MAX_BYTES:,} at most; "
            "fer-export pt2 has no such limit."
        )
    model = program(deployable, spec, opset).model_proto
    actual = {entry.domain: entry.version for entry in model.opset_import}.get("")
    if actual != opset:
        raise ModelFileError(
            f"PyTorch made a graph of opset {actual}, because it cannot convert this model to "
            f"opset {opset}; omit --opset."
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
        ModelFileError: PyTorch cannot export the model.
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
                output_names=list(deployable.outputs),
                dynamic_shapes=({0: batch},),
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"PyTorch cannot export this model to ONNX: {reason}") from error
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


def runner(path: Path, provider: str = "cpu") -> Runner:
    """An ONNX file on a provider of `fer_runtime`, through the runtime's own session."""
    session = Session.open(path, provider=provider)
    return lambda pixels: {k: np.array(v) for k, v in session.run_named(pixels).items()}


def timed_runner(path: Path) -> Runner:
    """An ONNX file on one thread of the CPU; outputs are not copied."""
    return Session.open(path, provider="cpu", threads=1).run_named


def values(
    deployable: Deployable, spec: ModelSpec, artefact: Path, pixels: npt.NDArray[np.uint8]
) -> Values:
    """What PyTorch's program and the ONNX file compute on the way, for (N, C, H, W) pixels.

    Names agree, because the graph was made from that program.
    """
    exported = program(deployable, spec).exported_program
    assert exported is not None
    outputs = graph.float_outputs(onnx.load(artefact))
    places = {
        name: (node.name, node.op_type, graph.scope_of(node)) for name, node in outputs.items()
    }
    reference = values_of(exported.module(), pixels)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.onnx"
        graph.with_outputs(artefact, [name for name in outputs if name in reference], copy)
        found = runner(copy)(pixels)
    return Values(reference, {name: found[name] for name in outputs if name in found}, places)


def _set_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    kept = {prop.key: prop.value for prop in model.metadata_props if prop.key != METADATA_KEY}
    onnx.helper.set_model_props(model, {**kept, METADATA_KEY: spec.to_json()})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch's exporter prints its steps on stdout and warns about its own internals."""
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
