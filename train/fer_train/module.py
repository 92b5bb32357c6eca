"""The LightningModule that carries a recipe out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from fer_runtime import metrics
from fer_train.augment import Mixed
from fer_train.losses.table import loss_of
from fer_train.models import Deployable
from fer_train.optimizers import OPTIMIZERS, parameter_groups
from fer_train.recipe import Recipe
from fer_train.schedulers import SCHEDULERS

if TYPE_CHECKING:
    from fer_train.resuming import Resumed


class FerModule(pl.LightningModule):
    """Trains the model inside a Deployable; validates the Deployable itself, as export ships it.

    Args:
        deployable: what is trained.
        recipe: the choices of the run.
        counts: training images per class, in label order.
        teachers: models whose outputs are followed too; they see what the model sees.
        resumed: where the run was left, if this one continues it.
    """

    def __init__(
        self,
        deployable: Deployable,
        recipe: Recipe,
        counts: Sequence[int],
        teachers: Sequence[Deployable] = (),
        resumed: Resumed | None = None,
    ) -> None:
        super().__init__()
        # In a tuple, so that they are not part of this module's weights.
        self.teachers = tuple(teachers)
        self.resumed = resumed
        self._answers: dict[tuple[int, int], torch.Tensor] = {}
        self.most_predicted: tuple[int, float] | None = None
        self.deployable = deployable
        self.recipe = recipe
        self.augmentation = recipe.augmentation
        self.loss = loss_of(recipe)
        self.class_weights: torch.Tensor | None
        self.register_buffer("class_weights", _class_weights(recipe, counts), persistent=False)
        classes = len(counts)
        self.train_loss = MeanMetric()
        self.train_hits = MeanMetric()
        self.validation_loss = MeanMetric()
        self.validation_confusion = MulticlassConfusionMatrix(num_classes=classes)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Dropout draws from the global generator; seeding it by the step makes a resumed run equal.
        torch.manual_seed(self._step_seed(0, self.global_step))

    @property
    def drawn_epoch(self) -> int:
        """The epoch whose order and augmentation this one has.

        Its own; with `teacher_epochs` an earlier one that the teachers have answered already.
        """
        period = self.recipe.teacher_epochs if self.teachers else 0
        return self.current_epoch % period if period else self.current_epoch

    def training_step(self, batch: tuple[torch.Tensor, ...], index: int) -> torch.Tensor:
        """((N, C, H, W) uint8, (N,) int64) -> scalar loss in nats.

        A third part of the batch, (N, V, K), is stored logits, which are followed as a teacher is.
        """
        images, targets, *stored = batch
        generator = torch.Generator()
        drawn_step = self.drawn_epoch * int(self.trainer.num_training_batches) + index
        generator.manual_seed(self._step_seed(1, drawn_step))
        inputs = self.augmentation(self.deployable.normalise(images), generator)
        mixed = self.augmentation.mix(inputs, generator)
        inputs = mixed.images.contiguous(memory_format=torch.channels_last)
        logits = self.deployable.net(inputs)
        loss = self._loss(logits, targets)
        if mixed.share < 1:
            others = self._loss(logits, targets[mixed.partners])
            loss = mixed.share * loss + (1 - mixed.share) * others
        if self.teachers or stored:
            weight = self.recipe.distillation
            softened = [self._softened(each, mixed) for each in stored]
            loss = (1 - weight) * loss + weight * self._distillation_loss(
                logits, self._taught(inputs, index, softened)
            )
        self.train_loss.update(loss.detach())
        self.train_hits.update((logits.detach().argmax(1) == targets).float())
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        images, targets = batch
        # In full precision also where training is not: the runtime has no autocast.
        with torch.autocast(self.device.type, enabled=False):
            logits, probabilities = self.deployable(images)
        chosen = probabilities.gather(1, targets[:, None]).clamp_min(1e-12)
        self.validation_loss.update(-chosen.log())
        self.validation_confusion.update(logits.argmax(1), targets)

    def on_fit_start(self) -> None:
        for teacher in self.teachers:
            teacher.to(self.device).to(memory_format=torch.channels_last).eval()
        self._start = [p.detach().clone() for p in self.parameters() if p.requires_grad]

    def relative_change(self) -> float:
        """How far the weights have moved since training was started or resumed, by their norm."""
        now = [p.detach() for p in self.parameters() if p.requires_grad]
        moved = sum(float((a - b).square().sum()) for a, b in zip(now, self._start, strict=True))
        return math.sqrt(moved / max(1e-12, sum(float(p.square().sum()) for p in self._start)))

    def epoch_metrics(self) -> dict[str, float]:
        """The figures of the epoch that just ended, by name; resets what they are counted with."""
        matrix = self.validation_confusion.compute().cpu().numpy()
        predicted = matrix.sum(0)
        largest = int(predicted.argmax())
        self.most_predicted = largest, float(predicted[largest] / max(1, predicted.sum()))
        values = {
            "train_loss": self.train_loss.compute().item()
            if self.train_loss.update_count
            else None,
            "train_accuracy": self.train_hits.compute().item()
            if self.train_hits.update_count
            else None,
            "val_loss": self.validation_loss.compute().item(),
            "val_accuracy": metrics.accuracy(matrix),
            "val_macro_f1": metrics.macro_f1(matrix),
            "val_macro_recall": metrics.macro_recall(matrix),
        }
        for metric in (
            self.train_loss,
            self.train_hits,
            self.validation_loss,
            self.validation_confusion,
        ):
            metric.reset()
        return {name: value for name, value in values.items() if value is not None}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Plain values only, so that `last.pt` opens with weights_only=True.
        checkpoint["fer_recipe"] = json.loads(json.dumps(self.recipe.to_dict()))
        checkpoint["fer_restarts"] = list(self.resumed.restarts) if self.resumed else []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.resumed and self.resumed.restarts_now:
            # A schedule that was planned for fewer steps has no rate for the next one. Lightning
            # restores as many states as it finds.
            checkpoint["optimizer_states"], checkpoint["lr_schedulers"] = [], []

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        optimizer = OPTIMIZERS[recipe.optimizer](parameter_groups(self, recipe), recipe)
        steps = int(self.trainer.estimated_stepping_batches)
        if self.resumed and self.resumed.restarts_now:
            steps = steps // recipe.epochs * (recipe.epochs - self.resumed.epochs)
        schedule = SCHEDULERS[recipe.scheduler]
        scheduler = schedule.make(optimizer, recipe, steps)
        if scheduler is None:
            return optimizer
        config = {"scheduler": scheduler, "interval": schedule.interval, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.loss(logits.float(), targets, weight=self.class_weights)

    def _softened(self, stored: torch.Tensor, mixed: Mixed) -> torch.Tensor:
        """(N, V, K) logits -> (N, K) their softened mean over views, mixed as the images are."""
        temperature = self.recipe.distillation_temperature
        softened = functional.softmax(stored.float() / temperature, 2).mean(1)
        if mixed.share < 1:
            softened = mixed.share * softened + (1 - mixed.share) * softened[mixed.partners]
        return softened

    def _taught(
        self, inputs: torch.Tensor, index: int, stored: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        """(N, K) float32: the mean of the teachers' softened outputs for batch `index`.

        `stored` are those of teachers that answered before.

        With `teacher_epochs` they are kept for the epochs in which this batch comes again, as
        Shen & Xing 2022, "A fast knowledge distillation framework for visual recognition", keep
        theirs for crops; a resumed run asks again.
        """
        wanted = self._answers.get((self.drawn_epoch, index))
        if wanted is not None:
            return wanted
        temperature = self.recipe.distillation_temperature
        with torch.no_grad():
            each = [
                functional.softmax(t.net(inputs).float() / temperature, 1) for t in self.teachers
            ]
            wanted = torch.stack([*each, *stored]).mean(0)
        if self.recipe.teacher_epochs and self.teachers:
            self._answers[self.drawn_epoch, index] = wanted
        return wanted

    def _distillation_loss(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Divergence of the softened outputs from the teachers', on the same augmented images.

        Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; the same views
        for both, as Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and
        consistent".
        """
        temperature = self.recipe.distillation_temperature
        return temperature**2 * functional.kl_div(
            functional.log_softmax(logits.float() / temperature, 1), wanted, reduction="batchmean"
        )

    def _step_seed(self, purpose: int, step: int) -> int:
        """Differs by step and by process, and is the same in every run with this seed."""
        entropy = [self.recipe.seed, step, purpose]
        entropy += [self.global_rank] if self.global_rank else []
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _class_weights(recipe: Recipe, counts: Sequence[int]) -> torch.Tensor | None:
    """(K,) float32 weights n / (K * count), of mean 1 over the images; None for equal ones."""
    if recipe.class_weights == "none":
        return None
    numbers = torch.tensor(counts, dtype=torch.float32)
    return numbers.sum() / (len(counts) * numbers.clamp_min(1))
