"""One decode and resize: equal to Pillow bit for bit, worked out by hand, and safe on bad files."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from fer_bench.hostile import bmp, encode, jpeg, png, progressive
from fer_runtime import images
from fer_runtime.errors import ImageError
from fer_runtime.items import named
from fer_runtime.spec import InputSpec
from tests.properties import given, settings, st

Pixels = npt.NDArray[np.uint8]
ORIENTATION = 0x0112


def fit(height: int, width: int, channels: int = 1, **options: Any) -> InputSpec:
    """An InputSpec of that size."""
    each = (0.5,) * channels
    return InputSpec(height=height, width=width, channels=channels, mean=each, std=each, **options)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int, channels: int = 3) -> Pixels:
    """(H, W, C): soft blobs, as photographs are; noise would make any two resizers differ."""
    small = Image.fromarray(noise(9, 9, 3, seed=4))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return large if channels == 3 else large[:, :, :1]


def planar(image: Image.Image) -> Pixels:
    """A Pillow image of mode L or RGB -> (C, H, W)."""
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def pillow(data: bytes, channels: int) -> Pixels:
    """What Pillow decodes: (C, H, W), upright; grey as luma, without the way through RGB."""
    image = Image.open(io.BytesIO(data))
    if channels == 1 and image.format == "JPEG":
        image.draft("L", image.size)
    upright = ImageOps.exif_transpose(image)
    return planar(upright.convert("L" if channels == 1 else "RGB"))


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def refusal(source: images.Source, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        images.load(source, fit(8, 8), **options)
    return str(caught.value)


# --- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_path_bytes_and_array_are_equal(
    tmp_path: Path, file_format: str, channels: int
) -> None:
    pixels = noise(9, 13, 3)
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(Image.fromarray(pixels), file_format, **options)
    path = tmp_path / "image"
    path.write_bytes(data)
    spec = fit(9, 13, channels)
    expected = images.load(pixels, spec)
    if channels == 3:
        np.testing.assert_array_equal(expected, pixels.transpose(2, 0, 1))
    for source in (path, str(path), data, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(images.load(source, spec), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(16, 16), (9, 13), (50, 31), (1, 1), (8, 200)])
@pytest.mark.parametrize("progressive", [False, True])
def test_grey_jpeg_is_bit_equal_with_pillow(size: tuple[int, int], progressive: bool) -> None:
    data = encode(Image.fromarray(noise(*size)), "JPEG", quality=80, progressive=progressive)
    np.testing.assert_array_equal(images.load(data, fit(*size)), pillow(data, 1))
    np.testing.assert_array_equal(images.load(data, fit(*size, 3)), pillow(data, 3))


@pytest.mark.parametrize("size", [(16, 16), (9, 13), (50, 31), (1, 1), (8, 200)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jpeg_is_bit_equal_with_pillow(
    size: tuple[int, int], subsampling: str, channels: int
) -> None:
    """Grey is the luma plane, as Pillow's draft("L") gives it."""
    data = encode(Image.fromarray(noise(*size, 3)), "JPEG", quality=80, subsampling=subsampling)
    np.testing.assert_array_equal(images.load(data, fit(*size, channels)), pillow(data, channels))


