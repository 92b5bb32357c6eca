"""How a run is carried out, which leaves its outcome as it is (on one device)."""

from __future__ import annotations

import datetime
from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out.

    With `devices` processes on each of `nodes` machines each takes its share of every batch; the
    machines find one another by torchrun's or Slurm's variables (MASTER_ADDR, MASTER_PORT,
    NODE_RANK).

    Args:
        resume: continue the run in the output folder from its last.pt; with more epochs in the
            recipe than it was started with, the run is extended.
        time_limit: stop at the last epoch end that fits into it; continue with `resume`.
        threads: CPU threads of PyTorch; default: as many as it takes.
        devices: GPUs, or CPU processes, on each machine.
        nodes: machines.
        show: print the progress on stderr.
        overwrite: replace the run in the output folder; other files in it stay.
        logger: a name of `loggers.LOGGERS`, which records the epochs' figures too.
    """

    resume: bool = False
    time_limit: datetime.timedelta | None = None
    threads: int | None = None
    devices: int = 1
    nodes: int = 1
    show: bool = True
    overwrite: bool = False
    logger: str | None = None
