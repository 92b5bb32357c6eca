"""The models have the shapes and costs they claim; the wrapper computes what its docstring says."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train import checkpoint, models
from fer_train.nets.compact_cnn import ResidualBlock


def test_compact_cnn_costs_what_it_says(grey: InputSpec) -> None:
    net = models.build("compact_cnn", grey, 7, {})
    assert models.multiply_adds(net, grey) == pytest.approx(28.4e6, rel=0.01)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(0.31e6, rel=0.01)


def test_hidden_channels_narrow_the_inside_of_a_block_only(grey: InputSpec) -> None:
    """Multiply-adds worked out: stem, three stages of two convolutions and a shortcut, head."""
    arguments = {"stem": 32, "widths": [32, 64, 128], "hidden": [16, 32, 64]}
    net = models.build("compact_cnn", grey, 7, arguments)
    stages = [
        24**2 * (9 * 32 * 16 + 9 * 16 * 32 + 32 * 32),
        12**2 * (9 * 32 * 32 + 9 * 32 * 64 + 32 * 64),
        6**2 * (9 * 64 * 64 + 9 * 64 * 128 + 64 * 128),
    ]
    assert models.multiply_adds(net, grey) == 48**2 * 9 * 32 + sum(stages) + 128 * 7
    assert [b.body[0].out_channels for b in net.children() if isinstance(b, ResidualBlock)] == [
        16, 32, 64,
    ]  # fmt: skip


def test_squeeze_and_excitation_weighs_each_blocks_channels(grey: InputSpec) -> None:
    plain = models.build("compact_cnn", grey, 7, {})
    net = models.build("compact_cnn", grey, 7, {"squeeze": 8}).eval()
    added = sum(2 * w * (w // 8) + w + w // 8 for w in (32, 64, 128))
    assert sum(p.numel() for p in net.parameters()) == added + sum(
        p.numel() for p in plain.parameters()
    )
    assert net(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


def test_a_plain_compact_cnn_does_without_torchvision() -> None:
    """Which takes a second to import, in every command that opens a checkpoint."""
    program = (
        "import sys; from fer_runtime.spec import InputSpec; from fer_train import models; "
        "spec = InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.3,)); "
        "models.build('compact_cnn', spec, 7, {}); "
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_stochastic_depth_drops_blocks_in_training_only(grey: InputSpec) -> None:
    net = models.build("compact_cnn", grey, 7, {"drop_path": 0.6, "dropout": 0.0})
    shares = [m.p for m in net.modules() if isinstance(m, StochasticDepth)]
    assert shares == pytest.approx([0.2, 0.4, 0.6])
    plain = models.build("compact_cnn", grey, 7, {"dropout": 0.0})
    plain.load_state_dict(net.state_dict())
    images = torch.randn(4, 1, 48, 48)
    assert torch.equal(net.eval()(images), plain.eval()(images))
    block = next(b for b in net.train().modules() if isinstance(b, ResidualBlock))
    left_out = [
        torch.equal(row, torch.relu(shortcut))
        for x in [torch.randn(64, 32, 8, 8)]
        for row, shortcut in zip(block(x), block.shortcut(x), strict=True)
    ]
    assert 2 < sum(left_out) < 30


@pytest.mark.parametrize("architecture", sorted(models.ARCHITECTURES))
def test_every_model_takes_grey_and_colour(
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
    with pytest.raises(
        ModelSpecError, match=r"Unknown architecture 'resnet'\. Ours: compact_cnn, s"
    ):
        models.build("resnet", grey, 7, {})
    with pytest.raises(ModelSpecError, match="hight"):
        models.build("compact_cnn", grey, 7, {"hight": 3})
    with pytest.raises(ModelSpecError, match="multiples of 16, not 24"):
        models.build("compact_cnn", grey, 7, {"widths": [16, 24], "depths": [1, 1]})
    with pytest.raises(ModelSpecError, match="multiples of 16, not 8"):
        models.build("compact_cnn", grey, 7, {"hidden": [16, 8, 16]})
    with pytest.raises(ModelSpecError, match=r"depths \[1, 1\] .* one entry per stage"):
        models.build("compact_cnn", grey, 7, {"depths": [1, 1]})
    with pytest.raises(ModelSpecError, match=r"squeeze is -1; it must not be negative"):
        models.build("compact_cnn", grey, 7, {"squeeze": -1})
    with pytest.raises(ModelSpecError, match=r"drop_path is 1\.0; it must be from 0 to below 1"):
        models.build("compact_cnn", grey, 7, {"drop_path": 1.0})
    with pytest.raises(ModelSpecError, match="Unknown activation 'swish'"):
        models.build("simple_cnn", grey, 7, {"activation": "swish"})
    with pytest.raises(ModelSpecError, match="depth 6 halves 48 x 48"):
        models.build("simple_cnn", grey, 7, {"depth": 6})


def test_deployable_worked_out() -> None:
    """One pixel, an identity model: the logits are the normalised pixel values themselves."""
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


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "mobilenet_v3_small"])
def test_torchvision_by_name_adapted_to_grey_and_small(name: str, grey: InputSpec) -> None:
    """Background B2 and B8: torchvision's models, 1 or 3 channels, 48 to 224 pixels."""
    net = models.build(name, grey, 7, {}).eval()
    first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert (first.in_channels, first.stride) == (1, (1, 1))
    assert net(torch.zeros(2, 1, 48, 48)).shape == (2, 7)
    large = InputSpec(height=224, width=224, channels=3, mean=(0, 0, 0), std=(1, 1, 1))
    first = next(
        layer
        for layer in models.build(name, large, 7, {}).modules()
        if isinstance(layer, nn.Conv2d)
    )
    assert (first.in_channels, first.stride) == (3, (2, 2))


