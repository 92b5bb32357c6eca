"""OpenVINO, by its own API: asked for f32, and as it chooses by itself.

On a CPU with bf16 it computes in bf16 unless it is told not to, which changes labels; what it does
is read back from the compiled model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_export.engines.arrays import Pixels, Ran, named_outputs
from fer_runtime.providers import openvino as provider
from fer_runtime.session import feed
from fer_runtime.spec import ModelSpec

HINT = "INFERENCE_PRECISION_HINT"
ARITHMETIC = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""OpenVINO's names of types -> ours."""


def missing() -> str:
    """Why OpenVINO cannot run here; "" where it can."""
    causes = provider.diagnose()
    return str(causes[0]) if causes else ""


def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run an ONNX file in f32, as fer-infer does."""
    return _run(path, spec, batches, {HINT: "f32"})


def run_by_default(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run an ONNX file without asking for an arithmetic."""
    return _run(path, spec, batches, {})


def _run(
    path: Path, spec: ModelSpec, batches: Sequence[Pixels], settings: Mapping[str, Any]
) -> Ran:
    from openvino import Core

    compiled = Core().compile_model(str(path), "CPU", dict(settings))
    names = [output.any_name for output in compiled.outputs]
    outputs = [
        named_outputs(names, list(compiled({0: feed(batch, spec.input)}).values()), spec)
        for batch in batches
    ]
    kind = compiled.get_property(HINT).get_type_name()
    return Ran(outputs, provider.version(), ARITHMETIC.get(kind, kind))
