"""The table of losses: a new one is its own module, and one entry here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from fer_runtime._lazy import resolve
from fer_runtime.errors import DataError

if TYPE_CHECKING:
    import torch

    from fer_train.recipe import Recipe

    Loss = Callable[..., torch.Tensor]

LOSSES: dict[str, str | Loss] = {
    "cross_entropy": "fer_train.losses.cross_entropy:cross_entropy",
    "focal": "fer_train.losses.focal:focal",
}
"""Name -> loss(logits, targets, *, weight, label_smoothing, **arguments), or "module:name" of one.

`logits` are (N, K) float32, `targets` (N,) int64, `weight` (K,) float32 or None; the result is a
scalar. `arguments` are the loss's own, which `--loss-args` sets.
"""


def loss_of(recipe: Recipe) -> Loss:
    """The recipe's loss: a function of (logits, targets, weight=...).

    Raises:
        DataError: `loss_args` that this loss does not take.
    """
    function = cast("Loss", resolve(LOSSES[recipe.loss]))
    settings = {"label_smoothing": recipe.label_smoothing, **recipe.loss_arguments()}
    try:
        inspect.signature(function).bind(None, None, weight=None, **settings)
    except TypeError as error:
        raise DataError(
            f"The loss {recipe.loss} does not take the arguments {recipe.loss_args}: {error}."
        ) from None
    return partial(function, **settings)


def guessing_cost(recipe: Recipe, classes: int) -> float:
    """The loss of a model that gives each class the same probability; ln(classes) in nats."""
    import torch

    logits, targets = torch.zeros(classes, classes), torch.arange(classes)
    return float(loss_of(recipe)(logits, targets, weight=None))
