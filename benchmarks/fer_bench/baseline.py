"""The baseline: ImageFolder + transforms + DataLoader + eager PyTorch on the CPU."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BATCH_SIZE = 32
WORKERS = 2


def images_per_second(checkpoint: Path, folder: Path) -> tuple[float, npt.NDArray[np.int64]]:
    """Images per second over a folder with class subfolders, and the (N,) predicted classes.

    The loader's start-up is not counted: the clock starts when its first batch has arrived, and
    that batch's images are not counted either, only its inference is.
    """
    import torch

    from fer_train import checkpoint as checkpoints

    loaded = checkpoints.load(checkpoint)
    net = loaded.net()
    batches = iter(loader(loaded.spec.input, folder))
    first = next(batches)
    predicted = []
    started = time.perf_counter()
    with torch.inference_mode():
        for images, _ in _chain(first, batches):
            predicted.append(net(images).argmax(1))
    seconds = time.perf_counter() - started
    count = sum(len(batch) for batch in predicted)
    return (count - len(first[1])) / seconds, torch.cat(predicted).numpy()


def loader(spec: Any, folder: Path) -> Any:
    """A DataLoader of normalised float tensors, as in torchvision's tutorials."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.Grayscale(spec.channels),
            transforms.Resize((spec.height, spec.width)),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )
    dataset = datasets.ImageFolder(str(folder), transform)
    return DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=WORKERS)


def _chain(first: Any, rest: Any) -> Any:
    yield first
    yield from rest
