"""Images: formats, bytes and arrays become the same pixels, equal with Pillow's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_bench.hostile import encode, png
from fer_runtime import images
from fer_runtime.errors import ImageError
from tests.runtime.pictures import (
    fit,
    noise,
    pillow,
    planar,
    refusal,
)

Pixels = npt.NDArray[np.uint8]

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
