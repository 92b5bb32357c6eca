"""The table of optimizers: a new one is a function, and one entry here.

torch is imported inside the functions: the table is read to make the help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fer_train.recipe import Recipe

    Make = Callable[[list[dict[str, Any]], Recipe], torch.optim.Optimizer]


def parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Matrices and kernels decay; norms and biases, which have one axis, only where asked to."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    spared = 0.0 if not recipe.decay_all else recipe.weight_decay
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": spared},
    ]


def sgd(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    """Stochastic gradient descent with the recipe's (Nesterov) momentum."""
    import torch

    return torch.optim.SGD(
        groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def adam(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    """Adam, with weight decay as a part of the gradient."""
    import torch

    return torch.optim.Adam(groups, recipe.lr)


def adamw(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    """Adam with weight decay apart from the gradient."""
    import torch

    return torch.optim.AdamW(groups, recipe.lr)


def sam(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    """sgd that follows the gradient of the worst weights nearby: two passes in each step."""
    from fer_train.sharpness_aware import SharpnessAware

    return SharpnessAware(groups, recipe.lr, momentum=recipe.momentum, distance=recipe.sam_distance)


OPTIMIZERS: dict[str, Make] = {"sgd": sgd, "adam": adam, "adamw": adamw, "sam": sam}
"""Name -> function of (parameter groups, recipe) that returns the optimizer."""
