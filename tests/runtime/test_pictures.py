"""Whole pictures in colour: upright, at the scale that is asked for, from every kind of source."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from fer_runtime.errors import ImageError
from fer_runtime.images.photographs import Sample
from fer_runtime.images.pictures import Photograph, load_picture
from fer_runtime.items import Item
from tests.runtime.pictures import fit, noise, smooth, with_orientation


def jpeg(height: int, width: int, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(smooth(height, width)).save(stream, "jpeg", quality=95, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "long_side", "decoded", "scale"),
    [
        ((3000, 4000), 960, (750, 1000), 2 / 8),  # the DCT scale of 2/8 is about 960
        ((1080, 1920), 960, (540, 960), 4 / 8),
        ((1000, 1500), 960, (625, 938), 5 / 8),  # ceil(937.5)
        ((4000, 6000), 960, (640, 960), 0.16),  # 2/8 is 1500, which is much more: resized
        ((480, 640), 960, (480, 640), 1.0),  # never enlarged
        ((480, 640), None, (480, 640), 1.0),
    ],
)
def test_a_jpeg_is_decoded_at_about_the_size_asked_for(
    size: tuple[int, int], long_side: int | None, decoded: tuple[int, int], scale: float
) -> None:
    picture = load_picture(jpeg(*size), long_side=long_side)
    assert picture.pixels.shape == (*decoded, 3)
    assert picture.scale == pytest.approx(scale) and (picture.height, picture.width) == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation: int) -> None:
    data = jpeg(64, 96, exif=with_orientation(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    picture = load_picture(data)
    assert picture.pixels.shape == expected.shape == (picture.height, picture.width, 3)
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 4


def test_a_picture_can_be_had_larger_again() -> None:
    photograph = Photograph(jpeg(1600, 1200))
    small, large = photograph.at(400), photograph.at(1600)
    assert small.pixels.shape == (400, 300, 3) and large.pixels.shape == (1600, 1200, 3)
    reduced = np.asarray(Image.fromarray(large.pixels).reduce(4)).astype(int)
    assert np.abs(reduced - small.pixels).mean() < 1


def test_every_kind_of_source_is_rgb(tmp_path: Path) -> None:
    pixels = smooth(40, 60)
    pixels.flags.writeable = False
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for source in (path, path.read_bytes(), pixels, Image.fromarray(pixels), path.open("rb")):
        assert np.array_equal(load_picture(source).pixels, pixels)
    grey = load_picture(pixels[:, :, 0]).pixels
    assert grey.shape == (40, 60, 3) and np.array_equal(grey[:, :, 1], pixels[:, :, 0])
    cmyk = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "jpeg")
    assert load_picture(cmyk.getvalue()).pixels.shape == (40, 60, 3)
    reduced = load_picture(path, long_side=30)
    assert reduced.pixels.shape == (20, 30, 3) and reduced.scale == 0.5


def test_broken_and_large_pictures_are_refused() -> None:
    data = jpeg(64, 96)
    with pytest.raises(ImageError, match="over the limit of 1,000 pixels"):
        load_picture(data, max_pixels=1000)
    with pytest.raises(ImageError, match="broken JPEG"):
        load_picture(data[:200])
    with pytest.raises(ImageError, match="no bytes"):
        load_picture(b"")
    with pytest.raises(ImageError, match="not an image of a known format"):
        load_picture(b"hello there")
    with pytest.raises(ImageError, match="array of float64"):
        load_picture(np.zeros((4, 4)))  # type: ignore[arg-type]


def test_a_sample_counts_images_that_are_much_larger_than_the_input(tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(simplejpeg.encode_jpeg(noise(400, 500, 3), quality=50))
    items = [
        Item("large", str(large)),
        Item("none", str(tmp_path / "none.jpg")),
        Item("bytes", "", content=jpeg(100, 900)),  # the shorter side counts
        Item("array", "", content=noise(384, 384, 3)),
        Item("error", "", "empty file"),
    ]
    sample = Sample(5)
    assert list(sample.taken_from(iter(items))) == items
    assert sample.much_larger(fit(48, 48)) == (2, 4)
    assert sample.much_larger(fit(224, 224)) == (0, 4), "448 pixels are twice the input"
    few = Sample(1)
    assert len(list(few.taken_from(iter(items)))) == 5 and few.much_larger(fit(48, 48)) == (1, 1)
