"""The one flow for every format: load, convert, judge, embed the verdict, reopen, rename.

Everything happens in a temporary folder beside the target. A file that failed never gets the
final name, and nothing is left behind.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_export import parity, precision, preprocessing
from fer_export.formats import FORMATS, Format, to_onnx
from fer_export.loading import ModelDescription, load
from fer_export.parity import inputs
from fer_export.parity.checker import (
    Options,
    ParityChecker,
    Say,
    Verification,
    VerificationError,
    parity_inputs,
)
from fer_export.precision import PRECISIONS, Precision
from fer_export.work_folder import WorkFolder
from fer_runtime.errors import DataError, ParityError
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable


@dataclass(frozen=True)
class Exported:
    """A finished artefact, its report beside it, and the verification."""

    path: Path
    report_path: Path
    verification: Verification

    @property
    def report(self) -> parity.ParityReport:
        """The comparison with PyTorch."""
        return self.verification.report


def export(
    checkpoint: Path,
    format_name: str,
    output: Path | None = None,
    options: Options | None = None,
    *,
    description: ModelDescription | None = None,
    say: Say = lambda _: None,
) -> Exported:
    """Export a checkpoint with proof of parity on noise and, if given, the images of a folder.

    `output` defaults to the checkpoint's name with the format's ending (`best.int8.onnx`). Writes
    `output` and `output.parity.json`. `description` says what a file without a spec of its own does
    not.

    Raises:
        ModelFileError: an unusable checkpoint, or a net that cannot be exported.
        ParityError: the artefact does not compute what the checkpoint does; no file is left.
        DataError: the output cannot be written, or the images cannot be read.
    """
    options = options or Options()
    chosen, wanted = FORMATS[format_name], _precision(options, format_name)
    target = output or checkpoint.with_suffix(f"{wanted.infix}{chosen.ending}")
    if not target.is_dir() and target.suffix != chosen.ending:
        # What reads it goes by the ending; and `-o best.pt` would put it in the checkpoint's place.
        raise DataError(f"{target}: the name of {format_name}'s file ends in {chosen.ending}.")
    loaded = load(checkpoint, description)
    # A conversion starts without a verdict: one about another file is worse than none.
    spec = loaded.spec.replace(parity=None)
    say(preprocessing.describe(spec.input))
    batches = list(parity_inputs(spec, options.images))
    deployable = loaded.deployable()
    with WorkFolder(target) as folder:
        draft = folder / f"model{chosen.ending}"
        say(f"converting to {format_name}")
        _convert(chosen, deployable, spec, draft, options)
        checker = ParityChecker(deployable, spec, batches, options, say)
        verification = checker.check_all_providers(chosen, draft, PRECISIONS["fp32"])
        if verification and wanted.name != "fp32":
            full, draft = draft, folder / f"model{wanted.infix}{chosen.ending}"
            reduced = precision.reduce(
                wanted.name, full, draft, spec, batches, calibration=options.calibration,
                evaluation=options.evaluation, skip_duplicates=options.skip_duplicates, say=say,
            )  # fmt: skip
            verification = checker.check_all_providers(chosen, draft, wanted, reduced)
        if not verification:
            raise VerificationError(_explain(target, verification.report), verification)
        _embed_verdict(chosen, draft, spec, verification, batches)
        _publish(draft, target, verification)
    return Exported(target, report_path(target), verification)


def report_path(artefact: Path) -> Path:
    """Where the full report of an artefact stands."""
    return artefact.with_name(f"{artefact.name}.parity.json")


def _precision(options: Options, format_name: str) -> Precision:
    chosen = PRECISIONS.get(options.precision)
    if chosen is None:
        raise DataError(f"--precision {options.precision}: say one of {', '.join(PRECISIONS)}.")
    if chosen.name != "fp32" and format_name != "onnx":
        raise DataError(f"--precision {chosen.name} is for ONNX; {format_name} stays fp32.")
    if chosen.name == "int8" and (options.calibration is None or options.evaluation is None):
        raise DataError(
            "int8 needs --calibration DIR (typical images, to choose ranges by) and "
            "--evaluation DIR (labelled images, DIR/<label>/*, which decide whether it may be)."
        )
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
        to_onnx.convert(deployable, spec, draft, options.opset)
    else:
        chosen.convert(deployable, spec, draft)


def _embed_verdict(
    chosen: Format,
    draft: Path,
    spec: ModelSpec,
    verification: Verification,
    batches: Sequence[inputs.InputBatch],
) -> None:
    """Write the verdict into the draft, reopen it, and require the same weights and outputs."""
    before, outputs = chosen.sha256(draft), _outputs(chosen, draft, batches)
    verdict = {
        **verification.summary(),
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


def _publish(draft: Path, target: Path, verification: Verification) -> None:
    """Give report and artefact their names, the artefact last."""
    draft_report = draft.with_name("parity.json")
    draft_report.write_text(json.dumps(verification.to_dict(), indent=2) + "\n", encoding="utf-8")
    os.replace(draft_report, report_path(target))
    os.replace(draft, target)


def _explain(target: Path, report: parity.ParityReport) -> str:
    lines = "".join(f"\n  - {failure}" for failure in report.failures)
    return f"{target} does not compute what the checkpoint computes, so it was not written:{lines}"
