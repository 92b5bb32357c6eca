"""Sharpness-aware minimisation: SGD on the gradient at the worst weights nearby."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class SharpnessAware(torch.optim.SGD):
    """SGD with (Nesterov) momentum; each step takes two gradients.

    The first gives the direction in which the loss rises, and the weights move by `distance` along
    it; the second, taken there, is the one that SGD applies to the weights as they were.

        SharpnessAware(net.parameters(), lr=0.05, distance=0.05)

    Args:
        groups: parameters or groups of them.
        lr: learning rate.
        momentum: of SGD; above 0 it is Nesterov's.
        distance: how far to move, as the norm over all weights.

    Source: Foret et al. 2021, "Sharpness-aware minimization for efficiently improving
    generalization".
    """

    def __init__(
        self,
        groups: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.0,
        distance: float = 0.05,
    ) -> None:
        super().__init__(groups, lr, momentum=momentum, nesterov=momentum > 0)
        self.distance = distance

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns the loss at the weights as they were.

        Raises:
            ValueError: no closure, so that the second gradient cannot be had.
        """
        if closure is None:
            raise ValueError("SharpnessAware.step needs a closure that computes the gradients.")
        loss = closure()
        with torch.no_grad():
            weights = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
            kept = [(weight, weight.grad, weight.clone()) for weight in weights]
            norm = torch.nn.utils.get_total_norm([gradient for _, gradient, _ in kept])
            factor = self.distance / (float(norm) + 1e-12)
            for weight, gradient, _ in kept:
                weight.add_(gradient, alpha=factor)
        closure()
        with torch.no_grad():
            for weight, _, before in kept:
                weight.copy_(before)
        super().step()
        return loss
