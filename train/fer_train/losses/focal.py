"""Focal loss: images that the model already gets right count less."""

from __future__ import annotations

import torch
from torch.nn import functional


def focal(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    weight: torch.Tensor | None,
    label_smoothing: float,
    gamma: float = 2.0,
) -> torch.Tensor:
    """(N, K) float32, (N,) int64 -> mean of (1 - p)^gamma * -log p, p being the target's share.

    With `gamma` 0 it is `cross_entropy`, class weights and label smoothing included.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 4, for several
    classes with softmax.
    """
    classes = logits.shape[1]
    log_shares = functional.log_softmax(logits, 1)
    wanted = functional.one_hot(targets, classes) * (1 - label_smoothing)
    wanted = wanted + label_smoothing / classes
    terms = wanted * (1 - log_shares.exp()).clamp_min(0) ** gamma * -log_shares
    if weight is None:
        return terms.sum(1).mean()
    return (terms * weight).sum() / weight[targets].sum()
