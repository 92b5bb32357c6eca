"""What benchmarks run on by default: a seeded model, exported with parity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_bench.clone import CLONE

SHIPPED = CLONE / "train" / "checkpoints" / "compact_cnn.pt"
"""The checkpoint of the shipped model, in a clone."""
LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@dataclass(frozen=True)
class Artefacts:
    """One net in four files: the checkpoint, and what the exporter made from it."""

    checkpoint: Path
    onnx: Path
    torchscript: Path
    pt2: Path


def make(folder: Path, checkpoint: Path | None = None) -> Artefacts:
    """Export `checkpoint` (default: an untrained `compact_cnn`) into `folder`, parity included."""
    from fer_export import exporter
    from fer_export.formats import FORMATS

    source = checkpoint or untrained_checkpoint(folder / "untrained.pt")
    files = {
        name: exporter.export(source, name, folder / f"model{FORMATS[name].ending}").path
        for name in FORMATS
    }
    return Artefacts(source, **files)


def untrained_checkpoint(path: Path, seed: int = 0) -> Path:
    """A `compact_cnn` whose outputs have a scale, though nobody trained it.

    BatchNorm's statistics are those of noise and the head is drawn with std 0.1; with PyTorch's
    own initialisation the logits hardly vary, and parity would have nothing to compare.
    """
    import torch

    from fer_export.parity import inputs
    from fer_runtime.spec import InputSpec, ModelSpec
    from fer_train import checkpoint, models

    spec = ModelSpec(
        labels=LABELS,
        input=InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.25,)),
        architecture="compact_cnn",
    )
    torch.manual_seed(seed)
    net = models.build("compact_cnn", spec.input, len(LABELS), {})
    head = [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)][-1]
    torch.nn.init.normal_(head.weight, std=0.1)
    deployable = models.Deployable(net, spec).train()
    with torch.no_grad():
        for batch in inputs.noise(spec.input, seed):
            if len(batch.names) > 1:
                deployable(torch.from_numpy(batch.pixels))
    checkpoint.save(path, spec, net.state_dict())
    return path


def faces(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(count, 1, 48, 48) uint8 synthetic faces, of all labels in turn."""
    from fer_train.drawing import render_face

    rng = np.random.default_rng(seed)
    drawn = [render_face(LABELS[i % len(LABELS)], rng) for i in range(count)]
    return np.stack(drawn)[:, None]
