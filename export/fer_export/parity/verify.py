"""An artefact that exists already, compared anew with its checkpoint."""

from __future__ import annotations

from pathlib import Path

from fer_export import parity, precision
from fer_export.formats import format_of, read_spec, runners
from fer_export.loading import Loaded, ModelDescription, load
from fer_export.parity.checker import Options, ParityChecker, Say, Verification, parity_inputs
from fer_export.precision import accuracy, int8
from fer_runtime import labelled
from fer_runtime.errors import DataError
from fer_runtime.spec import ModelSpec


def verify(
    checkpoint: Path,
    artefact: Path,
    options: Options | None = None,
    *,
    description: ModelDescription | None = None,
    provider: str = "cpu",
    say: Say = lambda _: None,
) -> Verification:
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
    loaded = load(checkpoint, description)
    spec = read_spec(artefact)
    failures = _spec_failures(loaded.spec, spec)
    recorded = (spec.parity or {}).get("artefact_sha256")
    if recorded is None:
        failures.append("the artefact carries no verdict of parity")
    elif recorded != chosen.sha256(artefact):
        failures.append("the verdict inside the artefact is about another file")
    own = precision.precision_of(artefact)
    deployable = loaded.deployable()
    batches = list(parity_inputs(loaded.spec, options.images))
    checker = ParityChecker(deployable, loaded.spec, batches, options, say)
    verification = checker.check(chosen, artefact, own, provider=provider)
    if own.name == "int8":
        failures += _accuracy_failures(loaded, artefact, options)
    return Verification(
        own.name, parity.with_failures(verification.report, failures), None, verification.pictures
    )


def _accuracy_failures(loaded: Loaded, artefact: Path, options: Options) -> list[str]:
    """What int8 costs on labelled images, if that is too much."""
    if options.evaluation is None:
        raise DataError(f"{artefact} is int8, which labelled images judge: say --evaluation DIR.")
    known = labelled.read(options.evaluation, loaded.spec.labels)
    before = accuracy.measure(runners.eager(loaded.deployable()), known, loaded.spec).macro_f1
    after = accuracy.measure(runners.onnx(artefact), known, loaded.spec).macro_f1
    if after >= before - int8.MAX_LOSS:
        return []
    return [
        f"macro-F1 is {after:.4f} instead of the checkpoint's {before:.4f}; {int8.MAX_LOSS} "
        "may be lost"
    ]


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