def test_pretrained_first_convolution_is_folded_to_grey(
    grey: InputSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grey picture must give what the same picture in three equal channels gives."""
    from torchvision import models as vision

    from fer_train.nets import torchvision_nets

    source = vision.resnet18(weights=None)
    weights = vision.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: source.state_dict())
    net = models.build("resnet18", grey, 7, {})
    torchvision_nets.load_pretrained(net, "resnet18")
    picture = torch.randn(1, 1, 48, 48)
    expected = nn.functional.conv2d(picture.expand(-1, 3, -1, -1), source.conv1.weight, padding=3)
    first = net.get_submodule("conv1")
    torch.testing.assert_close(first(picture), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(net.state_dict()["layer4.1.conv2.weight"], source.layer4[1].conv2.weight)
    assert net.state_dict()["fc.weight"].shape == (7, 512)


def test_freezing_leaves_what_comes_after(grey: InputSpec) -> None:
    """Background B7: only `layer4` and `fc` are trained."""
    net = models.build("resnet18", grey, 7, {})
    models.freeze_until(net, "layer4")
    trained = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {"layer4", "fc"}
    with pytest.raises(ModelSpecError, match=r"no child 'layer9'; it has conv1"):
        models.freeze_until(net, "layer9")


def test_initialisation(grey: InputSpec) -> None:
    """Background E3: default, kaiming, or normal with a chosen std and zero bias."""
    net = models.build("simple_cnn", grey, 7, {"batch_norm": False})
    before = [p.clone() for p in net.parameters()]
    models.initialise(net, "default", 0)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    models.initialise(net, "normal:0.02", 0)
    linear = next(layer for layer in net.modules() if isinstance(layer, nn.Linear))
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert linear.bias.abs().max() == 0
    models.initialise(net, "kaiming", 0)
    assert linear.weight.std().item() == pytest.approx((2 / linear.in_features) ** 0.5, rel=0.05)
    for wrong in ("normal", "normal:x", "kaiming:2", "xavier"):
        with pytest.raises(ModelSpecError, match="allowed: default, kaiming, normal:STD"):
            models.initialise(net, wrong, 0)


def test_own_factory(grey: InputSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's `package.module:factory` from the current folder."""
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "def tiny(spec, classes, width=4):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(spec.height * spec.width, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert models.build("my_nets:tiny", grey, 3, {"width": 2})(torch.zeros(1, 1, 48, 48)).shape == (
        1,
        3,
    )
    with pytest.raises(ModelSpecError, match=r"my_nets:huge cannot be imported"):
        models.build("my_nets:huge", grey, 3, {})


def test_model_of_timm_sees_the_upscaled_image(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """timm is not a dependency of the tests: a package with its one function replaces it."""
    seen: list[tuple[int, ...]] = []

    class Net(nn.Module):
        def __init__(self, classes: int, channels: int) -> None:
            super().__init__()
            self.head = nn.Linear(channels, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            logits: torch.Tensor = self.head(x.mean((2, 3)))
            return logits

    def create_model(name: str, *, num_classes: int, in_chans: int) -> nn.Module:
        assert name == "some_net"
        return Net(num_classes, in_chans)

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    net = models.build("timm:some_net", spec.input, 7, {"upscale": 96})
    images = torch.zeros(2, *spec.input.shape)
    assert net(images).shape == (2, 7)
    models.build("timm:some_net", spec.input, 7, {})(images)
    assert seen == [(2, spec.input.channels, 96, 96), tuple(images.shape)]

    with pytest.raises(ModelSpecError, match="upscale is a side in pixels, not '96'"):
        models.build("timm:some_net", spec.input, 7, {"upscale": "96"})

    # Building it imports a library, not a file of whoever made the checkpoint.
    named = spec.replace(architecture="timm:some_net", architecture_args={"upscale": 96})
    assert isinstance(checkpoint.Checkpoint(named, net.state_dict()).net(), nn.Sequential)


def test_depthwise_convolutions_alone_stay_in_fp32() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1))
    images = torch.randn(2, 4, 9, 9)
    wanted = net(images)
    models.depthwise_in_fp32(net)
    found: list[torch.dtype] = []
    for layer in net:
        layer.register_forward_hook(lambda _, __, result: found.append(result.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        result = net(images)
    assert found == [torch.bfloat16, torch.float32, torch.bfloat16]
    torch.testing.assert_close(result.float(), wanted, atol=0.02, rtol=0.05)

    # Averaged weights (--ema) are those of a copy.
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other[1].parameters():
            parameter.zero_()
        assert torch.equal(other[:2](images), torch.zeros(2, 8, 5, 5))
    assert not torch.equal(net[:2](images), torch.zeros(2, 8, 5, 5))
