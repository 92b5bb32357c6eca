"""Every engine as `(N, C, H, W) uint8 pixels -> (N, K) float32 probabilities`, and what ran it.

Each engine is imported inside the function that opens it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_bench.artefacts import Artefacts
from fer_runtime.hashing import file_sha256

Run = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Engine:
    """An opened model: its verb, and the facts a reader needs to understand the figure."""

    run: Run
    facts: Mapping[str, Any]


def eager(artefacts: Artefacts, threads: int) -> Engine:
    """PyTorch as in a notebook that does it right: eval mode, inference mode."""
    from fer_train import checkpoint

    deployable = checkpoint.load(artefacts.checkpoint).deployable()
    return _torch_engine(deployable, threads, {"model": file_sha256(artefacts.checkpoint)})


def torchscript(artefacts: Artefacts, threads: int) -> Engine:
    """The frozen TorchScript file."""
    from fer_export.formats import to_torchscript

    module = to_torchscript.load(artefacts.torchscript)
    return _torch_engine(module, threads, {"model": file_sha256(artefacts.torchscript)})


def runtime(artefacts: Artefacts, threads: int, provider: str = "cpu") -> Engine:
    """The ONNX file in fer-runtime's session."""
    from fer_runtime.session import Session

    session = Session.open(artefacts.onnx, provider=provider, threads=threads)
    facts = {
        "model": file_sha256(artefacts.onnx),
        "provider": session.provider,
        "threads": threads,
        "onnxruntime": metadata.version(
            "onnxruntime" if _has("onnxruntime") else "onnxruntime-gpu"
        ),
    }
    return Engine(lambda pixels: session.run(pixels).probabilities, facts)


ENGINES: Mapping[str, Callable[[Artefacts, int], Engine]] = {
    "eager": eager,
    "torchscript": torchscript,
    "runtime": runtime,
}


def machine() -> dict[str, Any]:
    """The machine a figure was measured on: cpu, cores, and versions."""
    from fer_runtime.machine import processor, usable_threads

    return {
        "cpu": processor(),
        "cores": usable_threads(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "numpy": np.__version__,
    }


def _torch_engine(module: Any, threads: int, facts: dict[str, Any]) -> Engine:
    import torch

    def run(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            probabilities: npt.NDArray[np.float32] = module(torch.from_numpy(pixels))[1].numpy()
        return probabilities

    torch.set_num_threads(threads)
    return Engine(run, {**facts, "provider": "cpu", "threads": threads, "torch": torch.__version__})


def _has(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
