"""EXIF orientation: as Pillow applies it, before the resize, and broken segments ignored."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_bench.hostile import encode
from fer_runtime import images
from tests.runtime.pictures import (
    ORIENTATION,
    fit,
    noise,
    pillow,
    smooth,
    with_orientation,
)

Pixels = npt.NDArray[np.uint8]

# --- EXIF orientation ------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_equals_pillow(orientation: int, file_format: str, channels: int) -> None:
    image = Image.fromarray(noise(24, 40, 3))
    data = encode(image, file_format, exif=with_orientation(orientation))
    expected = pillow(data, channels)
    assert expected.shape[1:] == ((40, 24) if orientation >= 5 else (24, 40))
    found = images.load(data, fit(expected.shape[1], expected.shape[2], channels))
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
