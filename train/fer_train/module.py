"""The LightningModule that carries a recipe out; optimizers and schedulers by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from fer_runtime import metrics
from fer_train.models import Deployable
from fer_train.recipe import Recipe


class FerModule(pl.LightningModule):
    """Trains the net inside a Deployable; validates the Deployable itself, as export ships it."""

    def __init__(
        self,
        deployable: Deployable,
        recipe: Recipe,
        counts: Sequence[int],
        teachers: Sequence[Deployable] = (),
    ) -> None:
        """`counts` are the training images per class; `teachers` see what the net sees."""
        super().__init__()
        # In a tuple, so that it is no part of this module's weights.
        self.teachers = tuple(teachers)
        self._answers: dict[tuple[int, int], torch.Tensor] = {}
        self.most_predicted: tuple[int, float] | None = None
        self.deployable = deployable
        self.recipe = recipe
        self.augmentation = recipe.augmentation
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

        Its own; with `teacher_epochs` an earlier one, for which the teachers have answered already.
        """
        period = self.recipe.teacher_epochs if self.teachers else 0
        return self.current_epoch % period if period else self.current_epoch

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """((N, C, H, W) uint8, (N,) int64) -> scalar loss in nats."""
        images, targets = batch
        generator = torch.Generator()
        drawn_step = self.drawn_epoch * int(self.trainer.num_training_batches) + index
        generator.manual_seed(self._step_seed(1, drawn_step))
        inputs = self.augmentation(self.deployable.normalise(images), generator)
        share, partners = self._mixup(len(targets), generator)
        if share < 1:
            inputs = share * inputs + (1 - share) * inputs[partners]
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        logits = self.deployable.net(inputs)
        loss = self._loss(logits, targets)
        if share < 1:
            loss = share * loss + (1 - share) * self._loss(logits, targets[partners])
        if self.teachers:
            weight = self.recipe.distillation
            loss = (1 - weight) * loss + weight * self._distillation_loss(
                logits, self._taught(inputs, index)
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
        """How far the trained weights are from where this leg began, by their norm."""
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

    def configure_optimizers(self) -> Any:
        optimizer = OPTIMIZERS[self.recipe.optimizer](
            _parameter_groups(self, self.recipe), self.recipe
        )
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = SCHEDULERS[self.recipe.scheduler](optimizer, self.recipe, steps)
        if scheduler is None:
            return optimizer
        interval = "epoch" if self.recipe.scheduler in ("step", "plateau") else "step"
        config = {"scheduler": scheduler, "interval": interval, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            logits.float(),
            targets,
            weight=self.class_weights,
            label_smoothing=self.recipe.label_smoothing,
        )

    def _taught(self, inputs: torch.Tensor, index: int) -> torch.Tensor:
        """(N, K) float32: the mean of the teachers' softened outputs for batch `index`.

        With `teacher_epochs` they are kept for the epochs in which this batch comes again, as
        Shen & Xing 2022, "A fast knowledge distillation framework for visual recognition", keep
        theirs for crops; a resumed run asks anew.
        """
        wanted = self._answers.get((self.drawn_epoch, index))
        if wanted is not None:
            return wanted
        temperature = self.recipe.distillation_temperature
        with torch.no_grad():
            each = [
                functional.softmax(t.net(inputs).float() / temperature, 1) for t in self.teachers
            ]
            wanted = torch.stack(each).mean(0)
        if self.recipe.teacher_epochs:
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

    def _mixup(self, count: int, generator: torch.Generator) -> tuple[float, torch.Tensor]:
        """Share of the first image, and each image's partner (Zhang et al. 2018)."""
        alpha = self.augmentation.mixup
        if not alpha:
            return 1.0, torch.empty(0, dtype=torch.int64)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        share = float(np.random.default_rng(seed).beta(alpha, alpha))
        return share, torch.randperm(count, generator=generator).to(self.device)


def _class_weights(recipe: Recipe, counts: Sequence[int]) -> torch.Tensor | None:
    """(K,) float32 weights n / (K * count), of mean 1 over the images; None for equal ones."""
    if recipe.class_weights == "none":
        return None
    numbers = torch.tensor(counts, dtype=torch.float32)
    return numbers.sum() / (len(counts) * numbers.clamp_min(1))


def _parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Matrices and kernels decay; norms and biases, which have one axis, only where asked to."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    spared = 0.0 if not recipe.decay_all else recipe.weight_decay
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": spared},
    ]


def _sgd(parameters: Any, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters, recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def _onecycle(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int
) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=0.2)


OPTIMIZERS: Mapping[str, Callable[[Any, Recipe], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": lambda parameters, recipe: torch.optim.Adam(parameters, recipe.lr),
    "adamw": lambda parameters, recipe: torch.optim.AdamW(parameters, recipe.lr),
}

SCHEDULERS: Mapping[
    str, Callable[[torch.optim.Optimizer, Recipe, int], lr_scheduler.LRScheduler | None]
] = {
    "none": lambda optimizer, recipe, steps: None,
    "step": lambda optimizer, recipe, steps: lr_scheduler.StepLR(
        optimizer, recipe.step_size, recipe.gamma
    ),
    "onecycle": _onecycle,
    "cosine": lambda optimizer, recipe, steps: lr_scheduler.CosineAnnealingLR(optimizer, steps),
    "plateau": lambda optimizer, recipe, steps: lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=recipe.gamma, patience=recipe.step_size
    ),
}
