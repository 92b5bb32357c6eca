"""Sharpness-aware minimisation takes the gradient at the worst weights nearby."""

from __future__ import annotations

import pytest
import torch

from fer_runtime.errors import DataError
from fer_train.recipe import Recipe
from fer_train.sharpness_aware import SharpnessAware


def test_a_step_follows_the_gradient_a_distance_up_the_slope() -> None:
    """The loss is (w1^4 + w2^4) / 4, so its gradient is w^3 and the step is known exactly."""
    start = torch.tensor([0.6, 0.8])
    weights = start.clone().requires_grad_()
    optimizer = SharpnessAware([weights], lr=0.1, distance=0.5)
    seen: list[torch.Tensor] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        seen.append(weights.detach().clone())
        loss = (weights**4).sum() / 4
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    slope = start**3
    above = start + 0.5 * slope / slope.norm()
    torch.testing.assert_close(torch.stack(seen), torch.stack([start, above]))
    torch.testing.assert_close(weights.detach(), start - 0.1 * above**3)
    torch.testing.assert_close(loss.detach(), (start**4).sum() / 4)


def test_what_it_cannot_do_is_named() -> None:
    with pytest.raises(ValueError, match="needs a closure"):
        SharpnessAware([torch.zeros(1, requires_grad=True)], lr=0.1).step()
    with pytest.raises(DataError, match="sam takes two gradients a step"):
        Recipe(optimizer="sam", precision="16-mixed")
