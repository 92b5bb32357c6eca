"""Compares two models' outputs: arrays in, a ParityReport out; numpy only.

Names, dtypes, shapes, finiteness, values and decisions are compared in that order, and all failures
are collected, so that one run shows everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_export.parity.limits import LEAST_SCALE, TOLERANCE

Arrays = Mapping[str, npt.NDArray[Any]]

FEATURES = "features"
_ROUNDING = 1e-6  # of a probability in float32, beyond what its logits explain


@dataclass(frozen=True)
class Batch:
    """What both models output for the same images; `names` has one entry per image."""

    names: tuple[str, ...]
    reference: Arrays
    candidate: Arrays


@dataclass(frozen=True)
class ChangedLabel:
    """An image whose top-1 differs; `margin` is the reference's between its first two logits."""

    name: str
    reference: str
    candidate: str
    margin: float


@dataclass(frozen=True)
class ParityReport:
    """The verdict and its numbers; true only if something was compared and nothing failed.

    Differences are absolute, in logits.

    Attributes:
        images: how many were compared.
        batch_sizes: in which batches.
        scale: the standard deviation of the reference's logits.
        tolerance: what was allowed, in units of `scale`; None compares decisions only.
        smallest_tolerance: the smallest one that would have passed, in units of `scale`.
        max_difference: of any logit.
        mean_difference: of all logits.
        p99_difference: their 99th percentile.
        max_probability_difference: of any probability.
        pass_rate: share of images whose logits are all within the tolerance.
        agreement: share of images with the same top-1.
        histogram: counts of differences by decade, in units of `scale`: the first below 1e-9, the
            next from there to 1e-8 and so on, the last above 1.
        changed: the images whose top-1 differs.
        failures: what is wrong; empty where it passed.
        max_feature_difference: of any feature, in standard deviations of the reference's features;
            None where they are not an output.
    """

    images: int
    batch_sizes: tuple[int, ...]
    scale: float
    tolerance: float | None
    smallest_tolerance: float
    max_difference: float
    mean_difference: float
    p99_difference: float
    max_probability_difference: float
    pass_rate: float
    agreement: float
    histogram: tuple[int, ...]
    changed: tuple[ChangedLabel, ...]
    failures: tuple[str, ...]
    max_feature_difference: float | None = None

    def __bool__(self) -> bool:
        return self.images > 0 and not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `passed` first."""
        return {"passed": bool(self), **asdict(self)}

    def summary(self) -> dict[str, Any]:
        """What is written into the artefact: all but the list of images and the histogram."""
        values = self.to_dict()
        values["changed"] = len(self.changed)
        del values["histogram"]
        return values


def compare(
    batches: Sequence[Batch],
    labels: Sequence[str],
    *,
    tolerance: float | None = TOLERANCE,
    min_agreement: float = 1.0,
) -> ParityReport:
    """Compare a candidate's `logits` and `probabilities`, (N, K) float32, with a reference's.

    `features`, (N, D) float32, are compared too where both have them.

    A changed top-1 fails only where the reference's margin exceeds twice the tolerance; below it,
    rounding may decide.

    Args:
        batches: both models' outputs for the same images.
        labels: the K class names, in the order of the logits.
        tolerance: largest difference of logits, in standard deviations of the reference's. With
            None values are not compared, and every changed top-1 counts.
        min_agreement: smallest share of equal top-1, 0 to 1.
    """
    failures = _structure_failures(batches, len(labels))
    if failures or not batches:
        return _report(batches, tolerance, tuple(failures or ["nothing was compared"]))
    reference, candidate = (
        _concatenate(batches, side, "logits") for side in ("reference", "candidate")
    )
    scale = float(reference.std())
    difference = np.abs(reference - candidate)
    probability = np.abs(
        _concatenate(batches, "reference", "probabilities")
        - _concatenate(batches, "candidate", "probabilities")
    )
    names = [name for batch in batches for name in batch.names]
    changed = _changed(names, reference, candidate, labels)
    agreement = 1 - len(changed) / len(names)
    allowed = np.inf if tolerance is None else tolerance * scale
    failures += _value_failures(difference, probability, scale, tolerance)
    feature_difference, feature_failures = _features(batches, tolerance)
    failures += feature_failures
    margin = 0.0 if tolerance is None else 2 * allowed
    failures += _decision_failures(changed, agreement, margin, min_agreement)
    return _report(
        batches, tolerance, tuple(failures),
        scale=scale,
        smallest_tolerance=float(difference.max() / scale) if scale else float("inf"),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        p99_difference=float(np.percentile(difference, 99)),
        max_probability_difference=float(probability.max()),
        pass_rate=float((difference.max(1) <= allowed).mean()),
        agreement=agreement,
        histogram=_histogram(difference, scale),
        changed=tuple(changed),
        max_feature_difference=feature_difference,
    )  # fmt: skip


def with_failures(report: ParityReport, failures: Sequence[str]) -> ParityReport:
    """The same report with more failures, listed first."""
    return replace(report, failures=(*failures, *report.failures))


def _report(
    batches: Sequence[Batch], tolerance: float | None, failures: tuple[str, ...], **figures: Any
) -> ParityReport:
    nothing: dict[str, Any] = dict.fromkeys(
        ("scale", "smallest_tolerance", "max_difference", "mean_difference", "p99_difference",
         "max_probability_difference", "pass_rate", "agreement"), 0.0,
    )  # fmt: skip
    return ParityReport(
        images=sum(len(batch.names) for batch in batches),
        batch_sizes=tuple(sorted({len(batch.names) for batch in batches})),
        tolerance=tolerance,
        failures=failures,
        **{"changed": (), "histogram": (), **nothing, **figures},
    )


def _structure_failures(batches: Sequence[Batch], classes: int) -> list[str]:
    """Names, dtypes, shapes and finiteness of every batch."""
    failures = []
    for batch in batches:
        where = f"batch of {len(batch.names)}"
        if set(batch.candidate) != set(batch.reference):
            failures.append(
                f"{where}: outputs are {', '.join(sorted(batch.candidate))} instead of "
                f"{', '.join(sorted(batch.reference))}"
            )
            continue
        for name, expected in batch.reference.items():
            actual = batch.candidate[name]
            if actual.dtype != expected.dtype:
                failures.append(f"{where}: {name} is {actual.dtype} instead of {expected.dtype}")
            if actual.shape != expected.shape:
                failures.append(f"{where}: {name} is {actual.shape} instead of {expected.shape}")
            elif name == FEATURES and (actual.ndim != 2 or len(actual) != len(batch.names)):
                failures.append(f"{where}: {name} is {actual.shape}, not (images, D)")
            elif name != FEATURES and actual.shape != (len(batch.names), classes):
                failures.append(f"{where}: {name} is {actual.shape}, not (images, {classes})")
            for side, array in (("reference", expected), ("candidate", actual)):
                if not np.isfinite(array).all():
                    failures.append(f"{where}: {name} of the {side} contains NaN or infinity")
    return list(dict.fromkeys(failures))


def _value_failures(
    difference: npt.NDArray[Any],
    probability: npt.NDArray[Any],
    scale: float,
    tolerance: float | None,
) -> list[str]:
    if scale < LEAST_SCALE:
        return [
            f"nothing to compare: the reference's logits hardly vary (standard deviation "
            f"{scale:.2g}); an untrained model passes any tolerance"
        ]
    if tolerance is None:
        return []
    failures = []
    if difference.max() > tolerance * scale:
        failures.append(
            f"logits differ by up to {difference.max():.3g}, {difference.max() / scale:.2g} of "
            f"their standard deviation; allowed is {tolerance:.2g}"
        )
    if probability.max() > tolerance * scale + _ROUNDING:
        failures.append(
            f"probabilities differ by up to {probability.max():.3g}; allowed is "
            f"{tolerance * scale + _ROUNDING:.2g}"
        )
    return failures


def _features(batches: Sequence[Batch], tolerance: float | None) -> tuple[float | None, list[str]]:
    """The largest difference of features, in their own standard deviations, and failures."""
    if FEATURES not in batches[0].reference:
        return None, []
    reference, candidate = (
        _concatenate(batches, side, FEATURES) for side in ("reference", "candidate")
    )
    scale = float(reference.std())
    if scale < LEAST_SCALE:
        return None, [
            f"nothing to compare: the reference's features hardly vary (standard deviation "
            f"{scale:.2g})"
        ]
    difference = float(np.abs(reference - candidate).max()) / scale
    if tolerance is not None and difference > tolerance:
        return difference, [
            f"features differ by up to {difference:.2g} of their standard deviation; allowed is "
            f"{tolerance:.2g}"
        ]
    return difference, []


def _histogram(difference: npt.NDArray[Any], scale: float) -> tuple[int, ...]:
    """How many differences fall into each decade of `scale`; see ParityReport."""
    edges = np.concatenate([[0], 10.0 ** np.arange(-9, 1), [np.inf]])
    counts, _ = np.histogram(difference / max(scale, LEAST_SCALE), edges)
    return tuple(counts.tolist())


def _changed(
    names: Sequence[str],
    reference: npt.NDArray[Any],
    candidate: npt.NDArray[Any],
    labels: Sequence[str],
) -> list[ChangedLabel]:
    ranked = np.sort(reference, axis=1)
    margins = ranked[:, -1] - ranked[:, -2]
    before, after = reference.argmax(1), candidate.argmax(1)
    return [
        ChangedLabel(names[i], labels[before[i]], labels[after[i]], float(margins[i]))
        for i in np.flatnonzero(before != after).tolist()
    ]


def _decision_failures(
    changed: Sequence[ChangedLabel], agreement: float, margin: float, min_agreement: float
) -> list[str]:
    failures = []
    real = [entry for entry in changed if entry.margin > margin]
    if real and min_agreement >= 1:
        first = real[0]
        failures.append(
            f"{len(real)} labels changed beyond rounding, the first on {first.name}: "
            f"{first.reference} became {first.candidate}"
        )
    elif agreement < min_agreement and real:
        failures.append(f"agreement is {agreement:.2%}; {min_agreement:.2%} is required")
    return failures


def _concatenate(batches: Sequence[Batch], side: str, name: str) -> npt.NDArray[np.float64]:
    return np.concatenate([getattr(batch, side)[name] for batch in batches]).astype(np.float64)
