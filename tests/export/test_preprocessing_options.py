"""Preprocessing by options: which fields they become, and what contradicts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torchvision import transforms as v1

from fer_export.loading import ModelDescription
from fer_export.preprocessing import (
    PreprocessingOptions,
    describe,
    from_transforms,
    input_fields,
)
from fer_runtime import images
from fer_runtime.errors import ImageError, ModelSpecError
from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec import InputSpec
from tests.export.pictures import (
    LABELS,
    textured,
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
        ({"face_crop": "box:1.3"}, {"size": None, "face_crop": FaceCrop(align="box", scale=1.3)}),
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
def test_options_become_fields(options: dict[str, Any], expected: dict[str, Any]) -> None:
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
def test_a_size_that_cannot_be_read_is_refused(options: dict[str, Any], said: str) -> None:
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
    assert describe(spec) == f"{line}; mean 0.5; std 0.25; face crop level:0.9:0.0"


def test_a_face_crop_reaches_the_spec() -> None:
    known = ModelDescription(labels=LABELS, image_size=(9, 9), channels=1, mean=(0.5,), std=(0.5,))
    assert known.spec().input.face_crop == FaceCrop()
    described = PreprocessingOptions(face_crop="box:1.3:0.1").complete(known)
    assert described.spec().input.face_crop == FaceCrop(align="box", scale=1.3, up=0.1)
    assert "--face-crop" in described.named()


@pytest.mark.parametrize("text", ["nose", "box:0", "eyes:2.9:0.05:1"])
def test_a_face_crop_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"face crop|must be from 0\.1 to 20"):
        completed(face_crop=text)
