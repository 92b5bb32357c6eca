"""What `last.pt` records of a run, and whether a recipe may continue it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fer_runtime.errors import DataError
from fer_train.callbacks import LAST
from fer_train.recipe import Recipe
from fer_train.schedulers import SCHEDULERS


@dataclass(frozen=True)
class Resumed:
    """Where a run that continues was left.

    `epochs` are finished. `restarts` are the epochs after which its learning rate schedule started
    again, `epochs` being the last of them where it does so now.
    """

    epochs: int
    restarts: tuple[int, ...] = ()
    restarts_now: bool = False


def read(output: Path, recipe: Recipe) -> Resumed:
    """What the last.pt in a run's folder records; the recipe may have more epochs than it had.

    Raises:
        DataError: no last.pt, not one of ours, or a run with another recipe.
    """
    last = output / LAST
    if not last.exists():
        raise DataError(f"{output} contains no {LAST} to resume; omit --resume to start there.")
    try:
        content = torch.load(last, map_location="cpu", weights_only=True)
        recorded = content["fer_recipe"]
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError) as error:
        raise DataError(f"{last} is not a run that can be resumed: {error}") from None
    # A field that was added later had its default.
    recorded = {**plain(Recipe().to_dict()), **recorded}
    changed = [
        name
        for name, value in plain(recipe.to_dict()).items()
        if name != "epochs" and recorded[name] != value
    ]
    if changed:
        raise DataError(
            f"The run in {output} was started with another {changed[0]} "
            f"({recorded[changed[0]]!r}); resume it with the same options."
        )
    if recipe.epochs < recorded["epochs"]:
        raise DataError(
            f"The run in {output} was started with another epochs ({recorded['epochs']}); pass "
            f"--epochs {recorded['epochs']} to resume it, or more to extend it."
        )
    done = content["epoch"] + 1
    restarts = tuple(content.get("fer_restarts", ()))
    extends = recipe.epochs > recorded["epochs"]
    if extends and SCHEDULERS[recipe.scheduler].spans_run:
        return Resumed(done, (*restarts, done), restarts_now=True)
    return Resumed(done, restarts)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON reads them again: tuples become lists."""
    found = json.loads(json.dumps(values))
    assert isinstance(found, dict)
    return found
