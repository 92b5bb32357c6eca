"""One training run: data in, `best.pt` with its spec, metrics and pictures out.

The loop, precision, devices and EMA are Lightning's. `last.pt` is Lightning's own checkpoint,
written after every finished epoch; `best.pt` is ours, and all that export needs.
"""

from __future__ import annotations

import datetime
import json
import logging
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging

from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec, ModelSpec, Provenance
from fer_train import checkpoint, data, evaluate, models, plots
from fer_train.callbacks import BEST, LAST, LegLimit, Recorder
from fer_train.module import FerModule
from fer_train.progress import EpochProgress
from fer_train.recipe import MONITORS, Recipe

METRICS = "metrics.json"


@dataclass(frozen=True)
class FitResult:
    """Where a run ended: the best checkpoint, its epoch and its evaluation on validation."""

    best: Path
    best_epoch: int
    history: tuple[Mapping[str, float], ...]
    evaluation: evaluate.Evaluation
    interrupted: bool


def fit(
    root: Path,
    output: Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    time_limit: datetime.timedelta | None = None,
    threads: int | None = None,
    progress: data.Progress | None = None,
    show: bool = True,
) -> FitResult:
    """Train on `root`'s training split, choose on its validation split, write into `output`.

    Writes best.pt, last.pt, history.csv, metrics.json, and the pictures curves.png, confusion.png
    and predictions.png. With `resume` the run in `output` goes on from its last finished epoch.
    `time_limit` ends this leg at the last epoch end that fits into it.

    Raises:
        DataError: unusable data, or an `output` that holds a run already (or none to resume).
    """
    _check_output(output, resume, recipe)
    if threads:
        torch.set_num_threads(threads)
    labels = data.labels_of(root)
    size, channels = recipe.image_size, recipe.channels
    raw = InputSpec(
        height=size, width=size, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels
    )
    train, validation = data.load_train_and_validation(
        root, raw, labels, seed=recipe.seed, progress=progress
    )
    mean, std = data.mean_and_std(train)
    spec = ModelSpec(
        labels=labels,
        input=replace(raw, mean=mean, std=std),
        architecture=recipe.architecture,
        architecture_args=recipe.architecture_args(),
        provenance=Provenance(
            dataset=root.name, dataset_sha256=data.sha256(root), recipe=recipe.to_dict(),
            versions={name: version(name) for name in ("fer-runtime", "torch")},
        ),
    )  # fmt: skip
    recorder = Recorder(spec, output, recipe.monitor)
    interrupted = _train(recipe, recorder, train, validation, resume, time_limit, show)
    return _finish(recorder, validation, interrupted)


def _train(
    recipe: Recipe,
    recorder: Recorder,
    train: data.Split,
    validation: data.Split,
    resume: bool,
    time_limit: datetime.timedelta | None,
    show: bool,
) -> bool:
    """Run Lightning's loop; True where Ctrl-C ended it."""
    spec = recorder.spec
    torch.manual_seed(recipe.seed)
    net = models.build(recipe.architecture, spec.input, len(spec.labels), spec.architecture_args)
    models.initialise(net, recipe.init, recipe.seed)
    if recipe.pretrained:
        from fer_train import torchvision_nets

        torchvision_nets.load_pretrained(net, recipe.architecture)
    if recipe.weights:
        start = checkpoint.load(Path(recipe.weights), factory=recipe.architecture)
        net = checkpoint.Checkpoint(spec, start.state_dict, recipe.architecture).net().train()
    models.freeze_until(net, recipe.freeze_until)
    # Channels last is 1.8 times as fast as the default for these convolutions on a CPU.
    deployable = models.Deployable(net.to(memory_format=torch.channels_last), spec)
    module = FerModule(deployable, recipe, list(train.counts().values()))
    _silence_lightning()
    trainer = pl.Trainer(
        max_epochs=recipe.epochs,
        precision=recipe.precision,  # type: ignore[arg-type]  # a Literal of Lightning's, checked there
        gradient_clip_val=recipe.gradient_clip or None,
        callbacks=_callbacks(recipe, recorder, time_limit, show),
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=recorder.output,
    )
    last = recorder.output / LAST
    trainer.fit(
        module,
        data.train_loader(train, recipe.batch_size, recipe.seed, recipe.sampler),
        data.evaluation_loader(validation),
        ckpt_path=last if resume else None,
        weights_only=True if resume else None,
    )
    return trainer.interrupted


def _callbacks(
    recipe: Recipe, recorder: Recorder, time_limit: datetime.timedelta | None, show: bool
) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = [recorder]
    if time_limit:
        callbacks.append(LegLimit(time_limit.total_seconds()))
    if recipe.ema:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema))
    if recipe.patience:
        callbacks.append(
            EarlyStopping(recipe.monitor, patience=recipe.patience, mode=MONITORS[recipe.monitor])
        )
    if show:
        callbacks.append(EpochProgress(recorder.history, recipe.epochs))
    return callbacks


def _finish(recorder: Recorder, validation: data.Split, interrupted: bool) -> FitResult:
    """Evaluate `best.pt` as it was written, and draw the run."""
    output = recorder.output
    best = output / BEST
    if not best.exists():
        raise DataError(
            "The run ended before its first epoch was validated, so there is no best.pt."
            if interrupted or not recorder.history
            else f"No epoch of the run had a finite {recorder.monitor}; try a smaller --lr."
        )
    evaluation = evaluate.evaluate_split(
        checkpoint.load(best, factory=recorder.spec.architecture).deployable(), validation
    )
    write_metrics(output / METRICS, evaluation)
    draw(output, evaluation, validation)
    plots.curves(recorder.history, output / "curves.png")
    return FitResult(best, recorder.best_epoch, tuple(recorder.history), evaluation, interrupted)


def draw(
    output: Path, evaluation: evaluate.Evaluation, split: data.Split, suffix: str = ""
) -> None:
    """Write the pictures of one evaluation: confusion matrix, and faces judged right and wrong."""
    plots.confusion(evaluation.confusion, evaluation.labels, output / f"confusion{suffix}.png")
    plots.predictions(split.images.numpy(), evaluation, output / f"predictions{suffix}.png")


def write_metrics(path: Path, evaluation: evaluate.Evaluation) -> None:
    """Write an evaluation as JSON."""
    path.write_text(json.dumps(evaluation.to_dict(), indent=2) + "\n", encoding="utf-8")


def _check_output(output: Path, resume: bool, recipe: Recipe) -> None:
    """A run never overwrites another, and resumes only itself."""
    last = output / LAST
    if not resume:
        if any((output / name).exists() for name in (BEST, LAST)):
            raise DataError(
                f"{output} holds a run already; say --resume, or choose another --output."
            )
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{output} cannot be made: {error.strerror}") from None
        return
    if not last.exists():
        raise DataError(f"{output} holds no {LAST} to resume; leave --resume away to start there.")
    try:
        recorded = torch.load(last, map_location="cpu", weights_only=True)["fer_recipe"]
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError) as error:
        raise DataError(f"{last} is not a run that can be resumed: {error}") from None
    changed = [k for k, v in _plain(recipe.to_dict()).items() if recorded.get(k) != v]
    if changed:
        raise DataError(
            f"The run in {output} was started with another {changed[0]} "
            f"({recorded.get(changed[0])!r}); resume it with the same options."
        )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(values))
    assert isinstance(plain, dict)
    return plain


def _silence_lightning() -> None:
    """Our own lines say what a user needs; Lightning's hints are about its own loaders."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*optimizer.step.*")
