"""Preprocessing as people trained with, from file to label, and checked against their own code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from fer_bench.artefacts import Artefacts
from fer_export.cli import app
from fer_export.loading import ModelDescription
from fer_export.preprocessing import from_transforms
from fer_runtime import images
from fer_runtime.classifier import Classifier
from fer_runtime.errors import DataError, ModelSpecError
from fer_runtime.spec import InputSpec
from fer_train import models
from tests.export.pictures import (
    IMAGENET,
    LABELS,
    SIDE,
    SIZES,
    WAYS,
    WHOLE,
    prepared,
    textured,
)


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


def export(weights: Path, target: Path, *options: str) -> Result:
    described = [
        "--architecture", "compact_cnn", "--net-args", json.dumps(NET_ARGS), "--channels", "3",
        "--labels", ",".join(LABELS), "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225",
    ]  # fmt: skip
    return CliRunner().invoke(
        app, ["onnx", str(weights), "-o", str(target), *described, *map(str, options)]
    )


# --- from file to label ----------------------------------------------------------------------


QUICK = ("resize and crop", "timm's default")


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[] if way in QUICK else pytest.mark.slow) for way in WAYS]
)
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


@pytest.mark.parametrize("name", ["prepare", pytest.param("as_array", marks=pytest.mark.slow)])
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
        pytest.param(
            "prepare", [*RIGHT, "--interpolation", "nearest"],
            "those of --resize-mode short --interpolation bilinear --resize-to 64",
            marks=pytest.mark.slow,
        ),
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
        pytest.param("batch", "without the batch", marks=pytest.mark.slow),
        pytest.param("picture", "must return a float tensor (C, H, W)", marks=pytest.mark.slow),
        pytest.param("grey", "returned 1 channels", marks=pytest.mark.slow),
        ("broken", "failed on"),
        ("missing", "cannot be imported"),
        pytest.param("value", "own_steps:value", marks=pytest.mark.slow),
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
        "mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225; face crop level:0.9:0.0"
    ) in done.stderr.splitlines()


def test_a_checkpoint_with_a_spec_takes_no_description(exported: Artefacts, tmp_path: Path) -> None:
    for option, value in (("--resize-to", "64"), ("--preprocessing", "torchvision:resnet18")):
        done = CliRunner().invoke(
            app, ["onnx", str(exported.checkpoint), "-o", str(tmp_path / "a.onnx"), option, value]
        )
        assert isinstance(done.exception, ModelSpecError)
        assert option in str(done.exception)


def test_what_transforms_describe_is_what_they_do(folder: Path) -> None:
    """A Compose, read into a description, against the same Compose on every file."""
    compose = WAYS["timm's default"][0]
    spec = ModelDescription(labels=LABELS, **from_transforms(compose)).spec()
    for path in sorted(folder.iterdir()):
        pixels: npt.NDArray[Any] = images.load(path, spec.input) / 255.0
        mean, std = (np.array(part)[:, None, None] for part in (spec.input.mean, spec.input.std))
        np.testing.assert_allclose((pixels - mean) / std, prepared(compose, path), atol=1e-5)
