"""The table of learning rate schedules: a new one is a function, and one entry here.

torch is imported inside the functions: the table is read to make the help.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from fer_train.recipe import Recipe


@dataclass(frozen=True)
class Schedule:
    """How a schedule is made, and when it moves.

    Args:
        make: function of (optimizer, recipe, steps of the whole run) that returns a scheduler of
            `torch.optim.lr_scheduler`, or None for a constant rate.
        interval: "epoch" or "step": when the learning rate changes.
        spans_run: whether it is planned for a number of steps. Such a schedule starts again when a
            run is extended; the others continue.
    """

    make: Callable[[torch.optim.Optimizer, Recipe, int], Any]
    interval: str = "epoch"
    spans_run: bool = False


def _none(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> None:
    """The rate stays as it is."""


def _step(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    from torch.optim import lr_scheduler

    return lr_scheduler.StepLR(optimizer, recipe.step_size, recipe.gamma)


def _onecycle(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    from torch.optim import lr_scheduler

    return lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=0.2)


def _cosine(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    from torch.optim import lr_scheduler

    return lr_scheduler.CosineAnnealingLR(optimizer, steps)


def _plateau(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    from torch.optim import lr_scheduler

    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=recipe.gamma, patience=recipe.step_size)


SCHEDULERS: dict[str, Schedule] = {
    "none": Schedule(_none),
    "step": Schedule(_step),
    "onecycle": Schedule(_onecycle, "step", spans_run=True),
    "cosine": Schedule(_cosine, "step", spans_run=True),
    "plateau": Schedule(_plateau),
}
"""Name -> schedule of the learning rate."""
