"""Random augmentation of whole training batches, as tensors; never applied to validation.

Every random number comes from the generator that is given, so that a step can be repeated. No torch
here: `fer-train --help` reads the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fer_runtime._lazy import resolve
from fer_runtime.errors import DataError
from fer_train.augment.table import AUGMENTATIONS, strengths

if TYPE_CHECKING:
    import torch


class Mixed(NamedTuple):
    """Images of which each is mixed with another one of its batch.

    `share` is how much of its own target an image keeps, and `partners` (N,) int64 the indices of
    the images with whose targets it shares the rest; with a share of 1 nothing was mixed.
    """

    images: torch.Tensor
    share: float = 1.0
    partners: torch.Tensor | None = None


class Augmentation:
    """Chosen augmentations with their strengths; those that are not named are off.

        Augmentation(flip=True, rotate=10)(images, torch.Generator().manual_seed(0))

    Threads may share it, each with its own generator.

    Args:
        **chosen: strengths of `augment.table.AUGMENTATIONS` by their names.

    Raises:
        DataError: a name that is not in the table.
    """

    def __init__(self, **chosen: float | bool) -> None:
        known = strengths()
        unknown = sorted(set(chosen) - set(known))
        if unknown:
            raise DataError(f"Unknown augmentation {unknown[0]!r}; known: {', '.join(known)}.")
        self.strengths = {name: chosen.get(name, each.off) for name, each in known.items()}

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(N, C, H, W) float32, normalised -> the same shape, each image changed by itself."""
        for function, chosen in self._active(mixes=False):
            images = function(images, generator, **chosen)
        return images

    def mix(self, images: torch.Tensor, generator: torch.Generator) -> Mixed:
        """(N, C, H, W) float32 -> images mixed with others of the batch, and how."""
        active = self._active(mixes=True)
        if not active:
            return Mixed(images)
        function, chosen = active[0] if len(active) == 1 else active[_draw(len(active), generator)]
        mixed: Mixed = function(images, generator, **chosen)
        return mixed

    def _active(self, mixes: bool) -> list[tuple[Any, dict[str, float | bool]]]:
        """The functions that are on, with their strengths."""
        found = []
        for operation in AUGMENTATIONS.values():
            chosen = {name: self.strengths[name] for name in operation.strengths}
            if operation.mixes == mixes and any(chosen.values()):
                found.append((resolve(operation.function), chosen))
        return found


def _draw(count: int, generator: torch.Generator) -> int:
    import torch

    return int(torch.randint(count, (1,), generator=generator))
