"""What stops a run that cannot succeed, with the reason; and remarks on a finished one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl

from fer_runtime.errors import TrainingError
from fer_train.evaluate import Evaluation
from fer_train.losses.table import guessing_cost
from fer_train.module import FerModule
from fer_train.recipe import Recipe

ONE_CLASS = 0.995
"""Share of the predictions in one class from which a model counts as collapsed."""
EXPLODED = 10.0
"""From so many times the cost of guessing on, a loss counts as exploded."""
SMOOTHED_STEPS = 20
MIN_RISE, MIN_FALL = 1.02, 0.98
"""Validation loss up by 2 % and training loss down by 2 % since the best epoch: overfitting."""


class Guard(pl.Callback):
    """Stops a run whose loss explodes or is not finite, or whose model predicts one class only.

    It must come after the Recorder, so that `last.pt` and `history.csv` contain the epoch already.
    """

    def __init__(
        self, recipe: Recipe, classes: int, history: Sequence[Mapping[str, float]]
    ) -> None:
        self.recipe, self.history = recipe, history
        self.guessing = guessing_cost(recipe, classes)
        self.smoothed, self.looked = 0.0, 0
        self.collapsed_epochs = 0

    def state_dict(self) -> dict[str, Any]:
        return {"collapsed_epochs": self.collapsed_epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.collapsed_epochs = int(state_dict["collapsed_epochs"])

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Reading a number from a GPU waits for it, so not at every step there.
        if pl_module.device.type != "cpu" and batch_idx % SMOOTHED_STEPS:
            return
        loss = float(outputs["loss"])
        step = trainer.global_step
        if not math.isfinite(loss):
            raise TrainingError(f"The loss is {loss} at step {step}. {_too_high(self.recipe)}")
        self.looked += 1
        share = 1 / min(SMOOTHED_STEPS, self.looked)
        self.smoothed += share * (loss - self.smoothed)
        if self.looked >= SMOOTHED_STEPS:
            self._refuse_explosion(self.smoothed, f"at step {step}")

    def _refuse_explosion(self, loss: float, where: str) -> None:
        if loss > EXPLODED * self.guessing:
            raise TrainingError(
                f"The loss is {loss:.3g} {where}, where guessing costs {self.guessing:.2f}. "
                f"{_too_high(self.recipe)}"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FerModule)
        last = self.history[-1]
        train_loss, epoch = last.get("train_loss", 0.0), f"{last['epoch']:.0f}"
        self._refuse_explosion(train_loss, f"over epoch {epoch}")
        # How far the training loss gets in a short epoch differs by CPU. Validation's alone
        # may also be bad while BatchNorm's averages are young.
        if train_loss > 2 * self.guessing:
            self._refuse_explosion(last["val_loss"], f"on validation after epoch {epoch}")
        found = pl_module.most_predicted
        if not self.recipe.collapse_epochs or found is None:
            return
        label, share = found
        self.collapsed_epochs = self.collapsed_epochs + 1 if share >= ONE_CLASS else 0
        if self.collapsed_epochs >= self.recipe.collapse_epochs:
            raise TrainingError(
                f"The model predicts {pl_module.deployable.labels[label]!r} for {share:.1%} of the "
                f"validation images, for {self.collapsed_epochs} epochs now: it has collapsed to "
                f"one class. {self._cause(pl_module)} (--collapse-epochs 0 turns this guard "
                "off.)"
            )

    def _cause(self, module: FerModule) -> str:
        """The likeliest cause, by what the run shows."""
        last = self.history[-1]
        if max(last.get("train_loss", 0.0), last["val_loss"]) > 1.5 * self.guessing:
            return _too_high(self.recipe)
        if module.relative_change() < 0.01:
            return (
                f"The weights have hardly moved: the learning rate {self.recipe.lr:g} is probably "
                f"too low; try --lr {self.recipe.lr * 10:g}."
            )
        if last.get("train_loss", math.inf) < 0.9 * self.guessing and not self._balanced():
            return (
                "The training loss falls, so it may be following the largest class; try --sampler "
                "balanced or --class-weights balanced."
            )
        advice = [f"--lr {self.recipe.lr / 10:g}"]
        if self.recipe.batch_size < 16:
            advice.append(f"--batch-size {self.recipe.batch_size * 4}")
        if self.recipe.activation in ("sigmoid", "softmax"):
            advice.append("--activation relu")
        return (
            "Every image gets nearly the same output: the learning rate was probably too high, or "
            f"the model cannot learn from these weights; try {', or '.join(advice)}."
        )

    def _balanced(self) -> bool:
        return self.recipe.sampler == "balanced" or self.recipe.class_weights == "balanced"


def _too_high(recipe: Recipe) -> str:
    lower = min(recipe.lr / 10, 1.0)
    advice = f"The learning rate {recipe.lr:g} is probably too high; try --lr {lower:g}"
    if recipe.precision == "16-mixed":
        advice += ", or --precision bf16-mixed"
    if not recipe.gradient_clip:
        advice += ", or --gradient-clip 1"
    return advice + "."


@dataclass(frozen=True)
class Overfitting:
    """From which epoch on a run overfits, and by how much."""

    epoch: int
    best_loss: float
    last_loss: float
    train_loss_then: float
    train_loss_last: float

    def __str__(self) -> str:
        return (
            f"Overfits from epoch {self.epoch} on: validation loss rose from {self.best_loss:.3f} "
            f"to {self.last_loss:.3f} while training loss fell from {self.train_loss_then:.3f} to "
            f"{self.train_loss_last:.3f}. Stronger --augment, --dropout or --weight-decay, fewer "
            "--epochs or --patience 3 help."
        )


def overfitting(history: Sequence[Mapping[str, float]]) -> Overfitting | None:
    """From where validation loss rose for good while training loss fell; None if nowhere."""
    rows = [row for row in history if "train_loss" in row]
    if len(rows) < 3:
        return None
    best = min(range(len(rows)), key=lambda index: rows[index]["val_loss"])
    turn, last = rows[best], rows[-1]
    rose = last["val_loss"] >= MIN_RISE * turn["val_loss"]
    fell = last["train_loss"] <= MIN_FALL * turn["train_loss"]
    if not (rose and fell):
        return None
    return Overfitting(
        int(turn["epoch"]) + 1,
        turn["val_loss"],
        last["val_loss"],
        turn["train_loss"],
        last["train_loss"],
    )


def remarks(history: Sequence[Mapping[str, float]], best_epoch: int, epochs: int) -> list[str]:
    """What a person should know about a finished run's curves, in sentences."""
    found = overfitting(history)
    if found:
        return [str(found)]
    if len(history) == epochs and best_epoch == epochs and epochs > 2:
        return [
            "Still improving in its last epoch: more epochs may help; continue with --resume "
            f"--epochs {2 * epochs}."
        ]
    return []


def missed_classes(evaluation: Evaluation) -> list[str]:
    """A remark where a class of the split is never predicted for its images (recall 0)."""
    matrix = evaluation.confusion
    missed = [
        f"{label} ({count:,})"
        for label, count, hits in zip(
            evaluation.labels, matrix.sum(1), matrix.diagonal(), strict=True
        )
        if count and not hits
    ]
    if not missed:
        return []
    return [
        f"Recall 0: no image of {', '.join(missed)} was recognised. Try --sampler balanced or "
        "--class-weights balanced, or more images of the class."
    ]
