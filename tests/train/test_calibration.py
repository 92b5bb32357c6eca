"""Temperature scaling finds the temperature, corrects the confidence, keeps decisions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_runtime import metrics
from fer_train import checkpoint, evaluate
from fer_train.calibration import fit_temperature
from fer_train.fit import RunOptions, fit
from fer_train.recipe import Recipe


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_temperature_undoes_a_factor_on_calibrated_logits(factor: float) -> None:
    """Targets drawn from the softmax of the logits are calibrated by construction."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 7))
    targets = np.array([rng.choice(7, p=row) for row in softmax(logits)])
    scaled = (logits * factor).astype(np.float32)
    found = fit_temperature(scaled, targets)
    assert found == pytest.approx(factor, rel=0.05)
    before = metrics.expected_calibration_error(softmax(scaled), targets)
    after = metrics.expected_calibration_error(softmax(scaled / found), targets)
    assert after < 0.02 and after <= before + 1e-3


def test_temperature_of_perfect_logits_stays_within_bounds() -> None:
    targets = np.arange(70) % 7
    assert fit_temperature(np.eye(7, dtype=np.float32)[targets] * 10, targets) >= 0.05


def test_run_writes_its_temperature_into_the_spec(dataset: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        architecture="simple_cnn", width=8, epochs=2, batch_size=20, fit_temperature=True
    )
    result = fit(dataset, tmp_path / "run", recipe, RunOptions(show=False))
    assert result is not None
    best = checkpoint.load(result.best)
    temperature = best.spec.temperature
    assert temperature != 1
    written = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert written["temperature"] == temperature
    split, _ = evaluate.load_split(best, dataset)
    logits, probabilities = evaluate.predict(best.deployable(), split.images)
    np.testing.assert_allclose(probabilities, softmax(logits / temperature), atol=1e-6)
    assert temperature == pytest.approx(fit_temperature(logits, split.targets.numpy()), rel=1e-4)
    plain = metrics.negative_log_likelihood(softmax(logits), split.targets.numpy())
    assert written["metrics"]["loss"] <= plain
    assert torch.equal(split.targets, torch.from_numpy(result.evaluation.targets))
