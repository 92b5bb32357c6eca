"""One training run: data in, `best.pt` with its spec, metrics and pictures out.

The loop, precision, devices and EMA are Lightning's. `last.pt` is Lightning's own checkpoint,
written after every finished epoch; `best.pt` is ours, and all that export needs.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import pickle
import signal
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging

from fer_runtime.errors import DataError, TrainingError
from fer_runtime.spec import InputSpec, ModelSpec, Provenance
from fer_train import checkpoint, data, evaluate, guards, models, plots, splits
from fer_train.calibration import fit_temperature
from fer_train.callbacks import BEST, LAST, Recorder, TimeLimit
from fer_train.module import FerModule
from fer_train.progress import EpochProgress
from fer_train.recipe import MONITORS, Recipe
from fer_train.samplers import Share

METRICS = "metrics.json"


@dataclass(frozen=True)
class FitResult:
    """Where a run ended: the best checkpoint, its epoch and its evaluation on validation.

    `remarks` say in words what the curves show.
    """

    best: Path
    best_epoch: int
    history: tuple[Mapping[str, float], ...]
    evaluation: evaluate.Evaluation
    remarks: tuple[str, ...]
    interrupted: bool


@dataclass(frozen=True)
class Prepared:
    """A data set in memory and the spec of a net for it: what `run` needs besides a recipe."""

    data: splits.TrainingData
    input: InputSpec
    labels: tuple[str, ...]
    dataset: str
    dataset_sha256: str


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out, which leaves its outcome as it is (on one device).

    `time_limit` ends the leg at the last epoch end that fits into it. With `devices` processes on
    each of `nodes` machines each takes its share of every batch; the machines find one another as
    torchrun's or Slurm's variables say (MASTER_ADDR, MASTER_PORT, NODE_RANK).
    """

    resume: bool = False
    time_limit: datetime.timedelta | None = None
    threads: int | None = None
    devices: int = 1
    nodes: int = 1
    show: bool = True


def fit(
    root: Path,
    output: Path,
    recipe: Recipe,
    leg: RunOptions | None = None,
    *,
    progress: data.Progress | None = None,
) -> FitResult | None:
    """Train on `root`'s training split, choose on its validation split, write into `output`.

    Writes best.pt, last.pt, history.csv, metrics.json, the pictures curves.png, confusion.png and
    predictions.png, and split.csv where the split was made here. None in a process that helps
    another.

    Raises:
        DataError: unusable data, or an `output` that holds a run already (or none to resume).
        TrainingError: a guard stopped the run (`guards`).
    """
    leg = leg or RunOptions()
    _check_output(output, leg.resume, recipe)
    return run(prepare(root, recipe, progress=progress), output, recipe, leg)


def prepare(root: Path, recipe: Recipe, *, progress: data.Progress | None = None) -> Prepared:
    """Decode what the recipe trains and validates on, and measure its mean and std.

    Raises:
        DataError: unusable data; ModelSpecError: a mean or std that does not fit the channels.
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
    mean, std = data.mean_and_std(loaded.train)
    measured = replace(raw, mean=recipe.numbers("mean") or mean, std=recipe.numbers("std") or std)
    return Prepared(loaded, measured, labels, root.name, data.sha256(root))


def run(
    prepared: Prepared, output: Path, recipe: Recipe, leg: RunOptions | None = None
) -> FitResult | None:
    """As `fit`, on data that `prepare` has read."""
    leg = leg or RunOptions()
    _check_output(output, leg.resume, recipe)
    if leg.threads:
        torch.set_num_threads(leg.threads)
    spec = ModelSpec(
        labels=prepared.labels,
        input=prepared.input,
        architecture=recipe.architecture,
        architecture_args=recipe.architecture_args(),
        provenance=Provenance(
            dataset=prepared.dataset,
            dataset_sha256=prepared.dataset_sha256,
            recipe={**recipe.to_dict(), **_split_hash(prepared.data)},
            versions={name: version(name) for name in ("fer-runtime", "torch")},
        ),
    )
    recorder = Recorder(spec, output, recipe.monitor)
    module = _module(recipe, spec, prepared.data.train)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output} cannot be made: {error.strerror}") from None
    if prepared.data.made and not leg.resume:
        splits.write(output / splits.FILE, prepared.data.made)
    trainer = _trainer(recipe, recorder, leg, prepared.data)
    share = Share(trainer.global_rank, trainer.world_size)
    with _interrupts(trainer):
        trainer.fit(
            module,
            data.train_loader(
                prepared.data.train, recipe.batch_size, recipe.seed, recipe.sampler, share
            ),
            data.evaluation_loader(prepared.data.validation, share=share),
            ckpt_path=output / LAST if leg.resume else None,
            weights_only=True if leg.resume else None,
        )
    if not trainer.is_global_zero:
        return None
    return _finish(recorder, prepared.data, recipe, trainer.interrupted)


def _split_hash(loaded: splits.TrainingData) -> dict[str, str]:
    """For a made split, what tells its split.csv from another."""
    return {splits.HASH_KEY: splits.sha256(loaded.made)} if loaded.made else {}


@contextlib.contextmanager
def _interrupts(trainer: pl.Trainer) -> Iterator[None]:
    """After Ctrl-C Lightning shuts down, ignores further ones and exits; go on from there."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
    finally:
        # Handlers can be set in the main thread only, as Lightning's own was.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN is not before:
            signal.signal(signal.SIGINT, before)


