"""The comparison, on arrays small enough to calculate on paper."""

from __future__ import annotations

import numpy as np
import pytest

from fer_export.parity import Batch, ChangedLabel, ParityReport, compare, inputs
from fer_runtime.spec import InputSpec

LABELS = ("a", "b", "c")
LOGITS = np.array([[4.0, 0.0, -4.0], [0.0, 4.0, -4.0]], np.float32)
SCALE = float(np.std(LOGITS))  # sqrt(64 / 6) = 3.266


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return (exponents / exponents.sum(1, keepdims=True)).astype(np.float32)


def outputs(logits: np.ndarray) -> dict[str, np.ndarray]:
    return {"logits": logits, "probabilities": softmax(logits)}


def compared(candidate: dict[str, np.ndarray], **options: float) -> ParityReport:
    return compare([Batch(("x", "y"), outputs(LOGITS), candidate)], LABELS, **options)


def test_equal_outputs_pass() -> None:
    report = compared(outputs(LOGITS.copy()))
    assert report and report.to_dict()["passed"] is True
    assert report.scale == pytest.approx((64 / 6) ** 0.5)
    assert (report.max_difference, report.agreement, report.images) == (0, 1, 2)
    assert report.batch_sizes == (2,)


def test_figures_calculated_on_paper() -> None:
    changed = LOGITS.copy()
    changed[0, 0] += 0.25
    report = compared(outputs(changed), tolerance=1.0)
    assert report.max_difference == pytest.approx(0.25)
    assert report.mean_difference == pytest.approx(0.25 / 6)
    assert report.smallest_tolerance == pytest.approx(0.25 / SCALE)
    assert report.p99_difference == pytest.approx(0.25 * 0.95)


def test_tolerance_is_relative_to_the_scale() -> None:
    changed = LOGITS.copy()
    changed[1, 2] -= 1e-4 * SCALE * 1.1
    assert not compared(outputs(changed))
    changed[1, 2] = LOGITS[1, 2] - 1e-4 * SCALE * 0.9
    assert compared(outputs(changed))


def test_nothing_to_compare_is_a_failure() -> None:
    assert not compare([], LABELS)
    constant = {"logits": np.zeros((2, 3), np.float32), "probabilities": np.full((2, 3), 1 / 3)}
    report = compare([Batch(("x", "y"), constant, constant)], LABELS)
    assert not report
    assert "nothing to compare" in report.failures[0]


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"logits": LOGITS}, "outputs are logits instead of logits, probabilities"),
        ({**outputs(LOGITS), "logits": LOGITS.astype(np.float64)}, "float64 instead of float32"),
        ({**outputs(LOGITS), "logits": LOGITS[:1]}, r"logits is (1, 3) instead of (2, 3)"),
        (outputs(np.where(LOGITS == 4, np.nan, LOGITS).astype(np.float32)), "NaN or infinity"),
    ],
)
def test_structure_is_compared_before_values(
    candidate: dict[str, np.ndarray], message: str
) -> None:
    report = compared(candidate)
    assert not report
    assert any(message in failure for failure in report.failures)


def test_changed_label_beyond_rounding_fails_at_any_tolerance_below_its_margin() -> None:
    swapped = LOGITS[:, [1, 0, 2]]
    report = compared(outputs(swapped), tolerance=0.5)
    assert not report
    assert report.changed == (ChangedLabel("x", "a", "b", 4.0), ChangedLabel("y", "b", "a", 4.0))
    assert report.agreement == 0
    assert "2 labels changed beyond rounding, the first on x: a became b" in report.failures[-1]


def test_changed_label_within_rounding_is_reported_and_passes() -> None:
    near = np.array([[1.0, 1.0 + 1e-6, -4.0], [0, 4, -4]], np.float32)
    other = near.copy()
    other[0, 0] += 2e-6
    report = compare([Batch(("x", "y"), outputs(near), outputs(other))], LABELS)
    assert report
    assert [entry.name for entry in report.changed] == ["x"]
    assert report.agreement == 0.5


def test_wrong_probabilities_are_caught_though_logits_agree() -> None:
    """As where the temperature was lost on the way."""
    candidate = {"logits": LOGITS.copy(), "probabilities": softmax(LOGITS / 2)}
    report = compared(candidate)
    assert not report
    assert "probabilities differ" in report.failures[0]


def test_all_batches_count() -> None:
    good = Batch(("x", "y"), outputs(LOGITS), outputs(LOGITS))
    bad = Batch(("z",), outputs(LOGITS[:1]), outputs(LOGITS[:1] * 1.01))
    assert compare([good], LABELS)
    report = compare([good, bad], LABELS)
    assert not report and report.images == 3 and report.batch_sizes == (1, 2)


def test_summary_omits_the_images() -> None:
    report = compared(outputs(LOGITS[:, [1, 0, 2]]))
    assert report.summary()["changed"] == 2
    assert len(report.to_dict()["changed"]) == 2


def test_extremes_are_among_what_is_compared(grey: InputSpec) -> None:
    batch = inputs.extremes(grey)
    assert batch.names == ("black", "white", "one pixel")
    assert [int(image.sum()) for image in batch.pixels] == [0, 255 * 48 * 48, 255]
