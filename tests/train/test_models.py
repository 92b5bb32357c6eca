"""The nets have the shapes and costs they claim; the wrapper computes what its docstring says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train import models


def multiply_adds(net: nn.Module, spec: InputSpec) -> int:
    """Counted by torch's own FLOP counter; a multiply-add is two FLOPs."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(torch.zeros(1, *spec.shape))
    return counter.get_total_flops() // 2


def test_compact_cnn_costs_what_it_says(grey: InputSpec) -> None:
    net = models.build("compact_cnn", grey, 7, {})
    assert multiply_adds(net, grey) == pytest.approx(28.6e6, rel=0.01)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(0.31e6, rel=0.01)


@pytest.mark.parametrize("architecture", sorted(models.ARCHITECTURES))
def test_every_net_takes_grey_and_colour(
    architecture: str, grey: InputSpec, colour: InputSpec
) -> None:
    for spec in (grey, colour):
        net = models.build(architecture, spec, 5, {}).eval()
        assert net(torch.zeros(3, *spec.shape)).shape == (3, 5)


@pytest.mark.parametrize("activation", sorted(models.ACTIVATIONS))
@pytest.mark.parametrize("batch_norm", [True, False])
def test_simple_cnn_of_the_notes(grey: InputSpec, activation: str, batch_norm: bool) -> None:
    """Background A4 and D2: with and without BatchNorm, deeper, five activations."""
    arguments = {"activation": activation, "batch_norm": batch_norm, "depth": 4, "width": 8}
    net = models.build("simple_cnn", grey, 7, arguments)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()) is batch_norm
    linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert (linear[-1].in_features, linear[-1].out_features) == (512, 7)
    assert net.eval()(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


def test_wrong_names_and_arguments_are_named(grey: InputSpec) -> None:
    with pytest.raises(ModelSpecError, match="Unknown architecture 'resnet'; known: compact_cnn"):
        models.build("resnet", grey, 7, {})
    with pytest.raises(ModelSpecError, match="hight"):
        models.build("compact_cnn", grey, 7, {"hight": 3})
    with pytest.raises(ModelSpecError, match="multiples of 16, not 24"):
        models.build("compact_cnn", grey, 7, {"widths": [16, 24], "depths": [1, 1]})
    with pytest.raises(ModelSpecError, match="Unknown activation 'swish'"):
        models.build("simple_cnn", grey, 7, {"activation": "swish"})
    with pytest.raises(ModelSpecError, match="depth 6 halves 48 x 48"):
        models.build("simple_cnn", grey, 7, {"depth": 6})


def test_deployable_by_hand() -> None:
    """One pixel, an identity net: the logits are the normalised pixel values themselves."""
    spec = ModelSpec(
        labels=("a", "b", "c"),
        input=InputSpec(height=1, width=1, channels=3, mean=(0.5, 0, 1), std=(0.5, 1, 2)),
        temperature=2.0,
    )
    logits, probabilities = models.Deployable(nn.Flatten(), spec)(
        torch.tensor([[[[255]], [[51]], [[0]]]], dtype=torch.uint8)
    )
    expected = torch.tensor([[1.0, 0.2, -0.5]])
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(probabilities, torch.softmax(expected / 2, 1))


def test_deployable_adds_nothing_to_the_weights(spec: ModelSpec) -> None:
    net = models.build("compact_cnn", spec.input, 7, {})
    assert list(models.Deployable(net, spec).state_dict()) == [f"net.{k}" for k in net.state_dict()]
