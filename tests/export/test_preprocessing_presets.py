"""Preprocessing by presets of libraries, by files of Hugging Face, and by transforms."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models
from torchvision import transforms as v1
from torchvision.transforms import v2

from fer_export.loading import ModelDescription
from fer_export.preprocessing import (
    from_transforms,
    presets,
)
from fer_runtime.errors import DataError, ModelSpecError
from tests.export.pictures import BICUBIC, IMAGENET, LABELS, transforms

# --- presets ---------------------------------------------------------------------------------


def test_torchvisions_presets() -> None:
    found = presets.read("torchvision:resnet50").given()
    assert found == {
        "image_size": (224, 224), "channels": 3, **IMAGENET, "resize_mode": "short",
        "interpolation": "bilinear", "resize_to": 232,
    }  # fmt: skip
    assert presets.read("torchvision:ResNet50_Weights.IMAGENET1K_V1").resize_to == 256
    assert presets.read("torchvision:efficientnet_b0").interpolation == "bicubic"


@pytest.mark.parametrize("name", ["resnet19", "ResNet50_Weights.NONE", "Nothing.AT_ALL", ""])
def test_unknown_weights_of_torchvision_are_refused(name: str) -> None:
    with pytest.raises(ModelSpecError, match=f"torchvision has no weights named {name}"):
        presets.read(f"torchvision:{name}")


def test_weights_for_another_task_are_refused() -> None:
    with pytest.raises(ModelSpecError, match="SemanticSegmentation is not one"):
        presets.read("torchvision:fcn_resnet50")


def test_a_preset_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ModelSpecError, match="pass torchvision:NAME, timm:NAME, or the path"):
        presets.read("resnet18")


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A package timm that knows one model; its pretrained_cfg may be changed."""
    config = {
        "input_size": (3, 224, 224), "crop_pct": 0.875, "crop_mode": "center",
        "interpolation": "bicubic", "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2),
    }  # fmt: skip
    known = {"tiny": SimpleNamespace(to_dict=lambda: config)}
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(get_pretrained_cfg=known.get))  # type: ignore[arg-type]
    return config


def test_timms_preset_is_its_evaluation_transform(timm: dict[str, Any]) -> None:
    assert presets.read("timm:tiny").given() == {
        "image_size": (224, 224), "channels": 3, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2),
        "resize_mode": "short", "interpolation": "bicubic", "resize_to": 256,
    }  # fmt: skip
    timm["crop_pct"] = 0.9
    assert presets.read("timm:tiny").resize_to == 248
    timm["crop_mode"] = "squash"
    squashed = presets.read("timm:tiny")
    assert (squashed.resize_mode, squashed.resize_to) == ("stretch", (248, 248))
    timm["crop_mode"] = "border"
    with pytest.raises(ModelSpecError, match="crop_mode border"):
        presets.read("timm:tiny")
    with pytest.raises(ModelSpecError, match="no model named huge"):
        presets.read("timm:huge")


def test_timm_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelSpecError, match="pip install timm"):
        presets.read("timm:resnet18")


CONFIG = {
    "image_processor_type": "CLIPImageProcessor", "do_resize": True, "resample": 3,
    "size": {"shortest_edge": 256}, "do_center_crop": True,
    "crop_size": {"height": 224, "width": 192}, "do_rescale": True,
    "rescale_factor": 0.00392156862745098, "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.3, 0.2, 0.1],
}  # fmt: skip
"""A preprocessor_config.json."""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("short", 256, (224, 192))),
        ({"do_center_crop": False}, ("short", 256, (256, 256))),
        ({"size": {"height": 240, "width": 250}}, ("stretch", (240, 250), (224, 192))),
        ({"size": {"height": 240, "width": 250}, "do_center_crop": False},
         ("stretch", (240, 250), (240, 250))),
        ({"size": 256, "crop_size": 224}, ("short", 256, (224, 224))),
        ({"size": 256, "crop_size": 224, "image_processor_type": "ViTImageProcessor"},
         ("stretch", (256, 256), (224, 224))),
        ({"size": {"shortest_edge": 224}, "do_center_crop": False, "crop_pct": 0.875,
          "image_processor_type": "ConvNextImageProcessor"}, ("short", 256, (224, 224))),
        ({"size": {"shortest_edge": 384}, "do_center_crop": False,
          "image_processor_type": "ConvNextImageProcessor"},
         ("stretch", (384, 384), (384, 384))),
    ],
)  # fmt: skip
def test_a_preprocessor_config(
    changes: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**CONFIG, **changes}))
    for given in (path, tmp_path):
        found = presets.read(str(given))
        assert (found.resize_mode, found.resize_to, found.image_size) == expected
        assert (found.interpolation, found.channels) == ("bicubic", 3)
        assert (found.mean, found.std) == ((0.5, 0.4, 0.3), (0.3, 0.2, 0.1))


@pytest.mark.parametrize("changes", [{"rescale_factor": 1 / 127.5}, {"do_rescale": False}, {}])
def test_another_scale_becomes_mean_and_std(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**CONFIG, **changes}))
    found = presets.read(str(path))
    scale = changes.get("rescale_factor", 1 / 255) if changes.get("do_rescale", True) else 1
    pixel = np.array([10.0, 100.0, 200.0])
    expected = (pixel * scale - CONFIG["image_mean"]) / np.array(CONFIG["image_std"])
    np.testing.assert_allclose((pixel / 255 - found.mean) / found.std, expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resample": 4}, "resample is 4; allowed"),
        ({"resample": None}, "resample is None"),
        ({"do_flip_channel_order": True}, "does not do BGR instead of RGB"),
        ({"do_pad": True}, "does not do padding"),
        ({"size": {"longest_edge": 9}}, "size is {'longest_edge': 9}"),
        ({"size": 9, "image_processor_type": "Mystery"}, "size is 9; allowed"),
        ({"do_resize": False}, "has no resize"),
        ({"crop_size": "big"}, "a value that cannot be used"),
    ],
)
def test_a_config_that_the_runtime_cannot_follow_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**CONFIG, **changes}))
    with pytest.raises(ModelSpecError) as caught:
        presets.read(str(path))
    assert said in str(caught.value) and str(path) in str(caught.value)