@pytest.mark.parametrize("channels", [1, 3])
def test_cmyk_jpeg_is_what_pillow_converts(channels: int) -> None:
    data = encode(Image.fromarray(noise(12, 10, 4), "CMYK"), "JPEG", quality=95)
    expected = planar(Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB"))
    np.testing.assert_array_equal(images.load(data, fit(12, 10, channels)), expected)


def test_gif_yields_its_first_frame() -> None:
    frames = [Image.new("L", (4, 3), value) for value in (10, 200)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 2  # type: ignore[attr-defined]
    np.testing.assert_array_equal(images.load(data, fit(3, 4)), np.full((1, 3, 4), 10))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    wide = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)
    data = encode(Image.fromarray(wide), file_format)
    grey = np.array([[[0, 0, 1], [0x12, 0x80, 0xFF]]], np.uint8)
    np.testing.assert_array_equal(images.load(data, fit(2, 3)), grey)
    np.testing.assert_array_equal(images.load(data, fit(2, 3, 3)), np.repeat(grey, 3, 0))


def test_32_bit_grey_is_refused(tmp_path: Path) -> None:
    """Its range is anybody's: 0 to 255 as well as 0 to 2**31."""
    Image.fromarray(np.full((4, 4), 200, np.int32)).save(tmp_path / "wide.tif")
    with pytest.raises(ImageError, match="32-bit integer pixels have no agreed range"):
        images.load(tmp_path / "wide.tif", fit(4, 4))


def test_16_bit_rgb_png_keeps_its_high_bytes() -> None:
    """Written byte by byte, as Pillow writes no 16-bit RGB: one pixel 0x1234, 0x8000, 0xFFFF."""
    data = png(1, 1, bits=16, colour_type=2, raw=b"\0" + bytes.fromhex("12348000ffff"))
    found = images.load(data, fit(1, 1, 3))
    np.testing.assert_allclose(found.ravel(), [0x12, 0x80, 0xFF], atol=1)


def test_floating_point_pixels_are_refused() -> None:
    data = encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF")
    assert "floating-point" in refusal(data)


PALETTE = [10, 20, 30, 200, 100, 50]


def test_palette_images_become_their_colours() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette(PALETTE)
    for data in (encode(image, "PNG"), encode(image, "GIF"), encode(image, "BMP")):
        colours = images.load(data, fit(1, 2, 3))
        np.testing.assert_array_equal(colours, [[[10, 200]], [[20, 100]], [[30, 50]]])
        luma = planar(image.convert("RGB").convert("L"))
        np.testing.assert_array_equal(images.load(data, fit(1, 2)), luma)


def test_palette_with_transparency_keeps_the_colours_and_warns_nobody(
    recwarn: pytest.WarningsRecorder,
) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette(PALETTE)
    data = encode(image, "PNG", transparency=bytes([0, 128]))
    colours = images.load(data, fit(1, 2, 3))
    np.testing.assert_array_equal(colours, [[[10, 200]], [[20, 100]], [[30, 50]]])
    assert images.load(data, fit(1, 2)).shape == (1, 1, 2)
    assert [str(entry.message) for entry in recwarn] == []


def test_black_and_white_images_are_0_and_255() -> None:
    image = Image.fromarray(np.array([[True, False, True]]))
    for data in (encode(image, "PNG"), encode(image, "BMP"), encode(image, "TIFF")):
        np.testing.assert_array_equal(images.load(data, fit(1, 3)), [[[255, 0, 255]]])


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_alpha_is_dropped(file_format: str) -> None:
    pixels = noise(5, 6, 4)
    pixels[..., 3] = np.maximum(pixels[..., 3], 1)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    data = encode(Image.fromarray(pixels, "RGBA"), file_format, **options)
    expected = pixels[..., :3].transpose(2, 0, 1)
    np.testing.assert_array_equal(images.load(data, fit(5, 6, 3)), expected)
    np.testing.assert_array_equal(images.load(pixels, fit(5, 6, 3)), expected)


def test_grey_with_alpha_is_the_grey() -> None:
    pixels = noise(5, 6, 2)
    data = encode(Image.fromarray(pixels, "LA"), "PNG")
    np.testing.assert_array_equal(images.load(data, fit(5, 6)), pixels[None, ..., 0])
    np.testing.assert_array_equal(images.load(data, fit(5, 6, 3)), [pixels[..., 0]] * 3)


# --- EXIF orientation ------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_equals_pillow(orientation: int, file_format: str, channels: int) -> None:
    image = Image.fromarray(noise(24, 40, 3))
    data = encode(image, file_format, exif=with_orientation(orientation))
    expected = pillow(data, channels)
    assert expected.shape[1:] == ((40, 24) if orientation >= 5 else (24, 40))
    found = images.load(data, fit(*expected.shape[1:], channels))
    np.testing.assert_array_equal(found, expected)


def test_orientation_6_by_hand() -> None:
    """6: the stored left edge is the top seen from the right, so turn it a quarter clockwise."""
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8) * 40
    data = encode(Image.fromarray(stored), "PNG", exif=with_orientation(6))
    upright = np.array([[4, 1], [5, 2], [6, 3]], np.uint8) * 40
    np.testing.assert_array_equal(images.load(data, fit(3, 2))[0], upright)


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_comes_before_the_resize(orientation: int, mode: str) -> None:
    """The input is larger than the image, so that no DCT scale is involved."""
    image = Image.fromarray(smooth(24, 40))
    data = encode(image, "JPEG", exif=with_orientation(orientation))
    spec = fit(56, 50, 3, resize_mode=mode)
    upright = np.ascontiguousarray(pillow(data, 3).transpose(1, 2, 0))
    np.testing.assert_array_equal(images.load(data, spec), images.load(upright, spec))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_large_jpeg_survives_the_dct_scale(orientation: int) -> None:
    image = Image.fromarray(smooth(480, 800))
    data = encode(image, "JPEG", quality=95, exif=with_orientation(orientation))
    spec = fit(60, 40, 3)
    upright = np.ascontiguousarray(pillow(data, 3).transpose(1, 2, 0))
    gaps = np.abs(images.load(data, spec).astype(int) - images.load(upright, spec))
    assert gaps.mean() < 1


