"""What proves an artefact: how it is judged, and all that was found out about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_export import parity
from fer_export.formats import Format, runners
from fer_export.formats.to_onnx import OPSET
from fer_export.parity import bisection, end_to_end, inputs
from fer_export.precision import Precision, Reduced
from fer_runtime.errors import ParityError
from fer_runtime.providers import diagnose_cuda
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable

Say = Callable[[str], None]
"""Called with a short sentence as work proceeds."""

SHOWN_CHANGES = 24

LOOSE_TOLERANCE = 0.25
"""Where a precision has no tolerance of its own, a node that is off by this many deviations."""


@dataclass(frozen=True)
class Options:
    """How an artefact is made and judged.

    `images`: a folder whose images are compared beside noise. `precision`: "fp32", "fp16" or
    "int8"; the last two are ONNX only, and int8 needs `calibration` (a folder of images) and
    `evaluation` (one of labelled images); `skip_duplicates` leaves calibration images out that are
    in the evaluation set too. `tolerance` and `min_agreement` default to the precision's own.
    `opset` is ONNX's. `bisect` names the first node that departs if parity fails. `reference` is
    `package.module:function`, the user's own preprocessing, which the labels of `images` must agree
    with.
    """

    images: Path | None = None
    precision: str = "fp32"
    calibration: Path | None = None
    evaluation: Path | None = None
    skip_duplicates: bool = False
    tolerance: float | None = None
    min_agreement: float | None = None
    opset: int = OPSET
    bisect: bool = False
    reference: str | None = None

    def gate(self, chosen: Precision) -> dict[str, Any]:
        """What `parity.compare` is told.

        The fp32 file that another precision is made from keeps fp32's own gate.
        """
        gate = {"tolerance": chosen.tolerance, "min_agreement": chosen.min_agreement}
        if chosen.name == "fp32" and self.precision != "fp32":
            return gate
        asked = {"tolerance": self.tolerance, "min_agreement": self.min_agreement}
        return {**gate, **{name: value for name, value in asked.items() if value is not None}}


@dataclass(frozen=True)
class Verification:
    """All that was found out about an artefact; true only if it passed.

    `pictures` are the pixels, (C, H, W) uint8, of the first images whose label changed, by name.
    """

    precision: str
    report: parity.ParityReport
    reduced: Reduced | None = None
    pictures: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.report)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, all but the pictures."""
        found = {"precision": self.precision, **self.report.to_dict()}
        return found if self.reduced is None else {**found, **self.reduced.to_dict()}

    def summary(self) -> dict[str, Any]:
        """What travels inside the artefact."""
        found = {"precision": self.precision, **self.report.summary()}
        if self.reduced is not None and self.reduced.figures:
            figures = self.reduced.figures.items()
            found["accuracy"] = {name: entry.to_dict() for name, entry in figures}
        return found


class VerificationError(ParityError):
    """A ParityError that carries its verification."""

    def __init__(self, message: str, verification: Verification) -> None:
        super().__init__(message)
        self.verification = verification


