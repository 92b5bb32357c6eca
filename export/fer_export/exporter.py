"""The one flow for every format: load, convert, judge, embed the verdict, reopen, rename.

Everything happens in a temporary folder beside the target. A file that failed never gets the
final name, and nothing is left behind.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_export import departure, file_to_label, inputs, parity, precision, runners
from fer_export.formats import FORMATS, Format, format_of, read_spec
from fer_export.loading import Foreign, Loaded, load
from fer_export.precision import PRECISIONS, Precision, Reduced
from fer_export.to_onnx import OPSET
from fer_export.work_folder import WorkFolder
from fer_runtime import labelled
from fer_runtime.errors import DataError, ParityError
from fer_runtime.providers import diagnose_cuda
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable

Say = Callable[[str], None]
"""Called with a short sentence as work proceeds."""

SHOWN_CHANGES = 24


@dataclass(frozen=True)
class Options:
    """How an artefact is made and judged.

    `images`: a folder whose images are compared beside noise. `precision`: "fp32", "fp16" or
    "int8"; the last two are ONNX only, and int8 needs `calibration` (a folder of images) and
    `evaluation` (one of labelled images); `skip_duplicates` leaves calibration images out that are
    in the evaluation set too. `tolerance` and `min_agreement` default to the precision's own.
    `opset` is ONNX's. `bisect` names the first node that departs if parity fails.
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

    def gate(self, chosen: Precision) -> dict[str, Any]:
        """What `parity.compare` is told."""
        return {
            "tolerance": chosen.tolerance if self.tolerance is None else self.tolerance,
            "min_agreement": (
                chosen.min_agreement if self.min_agreement is None else self.min_agreement
            ),
        }


@dataclass(frozen=True)
class Proof:
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


class FailedProofError(ParityError):
    """A ParityError that carries its proof."""

    def __init__(self, message: str, proof: Proof) -> None:
        super().__init__(message)
        self.proof = proof


@dataclass(frozen=True)
class Exported:
    """A finished artefact, its report beside it, and the proof."""

    path: Path
    report_path: Path
    proof: Proof

    @property
    def report(self) -> parity.ParityReport:
        """The comparison with PyTorch."""
        return self.proof.report


def export(
    checkpoint: Path,
    format_name: str,
    output: Path | None = None,
    options: Options | None = None,
    *,
    foreign: Foreign | None = None,
    say: Say = lambda _: None,
) -> Exported:
    """Export a checkpoint with proof of parity on noise and, if given, the images of a folder.

    `output` defaults to the checkpoint's name with the format's ending (`best.int8.onnx`). Writes
    `output` and `output.parity.json`. `foreign` says what a file without a spec of its own does
    not.

    Raises:
        ModelFileError: an unusable checkpoint, or a net that cannot be exported.
        ParityError: the artefact does not compute what the checkpoint does; no file is left.
        DataError: the output cannot be written, or the images cannot be read.
    """
    options = options or Options()
    chosen, wanted = FORMATS[format_name], _precision(options, format_name)
    loaded = load(checkpoint, foreign)
    target = output or checkpoint.with_suffix(f"{wanted.infix}{chosen.ending}")
    # A conversion starts without a verdict: one about another file is worse than none.
    spec = loaded.spec.replace(parity=None)
    batches = list(_inputs(spec, options.images))
    deployable = loaded.deployable()
    with WorkFolder(target) as folder:
        draft = folder / f"model{chosen.ending}"
        say(f"converting to {format_name}")
        _convert(chosen, deployable, spec, draft, options)
        judge = _Judge(deployable, spec, batches, options, say)
        proof = judge.here(chosen, draft, PRECISIONS["fp32"])
        if proof and wanted.name != "fp32":
            full, draft = draft, folder / f"model{wanted.infix}{chosen.ending}"
            reduced = precision.reduce(
                wanted.name, full, draft, spec, batches, calibration=options.calibration,
                evaluation=options.evaluation, skip_duplicates=options.skip_duplicates, say=say,
            )  # fmt: skip
            chosen.embed(draft, spec)
            proof = judge.here(chosen, draft, wanted, reduced)
        if not proof:
            raise FailedProofError(_explain(target, proof.report), proof)
        _embed_verdict(chosen, draft, spec, proof, batches)
        _publish(draft, target, proof)
    return Exported(target, report_path(target), proof)


