"""Artefacts compared with one checkpoint: on noise, extremes and images, on each provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_export import parity
from fer_export.formats.runners import Arrays, Runner, eager
from fer_export.formats.table import Format
from fer_export.options import ExportOptions
from fer_export.parity import bisection, end_to_end, inputs
from fer_export.parity.verification import Verification
from fer_export.precision.reduction import Reduced
from fer_export.precision.table import Precision
from fer_runtime.providers import PROVIDERS
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable

SHOWN_CHANGES = 24

LOOSE_TOLERANCE = 0.25
"""Difference, in standard deviations, that `--bisect` looks for where a precision has no
tolerance."""


class ParityChecker:
    """Compares artefacts with one checkpoint on the same inputs; PyTorch runs once.

    Args:
        deployable: the checkpoint's model, in evaluation mode.
        spec: the checkpoint's.
        batches: the inputs; the first are noise in `inputs.BATCH_SIZES`.
        options: the limits.
        say: called with a short line as work proceeds.
    """

    def __init__(
        self,
        deployable: Deployable,
        spec: ModelSpec,
        batches: Sequence[inputs.InputBatch],
        options: ExportOptions,
        say: Callable[[str], None],
    ) -> None:
        self.deployable, self.spec, self.batches = deployable, spec, batches
        self.options, self.say = options, say
        run = eager(deployable)
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
        """Compare on the format's first provider, then on each other one that runs here."""
        first, *others = [name for name in chosen.providers if name in wanted.providers]
        verification = self.check(chosen, artefact, wanted, reduced, provider=first)
        for provider in others:
            if not verification or PROVIDERS[provider].diagnose():
                continue
            other = self.check(chosen, artefact, wanted, reduced, provider=provider)
            if not other:
                title = PROVIDERS[provider].title
                failures = tuple(f"on {title}, {failure}" for failure in other.report.failures)
                return replace(other, report=replace(other.report, failures=failures))
        return verification

    def check(
        self,
        chosen: Format,
        artefact: Path,
        wanted: Precision,
        reduced: Reduced | None = None,
        provider: str = "cpu",
    ) -> Verification:
        """Compare an artefact with the checkpoint on one provider."""
        where = "" if provider == "cpu" else f" on {provider}"
        self.say(f"comparing {wanted.name}{where} with PyTorch")
        run = chosen.runner(artefact, provider)
        candidate = [run(batch.pixels) for batch in self.batches]
        limits = self.options.limits(wanted)
        results = [
            parity.Batch(batch.names, expected, actual)
            for batch, expected, actual in zip(self.batches, self.reference, candidate, strict=True)
        ]
        report = parity.compare(results, self.spec.labels, **limits)
        failures = list(self.failures)
        if chosen.runtime:
            named = [
                result
                for batch, result in zip(self.batches, results, strict=True)
                if batch.from_files
            ]
            failures += end_to_end.failures(artefact, named, provider)
        if self.own:
            # Labels that a lower precision changes are for its limits, not for the preprocessing.
            outputs = candidate if wanted.name == "fp32" else self.reference
            failures += self.own.failures(self.batches, outputs)
        if self.options.bisect and not report:
            failures.append(self._divergence(artefact, limits["tolerance"]))
        report = parity.with_failures(report, failures)
        return Verification(wanted.name, report, reduced, self._pictures(report))

    def _divergence(self, artefact: Path, tolerance: float | None) -> str:
        self.say("looking for the first node whose output differs")
        pixels = self.batches[len(inputs.BATCH_SIZES) - 1].pixels
        found = bisection.first(
            self.deployable, self.spec, artefact, pixels, tolerance or LOOSE_TOLERANCE
        )
        return str(found) if found else "no single node's output differs beyond the tolerance"

    def _pictures(self, report: parity.ParityReport) -> dict[str, npt.NDArray[np.uint8]]:
        wanted = {entry.name for entry in report.changed[:SHOWN_CHANGES]}
        return {
            name: pixels
            for batch in self.batches
            for name, pixels in zip(batch.names, batch.pixels, strict=True)
            if name in wanted
        }


def _batch_failures(
    run: Runner, batches: Sequence[inputs.InputBatch], reference: Sequence[Arrays]
) -> list[str]:
    """Whether PyTorch itself gives an image the same logits alone as among others."""
    place = len(inputs.BATCH_SIZES) - 1
    together = reference[place]["logits"]
    alone = run(batches[place].pixels[:1])["logits"]
    difference = float(np.abs(together[:1] - alone).max())
    if difference <= 1e-3 * max(float(together.std()), parity.LEAST_SCALE):
        return []
    return [
        f"the checkpoint's logits for an image change by {difference:.3g} with the other images of "
        "its batch: a BatchNorm without running statistics, or one in training mode"
    ]
