"""ONNX through torch.export: uint8 in, logits and probabilities out, dynamic batch, one file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch

from fer_runtime.errors import ModelFileError
from fer_runtime.spec import METADATA_KEY, ModelSpec
from fer_train.models import Deployable

OPSET = 18
IR_VERSION = 10
"""IR of ONNX 1.16, the newest that every onnxruntime this project supports can read."""
MAX_BATCH = 65536


def convert(deployable: Deployable, spec: ModelSpec, path: Path, opset: int = OPSET) -> None:
    """Export the wrapper in evaluation mode, check the graph, and save it with its spec.

    Raises:
        ModelFileError: PyTorch cannot export the net, or the graph breaks ONNX's rules.
    """
    example = torch.zeros((2, *spec.input.shape), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        with _quiet():
            program = torch.onnx.export(
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
    assert program is not None
    model = program.model_proto
    model.ir_version = min(model.ir_version, IR_VERSION)
    _set_spec(model, spec)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


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
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
