"""The losses compute what their formulas say, and what guessing costs comes from them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from fer_runtime.errors import DataError
from fer_train.losses.focal import focal
from fer_train.losses.table import LOSSES, guessing_cost, loss_of
from fer_train.recipe import Recipe


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 2.5])])
def test_focal_loss_without_focus_is_cross_entropy(
    weight: torch.Tensor | None, label_smoothing: float
) -> None:
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)) * 3
    targets = torch.arange(12) % 3
    found = focal(logits, targets, weight=weight, label_smoothing=label_smoothing, gamma=0)
    expected = functional.cross_entropy(
        logits, targets, weight=weight, label_smoothing=label_smoothing
    )
    torch.testing.assert_close(found, expected)


def test_focal_loss_worked_out() -> None:
    """Two images with p = 0.8 and 0.5: 0.2^2 * -ln 0.8 and 0.5^2 * -ln 0.5, and their mean."""
    logits = torch.tensor([[0.8, 0.2], [0.5, 0.5]]).log()
    found = focal(logits, torch.tensor([0, 1]), weight=None, label_smoothing=0.0)
    expected = (0.2**2 * -math.log(0.8) + 0.5**2 * -math.log(0.5)) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_a_perfect_answer_has_a_finite_gradient() -> None:
    logits = torch.tensor([[80.0, -80.0, 0.0]], requires_grad=True)
    focal(logits, torch.tensor([0]), weight=None, label_smoothing=0.0, gamma=0.5).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_what_guessing_costs_is_the_losss_own() -> None:
    assert guessing_cost(Recipe(), 7) == pytest.approx(math.log(7))
    assert guessing_cost(Recipe(label_smoothing=0.3), 7) == pytest.approx(math.log(7))
    focused = Recipe(loss="focal", loss_args='{"gamma": 3}')
    assert guessing_cost(focused, 7) == pytest.approx((6 / 7) ** 3 * math.log(7))


def test_wrong_losses_are_named() -> None:
    with pytest.raises(DataError, match=f"loss is 'hinge'; allowed: {', '.join(LOSSES)}"):
        Recipe(loss="hinge")
    with pytest.raises(DataError, match="loss_args is not JSON"):
        Recipe(loss_args="gamma=2")
    with pytest.raises(DataError, match=r"loss_args must be a JSON object, as in"):
        Recipe(loss_args="[2]")
    with pytest.raises(DataError, match=r"cross_entropy does not take the arguments .*'gamma'"):
        loss_of(Recipe(loss_args='{"gamma": 2}'))
