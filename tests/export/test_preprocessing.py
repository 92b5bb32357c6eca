"""Preprocessing as people trained with: said by options, presets or transforms, and checked."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import typer
from PIL import Image
from torch import nn
from torchvision import models as torchvision_models
from torchvision import transforms as v1
from torchvision.transforms import v2
from typer.testing import CliRunner, Result

from fer_bench.artefacts import Artefacts
from fer_export.cli import app
from fer_export.loading import ModelDescription
from fer_export.preprocessing import (
    PreprocessingOptions,
    describe,
    from_transforms,
    input_fields,
    presets,
)
from fer_runtime import images
from fer_runtime.classifier import Classifier
from fer_runtime.errors import DataError, ImageError, ModelSpecError
from fer_runtime.spec import InputSpec
from fer_train import models

BICUBIC = v1.InterpolationMode.BICUBIC
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
LABELS = ("angry", "calm", "glad", "sad", "sly")
SIZES = ((90, 120), (111, 75), (83, 83))
"""Heights and widths of the images."""
SIDE, WHOLE = 56, 64
"""224 and 256 at a quarter of the cost."""


def textured(height: int, width: int, seed: int) -> Image.Image:
    """Broad colours under fine grain, so that every way of resizing gives other pixels."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    broad = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    grain = rng.normal(0, 40, (height, width, 3))
    return Image.fromarray(np.clip(broad + grain, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of 3 sizes, PNG and JPEG in turn."""
    made = tmp_path_factory.mktemp("pictures")
    for index in range(24):
        ending = ("png", "jpg")[index % 2]
        textured(*SIZES[index % 3], index).save(made / f"{index:02}.{ending}", quality=90)
    return made


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 square images."""
    made = tmp_path_factory.mktemp("squares")
    for index in range(12):
        textured(90 + index, 90 + index, index).save(made / f"{index:02}.png")
    return made


NET_ARGS = {"stem": 16, "widths": [16, 32, 32]}


@pytest.fixture(scope="module")
def net(folder: Path) -> nn.Module:
    """A small residual net, seeded, whose head spreads these images over all labels."""
    torch.manual_seed(0)
    spec = InputSpec(height=SIDE, width=SIDE, channels=3, **IMAGENET)  # type: ignore[arg-type]
    made: Any = models.build("compact_cnn", spec, len(LABELS), NET_ARGS)
    prepare = WAYS["resize and crop"][0]
    pixels = torch.stack([prepared(prepare, path) for path in sorted(folder.iterdir())])
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        made.train()(pixels)
        body, head = made.eval()[:-1], made[-1]
        features = body(pixels)
        weight = torch.randn(len(LABELS), features.shape[1]) / features.std(0).clamp_min(1e-3)
        head.weight.copy_(weight)
        head.bias.copy_(-(weight @ features.mean(0)))
    return made  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def weights(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save(net.state_dict(), path)
    return path


def transforms(*steps: Any) -> Any:
    return v1.Compose([*steps, v1.ToTensor(), v1.Normalize(IMAGENET["mean"], IMAGENET["std"])])


WAYS: dict[str, tuple[Any, list[str]]] = {
    "plain bilinear": (
        transforms(v1.Resize((SIDE, SIDE))),
        ["--image-size", str(SIDE)],
    ),
    "bicubic": (
        transforms(v1.Resize((SIDE, SIDE), interpolation=BICUBIC)),
        ["--resize-to", f"{SIDE}x{SIDE}", "--interpolation", "bicubic"],
    ),
    "resize and crop": (
        transforms(v1.Resize(WHOLE), v1.CenterCrop(SIDE)),
        ["--resize-to", str(WHOLE), "--crop", str(SIDE)],
    ),
    "short side alone": (
        transforms(v1.Resize(SIDE)),
        ["--resize-to", str(SIDE)],
    ),
    "timm's default": (
        transforms(v1.Resize(WHOLE, interpolation=BICUBIC), v1.CenterCrop(SIDE)),
        ["--resize-to", str(WHOLE), "--crop", str(SIDE), "--interpolation", "bicubic"],
    ),
}
"""The usual transforms, and the options that describe them."""


def prepared(transform: Any, path: Path | str) -> torch.Tensor:
    with Image.open(path) as image:
        tensor: torch.Tensor = transform(image.convert("RGB"))
    return tensor


def export(weights: Path, target: Path, *options: str) -> Result:
    described = [
        "--architecture", "compact_cnn", "--net-args", json.dumps(NET_ARGS), "--channels", "3",
        "--labels", ",".join(LABELS), "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225",
    ]  # fmt: skip
    return CliRunner().invoke(
        app, ["onnx", str(weights), "-o", str(target), *described, *map(str, options)]
    )


# --- the pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 401), (333, 257), (120, 500), (150, 140)], ids=str)
def test_pixels_are_those_of_torchvision(
    size: tuple[int, int], interpolation: str, file_format: str
) -> None:
    stream = io.BytesIO()
    textured(*size, seed=1).save(stream, file_format)
    how = v1.InterpolationMode(interpolation)
    for steps in (
        [v1.Resize(256, how), v1.CenterCrop(224)],
        [v1.Resize(97, how), v1.CenterCrop((120, 64))],
        [v1.Resize((140, 131), how), v1.CenterCrop((96, 96))],
        [v1.Resize((90, 70), how)],
    ):
        described = from_transforms(steps)
        height, width = described.pop("image_size")
        spec = InputSpec(height=height, width=width, **described)
        expected = v1.Compose(steps)(Image.open(stream).convert("RGB"))
        found = images.load(stream.getvalue(), spec)
        np.testing.assert_array_equal(found, np.asarray(expected).transpose(2, 0, 1))


def test_a_tensor_is_refused_with_what_to_write() -> None:
    tensor = torch.randint(0, 256, (3, 9, 8), dtype=torch.uint8)
    spec = InputSpec(height=9, width=8, channels=3, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(ImageError, match=r"tensor\.permute\(1, 2, 0\)\.numpy\(\)$"):
        images.load(tensor, spec)  # type: ignore[arg-type]
    found = images.load(tensor.permute(1, 2, 0).numpy(), spec)
    np.testing.assert_array_equal(found, tensor.numpy())


# --- from file to label ----------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_labels_equal_pytorchs_by_options_alone(
    way: str, net: nn.Module, weights: Path, folder: Path, squares: Path, tmp_path: Path
) -> None:
    transform, options = WAYS[way]
    done = export(weights, tmp_path / "net.onnx", *options)
    assert done.exit_code == 0, done.output
    paths = sorted((squares if way == "short side alone" else folder).iterdir())
    with torch.inference_mode():
        logits = net(torch.stack([prepared(transform, path) for path in paths]))
    expected = [LABELS[index] for index in logits.argmax(1).tolist()]
    assert len(set(expected)) >= 3, "labels vary between images"
    found = Classifier.load(tmp_path / "net.onnx", provider="cpu").predict_batch(paths)
    assert [prediction.label for prediction in found] == expected
    likely = [[prediction.probabilities[label] for label in LABELS] for prediction in found]
    np.testing.assert_allclose(likely, torch.softmax(logits, 1), atol=1e-4)


def test_another_description_gives_other_labels(
    net: nn.Module, weights: Path, folder: Path, tmp_path: Path
) -> None:
    """So that the test above can fail."""
    export(weights, tmp_path / "net.onnx", "--image-size", str(SIDE))
    paths = sorted(folder.iterdir())
    classifier = Classifier.load(tmp_path / "net.onnx", provider="cpu")
    found = [prediction.label for prediction in classifier.predict_batch(paths)]
    with torch.inference_mode():
        logits = net(torch.stack([prepared(WAYS["timm's default"][0], path) for path in paths]))
    assert found != [LABELS[index] for index in logits.argmax(1).tolist()]


MODULE = """
import numpy, torch
from PIL import Image
from torchvision import transforms as v1

right = v1.Compose([
    v1.Resize(64), v1.CenterCrop(56), v1.ToTensor(),
    v1.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])

def prepare(path):
    return right(Image.open(path).convert("RGB"))

def as_array(path):
    return prepare(path).numpy()

def other_mean(path):
    return prepare(path) * 0.4 + 0.3

def larger(path):
    return torch.nn.functional.pad(prepare(path), (4, 4, 4, 4))

def uint8(path):
    return torch.zeros(3, 56, 56, dtype=torch.uint8)

def picture(path):
    return Image.open(path)

def batch(path):
    return prepare(path)[None]

def grey(path):
    return prepare(path)[:1]

def broken(path):
    return {}["mean"]

value = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A module of the user's in the current folder, imported as `own_steps:NAME`."""
    (tmp_path / "own_steps.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_steps", raising=False)
    return lambda name: f"own_steps:{name}"


RIGHT = ["--resize-to", str(WHOLE), "--crop", str(SIDE)]


@pytest.mark.parametrize("name", ["prepare", "as_array"])
def test_the_right_options_pass_the_reference(
    name: str, own: Callable[[str], str], weights: Path, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "net.onnx"
    done = export(weights, target, *RIGHT, "--images", str(folder), "--reference", own(name))
    assert done.exit_code == 0, done.output
    assert target.exists()


@pytest.mark.parametrize(
    ("name", "options", "hint"),
    [
        ("prepare", ["--image-size", str(SIDE)],
         "those of --resize-mode short --interpolation bilinear --resize-to 64"),
        ("prepare", [*RIGHT, "--interpolation", "nearest"],
         "those of --resize-mode short --interpolation bilinear --resize-to 64"),
        ("other_mean", RIGHT, "look at --mean (about 0.313,0.288,0.237) and --std (about 0.57"),
        ("larger", RIGHT,
         "returns 64 x 64 pixels, and the model's input is 56 x 56: look at --crop"),
    ],
)  # fmt: skip
def test_a_wrong_option_fails_under_the_reference(
    name: str, options: list[str], hint: str,
    own: Callable[[str], str], weights: Path, folder: Path, tmp_path: Path,
) -> None:  # fmt: skip
    target = tmp_path / "net.onnx"
    done = export(weights, target, *options, "--images", str(folder), "--reference", own(name))
    assert done.exit_code != 0 and not target.exists()
    message = str(done.exception)
    assert "of 24 images get another label than through" in message
    assert str(folder) in message and " there, " in message
    assert hint in message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("uint8", "returned torch.uint8 of shape (3, 56, 56)"),
        ("batch", "without the batch"),
        ("picture", "must return a float tensor (C, H, W)"),
        ("grey", "returned 1 channels"),
        ("broken", "failed on"),
        ("missing", "cannot be imported"),
        ("value", "own_steps:value"),
    ],
)
def test_a_reference_that_cannot_be_used_is_refused(
    name: str, said: str, own: Callable[[str], str], weights: Path, folder: Path, tmp_path: Path
) -> None:
    done = export(
        weights, tmp_path / "net.onnx", *RIGHT, "--images", str(folder), "--reference", own(name)
    )
    assert isinstance(done.exception, DataError | ModelSpecError), done.output
    assert said in str(done.exception)


def test_a_reference_needs_images(own: Callable[[str], str], weights: Path, tmp_path: Path) -> None:
    done = export(weights, tmp_path / "net.onnx", *RIGHT, "--reference", own("prepare"))
    assert isinstance(done.exception, DataError)
    assert "pass --images DIR too" in str(done.exception)


def test_the_export_prints_what_it_assumed(weights: Path, tmp_path: Path) -> None:
    done = export(weights, tmp_path / "net.onnx", *RIGHT)
    assert (
        "input 56 x 56 RGB: short side resized to 64 (bilinear), centre crop 56; "
        "mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225"
    ) in done.stderr.splitlines()


def test_a_checkpoint_with_a_spec_takes_no_description(exported: Artefacts, tmp_path: Path) -> None:
    for option, value in (("--resize-to", "64"), ("--preprocessing", "torchvision:resnet18")):
        done = CliRunner().invoke(
            app, ["onnx", str(exported.checkpoint), "-o", str(tmp_path / "a.onnx"), option, value]
        )
        assert isinstance(done.exception, ModelSpecError)
        assert option in str(done.exception)


# --- options ---------------------------------------------------------------------------------


def completed(description: ModelDescription | None = None, **options: str) -> dict[str, Any]:
    """The fields that options set, beside mean, std and channels."""
    done = PreprocessingOptions(**options).complete(description or ModelDescription())
    return {"size": done.image_size, **input_fields(done)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"size": None}),
        ({"resize_to": "256", "crop": "224"},
         {"size": (224, 224), "resize_mode": "short", "resize_to": 256}),
        ({"resize_to": "256X300", "crop": "224x192"},
         {"size": (224, 192), "resize_mode": "stretch", "resize_to": (256, 300)}),
        ({"resize_to": "224"}, {"size": (224, 224), "resize_mode": "short", "resize_to": 224}),
        ({"resize_to": "90x70"},
         {"size": (90, 70), "resize_mode": "stretch", "resize_to": (90, 70)}),
        ({"resize_to": "256", "resize_mode": "long", "crop": "224"},
         {"size": (224, 224), "resize_mode": "long", "resize_to": 256}),
        ({"resize_to": "256", "resize_mode": "stretch", "crop": "224"},
         {"size": (224, 224), "resize_mode": "stretch", "resize_to": (256, 256)}),
        ({"resize_mode": "pad", "interpolation": "lanczos"},
         {"size": None, "resize_mode": "pad", "interpolation": "lanczos"}),
        ({"preprocessing": "torchvision:resnet18"},
         {"size": (224, 224), "resize_mode": "short", "resize_to": 256,
          "interpolation": "bilinear"}),
        ({"preprocessing": "torchvision:resnet18", "interpolation": "bicubic", "crop": "192"},
         {"size": (192, 192), "resize_mode": "short", "resize_to": 256,
          "interpolation": "bicubic"}),
        ({"preprocessing": "torchvision:resnet18", "resize_to": "240x250"},
         {"size": (224, 224), "resize_mode": "stretch", "resize_to": (240, 250),
          "interpolation": "bilinear"}),
        ({"preprocessing": "torchvision:resnet18", "resize_mode": "pad"},
         {"size": (224, 224), "resize_mode": "pad", "interpolation": "bilinear"}),
    ],
)  # fmt: skip
def test_options_become_fields(options: dict[str, str], expected: dict[str, Any]) -> None:
    assert completed(**options) == expected


