"""Broken, oversized and malicious images: an error that names the cause, never a crash."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_bench.hostile import bmp, encode, jpeg, png, progressive
from fer_runtime import images
from fer_runtime.errors import ImageError
from tests.properties import given, settings, st
from tests.runtime.pictures import (
    fit,
    noise,
    refusal,
    with_orientation,
)

Pixels = npt.NDArray[np.uint8]

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
