"""Cross-entropy, the default."""

from __future__ import annotations

import torch
from torch.nn import functional


def cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    weight: torch.Tensor | None,
    label_smoothing: float,
) -> torch.Tensor:
    """(N, K) float32, (N,) int64 -> the mean over the images, in nats."""
    return functional.cross_entropy(logits, targets, weight=weight, label_smoothing=label_smoothing)