def test_an_explicit_option_overrides_a_preset() -> None:
    description = ModelDescription(channels=1, mean=(0.5,), std=(0.25,), image_size=(64, 48))
    done = PreprocessingOptions(preprocessing="torchvision:resnet18").complete(description)
    assert (done.channels, done.mean, done.std) == (1, (0.5,), (0.25,))
    assert done.image_size == (64, 48)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resize_to": "big"}, "'big' is not a size"),
        ({"resize_to": "256x"}, "'256x' is not a size"),
        ({"resize_to": "0"}, "'0' is not a size"),
        ({"resize_to": "256", "crop": "-3"}, "'-3' is not a size"),
        ({"crop": "224"}, "pass --resize-to too"),
    ],
)
def test_a_size_that_cannot_be_read_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        completed(**options)


def test_crop_contradicts_another_image_size() -> None:
    with pytest.raises(typer.BadParameter, match="224 contradicts --image-size"):
        completed(ModelDescription(image_size=(225, 224)), resize_to="256", crop="224")
    same = completed(ModelDescription(image_size=(224, 224)), resize_to="256", crop="224")
    assert same["size"] == (224, 224)


def test_a_mode_without_its_size_is_refused_by_the_spec() -> None:
    description = ModelDescription(
        labels=LABELS, image_size=(9, 9), channels=1, mean=(0.5,), std=(0.5,), resize_mode="short"
    )
    with pytest.raises(ModelSpecError, match="needs the pixels of the short side"):
        description.spec()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "input 48 x 40 grey: resized without regard to the aspect ratio (bilinear)"),
        ({"resize_to": (48, 40)}, "input 48 x 40 grey: resized to 48 x 40 (bilinear)"),
        ({"resize_to": (60, 50)},
         "input 48 x 40 grey: resized to 60 x 50 (bilinear), centre crop 48 x 40"),
        ({"resize_mode": "long", "resize_to": 60, "interpolation": "bicubic"},
         "input 48 x 40 grey: long side resized to 60 (bicubic), centre crop 48 x 40"),
        ({"resize_mode": "crop"},
         "input 48 x 40 grey: resized until it covers the input (bilinear), centre crop"),
        ({"resize_mode": "pad"},
         "input 48 x 40 grey: resized until it fits into the input (bilinear), black around it"),
    ],
)  # fmt: skip
def test_describe(fields: dict[str, Any], line: str) -> None:
    spec = InputSpec(height=48, width=40, channels=1, mean=(0.5,), std=(0.25,), **fields)
    assert describe(spec) == f"{line}; mean 0.5; std 0.25"


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


def test_what_transforms_describe_is_what_they_do(folder: Path) -> None:
    """A Compose, read into a description, against the same Compose on every file."""
    compose = WAYS["timm's default"][0]
    spec = ModelDescription(labels=LABELS, **from_transforms(compose)).spec()
    for path in sorted(folder.iterdir()):
        pixels: npt.NDArray[Any] = images.load(path, spec.input) / 255.0
        mean, std = (np.array(part)[:, None, None] for part in (spec.input.mean, spec.input.std))
        np.testing.assert_allclose((pixels - mean) / std, prepared(compose, path), atol=1e-5)
