"""How the order of an epoch is cut into batches, and these into the shares of processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Sampler

from fer_runtime.errors import DataError
from fer_train.samplers import SAMPLERS


@dataclass(frozen=True)
class Share:
    """Which of `world` processes this is; each takes every world-th image of a batch."""

    rank: int
    world: int


WHOLE = Share(0, 1)


class EpochBatches(Sampler[torch.Tensor]):
    """Index batches of one epoch, in an order that depends only on (seed, epoch).

    A resumed run therefore sees what an unbroken one would have seen. A last batch that is not
    full is dropped: BatchNorm's statistics over a handful of images hurt more than they help. With
    several processes `batch_size` is that of all together, and each takes its share of every batch.
    """

    def __init__(
        self,
        targets: torch.Tensor,
        batch_size: int,
        seed: int,
        sampler: str = "shuffle",
        share: Share = WHOLE,
    ) -> None:
        size = len(targets)
        if batch_size > size:
            raise DataError(
                f"The batch size {batch_size} is larger than the {size} training images; "
                f"use --batch-size {size} or less."
            )
        self.targets, self.batch_size, self.seed, self.epoch = targets.numpy(), batch_size, seed, 0
        if batch_size % share.world:
            raise DataError(
                f"The batch size {batch_size} is not divisible among {share.world} processes."
            )
        self.order, self.share = SAMPLERS[sampler], share

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.targets) // self.batch_size

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = self.order(self.targets, np.random.default_rng([self.seed, self.epoch]))
        batches = torch.from_numpy(order[: len(self) * self.batch_size])
        # A generator, so that the epoch is read when the first batch is requested: on a resume
        # the trainer makes its iterator before it knows the epoch.
        for batch in batches.split(self.batch_size):
            yield batch[self.share.rank :: self.share.world]
