"""Classification metrics from label numbers and probabilities; numpy only.

Everything counts from a confusion matrix `matrix[true, predicted]`, so that training, evaluation
and the runtime report the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]

THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Least probabilities at which a coverage-accuracy curve is reported."""


def confusion_matrix(targets: Integers, predicted: Integers, classes: int) -> Integers:
    """(N,), (N,) class numbers -> (classes, classes) int64 counts, row true, column predicted."""
    if targets.shape != predicted.shape:
        raise ValueError(f"{targets.shape} targets, but {predicted.shape} predictions")
    for name, numbers in (("targets", targets), ("predictions", predicted)):
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < classes:
            raise ValueError(f"{name} hold class numbers outside 0 to {classes - 1}")
    pairs = targets.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: Integers) -> float:
    """Share of right decisions; nan where nothing was counted."""
    return float(_ratio(np.trace(matrix), matrix.sum()))


def recall(matrix: Integers) -> Floats:
    """(K,) share of each true class that was found; 0 for a class without examples."""
    return np.nan_to_num(_ratio(np.diag(matrix), matrix.sum(1)))


def precision(matrix: Integers) -> Floats:
    """(K,) share of each predicted class that was right; 0 for a class never predicted."""
    return np.nan_to_num(_ratio(np.diag(matrix), matrix.sum(0)))


def f1(matrix: Integers) -> Floats:
    """(K,) harmonic mean of precision and recall, 2·TP / (2·TP + FP + FN)."""
    return np.nan_to_num(_ratio(2 * np.diag(matrix), matrix.sum(0) + matrix.sum(1)))


def macro_f1(matrix: Integers) -> float:
    """Mean of `f1` over the classes that have examples."""
    return _mean_present(f1(matrix), matrix)


def macro_recall(matrix: Integers) -> float:
    """Mean of `recall` over the classes that have examples (balanced accuracy)."""
    return _mean_present(recall(matrix), matrix)


def expected_calibration_error(
    probabilities: Floats, targets: Integers, *, bins: int = 15
) -> float:
    """(N, K) probabilities, (N,) targets -> mean |confidence - accuracy| over equal-width bins.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3.
    """
    return _calibration_error(*_calibration_gaps(probabilities, targets, bins))


def negative_log_likelihood(probabilities: Floats, targets: Integers) -> float:
    """(N, K) probabilities, (N,) targets -> mean cross-entropy in nats."""
    return float(_losses(probabilities, targets).mean())


def summary(probabilities: Floats, targets: Integers, labels: Sequence[str]) -> dict[str, float]:
    """The figures of one split by name; per-class ones as `recall_<label>` and so on."""
    matrix = confusion_matrix(targets, probabilities.argmax(1), len(labels))
    return {
        "count": float(len(targets)),
        "loss": negative_log_likelihood(probabilities, targets),
        "calibration_error": expected_calibration_error(probabilities, targets),
        **_counted(matrix, labels),
    }


def coverage(
    probabilities: Floats, targets: Integers, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict[str, float | None]]:
    """How many images get a label, and how many of these the right one, at least probabilities.

    (N, K) probabilities, (N,) targets -> per threshold `min_probability`, `coverage` (share of
    images whose most probable label is at least so probable) and `accuracy` among them (None where
    there are none): the coverage-accuracy curve. Source: El-Yaniv & Wiener 2010, "On the
    Foundations of Noise-free Selective Classification".

    >>> values = np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> coverage(values, np.array([0, 1]), (0.0, 0.8))[1]
    {'min_probability': 0.8, 'coverage': 0.5, 'accuracy': 1.0}
    """
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == targets
    curve: list[dict[str, float | None]] = []
    for threshold in thresholds:
        kept = confidence >= threshold
        share = float(right[kept].mean()) if kept.any() else None
        curve.append(
            {
                "min_probability": threshold,
                "coverage": float(kept.mean()) if kept.size else 0.0,
                "accuracy": share,
            }
        )
    return curve


def intervals(
    probabilities: Floats,
    targets: Integers,
    labels: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Bootstrap interval of every figure of `summary`, over resampled images.

    (N, K) probabilities, (N,) targets -> name -> (low, high). Percentile intervals, but for the
    calibration error: resampling adds noise to each bin and so raises it, and its percentiles are
    mirrored at the estimate ("basic" interval) to make up for that. A share that is 0 or 1 in the
    sample stays so in every resample. Source: Efron & Tibshirani 1993, chapter 13.
    """
    classes, count = len(labels), len(targets)
    predicted = probabilities.argmax(1)
    confusion_matrix(targets, predicted, classes)  # refuses wrong numbers
    cells = targets.astype(np.int64) * classes + predicted
    losses = _losses(probabilities, targets)
    gaps, which = _calibration_gaps(probabilities, targets)
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {}
    for _ in range(resamples):
        drawn = rng.integers(0, count, count)
        matrix = np.bincount(cells[drawn], minlength=classes * classes).reshape(classes, classes)
        figures = {
            "loss": float(losses[drawn].mean()),
            "calibration_error": _calibration_error(gaps[drawn], which[drawn]),
            **_counted(matrix, labels),
        }
        for name, value in figures.items():
            draws.setdefault(name, []).append(value)
    ends = 50 * (1 - level), 50 * (1 + level)
    found = {name: np.nanpercentile(values, ends) for name, values in draws.items()}
    low, high = found["calibration_error"]
    twice = 2 * _calibration_error(gaps, which)
    found["calibration_error"] = np.maximum(0, [twice - high, twice - low])
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def _counted(matrix: Integers, labels: Sequence[str]) -> dict[str, float]:
    """The figures that a confusion matrix holds."""
    values = {
        "accuracy": accuracy(matrix),
        "macro_f1": macro_f1(matrix),
        "macro_recall": macro_recall(matrix),
    }
    for name, per_class in (("recall", recall(matrix)), ("precision", precision(matrix))):
        values |= {f"{name}_{label}": float(v) for label, v in zip(labels, per_class, strict=True)}
    return values


def _losses(probabilities: Floats, targets: Integers) -> Floats:
    """(N,) cross-entropy of each image in nats."""
    chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return -np.log(np.maximum(chosen, 1e-12))


def _calibration_gaps(
    probabilities: Floats, targets: Integers, bins: int = 15
) -> tuple[Floats, Integers]:
    """(N,) confidence minus hit, and (N,) the bin of each image by its confidence."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == targets
    return confidence - right, np.minimum((confidence * bins).astype(int), bins - 1)


def _calibration_error(gaps: Floats, which: Integers) -> float:
    return float(np.abs(np.bincount(which, gaps)).sum() / max(1, len(gaps)))


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(part, np.float64) / np.asarray(whole, np.float64)


def _mean_present(values: Floats, matrix: Integers) -> float:
    present = matrix.sum(1) > 0
    return float(values[present].mean()) if present.any() else float("nan")
