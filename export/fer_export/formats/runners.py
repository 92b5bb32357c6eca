"""PyTorch behind one function: (N, C, H, W) uint8 pixels -> named arrays.

Outputs are copied, because engines reuse their buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_export.features import WithFeatures
from fer_train.models import Deployable

Arrays = dict[str, npt.NDArray[Any]]
Runner = Callable[[npt.NDArray[np.uint8]], Arrays]

OUTPUTS = WithFeatures.outputs
"""In this order; the last one is not in every file."""


def eager(deployable: Deployable) -> Runner:
    """PyTorch itself, in evaluation mode: the reference of every comparison."""
    return of_module(deployable.eval())


def of_module(module: Any) -> Runner:
    """A module, script or program that returns the first of `OUTPUTS`, on the CPU."""

    def run(pixels: npt.NDArray[np.uint8]) -> Arrays:
        # TF32 would halve the mantissa on a GPU; parity is about the model, not about that.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        with torch.inference_mode():
            outputs = module(torch.from_numpy(np.array(pixels)))
        return {name: output.numpy().copy() for name, output in zip(OUTPUTS, outputs, strict=False)}

    return run
