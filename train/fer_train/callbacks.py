"""What happens at the ends of epochs: figures logged, checkpoints kept, a run stopped in time."""

from __future__ import annotations

import contextlib
import csv
import datetime
import functools
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging

from fer_runtime.errors import DataError
from fer_runtime.spec import ModelSpec
from fer_train import checkpoint
from fer_train.module import FerModule
from fer_train.recipe import MONITORS

BEST, LAST, HISTORY = "best.pt", "last.pt", "history.csv"


class Recorder(pl.Callback):
    """Logs each epoch's figures, writes `best.pt` and `last.pt`; its state is in `last.pt`.

    It must come before the EMA callback: validation runs on the averaged weights, and they are
    swapped back by the hook that follows.
    """

    def __init__(self, spec: ModelSpec, output: Path, monitor: str) -> None:
        self.spec, self.output, self.monitor = spec, output, monitor
        self.epoch_started, self.train_seconds, self.seen = 0.0, 0.0, 0
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "dataset_sha256": self.spec.provenance.dataset_sha256,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        recorded = state_dict.get("dataset_sha256")
        if recorded not in (None, self.spec.provenance.dataset_sha256):
            raise DataError(
                f"The run in {self.output} was started on other images; resume it with the same "
                "--data, unchanged."
            )
        self.history[:] = state_dict["history"]  # in place: the progress lines read the same list
        self.best_epoch = int(state_dict["best_epoch"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FerModule)
        # Lightning sets the sampler's epoch too, but to 0 in the first epoch after a resume.
        loader: Any = trainer.train_dataloader
        loader.sampler.set_epoch(pl_module.drawn_epoch)
        self.epoch_started = time.perf_counter()
        self.seen = 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.seen += len(batch[1]) * trainer.world_size
        self.train_seconds = time.perf_counter() - self.epoch_started

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FerModule)
        figures = pl_module.epoch_metrics()
        epoch = trainer.current_epoch + 1
        learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log_dict({**figures, "lr": learning_rate})
        rates = {
            "seconds": time.perf_counter() - self.epoch_started,
            "images_per_second": self.seen / max(1e-9, self.train_seconds),
        }
        self.history.append({"epoch": epoch, **figures, "lr": learning_rate, **rates})
        if self._is_best(figures[self.monitor]) and trainer.is_global_zero:
            self.best_epoch = epoch
            metrics = {"validation": {k[4:]: v for k, v in figures.items() if k[:4] == "val_"}}
            spec = self.spec.replace(
                provenance=replace(self.spec.provenance, metrics=metrics, created=_today())
            )
            checkpoint.save(self.output / BEST, spec, pl_module.deployable.net.state_dict())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        temporary = self.output / f".{LAST}.partial"
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                os.replace(temporary, self.output / LAST)
                _write_history(self.output / HISTORY, self.history)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise DataError(
                f"{self.output / LAST} cannot be written: {error.strerror or error}. The files of "
                "earlier epochs are complete; make room and pass --resume."
            ) from None

    def _is_best(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        earlier = [row[self.monitor] for row in self.history[:-1]]
        earlier = [other for other in earlier if math.isfinite(other)]
        if MONITORS[self.monitor] == "min":
            return not earlier or value < min(earlier)
        return not earlier or value > max(earlier)


class TimeLimit(pl.Callback):
    """Stops a run at the last epoch end that fits into `seconds`.

    Lightning's own limit counts the time before a resumption as well, and may stop within an epoch.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = self.epoch_started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        now = time.perf_counter()
        next_end = now + (now - self.epoch_started)
        self.epoch_started = now
        if next_end - self.started > self.seconds:
            trainer.should_stop = True


class MovingAverage(WeightAveraging):
    """The exponential moving average of the weights and of BatchNorm's statistics."""

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, avg_fn=functools.partial(moving_average, decay=decay))


def moving_average(
    average: torch.Tensor, current: torch.Tensor, steps: torch.Tensor, *, decay: float
) -> torch.Tensor:
    """The average after one more step, with a decay of `min(decay, (1 + steps) / (10 + steps))`.

    The smaller decay at first is that of TensorFlow's `ExponentialMovingAverage` with
    `num_updates`. Without it, at a decay of 0.999, the random start outweighs for several epochs
    what has been learnt, and the guard against collapse stops the run.
    """
    return average + (current - average) * torch.clamp(9 / (10 + steps), min=1 - decay)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(history[-1]))
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in history)


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