class ParityChecker:
    """Compares artefacts with one checkpoint on the same inputs; PyTorch runs once."""

    def __init__(
        self,
        deployable: Deployable,
        spec: ModelSpec,
        batches: Sequence[inputs.InputBatch],
        options: Options,
        say: Say,
    ) -> None:
        self.deployable, self.spec, self.batches = deployable, spec, batches
        self.options, self.say = options, say
        run = runners.eager(deployable)
        self.own: end_to_end.OwnPreprocessing | None = None
        if options.reference:
            say(f"running PyTorch through {options.reference}")
            self.own = end_to_end.own_preprocessing(options.reference, deployable, spec, batches)
        say(f"running PyTorch on {sum(len(batch.names) for batch in batches):,} images")
        self.reference = [run(batch.pixels) for batch in batches]
        self.failures = _batch_failures(run, batches, self.reference)

    def check_all_providers(
        self, chosen: Format, artefact: Path, wanted: Precision, reduced: Reduced | None = None
    ) -> Verification:
        """On the CPU and, where ONNX would run on CUDA, there too (int8 is a CPU's affair)."""
        verification = self.check(chosen, artefact, wanted, reduced)
        if not verification or chosen.name != "onnx" or wanted.name == "int8" or diagnose_cuda():
            return verification
        other = self.check(chosen, artefact, wanted, reduced, provider="cuda")
        failures = tuple(f"on CUDA, {failure}" for failure in other.report.failures)
        return (
            verification
            if other
            else replace(other, report=replace(other.report, failures=failures))
        )

    def check(
        self,
        chosen: Format,
        artefact: Path,
        wanted: Precision,
        reduced: Reduced | None = None,
        provider: str = "cpu",
    ) -> Verification:
        where = "" if provider == "cpu" else f" on {provider}"
        self.say(f"comparing {wanted.name}{where} with PyTorch")
        onnx = chosen.name == "onnx"
        run = runners.onnx(artefact, provider) if onnx else chosen.runner(artefact)
        candidate = [run(batch.pixels) for batch in self.batches]
        gate = self.options.gate(wanted)
        results = [
            parity.Batch(batch.names, expected, actual)
            for batch, expected, actual in zip(self.batches, self.reference, candidate, strict=True)
        ]
        report = parity.compare(results, self.spec.labels, **gate)
        failures = list(self.failures)
        if onnx:
            named = [
                result
                for batch, result in zip(self.batches, results, strict=True)
                if batch.from_files
            ]
            failures += end_to_end.failures(artefact, named, provider)
        if self.own:
            # Labels that a lower precision changes are the gate's affair, not the preprocessing's.
            outputs = candidate if wanted.name == "fp32" else self.reference
            failures += self.own.failures(self.batches, outputs)
        if self.options.bisect and not report:
            failures.append(self._departure(artefact, gate["tolerance"]))
        report = parity.with_failures(report, failures)
        return Verification(wanted.name, report, reduced, self._pictures(report))

    def _departure(self, artefact: Path, tolerance: float | None) -> str:
        self.say("looking for the first node that departs")
        pixels = self.batches[len(inputs.BATCH_SIZES) - 1].pixels
        found = bisection.first(
            self.deployable, self.spec, artefact, pixels, tolerance or LOOSE_TOLERANCE
        )
        return str(found) if found else "no single node departs by more than the tolerance"

    def _pictures(self, report: parity.ParityReport) -> dict[str, npt.NDArray[np.uint8]]:
        wanted = {entry.name for entry in report.changed[:SHOWN_CHANGES]}
        return {
            name: pixels
            for batch in self.batches
            for name, pixels in zip(batch.names, batch.pixels, strict=True)
            if name in wanted
        }


def parity_inputs(spec: ModelSpec, folder: Path | None) -> Iterator[inputs.InputBatch]:
    """Noise in several batch sizes, extremes, the images of a folder, and one large batch."""
    yield from inputs.noise(spec.input)
    yield inputs.extremes(spec.input)
    if folder is not None:
        yield from inputs.files(folder, spec.input)
    yield inputs.largest(spec.input)


def _batch_failures(
    run: runners.Runner,
    batches: Sequence[inputs.InputBatch],
    reference: Sequence[runners.Arrays],
) -> list[str]:
    """Whether PyTorch itself gives an image the same logits alone as among others."""
    place = len(inputs.BATCH_SIZES) - 1
    together = reference[place]["logits"]
    alone = run(batches[place].pixels[:1])["logits"]
    departs = float(np.abs(together[:1] - alone).max())
    if departs <= 1e-3 * max(float(together.std()), parity.LEAST_SCALE):
        return []
    return [
        f"the checkpoint's logits for an image change by {departs:.3g} with the other images of "
        "its batch: a BatchNorm without running statistics, or one in training mode"
    ]
