"""The one flow for every format: load, convert, judge, embed the verdict, reopen, rename.

Everything happens in a temporary folder beside the target. A file that failed never gets the
final name, and nothing is left behind.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_export import (
    inputs,
    inspect,
    parity,
    runners,
    to_exported_program,
    to_onnx,
    to_torchscript,
)
from fer_export.loading import Foreign, load
from fer_runtime.errors import DataError, ModelFileError, ParityError
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable

Say = Callable[[str], None]
"""Called with a short sentence as work proceeds."""


@dataclass(frozen=True)
class Format:
    """How one kind of artefact is written, given a spec, hashed and run."""

    ending: str
    convert: Callable[[Deployable, ModelSpec, Path], None]
    embed: Callable[[Path, ModelSpec], None]
    sha256: Callable[[Path], str]
    runner: Callable[[Path], runners.Runner]


FORMATS: Mapping[str, Format] = {
    "onnx": Format(".onnx", to_onnx.convert, to_onnx.embed, to_onnx.weights_sha256, runners.onnx),
    "torchscript": Format(
        ".torchscript",
        to_torchscript.convert,
        to_torchscript.embed,
        to_torchscript.weights_sha256,
        runners.torchscript,
    ),
    "pt2": Format(
        ".pt2",
        to_exported_program.convert,
        to_exported_program.embed,
        to_exported_program.weights_sha256,
        runners.exported_program,
    ),
}
"""Command -> format; adding an exporter touches its module and this table."""


@dataclass(frozen=True)
class Exported:
    """A finished artefact, its report beside it, and the verdict."""

    path: Path
    report_path: Path
    report: parity.ParityReport


def export(
    checkpoint: Path,
    format_name: str,
    output: Path | None = None,
    *,
    images: Path | None = None,
    tolerance: float = parity.TOLERANCE,
    min_agreement: float = 1.0,
    foreign: Foreign | None = None,
    say: Say = lambda _: None,
) -> Exported:
    """Export a checkpoint with proof of parity on noise and, if given, the images of a folder.

    `output` defaults to the checkpoint's name with the format's ending. Writes `output` and
    `output.parity.json`. `foreign` says what a file without a spec of its own does not.

    Raises:
        ModelFileError: an unusable checkpoint, or a net that cannot be exported.
        ParityError: the artefact does not compute what the checkpoint does; no file is left.
        DataError: the output cannot be written, or the images cannot be read.
    """
    chosen = FORMATS[format_name]
    loaded = load(checkpoint, foreign)
    target = output or checkpoint.with_suffix(chosen.ending)
    # A conversion starts without a verdict: one about another file is worse than none.
    spec = loaded.spec.replace(parity=None)
    batches = list(_inputs(spec, images))
    deployable = loaded.deployable()
    with _WorkFolder(target) as folder:
        draft = folder / f"model{chosen.ending}"
        say(f"converting to {format_name}")
        chosen.convert(deployable, spec, draft)
        say(f"comparing with PyTorch on {sum(len(batch.names) for batch in batches)} images")
        report = judge(
            runners.eager(deployable), chosen.runner(draft), batches, spec.labels,
            tolerance=tolerance, min_agreement=min_agreement,
        )  # fmt: skip
        if not report:
            raise ParityError(_explain(target, report))
        _embed_verdict(chosen, draft, spec, report, batches)
        _publish(draft, target, report)
    return Exported(target, report_path(target), report)


def verify(
    checkpoint: Path,
    artefact: Path,
    *,
    images: Path | None = None,
    tolerance: float = parity.TOLERANCE,
    min_agreement: float = 1.0,
    foreign: Foreign | None = None,
) -> parity.ParityReport:
    """Compare an artefact with its checkpoint anew, and its spec and verdict with what they say.

    Raises:
        ModelFileError: a file that cannot be used, or of a kind that has no runner.
    """
    chosen = format_of(artefact)
    loaded = load(checkpoint, foreign)
    spec = read_spec(artefact)
    failures = _spec_failures(loaded.spec, spec)
    recorded = (spec.parity or {}).get("artefact_sha256")
    if recorded is None:
        failures.append("the artefact carries no verdict of parity")
    elif recorded != chosen.sha256(artefact):
        failures.append("the verdict inside the artefact is about another file")
    report = judge(
        runners.eager(loaded.deployable()), chosen.runner(artefact),
        list(_inputs(loaded.spec, images)), loaded.spec.labels,
        tolerance=tolerance, min_agreement=min_agreement,
    )  # fmt: skip
    return parity.with_failures(report, failures)


def attach_spec(file: Path, spec: ModelSpec, output: Path) -> None:
    """Copy a foreign ONNX file with a spec inside, if `fer_runtime` runs it by that spec.

    It is opened and run on noise, as `fer-infer` will; there is no verdict of parity, because there
    is nothing to compare with.

    Raises:
        ModelFileError: not ONNX, or at odds with the spec (tensor name, layout, channels, labels).
        DataError: the output cannot be written.
    """
    found = inspect.inspect(file)
    if found.kind != "ONNX":
        raise ModelFileError(f"{file} is a {found.kind}; a spec is attached to ONNX files.")
    if found.facts["external_data"]:
        raise ModelFileError(
            f"{file} keeps weights in other files ({', '.join(found.facts['external_data'][:3])}); "
            "make one file of it: onnx.save(onnx.load(path), other, save_as_external_data=False)."
        )
    with _WorkFolder(output) as folder:
        draft = folder / "model.onnx"
        shutil.copyfile(file, draft)
        to_onnx.embed(draft, spec.replace(parity=None))
        run = runners.onnx(draft)
        for batch in inputs.noise(spec.input):
            for name, values in run(batch.pixels).items():
                if values.shape[0] != len(batch.names) or not np.isfinite(values).all():
                    raise ModelFileError(
                        f"{file} gives {name} of shape {values.shape} for {len(batch.names)} "
                        "images, or values that are not finite; is this the right spec?"
                    )
        os.replace(draft, output)


def judge(
    reference: runners.Runner,
    candidate: runners.Runner,
    batches: Sequence[inputs.InputBatch],
    labels: Sequence[str],
    *,
    tolerance: float = parity.TOLERANCE,
    min_agreement: float = 1.0,
) -> parity.ParityReport:
    """Run both on the same batches and compare what comes out."""
    results = [
        parity.Batch(batch.names, reference(batch.pixels), candidate(batch.pixels))
        for batch in batches
    ]
    return parity.compare(results, labels, tolerance=tolerance, min_agreement=min_agreement)


def format_of(artefact: Path) -> Format:
    """The format of a file by its ending; raises ModelFileError for an unknown one."""
    for chosen in FORMATS.values():
        if artefact.suffix == chosen.ending:
            return chosen
    endings = ", ".join(chosen.ending for chosen in FORMATS.values())
    raise ModelFileError(f"{artefact}: an artefact ends in one of {endings}.")


def read_spec(artefact: Path) -> ModelSpec:
    """The spec inside an artefact, without executing anything in it.

    Raises:
        ModelFileError: no such file, broken, or without a spec.
    """
    found = inspect.inspect(artefact)
    if found.spec is None:
        raise ModelFileError(f"{artefact} carries no ModelSpec.")
    return found.spec


def report_path(artefact: Path) -> Path:
    """Where the full report of an artefact stands."""
    return artefact.with_name(f"{artefact.name}.parity.json")


def _inputs(spec: ModelSpec, folder: Path | None) -> Iterable[inputs.InputBatch]:
    yield from inputs.noise(spec.input)
    yield inputs.extremes(spec.input)
    if folder is not None:
        yield from inputs.files(folder, spec.input)


def _embed_verdict(
    chosen: Format,
    draft: Path,
    spec: ModelSpec,
    report: parity.ParityReport,
    batches: Sequence[inputs.InputBatch],
) -> None:
    """Write the verdict into the draft, reopen it, and require the same weights and outputs."""
    before, outputs = chosen.sha256(draft), _outputs(chosen, draft, batches)
    verdict = {
        **report.summary(),
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
) -> list[np.ndarray[Any, Any]]:
    run = chosen.runner(draft)
    return [run(batch.pixels)["logits"] for batch in batches]


def _publish(draft: Path, target: Path, report: parity.ParityReport) -> None:
    """Give report and artefact their names, the artefact last."""
    draft_report = draft.with_name("parity.json")
    draft_report.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
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
            failures.append(f"the spec's {name} are {after} instead of the checkpoint's {before}")
    if expected.provenance.weights_sha256 != actual.provenance.weights_sha256:
        failures.append("the artefact was made from other weights than this checkpoint's")
    return failures


class _WorkFolder:
    """A temporary folder beside the target, gone afterwards in every case.

    Whatever cannot be written meanwhile ends in a DataError that names the target.
    """

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> Path:
        if self.target.is_dir():
            raise DataError(f"{self.target} is a folder; name a file.")
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=".fer-export-", dir=self.target.parent))
        except OSError as error:
            raise DataError(f"{self.target.parent} cannot be written: {error.strerror}") from None
        return self.folder

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            why = error.strerror or error
            raise DataError(f"{self.target} cannot be written: {why}") from None
