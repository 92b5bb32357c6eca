"""Metrics against values worked out on paper, against naive loops, and against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime import metrics
from tests.properties import given, settings, st

TARGETS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 2])
MATRIX = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 1]])

PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])
"""Confidences 0.9, 0.8, 0.7, 0.55, deciding 0, 0, 1, 1."""


def random_labels(
    seed: int, count: int = 500, classes: int = 7
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Predictions that are right about three times in four."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count)
    wrong = rng.random(count) < 0.3
    return targets, np.where(wrong, rng.integers(0, classes, count), targets)


def test_confusion_matrix_has_true_rows_and_predicted_columns() -> None:
    matrix = metrics.confusion_matrix(TARGETS, PREDICTED, 3)
    np.testing.assert_array_equal(matrix, MATRIX)
    assert matrix.dtype == np.int64


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=60))
def test_confusion_matrix_equals_a_loop(pairs: list[tuple[int, int]]) -> None:
    naive = np.zeros((5, 5), int)
    for true, said in pairs:
        naive[true, said] += 1
    array = np.array(pairs, np.uint8).reshape(-1, 2)
    np.testing.assert_array_equal(metrics.confusion_matrix(array[:, 0], array[:, 1], 5), naive)


def test_confusion_matrix_takes_small_integers_without_overflow() -> None:
    """200 * 201 + 200 does not fit a uint8, nor an int16."""
    matrix = metrics.confusion_matrix(np.array([200], np.uint8), np.array([200], np.uint8), 201)
    assert matrix[200, 200] == 1


def test_confusion_matrix_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match=r"\(6,\) targets, but \(2,\) predictions"):
        metrics.confusion_matrix(TARGETS, PREDICTED[:2], 3)


@pytest.mark.parametrize(
    ("targets", "predicted"), [([0], [3]), ([3], [0]), ([0], [-1]), ([-1], [0])]
)
def test_confusion_matrix_refuses_class_numbers_out_of_range(
    targets: list[int], predicted: list[int]
) -> None:
    """(0, 3) of 3 classes would otherwise be counted as (1, 0)."""
    with pytest.raises(ValueError):
        metrics.confusion_matrix(np.array(targets), np.array(predicted), 3)


def test_accuracy_recall_precision_f1_by_hand() -> None:
    assert metrics.accuracy(MATRIX) == 4 / 6
    np.testing.assert_allclose(metrics.recall(MATRIX), [2 / 3, 1 / 2, 1])
    np.testing.assert_allclose(metrics.precision(MATRIX), [1, 1 / 2, 1 / 2])
    np.testing.assert_allclose(metrics.f1(MATRIX), [4 / 5, 1 / 2, 2 / 3])
    assert metrics.macro_f1(MATRIX) == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert metrics.macro_recall(MATRIX) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_macro_means_leave_out_classes_without_examples() -> None:
    """Class 2 never occurs; that it was predicted once lowers no other precision."""
    matrix = np.array([[3, 0, 1], [0, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(metrics.recall(matrix), [3 / 4, 1, 0])
    np.testing.assert_allclose(metrics.precision(matrix), [1, 1, 0])
    np.testing.assert_allclose(metrics.f1(matrix), [6 / 7, 1, 0])
    assert metrics.macro_f1(matrix) == pytest.approx((6 / 7 + 1) / 2)
    assert metrics.macro_recall(matrix) == pytest.approx((3 / 4 + 1) / 2)


def test_a_class_that_is_never_predicted_has_precision_0_not_nan() -> None:
    matrix = np.array([[2, 0], [2, 0]])
    np.testing.assert_array_equal(metrics.precision(matrix), [0.5, 0])
    np.testing.assert_allclose(metrics.f1(matrix), [2 / 3, 0])
    assert metrics.macro_f1(matrix) == pytest.approx(1 / 3)


@pytest.mark.filterwarnings("error")
def test_nothing_counted_is_nan_without_a_warning() -> None:
    empty = np.zeros((3, 3), int)
    assert math.isnan(metrics.accuracy(empty))
    assert math.isnan(metrics.macro_f1(empty))
    np.testing.assert_array_equal(metrics.recall(empty), [0, 0, 0])


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_and_accuracy_equal_torchmetrics(seed: int) -> None:
    torch = pytest.importorskip("torch", reason="the comparison needs torch (extra `train`)")
    classification = pytest.importorskip(
        "torchmetrics.functional.classification",
        reason="the comparison needs torchmetrics (extra `train`)",
    )

    targets, predicted = random_labels(seed)
    said, true = torch.from_numpy(predicted), torch.from_numpy(targets)
    matrix = metrics.confusion_matrix(targets, predicted, 7)
    f1 = classification.multiclass_f1_score(said, true, num_classes=7, average="macro")
    recall = classification.multiclass_accuracy(said, true, num_classes=7, average="macro")
    accuracy = classification.multiclass_accuracy(said, true, num_classes=7, average="micro")
    assert metrics.macro_f1(matrix) == pytest.approx(float(f1), abs=1e-6)
    assert metrics.macro_recall(matrix) == pytest.approx(float(recall), abs=1e-6)
    assert metrics.accuracy(matrix) == pytest.approx(float(accuracy), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    """Ten bins: 0.9 right, 0.8 wrong, 0.7 right, 0.55 wrong, each alone in its bin."""
    error = metrics.expected_calibration_error(PROBABILITIES, np.array([0, 1, 1, 0]), bins=10)
    assert error == pytest.approx((0.1 + 0.8 + 0.3 + 0.55) / 4)


def test_calibration_error_averages_inside_a_bin() -> None:
    """One bin: confidence (0.9 + 0.8 + 0.7 + 0.55) / 4 = 0.7375, accuracy 0.75."""
    error = metrics.expected_calibration_error(PROBABILITIES, np.array([0, 1, 1, 1]), bins=1)
    assert error == pytest.approx(0.75 - 0.7375)


def test_calibration_error_of_certainty() -> None:
    certain = np.eye(2)[[0, 1, 1]]
    assert metrics.expected_calibration_error(certain, np.array([0, 1, 1])) == 0
    assert metrics.expected_calibration_error(certain, np.array([1, 0, 0])) == 1


def test_calibration_error_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(4), 300)
    targets = rng.integers(0, 4, 300)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    naive = 0.0
    for index in range(15):
        inside = (confidence >= index / 15) & (confidence < (index + 1) / 15)
        if inside.any():
            naive += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert metrics.expected_calibration_error(probabilities, targets) == pytest.approx(naive)


def test_negative_log_likelihood_by_hand() -> None:
    value = metrics.negative_log_likelihood(PROBABILITIES, np.array([0, 1, 1, 0]))
    assert value == pytest.approx(-(math.log(0.9 * 0.2 * 0.7 * 0.45)) / 4)


def test_negative_log_likelihood_of_an_impossible_class_is_finite() -> None:
    value = metrics.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1]))
    assert value == pytest.approx(-math.log(1e-12))


def outputs(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(N, 7) probabilities that are right about half of the time, (N,) targets, labels."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 7, count)
    scores = rng.normal(size=(count, 7)) + 1.5 * np.eye(7)[targets]
    exponents = np.exp(scores)
    return exponents / exponents.sum(1, keepdims=True), targets, list("abcdefg")


def test_every_figure_has_an_interval_that_contains_it() -> None:
    probabilities, targets, labels = outputs(0)
    found = metrics.intervals(probabilities, targets, labels)
    figures = metrics.summary(probabilities, targets, labels)
    assert set(found) == set(figures) - {"count"}
    for name, (low, high) in found.items():
        assert 0 <= low < figures[name] < high, name


def test_interval_of_accuracy_is_close_to_the_normal_one() -> None:
    probabilities, targets, labels = outputs(1, count=2000)
    p = float((probabilities.argmax(1) == targets).mean())
    low, high = metrics.intervals(probabilities, targets, labels)["accuracy"]
    half = 1.96 * math.sqrt(p * (1 - p) / 2000)
    assert low == pytest.approx(p - half, abs=0.004)
    assert high == pytest.approx(p + half, abs=0.004)


def test_interval_of_the_loss_is_close_to_the_normal_one() -> None:
    probabilities, targets, labels = outputs(4, count=2000)
    losses = -np.log(probabilities[np.arange(2000), targets])
    low, high = metrics.intervals(probabilities, targets, labels)["loss"]
    half = 1.96 * losses.std() / math.sqrt(2000)
    assert (low, high) == pytest.approx((losses.mean() - half, losses.mean() + half), abs=0.005)


def test_interval_shrinks_with_the_number_of_images() -> None:
    """A hundred times the images, a tenth of the width."""
    probabilities, targets, labels = outputs(2, count=200)
    few = metrics.intervals(probabilities, targets, labels)["accuracy"]
    many = metrics.intervals(
        np.tile(probabilities, (100, 1)), np.tile(targets, 100), labels, resamples=400
    )["accuracy"]
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(10, rel=0.25)


def test_interval_widens_with_the_level_and_repeats_with_the_seed() -> None:
    probabilities, targets, labels = outputs(3)

    def interval(level: float, seed: int) -> tuple[float, float]:
        return metrics.intervals(
            probabilities, targets, labels, level=level, seed=seed, resamples=300
        )["macro_f1"]

    (low_95, high_95), (low_50, high_50) = interval(0.95, 0), interval(0.5, 0)
    assert low_95 < low_50 < high_50 < high_95
    assert interval(0.95, 0) == (low_95, high_95)
    assert interval(0.95, 1) != (low_95, high_95)


def test_interval_of_a_perfect_classifier_is_a_point() -> None:
    found = metrics.intervals(np.eye(3)[TARGETS], TARGETS, ["a", "b", "c"])
    assert found["accuracy"] == (1.0, 1.0)


def test_summary_by_hand() -> None:
    found = metrics.summary(PROBABILITIES, np.array([0, 1, 1, 0]), ["calm", "loud"])
    assert found == pytest.approx(
        {
            "count": 4.0,
            "loss": -(math.log(0.9 * 0.2 * 0.7 * 0.45)) / 4,
            "accuracy": 0.5,
            "macro_f1": 0.5,
            "macro_recall": 0.5,
            "calibration_error": (0.1 + 0.8 + 0.3 + 0.55) / 4,
            "recall_calm": 0.5,
            "recall_loud": 0.5,
            "precision_calm": 0.5,
            "precision_loud": 0.5,
        }
    )
    assert all(type(value) is float for value in found.values())


def test_inputs_are_not_written_to() -> None:
    probabilities, targets = PROBABILITIES.copy(), np.array([0, 1, 1, 0])
    probabilities.flags.writeable = targets.flags.writeable = False
    metrics.summary(probabilities, targets, ["calm", "loud"])
    np.testing.assert_array_equal(probabilities, PROBABILITIES)
