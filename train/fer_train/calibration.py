"""Temperature scaling: one number that makes confidence equal to accuracy on average."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

BOUNDS = (0.05, 20.0)


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """(N, K) logits, (N,) targets -> the temperature of least cross-entropy, within 0.05 to 20.

    Decisions do not change, only confidences. Source: Guo et al. 2017, "On Calibration of Modern
    Neural Networks", section 4.2.
    """
    scores, wanted = torch.from_numpy(logits).double(), torch.from_numpy(targets)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(scores / log_temperature.exp(), wanted)
        value.backward()
        return value

    optimizer.step(loss)
    return float(log_temperature.exp().clamp(*BOUNDS).item())