def verify(
    checkpoint: Path,
    artefact: Path,
    options: Options | None = None,
    *,
    foreign: Foreign | None = None,
    provider: str = "cpu",
    say: Say = lambda _: None,
) -> Proof:
    """Compare an artefact with its checkpoint anew, and its spec and verdict with what they say.

    The precision is the artefact's own. An int8 file is judged by `options.evaluation`. `provider`
    is where an ONNX file runs.

    Raises:
        ModelFileError: a file that cannot be used, or of a kind that has no runner.
        DataError: an int8 file without labelled images.
        ProviderError: that provider cannot run here.
    """
    options = options or Options()
    chosen = format_of(artefact)
    loaded = load(checkpoint, foreign)
    spec = read_spec(artefact)
    failures = _spec_failures(loaded.spec, spec)
    recorded = (spec.parity or {}).get("artefact_sha256")
    if recorded is None:
        failures.append("the artefact carries no verdict of parity")
    elif recorded != chosen.sha256(artefact):
        failures.append("the verdict inside the artefact is about another file")
    own = precision.precision_of(artefact)
    deployable = loaded.deployable()
    batches = list(_inputs(loaded.spec, options.images))
    judge = _Judge(deployable, loaded.spec, batches, options, say)
    proof = judge(chosen, artefact, own, provider=provider)
    if own.name == "int8":
        failures += _accuracy_failures(loaded, artefact, options)
    return Proof(own.name, parity.with_failures(proof.report, failures), None, proof.pictures)


def report_path(artefact: Path) -> Path:
    """Where the full report of an artefact stands."""
    return artefact.with_name(f"{artefact.name}.parity.json")


