"""Each engine's outputs compared with PyTorch's, and the verdicts as values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fer_export import parity
from fer_export.engines import native
from fer_export.engines.arrays import Outputs, Ran
from fer_export.engines.table import ENGINES, Engine
from fer_export.formats.table import format_of
from fer_export.inspection import read_spec
from fer_export.parity.inputs import InputBatch
from fer_export.precision.table import PRECISIONS, precision_of
from fer_runtime.errors import FerError

COMPARED = ("logits", "probabilities")
AGREEMENT = 0.995
"""Share of equal top-1 that is required where values differ by design."""
LIMITS: Mapping[str, Mapping[str, Any]] = {
    "f32": {},
    # bf16 has 8 bits; labels decide, as for an arithmetic that fer-infer is asked for.
    "bf16": {"tolerance": None, "min_agreement": AGREEMENT},
    "f16": {"tolerance": PRECISIONS["fp16"].tolerance, "min_agreement": AGREEMENT},
}
"""Arithmetic that an engine says it computes in -> limits instead of the file's."""


@dataclass(frozen=True)
class EngineVerdict:
    """What one engine makes of an artefact; true unless it differs or was asked for in vain.

    Attributes:
        name: in `ENGINES`.
        title: of the engine.
        file: that it ran.
        version: of the engine; "" where it did not run.
        arithmetic: what it says it computes floats in; "" where it did not run.
        precision: of the file.
        reference: what it was compared with.
        report: the comparison; None where it did not run.
        reason: why it did not run; "" where it did.
        required: whether it was named, so that not running is a failure.
    """

    name: str
    title: str
    file: Path | None = None
    version: str = ""
    arithmetic: str = ""
    precision: str = "fp32"
    reference: str = "PyTorch"
    report: parity.ParityReport | None = None
    reason: str = ""
    required: bool = True

    def __bool__(self) -> bool:
        return not self.required if self.report is None else bool(self.report)

    @property
    def outcome(self) -> str:
        """ "passed", "FAILED" or "not run"."""
        if self.report is None:
            return "FAILED" if self.required else "not run"
        return "passed" if self.report else "FAILED"

    @property
    def remark(self) -> str:
        """Why it did not run, what failed, or what a reader must know of its arithmetic."""
        if self.report is None:
            return self.reason
        remarks = list(self.report.failures)
        if self.arithmetic not in ("", "f32"):
            remarks.append(f"{self.title} computes in {self.arithmetic} here, not in f32")
        return "; ".join(remarks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "engine": self.name, "outcome": self.outcome, "file": str(self.file or ""),
            "version": self.version, "arithmetic": self.arithmetic, "precision": self.precision,
            "reference": self.reference,
            "reason": self.reason, "report": self.report and self.report.to_dict(),
        }  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """The inputs, and what PyTorch outputs for them."""

    batches: Sequence[InputBatch]
    reference: Sequence[Outputs]
    labels: Sequence[str]
    weights_sha256: str | None


def verify_engines(
    names: Sequence[str], artefact: Path, expected: Expected, *, required: bool,
    say: Callable[[str], None] = lambda _: None,
) -> list[EngineVerdict]:  # fmt: skip
    """Run an artefact in each engine, and compare what it computes.

    An engine that runs another kind of file takes the one of the same name beside the artefact. An
    int8 file is compared with onnxruntime on the same file, because it differs from PyTorch by
    design; whether it is good enough is decided by labelled images (`fer-export verify`).

    Args:
        names: of `ENGINES`.
        artefact: the file.
        expected: inputs and reference.
        required: whether an engine that cannot run is a failure.
        say: called with a short line as work proceeds.
    """
    pixels = [batch.pixels for batch in expected.batches]

    @cache
    def in_onnxruntime(file: Path) -> Sequence[Outputs]:
        return native.run(file, read_spec(file), pixels).outputs

    verdicts = []
    for name in names:
        engine = ENGINES[name]
        file = _file_for(engine, artefact)
        reason = engine.why_not()
        if not reason and not file.is_file():
            reason = f"{file.name} is not beside {artefact.name}"
        if reason:
            verdict = EngineVerdict(name, engine.title, reason=reason, required=required)
        else:
            say(f"running {file.name} in {engine.title}")
            verdict = _verdict(name, engine, file, expected, in_onnxruntime)
        verdicts.append(verdict)
    return verdicts


def _file_for(engine: Engine, artefact: Path) -> Path:
    if artefact.suffix in engine.endings:
        return artefact
    infixes = "|".join(re.escape(each.infix) for each in PRECISIONS.values() if each.infix)
    stem = re.sub(f"({infixes})$", "", artefact.stem)
    return artefact.with_name(stem + engine.endings[0])


def _verdict(
    name: str, engine: Engine, file: Path, expected: Expected,
    in_onnxruntime: Callable[[Path], Sequence[Outputs]],
) -> EngineVerdict:  # fmt: skip
    try:
        spec = read_spec(file)
        precision = precision_of(file, format_of(file).precisions)
        ran = engine.run(file, spec, [batch.pixels for batch in expected.batches])
        reference, title = expected.reference, "PyTorch"
        if precision.name == "int8" and name != "onnxruntime":
            reference, title = in_onnxruntime(file), "onnxruntime, int8"
    except Exception as error:  # engines raise whatever they like at a graph
        said = str(error) if isinstance(error, FerError) else f"{type(error).__name__}: {error}"
        return EngineVerdict(name, engine.title, file, reason=f"cannot run it: {_one_line(said)}")
    limits: dict[str, Any] = {
        "tolerance": precision.tolerance, "min_agreement": precision.min_agreement,
    }  # fmt: skip
    if title != "PyTorch":
        limits["min_agreement"] = AGREEMENT
    limits |= LIMITS.get(ran.arithmetic, {})
    report = _compared(ran, reference, expected, limits)
    if spec.provenance.weights_sha256 != expected.weights_sha256:
        report = parity.with_failures(
            report, [f"{file.name} has other weights than the checkpoint"]
        )
    return EngineVerdict(
        name, engine.title, file, ran.version, ran.arithmetic, precision.computes, title, report
    )


def _compared(
    ran: Ran, reference: Sequence[Outputs], expected: Expected, limits: Mapping[str, Any]
) -> parity.ParityReport:
    results = [
        parity.Batch(batch.names, _plain(before), _plain(after))
        for batch, before, after in zip(expected.batches, reference, ran.outputs, strict=True)
    ]
    return parity.compare(results, expected.labels, **limits)


def _plain(outputs: Outputs) -> Outputs:
    return {name: np.asarray(outputs[name], np.float32) for name in COMPARED}


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
