"""Resizing: stretch, crop, pad, and resize-then-crop, against Pillow and naive loops."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_bench.hostile import encode
from fer_runtime import images
from fer_runtime.spec import InputSpec
from tests.properties import given, settings, st
from tests.runtime.pictures import (
    fit,
    noise,
    pillow,
    planar,
    smooth,
    with_orientation,
)

Pixels = npt.NDArray[np.uint8]

# --- resizing --------------------------------------------------------------------------------


def test_stretch_by_hand() -> None:
    found = images.load(np.array([[1, 2], [3, 4]], np.uint8), fit(2, 4, interpolation="nearest"))
    np.testing.assert_array_equal(found, [[[1, 1, 2, 2], [3, 3, 4, 4]]])


def test_down_scaling_is_antialiased_by_hand() -> None:
    """Halving four pixels: triangle weights 3/7, 3/7, 1/7 around each new centre."""
    row = np.array([[0, 70, 140, 210]], np.uint8)
    found = images.load(row, fit(1, 2))
    assert found.tolist() == [[[(3 * 0 + 3 * 70 + 140) / 7, (70 + 3 * 140 + 3 * 210) / 7]]]
    assert found.tolist() == [[[50, 160]]]


def test_crop_cuts_the_centre_by_hand() -> None:
    wide = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.uint8)
    found = images.load(wide, fit(2, 2, resize_mode="crop"))
    np.testing.assert_array_equal(found, [[[2, 3], [6, 7]]])
    found = images.load(wide.T.copy(), fit(2, 2, resize_mode="crop"))
    np.testing.assert_array_equal(found, [[[2, 6], [3, 7]]])


def test_crop_scales_the_shorter_side_first_by_hand() -> None:
    """4 x 8 to 2 x 4 (nearest takes pixels 1, 3, 5, 7), of which the middle columns stay."""
    large = np.arange(32, dtype=np.uint8).reshape(4, 8)
    found = images.load(large, fit(2, 2, resize_mode="crop", interpolation="nearest"))
    np.testing.assert_array_equal(found, [[[8 + 3, 8 + 5], [24 + 3, 24 + 5]]])


def test_pad_fills_with_black_by_hand() -> None:
    wide = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.uint8)
    found = images.load(wide, fit(4, 4, resize_mode="pad"))
    np.testing.assert_array_equal(found, [[[0] * 4, [1, 2, 3, 4], [5, 6, 7, 8], [0] * 4]])
    found = images.load(wide.T.copy(), fit(4, 4, resize_mode="pad"))
    np.testing.assert_array_equal(found[0, :, 1], [1, 2, 3, 4])
    np.testing.assert_array_equal(found[0, :, [0, 3]], np.zeros((2, 4)))


def test_pad_scales_the_longer_side_first_by_hand() -> None:
    found = images.load(
        np.array([[9, 5]], np.uint8), fit(4, 4, resize_mode="pad", interpolation="nearest")
    )
    np.testing.assert_array_equal(found, [[[0] * 4, [9, 9, 5, 5], [9, 9, 5, 5], [0] * 4]])


@settings(deadline=None, max_examples=80)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["stretch", "crop", "pad"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
def test_any_size_fits_and_flat_stays_flat(
    size: tuple[int, int], target: tuple[int, int], mode: str, interpolation: str
) -> None:
    spec = fit(*target, resize_mode=mode, interpolation=interpolation)
    found = images.load(np.full(size, 77, np.uint8), spec)
    assert (found.shape, found.dtype) == (spec.shape, np.uint8)
    if mode != "pad":
        assert set(found.ravel().tolist()) == {77}
        return
    filled = np.argwhere(found[0] == 77)
    low, high = filled.min(0), filled.max(0) + 1
    assert (found == 77).sum() == np.prod(high - low)
    assert set(found.ravel().tolist()) <= {0, 77}
    assert any(high - low == target), "pad must reach two opposite borders"
    assert np.abs(low - (np.array(target) - high)).max() <= 1, "pad must centre"


def bilinear_weights(old: int, new: int) -> npt.NDArray[np.float64]:
    """(new, old): triangles as wide as the scale, cut at the border, rows summing to one."""
    scale = old / new
    centres = (np.arange(new)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(old)[None] + 0.5 - centres) / max(1.0, scale)
    weights = np.maximum(0, 1 - distance)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("target", [(48, 48), (7, 90), (20, 30), (100, 11)])
@pytest.mark.parametrize("channels", [1, 3])
def test_bilinear_equals_a_naive_antialiased_resize(target: tuple[int, int], channels: int) -> None:
    pixels = noise(61, 53, channels)
    rows, columns = bilinear_weights(61, target[0]), bilinear_weights(53, target[1])
    expected = np.einsum("yh,xw,hwc->cyx", rows, columns, pixels)
    assert np.abs(images.load(pixels, fit(*target, channels)) - expected).max() <= 1.01


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_interpolation_is_the_one_the_spec_names(interpolation: str) -> None:
    pixels = noise(30, 20, 3)
    resample = Image.Resampling[interpolation.upper()]
    expected = planar(Image.fromarray(pixels).resize((12, 17), resample))
    found = images.load(pixels, fit(17, 12, 3, interpolation=interpolation))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [(1000, 1500), (777, 431), (481, 480), (97, 4000)])
@pytest.mark.parametrize("channels", [1, 3])
def test_dct_scaling_stays_within_a_grey_level_of_the_full_decode(
    size: tuple[int, int], channels: int
) -> None:
    data = encode(Image.fromarray(smooth(*size)), "JPEG", quality=95)
    full = Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB")
    expected = planar(full.resize((48, 48), Image.Resampling.BILINEAR))
    gaps = np.abs(images.load(data, fit(48, 48, channels)).astype(int) - expected)
    assert gaps.mean() <= 1


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_dct_scaling_of_tiny_pictures(mode: str, orientation: int) -> None:
    """Nine pixels at a quarter are 2.25, of which the decoder makes 3: every rounding occurs."""
    for height in range(1, 34):
        for width in (1, 7, 9, 15, 17, 33):
            image = Image.new("L", (width, height), 128)
            data = encode(image, "JPEG", exif=with_orientation(orientation))
            for target in (1, 2, 3, 5):
                found = images.load(data, fit(target, target, resize_mode=mode))
                assert set(found.ravel().tolist()) <= ({0, 128} if mode == "pad" else {128})


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_dct_scaling_knows_the_resize_mode(mode: str) -> None:
    data = encode(Image.fromarray(smooth(600, 1400)), "JPEG", quality=95)
    spec = fit(60, 48, 3, resize_mode=mode)
    full = np.ascontiguousarray(pillow(data, 3).transpose(1, 2, 0))
    gaps = np.abs(images.load(data, spec).astype(int) - images.load(full, spec))
    assert gaps.mean() <= 1


# --- resize, then crop -----------------------------------------------------------------------


def resize_then_crop(image: Image.Image, resize_to: Any, spec: InputSpec) -> Pixels:
    """The baseline: Pillow's resize of the whole image, then torchvision's CenterCrop by loops."""
    if isinstance(resize_to, int):
        choose = min if spec.resize_mode == "short" else max
        side = choose(image.size)
        resize_to = [
            resize_to if length == side else int(resize_to * length / side)
            for length in image.size[::-1]
        ]
    resample = Image.Resampling[spec.interpolation.upper()]
    whole = np.asarray(image.convert("RGB").resize(tuple(resize_to)[::-1], resample))
    kept = np.zeros((spec.height, spec.width, 3), np.uint8)
    # round(x / 2) where it crops, x // 2 where it pads; Python rounds halves to even.
    down, across = (
        round((size - wanted) / 2.0) if size > wanted else -((wanted - size) // 2)
        for size, wanted in zip(whole.shape, kept.shape[:2], strict=False)
    )
    for row in range(spec.height):
        for column in range(spec.width):
            y, x = row + down, column + across
            if 0 <= y < whole.shape[0] and 0 <= x < whole.shape[1]:
                kept[row, column] = whole[y, x]
    return kept.transpose(2, 0, 1)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    ("mode", "resize_to", "target"),
    [
        ("short", 32, (28, 28)),
        ("short", 32, (29, 24)),
        ("short", 20, (28, 28)),
        ("short", 25, (16, 40)),
        ("long", 40, (30, 30)),
        ("long", 27, (32, 32)),
        ("stretch", (40, 36), (31, 30)),
        ("stretch", (20, 50), (30, 30)),
    ],
)
def test_resize_then_crop_equals_pillow_and_a_loop(
    mode: str, resize_to: Any, target: tuple[int, int], interpolation: str, file_format: str
) -> None:
    for size in ((37, 53), (61, 40), (33, 33), (20, 101)):
        data = encode(Image.fromarray(smooth(*size)), file_format)
        spec = fit(*target, 3, resize_mode=mode, resize_to=resize_to, interpolation=interpolation)
        expected = resize_then_crop(Image.open(io.BytesIO(data)), resize_to, spec)
        np.testing.assert_array_equal(images.load(data, spec), expected)


def test_short_by_hand() -> None:
    """2 x 5 stays 2 x 5; of 5 columns 2 are cut: round(1.5) is 2, the even number."""
    row = np.array([[0, 10, 20, 30, 40]] * 2, np.uint8)
    found = images.load(row, fit(2, 2, resize_mode="short", resize_to=2))
    np.testing.assert_array_equal(found, [[[20, 30]] * 2])


def test_long_by_hand_has_black_around_it() -> None:
    """2 x 4 with the long side 4 stays; 2 rows in 5 leave 1 above and 2 below."""
    row = np.full((2, 4), 9, np.uint8)
    found = images.load(row, fit(5, 4, resize_mode="long", resize_to=4))
    np.testing.assert_array_equal(found[0][:, 0], [0, 9, 9, 0, 0])


def test_the_long_side_is_truncated_not_rounded() -> None:
    """3 x 5 with the short side 8 is 8 x int(13.33); 5 x 8 with 3 is 3 x int(4.8)."""
    for size, side, long in (((3, 5), 8, 13), ((5, 8), 3, 4)):
        pixels = smooth(*size)
        found = images.load(pixels, fit(side, long, 3, resize_mode="short", resize_to=side))
        expected = Image.fromarray(pixels).resize((long, side), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(found, planar(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_resize_then_crop_is_of_the_upright_picture(orientation: int) -> None:
    data = encode(Image.fromarray(smooth(60, 90)), "JPEG", exif=with_orientation(orientation))
    spec = fit(28, 24, 3, resize_mode="short", resize_to=32)
    upright = Image.fromarray(np.ascontiguousarray(pillow(data, 3).transpose(1, 2, 0)))
    np.testing.assert_array_equal(images.load(data, spec), resize_then_crop(upright, 32, spec))


@pytest.mark.parametrize("mode", ["short", "stretch"])
def test_a_jpeg_up_to_eight_times_as_large_is_decoded_in_full(mode: str) -> None:
    """And a larger one at a scale that is less than a grey level off."""
    resize_to: Any = 32 if mode == "short" else (32, 32)
    spec = fit(28, 28, 3, resize_mode=mode, resize_to=resize_to)
    for height, width, largest in ((256, 300, 0), (255, 256, 0), (1400, 1601, 1)):
        data = encode(Image.fromarray(smooth(height, width)), "JPEG", quality=95)
        expected = resize_then_crop(Image.open(io.BytesIO(data)), resize_to, spec)
        gap = np.abs(images.load(data, spec).astype(int) - expected).max()
        assert gap <= largest


@pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 1), (3, 90_000)])
def test_short_of_a_thread_of_pixels_computes_the_middle_only(shape: tuple[int, int]) -> None:
    """1 x 40,000 with the short side 256 would be 2.6 thousand million pixels."""
    ramp = np.linspace(0, 255, max(shape)).astype(np.uint8)
    pixels = np.ascontiguousarray(
        np.broadcast_to(ramp if shape[0] < shape[1] else ramp[:, None], shape)
    )
    found = images.load(pixels, fit(224, 224, resize_mode="short", resize_to=256))
    assert np.abs(found.astype(int) - 127).max() <= 1
