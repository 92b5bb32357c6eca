"""Arrays, Pillow images, open files, tensors and batches as images."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_bench.hostile import encode
from fer_runtime import images
from fer_runtime.errors import ImageError
from fer_runtime.items import named
from tests.runtime.pictures import (
    fit,
    noise,
    refusal,
    with_orientation,
)

Pixels = npt.NDArray[np.uint8]

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
            for spec in (fit(view.shape[0], view.shape[1], channels), fit(7, 7, channels)):
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
