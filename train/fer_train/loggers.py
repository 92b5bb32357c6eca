"""The table of loggers that record the figures of a run, beside history.csv.

They are Lightning's, imported inside the functions: the table is read to make the help. A new one
is a function, and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fer_runtime.errors import TrainingError

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

FOLDER = "logs"


@dataclass(frozen=True)
class Kind:
    """A function of the run's folder that returns a Lightning logger, and the package it needs."""

    make: Callable[[Path], Logger]
    package: str | None = None


def _csv(output: Path) -> Logger:
    """logs/version_0/metrics.csv; a resumed run writes version_1, and so on."""
    from pytorch_lightning.loggers import CSVLogger

    return CSVLogger(output, name=FOLDER)


def _tensorboard(output: Path) -> Logger:
    """Event files in logs/, which `tensorboard --logdir` shows; a resumed run continues them."""
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(output, name="", version=FOLDER)


def _wandb(output: Path) -> Logger:
    """A run in the project fer-train, named after the folder; WANDB_MODE=offline keeps it here."""
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(name=output.name, project="fer-train", save_dir=output)


LOGGERS: dict[str, Kind] = {
    "csv": Kind(_csv),
    "tensorboard": Kind(_tensorboard, "tensorboard"),
    "wandb": Kind(_wandb, "wandb"),
}
"""Value of `--logger` -> kind."""


def check(name: str) -> None:
    """Raises TrainingError for an unknown logger, or one whose package is not installed."""
    if name not in LOGGERS:
        raise TrainingError(f"{name!r} is not a logger; allowed: {', '.join(LOGGERS)}.")
    package = LOGGERS[name].package
    if package and find_spec(package) is None:
        raise TrainingError(
            f"--logger {name} needs the package {package}, which is not installed; run "
            f"pip install {package}, or pass --logger csv."
        )


def logger_of(name: str, output: Path) -> Logger:
    """The logger of a name, writing into the run's folder; raises TrainingError (see `check`)."""
    check(name)
    return LOGGERS[name].make(output)
