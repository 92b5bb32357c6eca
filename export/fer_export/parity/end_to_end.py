"""The whole way from a file's bytes to a label: against the graph alone, and against PyTorch.

The second needs the user's own preprocessing (`--reference`): only it can show that the spec says
what training did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_export import parity
from fer_export.parity import hints
from fer_export.parity.inputs import InputBatch
from fer_runtime.classifier import Classifier
from fer_runtime.errors import DataError, ModelSpecError
from fer_runtime.spec import ModelSpec
from fer_train import models
from fer_train.models import Deployable

ROUNDING = 1e-5
"""Of a probability: the runtime may run other batch sizes."""


def failures(artefact: Path, batches: Sequence[parity.Batch], provider: str = "cpu") -> list[str]:
    """Where `Classifier` on a file differs from the graph on that file's pixels.

    `batches` are named after files, with the graph's outputs as `candidate`. The graph was compared
    on pixels that `fer_runtime.images` made, so a difference here comes from decoding, resizing,
    batching or the order of labels.
    """
    if not batches:
        return []
    classifier = Classifier.load(artefact, provider=provider)
    labels = classifier.spec.labels
    changed, worst, count = [], 0.0, 0
    for batch in batches:
        content = [Path(name).read_bytes() for name in batch.names]
        for name, prediction, row in zip(
            batch.names,
            classifier.predict_batch(content),
            batch.candidate["probabilities"],
            strict=True,
        ):
            count += 1
            ours = np.array([prediction.probabilities[label] for label in labels])
            worst = max(worst, float(np.abs(ours - row).max()))
            expected = labels[int(row.argmax())]
            if prediction.label != expected and np.ptp(np.sort(row)[-2:]) > ROUNDING:
                changed.append((name, expected, prediction.label))
    if changed:
        name, expected, said = changed[0]
        return [
            f"from file to label, {len(changed)} of {count} images get another label than the "
            f"graph gives their pixels, the first {name}: {expected} became {said}; decoding, "
            "resizing or the order of labels differs"
        ]
    if worst > ROUNDING:
        return [
            f"from file to probabilities, the runtime differs by {worst:.2g} from the graph on the "
            "same file's pixels; decoding or resizing differs"
        ]
    return []


@dataclass(frozen=True)
class OwnPreprocessing:
    """The logits (K,) that PyTorch gives files through the user's own preprocessing.

    `prepare` is that preprocessing, path -> (C, H, W) float tensor; `name` is how it was passed.
    """

    name: str
    prepare: Callable[[str], torch.Tensor]
    spec: ModelSpec
    logits: Mapping[str, npt.NDArray[np.float32]]

    def failures(
        self, batches: Sequence[InputBatch], outputs: Sequence[Mapping[str, npt.NDArray[Any]]]
    ) -> list[str]:
        """Files whose label is another one through the runtime's preprocessing.

        `outputs` are an artefact's for `batches`, whose pixels `fer_runtime.images` made of the
        files; that `Classifier` agrees with them is checked by `failures` of this module.
        """
        labels, changed, count = self.spec.labels, [], 0
        for batch, arrays in zip(batches, outputs, strict=True):
            if not batch.from_files:
                continue
            for name, row in zip(batch.names, arrays["logits"], strict=True):
                count += 1
                expected = self.logits[name]
                if row.argmax() != expected.argmax() and _margin(expected) > ROUNDING:
                    changed.append((name, labels[expected.argmax()], labels[row.argmax()]))
        if not changed:
            return []
        name, theirs, ours = changed[0]
        hint = hints.likely_cause(self.prepare(name).numpy(), name, self.spec.input)
        return [
            f"from file to label, {len(changed)} of {count} images get another label than through "
            f"{self.name}, the first {name}: {theirs} there, {ours} here; {hint}"
        ]


def own_preprocessing(
    name: str, deployable: Deployable, spec: ModelSpec, batches: Sequence[InputBatch]
) -> OwnPreprocessing:
    """Import the user's `package.module:function`, and run PyTorch on what it makes of the files.

    Raises:
        ModelSpecError: it cannot be imported.
        DataError: there are no files, it fails on one, or it does not return (C, H, W) floats.
    """
    files = [file for batch in batches if batch.from_files for file in batch.names]
    if not files:
        raise DataError("--reference compares the labels of image files; pass --images DIR too.")
    if not models.is_factory(name):
        raise ModelSpecError(f"--reference {name}: pass package.module:function.")
    function = models._import_factory(name)

    def prepare(file: str) -> torch.Tensor:
        return _checked(function, name, file, spec)

    logits = {}
    with torch.inference_mode():
        for file in files:
            try:
                row = deployable.net(prepare(file)[None])[0]
            except RuntimeError as error:
                raise DataError(
                    f"The model does not take what {name} returns for {file}: {error}"
                ) from None
            logits[file] = row.to(torch.float32).numpy().copy()
    return OwnPreprocessing(name, prepare, spec, logits)


def _checked(function: Callable[..., Any], name: str, file: str, spec: ModelSpec) -> torch.Tensor:
    try:
        found = function(file)
    except Exception as error:  # the user's own code may raise anything
        raise DataError(f"{name} failed on {file}: {type(error).__name__}: {error}") from error
    if not isinstance(found, np.ndarray | torch.Tensor):
        raise DataError(
            f"{name} returned a {type(found).__name__} for {file}; it must return a float tensor "
            "(C, H, W)."
        )
    tensor = torch.as_tensor(found).detach().cpu()
    if tensor.ndim != 3 or not tensor.is_floating_point():
        raise DataError(
            f"{name} returned {tensor.dtype} of shape {tuple(tensor.shape)} for {file}; it must "
            "return floats of shape (C, H, W), as the model takes them, without the batch."
        )
    if tensor.shape[0] != spec.input.channels:
        raise DataError(
            f"{name} returned {tensor.shape[0]} channels for {file}, and the model takes "
            f"{spec.input.channels}; look at --channels."
        )
    return tensor.to(torch.float32)


def _margin(logits: npt.NDArray[np.float32]) -> float:
    """By how much the likeliest label leads, as a probability."""
    shifted = np.exp(logits - logits.max())
    second, first = np.sort(shifted / shifted.sum())[-2:]
    return float(first - second)
