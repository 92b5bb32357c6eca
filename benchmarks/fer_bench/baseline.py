"""The baseline: ImageFolder + transforms + DataLoader + eager PyTorch on the CPU.

`python -m fer_bench.baseline CHECKPOINT FOLDER` prints its rate and classes as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import FerError

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


def in_own_process(
    checkpoint: Path, folder: Path, variables: Mapping[str, str]
) -> tuple[float, npt.NDArray[np.int64]]:
    """As `images_per_second`, in a process that is started with these variables.

    Raises:
        FerError: it ended with an error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "fer_bench.baseline", str(checkpoint), str(folder)],
        capture_output=True, text=True, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    if done.returncode:
        raise FerError(f"the baseline: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    rate, classes = json.loads(done.stdout.splitlines()[-1])
    return float(rate), np.array(classes, np.int64)


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


if __name__ == "__main__":
    found, predicted = images_per_second(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps([found, predicted.tolist()]))
