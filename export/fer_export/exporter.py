"""The one flow for every format: load, convert, compare, embed the verdict, reopen, rename.

Everything happens in a temporary folder beside the target. A file that failed never gets the
final name, and nothing is left behind.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_export import parity, preprocessing
from fer_export.features import with_features
from fer_export.formats.table import Format, format_named
from fer_export.loading import ModelDescription, load
from fer_export.options import ExportOptions
from fer_export.parity import inputs
from fer_export.parity.checker import ParityChecker
from fer_export.parity.verification import Verification, VerificationError
from fer_export.precision.reduction import reduce
from fer_export.precision.table import PRECISIONS, Precision
from fer_export.work_folder import WorkFolder
from fer_runtime.doctor import golden
from fer_runtime.errors import DataError, ParityError
from fer_runtime.interrupts import InterruptsRemembered
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable


@dataclass(frozen=True)
class Exported:
    """A finished artefact, its report in `report_path`, and what was found out about it."""

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
    options: ExportOptions | None = None,
    *,
    description: ModelDescription | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Export a checkpoint, if the artefact computes what the checkpoint computes.

    Compares on noise and, if given, on the images of a folder; writes `output` and
    `output.parity.json`. A file that exists is replaced, once the new one has passed.

    Args:
        checkpoint: a `best.pt`, or another file that `description` describes.
        format_name: a name in `fer_export.formats.FORMATS`: "onnx", "torchscript", "pt2".
        output: default: the checkpoint's name with the format's ending, as `best.int8.onnx`.
        options: precision, limits, images; default: fp32 on noise.
        description: only for a checkpoint without a ModelSpec.
        say: called with a short line as work proceeds.

    Raises:
        ModelFileError: an unusable checkpoint, or a model that cannot be exported.
        ModelSpecError: a description that is incomplete.
        ParityError: the artefact does not compute what the checkpoint does; no file is left.
        DataError: the output cannot be written, the images cannot be read, or this format does not
            support the precision or a setting.
    """
    options = options or ExportOptions()
    chosen = format_named(format_name)
    wanted = _precision(options, format_name, chosen)
    _check_settings(options, format_name, chosen)
    target = output or checkpoint.with_suffix(f"{wanted.infix}{chosen.ending}")
    _check_target(target, checkpoint, format_name, chosen)
    loaded = load(checkpoint, description, say=say)
    # A conversion starts without a verdict: one about another file is worse than none.
    spec = loaded.spec.replace(parity=None)
    say(preprocessing.describe(spec.input))
    batches = list(inputs.all_batches(spec.input, options.images))
    plain = loaded.deployable()
    deployable = with_features(plain) if options.features else plain
    with InterruptsRemembered() as interrupts, WorkFolder(target) as folder:
        draft = folder / f"model{chosen.ending}"
        say(f"converting to {format_name}")
        _require_evaluation_mode(deployable)
        chosen.convert(deployable, spec, draft, options.settings)
        interrupts.check()
        checker = ParityChecker(deployable, spec, batches, options, say)
        verification = checker.check_all_providers(chosen, draft, PRECISIONS["fp32"])
        if verification and wanted.name != "fp32":
            full, draft = draft, folder / f"model{wanted.infix}{chosen.ending}"
            reduced = reduce(wanted, chosen, full, draft, spec, batches, options, say)
            verification = checker.check_all_providers(chosen, draft, wanted, reduced)
        if not verification:
            raise VerificationError(_explain(target, verification.report), verification)
        _embed_verdict(chosen, draft, spec, verification, batches)
        interrupts.check()
        _publish(draft, target, verification)
    return Exported(target, report_path(target), verification)


def report_path(artefact: Path) -> Path:
    """Where the full report of an artefact is: `NAME.parity.json` beside it."""
    return artefact.with_name(f"{artefact.name}.parity.json")


def _check_target(target: Path, checkpoint: Path, format_name: str, chosen: Format) -> None:
    if not target.is_dir() and target.suffix != chosen.ending:
        # What reads it goes by the ending; and `-o best.pt` would replace the checkpoint.
        raise DataError(f"{target}: the name of a file for {format_name} ends in {chosen.ending}.")
    if target.exists() and checkpoint.exists() and target.samefile(checkpoint):
        raise DataError(f"{target} is the checkpoint itself; name another output.")


def _precision(options: ExportOptions, format_name: str, chosen: Format) -> Precision:
    wanted = PRECISIONS.get(options.precision)
    if wanted is None:
        raise DataError(
            f"--precision {options.precision} is not a precision; allowed: {', '.join(PRECISIONS)}."
        )
    if wanted.name not in chosen.precisions:
        raise DataError(
            f"--precision {wanted.name}: {format_name} supports {', '.join(chosen.precisions)} "
            "only."
        )
    if any(getattr(options, name) is None for name in wanted.requires):
        needed = " and ".join(f"--{name} DIR ({what})" for name, what in wanted.requires.items())
        raise DataError(f"--precision {wanted.name} requires {needed}.")
    return wanted


def _check_settings(options: ExportOptions, format_name: str, chosen: Format) -> None:
    unknown = sorted(set(options.settings) - set(chosen.setting_names()))
    if unknown:
        allowed = ", ".join(chosen.setting_names()) or "none"
        raise DataError(
            f"{', '.join(unknown)}: not a setting of {format_name}; its settings: {allowed}."
        )


def _require_evaluation_mode(deployable: Deployable) -> None:
    training = [name for name, module in deployable.eval().named_modules() if module.training]
    if training:
        raise ParityError(
            f"{', '.join(training[:3])} stays in training mode after eval(), so its outputs depend "
            "on chance or on the other images of a batch."
        )


def _embed_verdict(
    chosen: Format,
    draft: Path,
    spec: ModelSpec,
    verification: Verification,
    batches: Sequence[inputs.InputBatch],
) -> None:
    """Write the verdict into the draft, reopen it, and require the same weights and outputs."""
    before, outputs = chosen.sha256(draft), _outputs(chosen, draft, batches)
    pictures = golden.pictures(spec.input.height, spec.input.width, spec.input.channels)
    verdict = {
        **verification.summary(),
        golden.KEY: golden.as_plain(chosen.runner(draft)(pictures)["logits"]),
        "artefact_sha256": before,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    chosen.embed(draft, spec.replace(parity=verdict))
    if chosen.sha256(draft) != before:
        raise ParityError("Writing the verdict into the file changed its weights.")
    for first, second in zip(outputs, _outputs(chosen, draft, batches), strict=True):
        if not np.array_equal(first, second):
            raise ParityError("The finished file does not repeat the outputs that were compared.")


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
