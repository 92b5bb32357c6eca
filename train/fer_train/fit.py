"""One training run: data in, `best.pt` with its spec, metrics and pictures out.

The loop, precision, devices and EMA are Lightning's. `last.pt` is Lightning's own checkpoint,
written after every finished epoch; `best.pt` is ours, and all that export needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fer_runtime.cli.console import say
from fer_runtime.errors import DataError, TrainingError
from fer_runtime.spec import InputSpec, ModelSpec, Provenance
from fer_train import (
    assemble,
    checkpoint,
    data,
    evaluate,
    guards,
    loggers,
    omitting,
    outputs,
    plots,
    resuming,
    splits,
    stored_logits,
)
from fer_train.batches import Share
from fer_train.calibration import fit_temperature
from fer_train.callbacks import BEST, LAST, Recorder
from fer_train.recipe import Recipe
from fer_train.resuming import Resumed
from fer_train.run_options import RunOptions

__all__ = ["FitResult", "Prepared", "RunOptions", "fit", "prepare", "run"]


@dataclass(frozen=True)
class FitResult:
    """Where a run ended.

    Attributes:
        best: path of the best checkpoint.
        best_epoch: its epoch, from 1.
        history: the figures of each epoch, as in history.csv.
        evaluation: the best checkpoint's outputs on the validation split.
        remarks: what the run shows, in sentences: overfitting, a class that is never recognised.
        interrupted: whether Ctrl-C ended it.
    """

    best: Path
    best_epoch: int
    history: tuple[Mapping[str, float], ...]
    evaluation: evaluate.Evaluation
    remarks: tuple[str, ...]
    interrupted: bool


@dataclass(frozen=True)
class Prepared:
    """A data set in memory and the spec of a model for it: what `run` needs besides a recipe."""

    data: splits.TrainingData
    input: InputSpec
    labels: tuple[str, ...]
    dataset: str
    dataset_sha256: str


def fit(
    root: Path,
    output: Path,
    recipe: Recipe,
    options: RunOptions | None = None,
    *,
    progress: data.Progress | None = None,
) -> FitResult | None:
    """Train on `root`'s training split, choose on its validation split, write into `output`.

        result = fit(Path("faces"), Path("run"), Recipe(epochs=10))
        print(result.best, result.evaluation.summary()["accuracy"])

    Writes best.pt, last.pt, history.csv, metrics.json, the pictures curves.png, confusion.png and
    predictions.png, and split.csv where the split was made here. It trains in this process and its
    children, one run at a time: not to be called from several threads.

    Args:
        root: a data set, see `data`.
        output: the folder of the run; it is made when the data is good.
        recipe: every choice that determines the weights.
        options: how it is carried out: resuming, time limit, devices, logger.
        progress: called as progress(done, total) while images are decoded.

    Returns:
        The result; None in a process that only helps another one (`RunOptions.devices`).

    Raises:
        DataError: unusable data, or an `output` that contains a run already (or none to resume).
        ModelSpecError: a model that cannot be built for these images.
        ModelFileError: a checkpoint to start from, or of a teacher, that cannot be read.
        TrainingError: a guard stopped the run (`guards`), or the logger is not installed.
    """
    options = options or RunOptions()
    _check(output, recipe, options)
    return run(prepare(root, recipe, progress=progress), output, recipe, options)


def prepare(root: Path, recipe: Recipe, *, progress: data.Progress | None = None) -> Prepared:
    """Decode what the recipe trains and validates on, and measure its mean and std.

    Raises:
        DataError: unusable data.
        ModelSpecError: a mean or std that does not fit the channels.
    """
    labels = data.labels_of(root)
    size, channels = recipe.image_size, recipe.channels
    # A given mean or std is checked before anything is decoded.
    raw = InputSpec(
        height=size,
        width=size,
        channels=channels,
        mean=recipe.numbers("mean") or (0.5,) * channels,
        std=recipe.numbers("std") or (0.25,) * channels,
    )
    plan = splits.Plan(
        splits.parse_fractions(recipe.split),
        recipe.stratify,
        recipe.split_seed,
        Path(recipe.split_file) if recipe.split_file else None,
    )
    loaded = splits.load_training_data(
        root, raw, labels, plan, skip_unreadable=recipe.skip_unreadable, progress=progress
    )
    loaded = replace(loaded, train=_kept(root, raw, loaded, recipe))
    mean, std = data.mean_and_std(loaded.train)
    measured = replace(raw, mean=recipe.numbers("mean") or mean, std=recipe.numbers("std") or std)
    return Prepared(loaded, measured, labels, root.name, data.sha256(root))


def _kept(root: Path, spec: InputSpec, loaded: splits.TrainingData, recipe: Recipe) -> data.Split:
    """The training split without what the recipe leaves out of it."""
    train = loaded.train
    if recipe.skip_duplicates:
        others = [loaded.validation, *(part for part in loaded.made if part.name != train.name)]
        test = data.load_split(root, "test", spec, train.labels, skip_unreadable=True)
        train = omitting.duplicates(train, others if test is None else [*others, test])
    if recipe.label_probabilities:
        file, least = Path(recipe.label_probabilities), recipe.min_label_probability
        train = omitting.improbable(train, file, least)
    return train


def run(
    prepared: Prepared, output: Path, recipe: Recipe, options: RunOptions | None = None
) -> FitResult | None:
    """As `fit`, on data that `prepare` has read."""
    options = options or RunOptions()
    resumed = _check(output, recipe, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    spec = _spec(prepared, recipe, resumed)
    recorder = Recorder(spec, output, recipe.monitor)
    module = assemble.module(recipe, spec, prepared.data.train, resumed)
    train, stored = prepared.data.train, None
    if recipe.teacher_logits:
        stored = stored_logits.read(Path(recipe.teacher_logits), train.names, len(train.labels))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output} cannot be made: {error.strerror}") from None
    trainer = assemble.trainer(recipe, recorder, options, prepared.data)
    share = Share(trainer.global_rank, trainer.world_size)
    loaders = (
        data.train_loader(
            train, recipe.batch_size, recipe.seed, recipe.sampler, share, logits=stored
        ),
        data.evaluation_loader(prepared.data.validation, share=share),
    )
    # From here on nothing that is wrong with the recipe or the data can stop the run.
    if trainer.is_global_zero:
        if options.overwrite:
            outputs.remove(output)
        if prepared.data.made and not resumed:
            splits.write(output / splits.FILE, prepared.data.made)
        if resumed and resumed.restarts_now and options.show:
            say(_restart_line(recipe, resumed))
    with assemble.interrupts(trainer):
        trainer.fit(
            module,
            *loaders,
            ckpt_path=output / LAST if resumed else None,
            weights_only=True if resumed else None,
        )
    if not trainer.is_global_zero:
        return None
    return _finish(recorder, prepared.data, recipe, trainer.interrupted)


def _check(output: Path, recipe: Recipe, options: RunOptions) -> Resumed | None:
    """A run never replaces another one unasked, and resumes only itself; None for a new run."""
    if options.logger:
        loggers.check(options.logger)
    if not options.resume:
        outputs.check_new(output, options.overwrite)
        return None
    if options.overwrite:
        raise DataError("--resume continues a run and --overwrite replaces it; pass one of them.")
    return resuming.read(output, recipe)


def _restart_line(recipe: Recipe, resumed: Resumed) -> str:
    left = recipe.epochs - resumed.epochs
    return (
        f"The run is extended to {recipe.epochs} epochs: the {recipe.scheduler} schedule and the "
        f"optimizer start again from the weights of epoch {resumed.epochs}, for the remaining "
        f"{left}."
    )


def _spec(prepared: Prepared, recipe: Recipe, resumed: Resumed | None) -> ModelSpec:
    """The spec of the run's checkpoints, with what is known of their origin so far."""
    more: dict[str, Any] = {}
    if prepared.data.made:
        more[splits.HASH_KEY] = splits.sha256(prepared.data.made)  # identifies its split.csv
    if resumed and resumed.restarts:
        more["schedule_restarted_after"] = list(resumed.restarts)
    return ModelSpec(
        labels=prepared.labels,
        input=prepared.input,
        architecture=recipe.architecture,
        architecture_args=recipe.architecture_args(),
        provenance=Provenance(
            dataset=prepared.dataset,
            dataset_sha256=prepared.dataset_sha256,
            recipe={**recipe.to_dict(), **more},
            versions={name: version(name) for name in ("fer-runtime", "torch")},
        ),
    )