def test_a_config_that_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("size: 3")
    for name in ("list.json", "text.json", "missing.json"):
        with pytest.raises(DataError, match=name):
            presets.read(str(tmp_path / name))
    (tmp_path / "bare.json").write_text('{"size": {"shortest_edge": 9}}')
    with pytest.raises(ModelSpecError, match="has no resample"):
        presets.read(str(tmp_path / "bare.json"))


# --- transforms ------------------------------------------------------------------------------

SCALED: Any = v2.ToDtype(torch.float32, scale=True)
THIRDS: Any = v2.Normalize(IMAGENET["mean"], IMAGENET["std"])
SHORT = {"image_size": (224, 224), "channels": 3, "resize_mode": "short", "resize_to": 256,
         "interpolation": "bilinear"}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (transforms(v1.Resize(256), v1.CenterCrop(224)), {**SHORT, **IMAGENET}),
        (v2.Compose([v2.ToImage(), v2.Resize(256), v2.CenterCrop(224), SCALED, THIRDS]),
         {**SHORT, **IMAGENET}),
        ([v1.Compose([v1.Resize([256]), v1.CenterCrop(224)]), v2.RGB(), v1.PILToTensor(),
          v1.ConvertImageDtype(torch.float32), nn.Sequential(THIRDS), v2.ToPureTensor()],
         {**SHORT, **IMAGENET}),
        (torchvision_models.ResNet18_Weights.DEFAULT.transforms(), {**SHORT, **IMAGENET}),
        (v1.Compose([v1.Grayscale(), v1.Resize((48, 40), BICUBIC), v1.ToTensor(),
                     v1.Normalize((0.5,), (0.25,))]),
         {"image_size": (48, 40), "channels": 1, "mean": (0.5,), "std": (0.25,),
          "resize_mode": "stretch", "resize_to": (48, 40), "interpolation": "bicubic"}),
        (v2.Compose([v2.Resize(None, max_size=64), v2.CenterCrop(64), v2.PILToTensor(), SCALED]),
         {"image_size": (64, 64), "channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3,
          "resize_mode": "long", "resize_to": 64, "interpolation": "bilinear"}),
        ([v1.Resize(48), v1.PILToTensor(), v2.ToDtype(torch.float32),
          v1.Normalize((127.5,) * 3, (51.0,) * 3)],
         {"image_size": (48, 48), "channels": 3, "mean": (0.5,) * 3, "std": (0.2,) * 3,
          "resize_mode": "short", "resize_to": 48, "interpolation": "bilinear"}),
    ],
    ids=["v1", "v2", "nested", "preset", "grey", "long", "unscaled"],
)  # fmt: skip
def test_transforms_become_fields(given: Any, expected: dict[str, Any]) -> None:
    assert from_transforms(given) == expected
    spec = ModelDescription(labels=LABELS, **from_transforms(given)).spec().input
    assert spec.resize_to == expected["resize_to"]


def test_one_mean_for_all_channels_needs_their_number() -> None:
    steps = [v1.Resize((8, 8)), v1.ToTensor(), v1.Normalize((0.5,), (0.25,))]
    with pytest.raises(ModelSpecError, match="pass channels=1 or channels=3"):
        from_transforms(steps)
    assert from_transforms(steps, channels=3)["mean"] == (0.5,) * 3
    assert from_transforms(steps, channels=1)["std"] == (0.25,)


class Resize:
    """The user's own, which only happens to have a known name."""


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([v1.RandomResizedCrop(224)], "RandomResizedCrop is random"),
        ([v1.Resize(9), v1.ColorJitter()], "ColorJitter is random"),
        ([v2.Resize(9), v2.RandomHorizontalFlip()], "RandomHorizontalFlip is random"),
        ([v1.Lambda(abs)], "Lambda is not one that the runtime can repeat"),
        ([Resize()], "Resize is not one that the runtime can repeat"),
        ([abs], "builtin_function_or_method is not one"),
        ([v1.CenterCrop(9)], "CenterCrop must come after one Resize"),
        ([v1.Resize(9), v1.CenterCrop(9), v1.Resize(9)], "Resize comes after"),
        ([v1.Resize(9, max_size=12)], "max_size"),
        ([v1.Resize(9, interpolation=v1.InterpolationMode.BOX)], "The interpolation box"),
        ([v1.Resize(9), v1.Grayscale(3)], "Grayscale(3)"),
        ([v1.ToTensor(), v1.Resize(9, antialias=False)], "antialias=False"),
        ([v1.Resize(9), v1.ToTensor(), THIRDS, v1.CenterCrop(9)], "comes after Normalize"),
    ],
)
def test_transforms_that_cannot_be_described_are_named(steps: Any, said: str) -> None:
    with pytest.raises(ModelSpecError) as caught:
        from_transforms(v1.Compose(steps))
    assert said in str(caught.value)


def test_grey_and_three_channels_contradict() -> None:
    with pytest.raises(ModelSpecError, match="channels=3, but the transforms give 1"):
        from_transforms([v1.Grayscale(), v1.Resize((8, 8))], channels=3)