def jpeg_with_segment(marker: int, payload: bytes) -> bytes:
    """A 24 x 40 JPEG with one segment right after its start marker."""
    data = encode(Image.fromarray(smooth(24, 40)), "JPEG")
    return (
        data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + data[2:]
    )


def tiff(order: str, orientation: int) -> bytes:
    """A TIFF block of one entry: tag 0x0112, type SHORT, count 1."""
    mark = {"<": b"II", ">": b"MM"}[order]
    entry = struct.pack(f"{order}HHIHH", ORIENTATION, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_exif_are_read(order: str) -> None:
    data = jpeg_with_segment(0xE1, b"Exif\0\0" + tiff(order, 6))
    np.testing.assert_array_equal(images.load(data, fit(40, 24)), pillow(data, 1))


@pytest.mark.parametrize(
    "payload",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0" + bytes(40),
        b"Exif\0\0" + b"\xff" * 40,
        b"Exif\0\0" + tiff("<", 0),
        b"Exif\0\0" + tiff("<", 9),
        b"Exif\0\0" + tiff("<", 6)[:-8],
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
    ],
)
def test_broken_exif_leaves_the_image_as_stored_and_warns_nobody(
    payload: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    data = jpeg_with_segment(0xE1, payload)
    plain = encode(Image.fromarray(smooth(24, 40)), "JPEG")
    np.testing.assert_array_equal(images.load(data, fit(24, 40)), pillow(plain, 1))
    assert [str(entry.message) for entry in recwarn] == []


def test_exif_inside_a_comment_is_no_exif() -> None:
    data = jpeg_with_segment(0xFE, b"Exif\0\0" + tiff("<", 6))
    np.testing.assert_array_equal(images.load(data, fit(24, 40)), pillow(data, 1))


# --- arrays ----------------------------------------------------------------------------------


def test_read_only_arrays_are_taken_and_not_written_to() -> None:
    for shape in ((6, 5), (6, 5, 1), (6, 5, 3), (6, 5, 4)):
        pixels = noise(*shape)
        before = pixels.copy()
        pixels.flags.writeable = False
        for spec in (fit(6, 5), fit(6, 5, 3), fit(3, 9, 3), fit(9, 9, resize_mode="pad")):
            assert images.load(pixels, spec).shape == spec.shape
        np.testing.assert_array_equal(pixels, before)


def test_array_views_with_any_strides_are_taken() -> None:
    pixels = noise(12, 10, 3)
    views = [
        pixels[::2, ::-1],
        pixels[:, :, ::-1],
        pixels.transpose(1, 0, 2),
        np.asfortranarray(pixels),
        np.broadcast_to(pixels[:1, :1], (4, 4, 3)),
    ]
    for view in views:
        for channels in (1, 3):
            for spec in (fit(*view.shape[:2], channels), fit(7, 7, channels)):
                found = images.load(view, spec)
                np.testing.assert_array_equal(found, images.load(view.copy(), spec))
                assert found.flags.c_contiguous


def test_grey_arrays_need_no_channel_axis_and_rgb_becomes_luma() -> None:
    grey = noise(4, 5)
    np.testing.assert_array_equal(images.load(grey, fit(4, 5)), grey[None])
    np.testing.assert_array_equal(images.load(grey[:, :, None], fit(4, 5)), grey[None])
    np.testing.assert_array_equal(images.load(grey, fit(4, 5, 3)), [grey] * 3)
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B
    np.testing.assert_array_equal(images.load(rgb, fit(1, 4)), [[[76, 150, 29, 255]]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16, np.int8, bool])
def test_arrays_of_another_dtype_are_refused(dtype: type) -> None:
    message = refusal(np.zeros((8, 8), dtype))  # type: ignore[arg-type]
    assert f"array of {np.dtype(dtype)}" in message
    assert "uint8" in message


@pytest.mark.parametrize(
    "shape", [(), (8,), (8, 8, 2), (8, 8, 5), (3, 8, 8), (1, 8, 8, 3), (0, 8), (8, 0, 3), (8, 8, 0)]
)
def test_arrays_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    message = refusal(np.zeros(shape, np.uint8))
    assert str(shape) in message
    assert "(H, W)" in message


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


# --- broken files ----------------------------------------------------------------------------


def photo() -> Image.Image:
    return Image.fromarray(noise(40, 40, 3, seed=2).repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 98}], ids=str)