def _finish(
    recorder: Recorder, loaded: splits.TrainingData, recipe: Recipe, interrupted: bool
) -> FitResult:
    """Calibrate and evaluate `best.pt` as it was written, and draw the run."""
    output = recorder.output
    best = output / BEST
    if not best.exists():
        if interrupted:
            raise KeyboardInterrupt
        raise TrainingError(
            f"No epoch of the run had a finite {recorder.monitor}; try --lr {recipe.lr / 10:g}."
        )
    found = checkpoint.load(best, factory=recorder.spec.architecture)
    if recipe.fit_temperature:
        logits, _ = evaluate.predict(found.deployable(), loaded.validation.images)
        temperature = fit_temperature(logits, loaded.validation.targets.numpy())
        checkpoint.save(best, found.spec.replace(temperature=temperature), found.state_dict)
        found = checkpoint.load(best, factory=recorder.spec.architecture)
    evaluation = evaluate.evaluate_split(found.deployable(), loaded.validation, loaded.train)
    remarks = guards.remarks(recorder.history, recorder.best_epoch, recipe.epochs)
    remarks += guards.missed_classes(evaluation)
    if recipe.fit_temperature:
        remarks.append(
            f"Temperature {found.spec.temperature:.3f}, fitted on the validation images: loss and "
            "calibration error above are measured after it on the same images, so they are "
            "slightly too good."
        )
    outputs.write_metrics(
        output / outputs.METRICS,
        evaluation,
        temperature=found.spec.temperature,
        remarks=remarks,
    )
    outputs.draw(output, evaluation, loaded.validation)
    plots.curves(recorder.history, output / outputs.CURVES)
    history = tuple(recorder.history)
    return FitResult(best, recorder.best_epoch, history, evaluation, tuple(remarks), interrupted)
