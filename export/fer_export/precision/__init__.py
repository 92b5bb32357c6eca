"""Precisions of an ONNX file: what each may cost, and how it is made from the fp32 file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from fer_export import parity
from fer_export.formats import runners, to_onnx
from fer_export.parity import inputs
from fer_export.precision import accuracy, half, int8, speed
from fer_runtime import labelled
from fer_runtime.spec import ModelSpec


@dataclass(frozen=True)
class Precision:
    """`tolerance` and `min_agreement` are those of `parity.compare` unless others are asked for."""

    name: str
    infix: str
    tolerance: float | None
    min_agreement: float


PRECISIONS: Mapping[str, Precision] = {
    entry.name: entry
    for entry in (
        Precision("fp32", "", parity.TOLERANCE, 1.0),
        # Half precision has 11 bits; through a deep net some of them go.
        Precision("fp16", ".fp16", 0.05, 0.995),
        # Values depart by design; macro-F1 on labelled images decides.
        Precision("int8", ".int8", None, 0.0),
    )
}
"""Name -> precision; the infix stands before the file's ending."""


@dataclass(frozen=True)
class Reduced:
    """What was found out while a precision was reduced.

    `figures` are those of "fp32" and of the precision on labelled images (empty without such),
    `candidates` the ways of quantising that were tried, `largest_intermediate` what fp16 must hold,
    `speed` images/s at batch 32 on one thread, `bytes` the files' sizes before the verdict.
    """

    figures: Mapping[str, accuracy.Figures]
    speed: Mapping[str, float]
    bytes: Mapping[str, int]
    candidates: Sequence[int8.Candidate] = ()
    largest_intermediate: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "accuracy": {name: found.to_dict() for name, found in self.figures.items()},
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "largest_intermediate": self.largest_intermediate,
            "images_per_second": dict(self.speed),
            "bytes": dict(self.bytes),
        }


def precision_of(artefact: Path) -> Precision:
    """The precision of an ONNX file by what its graph holds; fp32 for every other kind."""
    if artefact.suffix != ".onnx":
        return PRECISIONS["fp32"]
    model = onnx.load(artefact, load_external_data=False)
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return PRECISIONS["int8"]
    half = onnx.TensorProto.FLOAT16
    if any(entry.data_type == half for entry in model.graph.initializer):
        return PRECISIONS["fp16"]
    return PRECISIONS["fp32"]


def reduce(
    precision: str,
    source: Path,
    target: Path,
    spec: ModelSpec,
    batches: Sequence[inputs.InputBatch],
    *,
    calibration: Path | None = None,
    evaluation: Path | None = None,
    skip_duplicates: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Reduced:
    """Write the fp16 or int8 model of an fp32 ONNX file, and say what it costs and gains.

    int8 needs both folders: `calibration` of images, `evaluation` of labelled ones. `batches` are
    what parity is tried on.

    Raises:
        DataError: a folder cannot be used.
        ParityError: the model does not stand this precision.
    """
    known = None if evaluation is None else labelled.read(evaluation, spec.labels)
    reference = None
    if known is not None:
        say(f"judging fp32 on {len(known.paths):,} labelled images")
        reference = accuracy.measure(runners.onnx(source), known, spec)
    largest: float | None = None
    tried: list[int8.Candidate] = []
    if precision == "int8":
        assert calibration is not None and known is not None and reference is not None
        typical = int8.calibration_batches(
            calibration, known, spec, skip_duplicates=skip_duplicates
        )
        say(f"quantising by {sum(len(b.names) for b in typical)} calibration images")
        best, tried = int8.quantise(source, target, typical, known, spec, reference, say)
        figures = {"fp32": reference, "int8": best.figures}
    else:
        typical = [] if calibration is None else list(inputs.files(calibration, spec.input, 512))
        largest = half.convert(source, target, [*batches, *typical], target.parent)
        figures = {}
        if known is not None and reference is not None:
            reduced = accuracy.measure(runners.onnx(target), known, spec)
            figures = {"fp32": reference, "fp16": reduced}
    say("measuring speed")
    to_onnx.embed(target, spec)  # quantisers lose it, or keep a stale one
    files = {"fp32": source, precision: target}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    return Reduced(figures, speed.images_per_second(files), sizes, tried, largest)
