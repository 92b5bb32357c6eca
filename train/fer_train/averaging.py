"""The mean of several checkpoints of one model, and BatchNorm's statistics measured again.

Augmentation changes the images that BatchNorm's running statistics were gathered on: bilinear
sampling blurs them. Measured on training images as they are at inference, the statistics fit those.
Sources: Wortsman et al. 2022, "Model soups", for the mean of weights; Touvron et al. 2019, "Fixing
the train-test resolution discrepancy", for statistics that fit the images of inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from fer_runtime.errors import ModelFileError
from fer_runtime.spec import Interpolation
from fer_train import evaluate
from fer_train.calibration import fit_temperature
from fer_train.checkpoint import Checkpoint, save, state_sha256
from fer_train.data import Progress, Split

BATCH = 256
FIGURES = ("loss", "accuracy", "macro_f1", "macro_recall")
"""What a checkpoint's provenance notes of validation, as a run's does."""
AVERAGED = "averaged_weights_sha256"
"""The key of the hashes of what was averaged, in a checkpoint's provenance."""
MEASURED = "measured_statistics"
"""The key of the number of images that BatchNorm's statistics were measured on, there too."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def average(
    checkpoints: Sequence[Checkpoint], *, interpolation: Interpolation | None = None
) -> Checkpoint:
    """A checkpoint whose weights are the mean of these; of one it is that one.

    It works for runs that began from the same weights. The spec is the first's; its provenance
    lists the weights that went in. BatchNorm's statistics are the mean too, unless
    `measure_statistics` measures them after it.

    Args:
        checkpoints: of one model, from one start.
        interpolation: how pictures of another size are resized from now on; None leaves the
            spec's.

    Raises:
        ModelFileError: none, or checkpoints of different models, labels or inputs.
    """
    if not checkpoints:
        raise ModelFileError("There is no checkpoint to average.")
    first, *others = checkpoints
    for other in others:
        for name in ("architecture", "architecture_args", "labels", "input"):
            ours, theirs = getattr(first.spec, name), getattr(other.spec, name)
            if ours != theirs:
                raise ModelFileError(
                    f"The checkpoints differ in {name}: {ours} and {theirs}; only weights of one "
                    "model have a mean."
                )
    mean = {
        name: _mean([each.state_dict[name] for each in checkpoints]) for name in first.state_dict
    }
    origin = first.spec.provenance
    hashes = [state_sha256(each.state_dict) for each in checkpoints]
    recipe = {**origin.recipe, AVERAGED: hashes}
    recipe.pop(MEASURED, None)  # the mean of statistics is not a measurement
    read = replace(first.spec.input, interpolation=interpolation or first.spec.input.interpolation)
    spec = first.spec.replace(
        input=read, provenance=replace(origin, recipe=recipe, metrics={}), parity=None
    )
    return replace(first, spec=spec, state_dict=mean)


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return first
    return torch.stack([each.double() for each in tensors]).mean(0).to(first.dtype)


def measure_statistics(
    checkpoint: Checkpoint, images: torch.Tensor, *, progress: Progress | None = None
) -> Checkpoint:
    """The checkpoint with BatchNorm's mean and variance measured on images as they are.

    Args:
        checkpoint: the model; one without BatchNorm is returned as it is.
        images: (N, C, H, W) uint8 of the training split.
        progress: called as progress(done, total) over the images.

    Raises:
        ModelFileError: weights that do not fit the architecture.
    """
    deployable = checkpoint.deployable()
    norms = [each for each in deployable.modules() if isinstance(each, NORMS)]
    if not norms:
        return checkpoint
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over the batches, all with the same weight
        norm.train()
    with torch.inference_mode():
        # The last batch is not short, so that every image counts alike.
        for start in range(0, max(1, len(images) - BATCH + 1), BATCH):
            deployable.net(deployable.normalise(images[start : start + BATCH]))
            if progress:
                progress(min(start + BATCH, len(images)), len(images))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    state: Mapping[str, torch.Tensor] = _without_counters(deployable.net, checkpoint.state_dict)
    origin = checkpoint.spec.provenance
    noted = replace(origin, recipe={**origin.recipe, MEASURED: len(images)})
    return replace(checkpoint, spec=checkpoint.spec.replace(provenance=noted), state_dict=state)


def finish(
    checkpoint: Checkpoint, validation: Split, train: Split | None, output: Path, *, calibrate: bool
) -> evaluate.Evaluation:
    """Calibrate on validation, evaluate there, and write the checkpoint with these figures.

    Raises:
        DataError: the file cannot be written.
    """
    spec = checkpoint.spec
    if calibrate:
        logits, _ = evaluate.predict(checkpoint.deployable(), validation.images)
        spec = spec.replace(temperature=fit_temperature(logits, validation.targets.numpy()))
    found = evaluate.evaluate_split(replace(checkpoint, spec=spec).deployable(), validation, train)
    figures = found.summary()
    metrics = {"validation": {name: figures[name] for name in FIGURES}}
    save(
        output,
        spec.replace(provenance=replace(spec.provenance, metrics=metrics)),
        checkpoint.state_dict,
    )
    return found


def _without_counters(
    net: nn.Module, before: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The state dict, with BatchNorm's counters of training steps as they were."""
    after = net.state_dict()
    return {name: before[name] if "num_batches" in name else after[name] for name in before}