class _Judge:
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
        say(f"running PyTorch on {sum(len(batch.names) for batch in batches):,} images")
        self.reference = [run(batch.pixels) for batch in batches]
        self.failures = _batch_failures(run, batches, self.reference)

    def here(
        self, chosen: Format, artefact: Path, wanted: Precision, reduced: Reduced | None = None
    ) -> Proof:
        """On the CPU and, where ONNX would run on CUDA, there too (int8 is a CPU's affair)."""
        proof = self(chosen, artefact, wanted, reduced)
        if not proof or chosen.name != "onnx" or wanted.name == "int8" or diagnose_cuda():
            return proof
        other = self(chosen, artefact, wanted, reduced, provider="cuda")
        failures = tuple(f"on CUDA, {failure}" for failure in other.report.failures)
        return proof if other else replace(other, report=replace(other.report, failures=failures))

    def __call__(
        self,
        chosen: Format,
        artefact: Path,
        wanted: Precision,
        reduced: Reduced | None = None,
        provider: str = "cpu",
    ) -> Proof:
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
            failures += file_to_label.failures(artefact, named, provider)
        if self.options.bisect and not report:
            failures.append(self._departure(artefact, gate["tolerance"]))
        report = parity.with_failures(report, failures)
        return Proof(wanted.name, report, reduced, self._pictures(report))

    def _departure(self, artefact: Path, tolerance: float | None) -> str:
        self.say("looking for the first node that departs")
        pixels = self.batches[len(inputs.BATCH_SIZES) - 1].pixels
        found = departure.first(
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


LOOSE_TOLERANCE = 0.25
"""Where a precision has no tolerance of its own, a node that is off by this many deviations."""


def _precision(options: Options, format_name: str) -> Precision:
    chosen = PRECISIONS.get(options.precision)
    if chosen is None:
        raise DataError(f"--precision {options.precision}: say one of {', '.join(PRECISIONS)}.")
    if chosen.name != "fp32" and format_name != "onnx":
        raise DataError(f"--precision {chosen.name} is for ONNX; {format_name} stays fp32.")
    return chosen


def _convert(
    chosen: Format, deployable: Deployable, spec: ModelSpec, draft: Path, options: Options
) -> None:
    training = [name for name, module in deployable.eval().named_modules() if module.training]
    if training:
        raise ParityError(
            f"{', '.join(training[:3])} stays in training mode after eval(), so its outputs depend "
            "on chance or on the other images of a batch."
        )
    if chosen.name == "onnx":
        from fer_export import to_onnx

        to_onnx.convert(deployable, spec, draft, options.opset)
    else:
        chosen.convert(deployable, spec, draft)


def _inputs(spec: ModelSpec, folder: Path | None) -> Iterator[inputs.InputBatch]:
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


def _accuracy_failures(loaded: Loaded, artefact: Path, options: Options) -> list[str]:
    """What int8 costs on labelled images, if that is too much."""
    from fer_export import accuracy, quantize

    if options.evaluation is None:
        raise DataError(f"{artefact} is int8, which labelled images judge: say --evaluation DIR.")
    known = labelled.read(options.evaluation, loaded.spec.labels)
    before = accuracy.measure(runners.eager(loaded.deployable()), known, loaded.spec).macro_f1
    after = accuracy.measure(runners.onnx(artefact), known, loaded.spec).macro_f1
    if after >= before - quantize.MAX_LOSS:
        return []
    return [
        f"macro-F1 is {after:.4f} instead of the checkpoint's {before:.4f}; {quantize.MAX_LOSS} "
        "may be lost"
    ]


def _embed_verdict(
    chosen: Format,
    draft: Path,
    spec: ModelSpec,
    proof: Proof,
    batches: Sequence[inputs.InputBatch],
) -> None:
    """Write the verdict into the draft, reopen it, and require the same weights and outputs."""
    before, outputs = chosen.sha256(draft), _outputs(chosen, draft, batches)
    verdict = {
        **proof.summary(),
        "artefact_sha256": before,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    chosen.embed(draft, spec.replace(parity=verdict))
    if chosen.sha256(draft) != before:
        raise ParityError("Writing the verdict into the file changed its weights.")
    for first, second in zip(outputs, _outputs(chosen, draft, batches), strict=True):
        if not np.array_equal(first, second):
            raise ParityError("The finished file does not repeat the outputs that were judged.")


def _outputs(
    chosen: Format, draft: Path, batches: Sequence[inputs.InputBatch]
) -> list[npt.NDArray[Any]]:
    run = chosen.runner(draft)
    return [run(batch.pixels)["logits"] for batch in batches[: len(inputs.BATCH_SIZES)]]


def _publish(draft: Path, target: Path, proof: Proof) -> None:
    """Give report and artefact their names, the artefact last."""
    draft_report = draft.with_name("parity.json")
    draft_report.write_text(json.dumps(proof.to_dict(), indent=2) + "\n", encoding="utf-8")
    os.replace(draft_report, report_path(target))
    os.replace(draft, target)


def _explain(target: Path, report: parity.ParityReport) -> str:
    lines = "".join(f"\n  - {failure}" for failure in report.failures)
    return f"{target} does not compute what the checkpoint computes, so it was not written:{lines}"


def _spec_failures(expected: ModelSpec, actual: ModelSpec) -> list[str]:
    """What an artefact's spec says otherwise than its checkpoint's."""
    failures = []
    for name in ("labels", "input", "temperature"):
        before, after = getattr(expected, name), getattr(actual, name)
        if before != after:
            failures.append(f"the spec's {name}: {after} instead of the checkpoint's {before}")
    if expected.provenance.weights_sha256 != actual.provenance.weights_sha256:
        failures.append("the artefact was made from other weights than this checkpoint's")
    return failures
