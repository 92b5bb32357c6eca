"""Every engine behind one verb: (N, C, H, W) uint8 pixels -> named arrays.

Outputs are copied, because engines reuse their buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_runtime.session import Session
from fer_train.models import Deployable

Arrays = dict[str, npt.NDArray[Any]]
Runner = Callable[[npt.NDArray[np.uint8]], Arrays]

OUTPUTS = ("logits", "probabilities")


def eager(deployable: Deployable) -> Runner:
    """PyTorch itself, in evaluation mode: the reference of every comparison."""
    deployable.eval()
    return _torch_runner(deployable)


def torchscript(path: Path) -> Runner:
    """A TorchScript file; loading it executes the code inside."""
    from fer_export.formats import to_torchscript

    return _torch_runner(to_torchscript.load(path))


def exported_program(path: Path) -> Runner:
    """A `.pt2` file; one that would execute code when it is loaded is refused."""
    from fer_export.formats import to_exported_program

    return _torch_runner(to_exported_program.load(path).module())


def onnx(path: Path, provider: str = "cpu") -> Runner:
    """An ONNX file on "cpu" or "cuda", through the runtime's own session."""
    session = Session.open(path, provider=provider)
    return lambda pixels: {k: np.array(v) for k, v in session.run_named(pixels).items()}


def _torch_runner(module: Any) -> Runner:
    def run(pixels: npt.NDArray[np.uint8]) -> Arrays:
        # TF32 would halve the mantissa on a GPU; parity is about the model, not about that.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        with torch.inference_mode():
            outputs = module(torch.from_numpy(np.array(pixels)))
        return {name: output.numpy().copy() for name, output in zip(OUTPUTS, outputs, strict=True)}

    return run
