"""From a recipe to what Lightning runs: the model with its teachers, the trainer, the callbacks."""

from __future__ import annotations

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping

from fer_runtime.errors import DataError
from fer_runtime.spec import ModelSpec
from fer_train import checkpoint, data, guards, loggers, models, splits
from fer_train.callbacks import MovingAverage, Recorder, TimeLimit
from fer_train.module import FerModule
from fer_train.progress import EpochProgress
from fer_train.recipe import MONITORS, Recipe
from fer_train.resuming import Resumed
from fer_train.run_options import RunOptions


def module(
    recipe: Recipe, spec: ModelSpec, train: data.Split, resumed: Resumed | None
) -> FerModule:
    """The model as the recipe starts it, with its teachers if there are any.

    Raises:
        ModelSpecError: a model that cannot be built, or that does not fit the images or classes.
        ModelFileError: a checkpoint of weights or of a teacher that cannot be read.
        DataError: a teacher of other labels or inputs.
    """
    torch.manual_seed(recipe.seed)
    net = models.build(recipe.architecture, spec.input, len(spec.labels), spec.architecture_args)
    models.initialise(net, recipe.init, recipe.seed)
    if recipe.pretrained:
        from fer_train.nets import torchvision_nets

        torchvision_nets.load_pretrained(net, recipe.architecture)
    if recipe.weights:
        start = checkpoint.load(Path(recipe.weights), factory=recipe.architecture)
        net = checkpoint.Checkpoint(spec, start.state_dict, recipe.architecture).net().train()
    models.check(net, recipe.architecture, spec.input, len(spec.labels))
    models.freeze_until(net, recipe.freeze_until)
    if recipe.precision == "bf16-mixed" and not torch.cuda.is_available():
        models.depthwise_in_fp32(net)
    # Channels last is 1.8 times as fast as the default for these convolutions on a CPU.
    deployable = models.Deployable(net.to(memory_format=torch.channels_last), spec)
    teachers = [_teacher(path, recipe, spec) for path in recipe.teacher.split(",") if path]
    return FerModule(deployable, recipe, list(train.counts().values()), teachers, resumed)


def _teacher(path: str, recipe: Recipe, spec: ModelSpec) -> models.Deployable:
    loaded = checkpoint.load(Path(path), factory=recipe.architecture)
    if loaded.spec.labels != spec.labels:
        raise DataError(
            f"The teacher {path} knows the labels {', '.join(loaded.spec.labels)}; the "
            f"data set has {', '.join(spec.labels)}."
        )
    ours, theirs = spec.input, loaded.spec.input
    # How either resizes or cuts out does not matter: a teacher is asked about the run's own pixels.
    if replace(theirs, interpolation=ours.interpolation, face_crop=ours.face_crop) != ours:
        raise DataError(
            f"The teacher {path} takes other inputs (size, channels, mean or std) than "
            "this run; train both on the same data with the same --image-size and --channels."
        )
    return loaded.deployable()


def trainer(
    recipe: Recipe, recorder: Recorder, options: RunOptions, loaded: splits.TrainingData
) -> pl.Trainer:
    """Lightning's trainer for a run, with our callbacks."""
    _silence_lightning()
    logger = loggers.logger_of(options.logger, recorder.output) if options.logger else None
    if logger:
        logger.log_hyperparams(recipe.to_dict())
    return pl.Trainer(
        max_epochs=recipe.epochs,
        precision=recipe.precision,  # type: ignore[arg-type]  # a Literal of Lightning's, checked there
        gradient_clip_val=recipe.gradient_clip or None,
        callbacks=_callbacks(recipe, recorder, options, loaded),
        accelerator="auto",
        devices=options.devices,
        num_nodes=options.nodes,
        use_distributed_sampler=False,  # ours knows its share
        logger=logger or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=recorder.output,
    )


def _callbacks(
    recipe: Recipe, recorder: Recorder, options: RunOptions, loaded: splits.TrainingData
) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = [recorder]
    if options.time_limit:
        callbacks.append(TimeLimit(options.time_limit.total_seconds()))
    if recipe.ema:
        callbacks.append(MovingAverage(recipe.ema))
    if recipe.patience:
        callbacks.append(
            EarlyStopping(recipe.monitor, patience=recipe.patience, mode=MONITORS[recipe.monitor])
        )
    if options.show:
        counts = {part.name: part.counts() for part in (loaded.train, loaded.validation)}
        callbacks.append(EpochProgress(recorder.history, recipe.epochs, counts))
    callbacks.append(guards.Guard(recipe, len(recorder.spec.labels), recorder.history))
    return callbacks


@contextlib.contextmanager
def interrupts(running: pl.Trainer) -> Iterator[None]:
    """After Ctrl-C Lightning shuts down, ignores further ones and exits; continue after it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not running.interrupted:
            raise
    finally:
        # Handlers can be set in the main thread only, as Lightning's own was.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN is not before:
            signal.signal(signal.SIGINT, before)


def _silence_lightning() -> None:
    """Our own lines say what a user needs; Lightning's hints are about its own loaders."""
    for name in ("pytorch_lightning", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message="Encountered `nan` values")  # the guard reports it
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*optimizer.step.*")