def _module(recipe: Recipe, spec: ModelSpec, train: data.Split) -> FerModule:
    """The net as the recipe has it start, and the teacher if there is one."""
    torch.manual_seed(recipe.seed)
    net = models.build(recipe.architecture, spec.input, len(spec.labels), spec.architecture_args)
    models.initialise(net, recipe.init, recipe.seed)
    if recipe.pretrained:
        from fer_train import torchvision_nets

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
    return FerModule(deployable, recipe, list(train.counts().values()), teachers)


def _teacher(path: str, recipe: Recipe, spec: ModelSpec) -> models.Deployable:
    loaded = checkpoint.load(Path(path), factory=recipe.architecture)
    if loaded.spec.labels != spec.labels:
        raise DataError(
            f"The teacher {path} knows the labels {', '.join(loaded.spec.labels)}; the "
            f"data set has {', '.join(spec.labels)}."
        )
    if loaded.spec.input != spec.input:
        raise DataError(
            f"The teacher {path} takes other inputs (size, channels, mean or std) than "
            "this run; train both on the same data with the same --image-size and --channels."
        )
    return loaded.deployable()


def _trainer(
    recipe: Recipe, recorder: Recorder, leg: RunOptions, loaded: splits.TrainingData
) -> pl.Trainer:
    _silence_lightning()
    return pl.Trainer(
        max_epochs=recipe.epochs,
        precision=recipe.precision,  # type: ignore[arg-type]  # a Literal of Lightning's, checked there
        gradient_clip_val=recipe.gradient_clip or None,
        callbacks=_callbacks(recipe, recorder, leg, loaded),
        accelerator="auto",
        devices=leg.devices,
        num_nodes=leg.nodes,
        use_distributed_sampler=False,  # ours knows its share
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=recorder.output,
    )


def _callbacks(
    recipe: Recipe, recorder: Recorder, leg: RunOptions, loaded: splits.TrainingData
) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = [recorder]
    if leg.time_limit:
        callbacks.append(TimeLimit(leg.time_limit.total_seconds()))
    if recipe.ema:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema))
    if recipe.patience:
        callbacks.append(
            EarlyStopping(recipe.monitor, patience=recipe.patience, mode=MONITORS[recipe.monitor])
        )
    if leg.show:
        counts = {part.name: part.counts() for part in (loaded.train, loaded.validation)}
        callbacks.append(EpochProgress(recorder.history, recipe.epochs, counts))
    callbacks.append(guards.Guard(recipe, len(recorder.spec.labels), recorder.history))
    return callbacks


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
    if recipe.fit_temperature:
        remarks.append(
            f"Temperature {found.spec.temperature:.3f}, fitted on these very images; loss and "
            "calibration error above are after it, and a little on the bright side."
        )
    write_metrics(output / METRICS, evaluation, temperature=found.spec.temperature, remarks=remarks)
    draw(output, evaluation, loaded.validation)
    plots.curves(recorder.history, output / "curves.png")
    history = tuple(recorder.history)
    return FitResult(best, recorder.best_epoch, history, evaluation, tuple(remarks), interrupted)


def draw(
    output: Path, evaluation: evaluate.Evaluation, split: data.Split, suffix: str = ""
) -> None:
    """Write the pictures of one evaluation: confusion matrix, and faces judged right and wrong."""
    plots.confusion(evaluation.confusion, evaluation.labels, output / f"confusion{suffix}.png")
    plots.predictions(split.images.numpy(), evaluation, output / f"predictions{suffix}.png")


def write_metrics(path: Path, evaluation: evaluate.Evaluation, **more: Any) -> None:
    """Write an evaluation, and `more` values, as JSON."""
    text = json.dumps({**evaluation.to_dict(), **more}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _check_output(output: Path, resume: bool, recipe: Recipe) -> None:
    """A run never overwrites another, and resumes only itself."""
    last = output / LAST
    if not resume:
        if any((output / name).exists() for name in (BEST, LAST)):
            raise DataError(
                f"{output} holds a run already; say --resume, or choose another --output."
            )
        if output.exists() and not output.is_dir():
            raise DataError(f"{output} is a file, not a folder to write a run into.")
        return
    if not last.exists():
        raise DataError(f"{output} holds no {LAST} to resume; leave --resume away to start there.")
    try:
        recorded = torch.load(last, map_location="cpu", weights_only=True)["fer_recipe"]
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError) as error:
        raise DataError(f"{last} is not a run that can be resumed: {error}") from None
    recorded = {**_plain(Recipe().to_dict()), **recorded}  # a field that came later was its default
    changed = [k for k, v in _plain(recipe.to_dict()).items() if recorded[k] != v]
    if changed:
        raise DataError(
            f"The run in {output} was started with another {changed[0]} "
            f"({recorded[changed[0]]!r}); resume it with the same options."
        )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(values))
    assert isinstance(plain, dict)
    return plain


def _silence_lightning() -> None:
    """Our own lines say what a user needs; Lightning's hints are about its own loaders."""
    for name in ("pytorch_lightning", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message="Encountered `nan` values")  # the guard says it
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*optimizer.step.*")