def test_truncated_jpeg_is_an_error_at_every_cut(options: dict[str, Any], channels: int) -> None:
    """Never a picture whose lower half is grey."""
    data = encode(photo(), "JPEG", **options)
    spec = fit(48, 48, channels)
    for cut in {*range(0, len(data) - 2, len(data) // 150), *range(700), len(data) - 20}:
        with pytest.raises(ImageError):
            images.decode(data[:cut], spec)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_truncated_file_is_an_error_or_the_whole_picture(file_format: str) -> None:
    """A PNG that lacks its closing mark only has all its pixels; nothing else may pass."""
    data = encode(photo(), file_format)
    whole = images.decode(data, fit(48, 48, 3))
    for cut in {*range(0, len(data), len(data) // 100), len(data) - 1, len(data) - 5}:
        try:
            found = images.decode(data[:cut], fit(48, 48, 3))
        except ImageError:
            continue
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("orientation", [1, 6])
def test_truncated_cmyk_jpeg_is_an_error(orientation: int) -> None:
    image = Image.fromarray(noise(60, 60, 4), "CMYK")
    data = encode(image, "JPEG", exif=with_orientation(orientation))
    for cut in range(0, len(data) - 2, 97):
        with pytest.raises(ImageError):
            images.decode(data[:cut], fit(48, 48, 3))


def test_text_named_jpg_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("Dear diary, today I named a text file .jpg")
    message = refusal(path)
    assert "not an image of a known format" in message
    assert "JPEG, PNG, WebP, BMP, TIFF, GIF" in message


@pytest.mark.parametrize(
    "data", [b"%PDF-1.7\n", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"P6 1 1 255\n..."]
)
def test_other_formats_are_not_even_tried(data: bytes) -> None:
    """Pillow would hand EPS to Ghostscript; only the formats that we name are opened."""
    assert "not an image of a known format" in refusal(data)


def test_paths_that_are_no_readable_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    assert refusal(tmp_path / "empty.jpg") == "empty file"
    assert "is a folder" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "missing.jpg")
    assert "No such file" in refusal(tmp_path / "dangling.jpg")
    assert "Not a directory" in refusal(tmp_path / "empty.jpg" / "x.jpg")
    assert "cannot be read" in refusal(tmp_path / "loop.jpg")
    assert "cannot be read" in refusal(tmp_path / ("x" * 300))
    assert "cannot be read" in refusal("nul\0byte.jpg")
    assert refusal(b"") == "no bytes to decode"


def test_a_file_that_may_not_be_opened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may open anything, so the refusal is played by a stand-in."""
    path = tmp_path / "secret.png"
    path.write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    message = refusal(path)
    monkeypatch.undo()
    assert message == "cannot be read: Permission denied"


def test_pipes_and_devices_are_never_opened(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would hang for ever."""
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    messages: list[str] = []
    for path in (pipe, Path("/dev/zero")):
        thread = threading.Thread(target=lambda p=path: messages.append(refusal(p)), daemon=True)
        thread.start()
        thread.join(5)
    assert messages == ["is a pipe, a device or a socket"] * 2


def test_a_file_over_the_byte_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with open(path, "wb") as stream:
        stream.truncate(images.MAX_FILE_BYTES + 1)
    started = time.perf_counter()
    assert "536,870,913 bytes" in refusal(path)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("size", [(8000, 8000), (11000, 11000), (60000, 60000)], ids=str)
@pytest.mark.parametrize("forge", [png, bmp, jpeg])
def test_images_over_the_pixel_limit_are_refused_before_they_are_decoded(
    forge: Any, size: tuple[int, int], recwarn: pytest.WarningsRecorder
) -> None:
    data = forge(*size)
    tracemalloc.start()
    started = time.perf_counter()
    message = refusal(data)
    seconds = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "over the limit of 50,000,000 pixels" in message
    assert seconds < 0.5
    assert peak < 5_000_000
    assert [str(entry.message) for entry in recwarn] == []


def test_a_progressive_jpeg_may_have_scans_by_its_size() -> None:
    """A scan costs a pass over all pixels, and a hundred bytes of the file."""
    whole = images.decode(progressive(2000, 2000, 882), fit(48, 48))
    assert (whole == whole[0, 0, 0]).all()
    data = progressive(7000, 7000, 882)
    assert len(data) < 200_000
    assert refusal(data) == "progressive JPEG of 883 scans, too many for 49,000,000 pixels"
    assert images.decode(progressive(7000, 7000, 50), fit(48, 48)).shape == (1, 48, 48)


def test_the_pixel_limit_is_the_callers() -> None:
    data = encode(Image.new("L", (20, 10)), "PNG")
    assert images.load(data, fit(8, 8), max_pixels=200).shape == (1, 8, 8)
    assert "over the limit of 199 pixels" in refusal(data, max_pixels=199)
    assert "over the limit of 199 pixels" in refusal(
        encode(Image.new("L", (20, 10)), "JPEG"), max_pixels=199
    )


def test_zero_pixels_are_refused() -> None:
    assert refusal(png(0, 10))
    assert refusal(jpeg(0, 0))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc/self/status")
def test_cropping_a_thread_of_pixels_takes_no_memory_for_what_is_cut() -> None:
    """1 x 20,000 pixels cover 48 x 48 at 48 x 960,000, of which 48 x 48 are wanted."""
    code = """
import numpy
from fer_runtime import images
from fer_runtime.spec import InputSpec
spec = InputSpec(height=48, width=48, channels=1, mean=(0,), std=(1,), resize_mode="crop")
images.load(numpy.zeros((9, 9), "uint8"), spec)
def peak():
    # Not getrusage: its ru_maxrss starts from that of the process that started this one.
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
before = peak()
assert images.load(numpy.full((1, 20_000), 7, "uint8"), spec).tolist() == [[[7] * 48] * 48]
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000, "KiB more than before"


MAGIC = [
    b"",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe1\x00\x40Exif\0\0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"RIFF\x40\0\0\0WEBPVP8X",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
]


def assert_pixels_or_image_error(data: bytes, channels: int) -> None:
    """Anything but these two ends the test."""
    spec = fit(8, 8, channels)
    try:
        pixels = images.decode(data, spec, max_pixels=100_000)
    except ImageError as error:
        assert str(error)
        return
    assert (pixels.shape, pixels.dtype) == (spec.shape, np.uint8)


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=250)
@given(st.sampled_from(MAGIC), st.binary(max_size=200), st.sampled_from([1, 3]))
def test_random_bytes_are_pixels_or_an_image_error(
    start: bytes, rest: bytes, channels: int
) -> None:
    assert_pixels_or_image_error(start + rest, channels)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_flipped_bits_are_pixels_or_an_image_error(file_format: str) -> None:
    """Half of the flips hit the first 100 bytes, where headers are."""
    image = Image.fromarray(noise(16, 16, 3).repeat(2, 0))
    data = encode(image, file_format, exif=with_orientation(6))
    draw = random.Random(file_format)
    for _ in range(200):
        broken = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            reach = draw.choice([100, len(data)])
            broken[draw.randrange(min(reach, len(data)))] ^= 1 << draw.randrange(8)
        assert_pixels_or_image_error(bytes(broken), draw.choice([1, 3]))


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


# --- Pillow images, open files, tensors ------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_pillow_image_is_what_its_file_is(mode: str, channels: int) -> None:
    if mode == "I;16":
        image = Image.fromarray(noise(9, 7).astype(np.uint16) * 200)
    else:
        image = Image.fromarray(noise(9, 7, 3)).convert(mode)
    data = encode(image, "TIFF", exif=with_orientation(6))
    opened = Image.open(io.BytesIO(data))
    expected = images.load(data, fit(5, 4, channels))
    np.testing.assert_array_equal(images.load(opened, fit(5, 4, channels)), expected)
    item = next(iter(named([opened])))
    assert (item.name, item.error) == ("image 0", None)
    assert isinstance(item.content, np.ndarray)
    np.testing.assert_array_equal(images.load(item.content, fit(5, 4, channels)), expected)


def test_a_pillow_image_without_agreed_range_or_too_large_is_refused() -> None:
    wide = Image.fromarray(np.ones((4, 4), np.float32))
    assert "floating-point" in refusal(wide)
    assert "floating-point" in str(next(iter(named([wide]))).error)
    assert "over the limit of 10 pixels" in refusal(Image.new("L", (4, 4)), max_pixels=10)


def test_a_broken_pillow_image_is_an_image_error() -> None:
    data = encode(Image.fromarray(noise(40, 40, 3)), "PNG")
    assert "broken image" in refusal(Image.open(io.BytesIO(data[:300])))


def test_open_binary_files_are_read_to_their_end(tmp_path: Path) -> None:
    pixels = noise(6, 7, 3)
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(pixels), "PNG"))
    expected = images.load(pixels, fit(4, 4))
    with open(path, "rb") as stream, open(path, "rb", buffering=0) as raw:
        for source in (stream, raw, io.BytesIO(path.read_bytes())):
            np.testing.assert_array_equal(images.load(source, fit(4, 4)), expected)
        assert "rewind the file with seek(0)" in refusal(stream)
        raw.seek(0)
        assert next(iter(named([raw]))).content == path.read_bytes()
    assert "closed file" in refusal(stream)
    with open(path, encoding="latin-1") as text:
        assert 'gives str, not bytes; open the file with mode "rb"' in refusal(text)  # type: ignore[arg-type]


def test_an_open_file_over_the_byte_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.in_memory, "MAX_FILE_BYTES", 100)
    stream = io.BytesIO(bytes(1000))
    assert "over the 100 limit of bytes" in refusal(stream)
    assert stream.tell() == 101


@pytest.mark.parametrize("one", [Image.new("L", (8, 8)), io.BytesIO(b"image"), bytearray(b"image")])
def test_one_image_is_not_several(one: Any) -> None:
    """A file above all, whose lines would each be an image."""
    with pytest.raises(ImageError, match=r"this is one image; pass a list of images, as \[image\]"):
        next(named(one))


class FakeTensor:
    """What is read of a torch tensor."""

    def __init__(
        self, shape: tuple[int, ...], dtype: str = "uint8", device: str = "cpu", grad: bool = False
    ) -> None:
        self.shape, self.dtype, self.requires_grad = shape, f"torch.{dtype}", grad
        self.device = SimpleNamespace(type=device)


@pytest.mark.parametrize(
    ("tensor", "advice"),
    [
        (FakeTensor((48, 48)), "(H, W[, C]): tensor.numpy()"),
        (FakeTensor((48, 48, 3)), "(H, W[, C]): tensor.numpy()"),
        (FakeTensor((3, 48, 48)), "tensor.permute(1, 2, 0).numpy()"),
        (FakeTensor((1, 48, 48), device="cuda"), "tensor.cpu().permute(1, 2, 0).numpy()"),
        (FakeTensor((3, 9, 9), "float32", grad=True),
         "(tensor.detach().permute(1, 2, 0).numpy() * 255).round().astype('uint8')"),
        (FakeTensor((2, 3, 4, 4)), "is a batch; pass its images one at a time"),
    ],
)  # fmt: skip
def test_a_tensor_is_answered_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch, tensor: Any, advice: str
) -> None:
    """Without torch, which the runtime's tests do not need; tests/export has the real one."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(Tensor=FakeTensor))  # type: ignore[arg-type]
    message = refusal(tensor)
    assert "a torch tensor of shape" in message and advice in message
    assert next(iter(named([tensor]))).error == message


# --- batches ---------------------------------------------------------------------------------


def test_load_batch_stacks_sources_of_any_kind(tmp_path: Path) -> None:
    pixels = noise(6, 7, 3)
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(pixels), "PNG"))
    batch = images.load_batch([path, path.read_bytes(), pixels], fit(4, 4))
    assert (batch.shape, batch.dtype) == ((3, 1, 4, 4), np.uint8)
    for row in batch:
        np.testing.assert_array_equal(row, images.load(pixels, fit(4, 4)))


@pytest.mark.parametrize("source", [0, None, 1.5, [1, 2]], ids=str)
def test_other_objects_are_refused(source: Any) -> None:
    """An int above all, which the operating system would take for an open file."""
    with pytest.raises(ImageError, match=r"is not an image; allowed: a path, the bytes of a file"):
        images.load(source, fit(8, 8))


def test_load_batch_of_nothing_is_an_empty_batch() -> None:
    assert images.load_batch([], fit(4, 5, 3)).shape == (0, 3, 4, 5)


def test_load_batch_names_what_it_cannot_read(tmp_path: Path) -> None:
    good = noise(4, 4)
    missing = tmp_path / "missing.jpg"
    with pytest.raises(ImageError, match=r"missing\.jpg: cannot be read"):
        images.load_batch([good, missing], fit(4, 4))
    with pytest.raises(ImageError, match=r"^image 2: not an image"):
        images.load_batch([good, good, b"text"], fit(4, 4))
