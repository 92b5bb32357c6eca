"""PyTorch's engines: eager, channels last, torch.compile, TorchScript, and exported programs.

Each runs in inference mode, in evaluation mode, on as many threads as it is given, and takes the
pixels without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_bench.artefacts import Artefacts
from fer_bench.engines.engine import Engine
from fer_runtime.hashing import file_sha256
from fer_train import checkpoint


def eager(artefacts: Artefacts, threads: int) -> Engine:
    """The model as a notebook that does it right runs it."""
    module = checkpoint.load(artefacts.checkpoint).deployable()
    return _engine(module, artefacts.checkpoint, threads)


def channels_last(artefacts: Artefacts, threads: int) -> Engine:
    """Weights and images in the order that convolutions on CPUs prefer."""
    module = checkpoint.load(artefacts.checkpoint).deployable()
    module = module.to(memory_format=torch.channels_last)

    def call(pixels: torch.Tensor) -> Any:
        return module(pixels.contiguous(memory_format=torch.channels_last))

    return _engine(call, artefacts.checkpoint, threads, memory_format="channels last")


def compiled(artefacts: Artefacts, threads: int) -> Engine:
    """`torch.compile` as it is called without arguments."""
    module = checkpoint.load(artefacts.checkpoint).deployable().eval()
    return _engine(torch.compile(module), artefacts.checkpoint, threads, compiled="inductor")


def torchscript(artefacts: Artefacts, threads: int) -> Engine:
    """The frozen TorchScript file."""
    from fer_export.formats import to_torchscript

    return _engine(to_torchscript.load(artefacts.torchscript), artefacts.torchscript, threads)


def exported_program(artefacts: Artefacts, threads: int) -> Engine:
    """The .pt2 file, run operator by operator."""
    module = torch.export.load(artefacts.pt2).module()
    return _engine(module, artefacts.pt2, threads)


def _engine(
    module: Callable[[torch.Tensor], Any], file: Path, threads: int, **facts: str
) -> Engine:
    torch.set_num_threads(threads)

    def run(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            probabilities: npt.NDArray[np.float32] = module(torch.from_numpy(pixels))[1].numpy()
        return probabilities

    known = {"model": file_sha256(file), "provider": "cpu", "arithmetic": "f32"}
    return Engine(run, known | {"threads": threads, "torch": torch.__version__} | facts)
