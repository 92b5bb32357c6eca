"""What a person sees during a run: a bar within the epoch, one line per epoch, on stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

COLUMNS = (
    ("train_loss", "train loss", "8.4f"),
    ("train_accuracy", "acc", "6.3f"),
    ("val_loss", "val loss", "8.4f"),
    ("val_accuracy", "acc", "6.3f"),
    ("val_macro_f1", "macro-F1", "8.3f"),
    ("lr", "lr", "9.2e"),
    ("images_per_second", "images/s", "8,.0f"),
)


class EpochProgress(pl.Callback):
    """What is trained on, then one line per finished epoch; the bar appears on a terminal only."""

    def __init__(
        self,
        history: Sequence[Mapping[str, float]],
        epochs: int,
        counts: Mapping[str, Mapping[str, int]],
    ) -> None:
        """`counts` are the images per split and class."""
        self.history, self.epochs, self.counts = history, epochs, counts
        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[rate]} images/s"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task: TaskID | None = None
        self.started = 0.0
        self.seen = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Of several processes one prints, and counts the images of all.
        self.console.quiet = not trainer.is_global_zero
        self.world = trainer.world_size
        for name, classes in self.counts.items():
            each = ", ".join(f"{label} {count:,}" for label, count in classes.items())
            self.console.print(f"{name}: {sum(classes.values()):,} images ({each})", soft_wrap=True)
        titles = "  ".join(f"{title:>{_width(form)}}" for _, title, form in COLUMNS)
        self.console.print(f"    epoch  {titles}", style="bold")
        self.bar.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started, self.seen = time.perf_counter(), 0
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task(
            f"epoch {trainer.current_epoch + 1}/{self.epochs}",
            total=int(trainer.num_training_batches),
            rate="",
        )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.seen += len(batch[1]) * self.world
        if self.task is not None:
            rate = self.seen / max(1e-9, time.perf_counter() - self.started)
            self.bar.update(self.task, advance=1, rate=f"{rate:,.0f}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = self.history[-1]
        figures = "  ".join(f"{row.get(name, float('nan')):{form}}" for name, _, form in COLUMNS)
        self.console.print(f"{row['epoch']:5.0f}/{self.epochs:<3}  {figures}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.bar.stop()


def _width(form: str) -> int:
    return int(form.split(".", maxsplit=1)[0].rstrip(","))
