"""Activations that PyTorch does not have as a layer without arguments."""

from torch import nn


def channel_softmax() -> nn.Module:
    """Softmax over the channels of each pixel."""
    return nn.Softmax(dim=1)
