"""The page's preprocessing computes what `fer_runtime.images` and `faces` compute, bit for bit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_runtime import images
from fer_runtime.face_crop import FaceCrop
from fer_runtime.faces import Face, crops, decoding
from fer_runtime.images import cutting
from fer_runtime.images.cutting import Square
from fer_runtime.images.pictures import load_picture
from fer_runtime.spec import InputSpec
from tests.export.page_scripts import calls, needs_node, picture, to_array

pytestmark = needs_node
GREY: dict[str, Any] = {"mean": (0.5,), "std": (0.25,), "channels": 1}
RGB: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "channels": 3}
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


def spec(height: int = 48, width: int = 48, **changes: Any) -> InputSpec:
    return InputSpec(**{"height": height, "width": width, **GREY, **changes})


def plain(given: InputSpec) -> object:
    return json.loads(json.dumps(dataclasses.asdict(given)))


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fine = rng.integers(0, 256, (height, width, channels), np.uint8)
    fine[: height // 2] = fine[: height // 2] // 64 * 64  # flat parts and hard edges
    return fine


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resize_is_pillows(interpolation: str) -> None:
    cases = [
        (noise(37, 61, channels, seed), width, height, box)
        for seed, channels in ((0, 1), (1, 3))
        for width, height in ((48, 48), (7, 90), (61, 20), (200, 37), (1, 1))
        for box in (None, (0, 0, 30, 37), (3.3, 1.7, 55.1, 30.9), (10.25, 0, 61, 36.5))
    ]
    found = calls(
        "resampling", "resize",
        [(picture(array), w, h, interpolation, box) for array, w, h, box in cases],
    )  # fmt: skip
    for (array, width, height, box), result in zip(cases, found, strict=True):
        image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        expected = np.asarray(
            image.resize((width, height), Image.Resampling[interpolation.upper()], box)
        ).reshape(height, width, -1)
        assert np.array_equal(to_array(result), expected), (width, height, box)


@pytest.mark.parametrize("block", [(2, 2), (3, 3), (5, 4), (7, 1), (9, 11)])
def test_reduce_is_pillows(block: tuple[int, int]) -> None:
    arrays = [noise(41, 59, 1), noise(80, 64, 3, 1), np.full((23, 23, 3), 255, np.uint8)]
    found = calls("resampling", "reduce", [(picture(array), *block) for array in arrays])
    for array, result in zip(arrays, found, strict=True):
        image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        expected = np.asarray(image.reduce(block))
        assert np.array_equal(to_array(result), expected.reshape(to_array(result).shape))


SPECS = [
    *(spec(interpolation=each) for each in INTERPOLATIONS),
    spec(resize_mode="crop"),
    spec(40, 64, resize_mode="pad", interpolation="bicubic"),
    spec(32, 32, resize_mode="short", resize_to=40),
    spec(64, 64, resize_mode="long", resize_to=48),
    spec(30, 31, resize_mode="stretch", resize_to=(45, 44)),
    spec(24, 24, **RGB),
]


def test_fit_is_that_of_images() -> None:
    arrays = [
        noise(*size, channels, seed)
        for seed, (size, channels) in enumerate(
            [
                ((48, 48), 1),
                ((48, 48), 3),
                ((30, 50), 4),
                ((200, 90), 3),
                ((49, 47), 1),
                ((1, 9), 3),
            ]
        )
    ]
    cases = [(array, each) for array in arrays for each in SPECS]
    channels = calls("fitting", "toChannels", [(picture(a), s.channels) for a, s in cases])
    found = calls("fitting", "fit", [
        (picture(to_array(pixels)), plain(each))
        for pixels, (_, each) in zip(channels, cases, strict=True)
    ])  # fmt: skip
    for (array, each), result in zip(cases, found, strict=True):
        expected = images.load(array, each)
        assert np.array_equal(np.frombuffer(result, np.uint8), expected.ravel()), each


def test_a_turned_square_is_cut_as_by_cutting() -> None:
    array = noise(150, 120)
    squares = [
        Square(60, 70, 40), Square(10, 5, 50), Square(119, 149, 30.5), Square(60, 70, 400),
        Square(60, 70, 48, 0.3), Square(12, 130, 90, -1.1), Square(60, 70, 700, 2.9),
        Square(-90, 300, 20, 0.5), Square(60.25, 70.75, 20, 3.2),
    ]  # fmt: skip
    specs = [spec(interpolation=each) for each in INTERPOLATIONS] + [spec(24, 32, **RGB)]
    cases = [(square, each) for square in squares for each in specs]
    found = calls("fitting", "cut", [(picture(array), s._asdict(), plain(e)) for s, e in cases])
    for (square, each), result in zip(cases, found, strict=True):
        expected = cutting.cut(array, square, each).ravel().astype(int)
        difference = np.abs(np.frombuffer(result, np.uint8).astype(int) - expected)
        # Sine and cosine of another library differ in the last bit: a point may be cut off below.
        assert difference.max() <= 1 and (difference > 0).mean() < 0.001, (square, each)


def face(turn: float = 0.0, x: float = 60.0, y: float = 60.0) -> Face:
    rng = np.random.default_rng(3)
    points = np.array([(-12, -8), (12, -8), (0, 3), (-8, 14), (8, 14)]) + rng.normal(0, 1, (5, 2))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks = tuple((float(a), float(b)) for a, b in points @ matrix.T + (x, y))
    return Face((x - 22.0, y - 28.5, x + 22.0, y + 28.5), landmarks, 0.9)


@pytest.mark.parametrize("rule", ["level", "eyes", "box:1.3", "level:1.2:0.1"])
def test_faces_are_cropped_by_the_specs_rule(rule: str) -> None:
    array = noise(120, 130)
    flat = Face((30.0, 30.0, 70.0, 80.0), ((50.0, 50.0),) * 5, 0.9)  # no direction to be had
    faces = [face(), face(0.4), face(-1.9, 20, 100), flat]
    wanted = spec(face_crop=FaceCrop.parse(rule))
    found = calls(
        "faces", "faceCrop",
        [(picture(array), each._asdict(), plain(wanted), scale) for each in faces
         for scale in (1, 0.5)],
    )  # fmt: skip
    expected = [
        crops.crop(array, each, wanted, scale=scale) for each in faces for scale in (1, 0.5)
    ]
    for result, array_expected in zip(found, expected, strict=True):
        difference = np.abs(np.frombuffer(result, np.uint8).astype(int) - array_expected.ravel())
        assert difference.max() <= 1 and (difference > 0).mean() < 0.001


def test_outputs_of_the_detector_become_the_same_faces() -> None:
    rng = np.random.default_rng(0)
    width, height = 96, 64
    outputs = {}
    for stride in decoding.STRIDES:
        cells = width * height // stride**2
        for kind, count in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            values = rng.uniform(0.3, 1.05, (1, cells, count)) if count == 1 else rng.normal(
                0, 1, (1, cells, count)
            )  # fmt: skip
            outputs[f"{kind}_{stride}"] = values.astype(np.float32)
    columns = {stride: width // stride for stride in decoding.STRIDES}
    candidates = decoding.decode(outputs, columns, 0.7)
    expected = decoding.to_faces(candidates, decoding.suppress(candidates, 0.7))
    flat = {name: each.ravel() for name, each in outputs.items()}
    (found,) = calls("faces", "decodeFaces", [(flat, width, 0.7)])
    assert len(found) == len(expected) > 5
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(ours["box"], theirs.box, atol=1e-3, rtol=1e-6)
        assert np.allclose(ours["landmarks"], theirs.landmarks, atol=1e-3)
        assert ours["score"] == theirs.score


@pytest.mark.parametrize("size", [(300, 400), (700, 333), (90, 60)])
def test_a_large_picture_is_scaled_down_as_for_the_detector(size: tuple[int, int]) -> None:
    array = noise(*size)
    (found,) = calls("faces", "scaledDown", [(picture(array), 160)])
    expected = load_picture(array, long_side=160)
    assert found["scale"] == expected.scale
    assert np.array_equal(to_array(found["pixels"]), expected.pixels)
