"""What is tuned."""

from __future__ import annotations

from typing import Any, NamedTuple

from fer_runtime.machine import usable_threads
from fer_runtime.run_options import BATCH_SIZE, LARGEST_BATCH


class Settings(NamedTuple):
    """Settings of a run that change its speed and nothing else.

    Attributes:
        batch_size: images per run of the session.
        threads: threads of this process, or the number of worker processes.
        workers: whether a long run may use worker processes.
    """

    batch_size: int
    threads: int
    workers: bool

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        processes = "" if self.workers else ", no worker processes"
        return f"batch size {self.batch_size}, {threads}{processes}"

    @classmethod
    def default(cls) -> Settings:
        """What is used where nothing was tuned."""
        return cls(BATCH_SIZE, usable_threads(), workers=True)

    @classmethod
    def of(cls, values: Any) -> Settings | None:
        """From plain values, as they were kept; None for anything else."""
        try:
            found = cls(**values)
        except TypeError:
            return None
        good = (
            type(found.batch_size) is int
            and type(found.threads) is int
            and type(found.workers) is bool
            and 1 <= found.batch_size <= LARGEST_BATCH
            and found.threads >= 1
        )
        return found if good else None
