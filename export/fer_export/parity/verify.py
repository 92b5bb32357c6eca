"""An existing artefact compared with its checkpoint again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fer_export import parity
from fer_export.engines.table import ALL
from fer_export.engines.table import chosen as chosen_engines
from fer_export.engines.verifying import Expected, verify_engines
from fer_export.features import with_features
from fer_export.formats.table import format_of
from fer_export.inspection import read_spec
from fer_export.loading import ModelDescription, load
from fer_export.options import ExportOptions, VerifyOptions
from fer_export.parity import inputs
from fer_export.parity.checker import ParityChecker
from fer_export.parity.verification import Verification
from fer_export.precision.table import precision_of
from fer_runtime.errors import ProviderError
from fer_runtime.spec import ModelSpec


def verify(
    checkpoint: Path,
    artefact: Path,
    options: VerifyOptions | None = None,
    *,
    description: ModelDescription | None = None,
    provider: str = "cpu",
    engines: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Compare an artefact with its checkpoint again, and check its spec and its verdict.

    Args:
        checkpoint: a `best.pt`, or another file that `description` describes.
        artefact: the file; its ending decides on the format, its graph on the precision.
        options: the limits; an int8 file requires `evaluation`.
        description: only for a checkpoint without a ModelSpec.
        provider: where the artefact runs.
        engines: names of `fer_export.engines.table.ENGINES` with commas between, each of which is
            compared too and must run; "all" for those that run here.
        say: called with a short line as work proceeds.

    Raises:
        ModelFileError: a file that cannot be used, or of an unknown kind.
        DataError: an int8 file without labelled images, or an unknown engine.
        ProviderError: that provider cannot run here, or does not run this format.
    """
    names = () if engines is None else chosen_engines(engines)
    given = options or VerifyOptions()
    wanted = given if isinstance(given, ExportOptions) else ExportOptions(**asdict(given))
    chosen = format_of(artefact)
    if provider not in chosen.providers:
        raise ProviderError(
            f"{artefact}: {chosen.title} files are compared on {', '.join(chosen.providers)}, not "
            f"on {provider}; pass --provider {chosen.providers[0]}."
        )
    loaded = load(checkpoint, description, say=say)
    spec = read_spec(artefact)
    failures = _spec_failures(loaded.spec, spec) + _verdict_failures(spec, chosen.sha256(artefact))
    precision = precision_of(artefact, chosen.precisions)
    deployable = loaded.deployable()
    blank = np.zeros((2, *loaded.spec.input.shape), np.uint8)
    if "features" in chosen.runner(artefact)(blank):
        deployable = with_features(deployable)
    batches = list(inputs.all_batches(loaded.spec.input, wanted.images))
    checker = ParityChecker(deployable, loaded.spec, batches, wanted, say)
    verification = checker.check(chosen, artefact, precision, provider=provider)
    failures += precision.accuracy_failures(deployable, loaded.spec, artefact, wanted.evaluation)
    expected = Expected(
        batches, checker.reference, loaded.spec.labels, loaded.spec.provenance.weights_sha256
    )
    verdicts = verify_engines(names, artefact, expected, required=engines != ALL, say=say)
    return Verification(
        precision.name,
        parity.with_failures(verification.report, failures),
        None,
        verification.pictures,
        verdicts,
    )


def _verdict_failures(spec: ModelSpec, sha256: str) -> list[str]:
    """Whether an artefact of that hash contains a verdict, and about itself."""
    recorded = (spec.parity or {}).get("artefact_sha256")
    if recorded is None:
        return ["the artefact carries no verdict of parity"]
    if recorded != sha256:
        return ["the verdict inside the artefact is about another file"]
    return []


def _spec_failures(expected: ModelSpec, actual: ModelSpec) -> list[str]:
    """Where an artefact's spec differs from its checkpoint's."""
    failures = []
    for name in ("labels", "input", "temperature"):
        before, after = getattr(expected, name), getattr(actual, name)
        if before != after:
            failures.append(f"the spec's {name}: {after} instead of the checkpoint's {before}")
    if expected.provenance.weights_sha256 != actual.provenance.weights_sha256:
        failures.append("the artefact was made from other weights than this checkpoint's")
    return failures
