"""The features of an image as a third output: what the net's last linear layer takes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from fer_runtime.errors import ModelFileError
from fer_train.models import Deployable


class FeaturesNet(nn.Module):
    """A net in two parts: `body`, (N, C, H, W) -> (N, D) features, and `head`, -> (N, K) logits."""

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(images))
        return logits


class WithFeatures(Deployable):
    """(N, C, H, W) uint8 images -> logits, probabilities, and (N, D) float32 features."""

    outputs = (*Deployable.outputs, "features")
    net: FeaturesNet

    def forward(  # type: ignore[override]
        self, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.net.body(self.prepared(images)).to(torch.float32)
        logits = self.net.head(features).to(torch.float32)
        return logits, torch.softmax(logits / self.temperature, dim=1), features


def with_features(deployable: Deployable) -> WithFeatures:
    """The same model with its features as a third output; the weights are shared.

    Raises:
        ModelFileError: the logits are not what the net's last linear layer makes of one vector per
            image.
    """
    net = deployable.net.eval()
    random = torch.Generator().manual_seed(0)
    size = tuple(deployable.spec.input.shape)
    example = torch.randn((2, *size), generator=random)
    name = _last_linear(net, example)
    shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    body = copy.deepcopy(net, shared)
    head = body.get_submodule(name)
    assert isinstance(head, nn.Linear)
    parent, _, child = name.rpartition(".")
    setattr(body.get_submodule(parent), child, nn.Identity())
    found = FeaturesNet(body, head)
    if not _same(net, found, example):
        raise ModelFileError(
            f"--features: the last linear layer of this net is {name}, but its logits are not what "
            "that layer makes of one vector per image; export it without --features."
        )
    made = WithFeatures(found, deployable.spec)
    made.crop = deployable.crop
    return made.eval()


def _same(net: nn.Module, found: FeaturesNet, example: torch.Tensor) -> bool:
    """Whether a net in two parts computes what it did, from one vector per image."""
    with torch.inference_mode():
        try:
            return found.body(example).ndim == 2 and torch.equal(found(example), net(example))
        except RuntimeError:  # what came after the layer does not take its input
            return False


def _last_linear(net: nn.Module, example: torch.Tensor) -> str:
    """The name of the linear layer that runs last."""
    ran: list[str] = []
    linear = {name: each for name, each in net.named_modules() if isinstance(each, nn.Linear)}
    hooks = [
        each.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, each in linear.items()
        if name
    ]
    try:
        with torch.inference_mode():
            net(example)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        kinds = [type(each).__name__ for each in net.modules() if not list(each.children())]
        raise ModelFileError(
            "--features: this net has no linear layer whose input could be the features; its last "
            f"layers are {', '.join(kinds[-3:])}. Export it without --features."
        )
    return ran[-1]
