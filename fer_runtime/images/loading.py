"""Image files, bytes and arrays -> uint8 pixels that fit an InputSpec.

The only decode and resize in the project: training's evaluation, calibration, parity and the
runtime all call `load`, so that none of them can differ from the others. JPEGs go through
simplejpeg (a grey model takes the luma plane as it is; large files are decoded at the smallest
DCT scale that still covers the input), everything else through Pillow. Pillow is imported by the
functions that need it: it costs a fifth of a cold start.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import simplejpeg

from fer_runtime.errors import ImageError
from fer_runtime.images import exif, jpeg, pillow
from fer_runtime.images.fitting import Pixels, decode_size, fit, fromarray
from fer_runtime.images.in_memory import Source, content_of, is_pillow
from fer_runtime.images.limits import MAX_FILE_BYTES, MAX_PIXELS, MAX_SCANNED_PIXELS, check_size
from fer_runtime.images.warning_filter import quiet_pillow
from fer_runtime.spec import InputSpec

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
)
"""The file name endings (lower case) that a folder's images are known by."""

_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")


def load(source: Source, spec: InputSpec, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """An image of any kind -> (channels, height, width) uint8 that fit the spec.

    Takes a path, encoded bytes, an open binary file (from where it is, to its end), a Pillow image,
    or a uint8 array: grey (H, W) or (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4). An array is never
    written to. EXIF orientation is applied, alpha dropped, the first frame of several taken.

    Raises:
        ImageError: the file cannot be read, is not an image, is broken or too large.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, spec)
    if isinstance(source, str | os.PathLike):
        return decode(read(source), spec, max_pixels=max_pixels)
    if is_pillow(source):
        check_size(*source.size, max_pixels)
    content = content_of(source)
    if isinstance(content, bytes):
        return decode(content, spec, max_pixels=max_pixels)
    return _from_array(content, spec)


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file; pipes, devices and sockets are never opened.

    Raises:
        ImageError: no such file, no permission, not a regular file, empty or too large.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            folder = stat.S_ISDIR(status.st_mode)
            raise ImageError("is a folder" if folder else "is a pipe, a device or a socket")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(
                f"file of {status.st_size:,} bytes is over the {MAX_FILE_BYTES:,} limit"
            )
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:  # a file object would cost as much as the rest of it
            data = os.read(descriptor, status.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a name with a NUL byte
        raise ImageError(f"cannot be read: {error}") from None
    if not data:
        raise ImageError("empty file")
    return data


def decode(data: bytes, spec: InputSpec, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Encoded image bytes -> (channels, height, width) uint8; raises ImageError."""
    if not data:
        raise ImageError("no bytes to decode")
    if is_jpeg(data):
        pixels = _decode_jpeg(data, spec, max_pixels)
        if pixels is not None:
            return pixels
    return fit(decode_with_pillow(data, spec.channels, max_pixels), spec)


def is_jpeg(data: bytes) -> bool:
    """By its first bytes."""
    return data[:3] == b"\xff\xd8\xff"


def check_jpeg(data: bytes, max_pixels: int) -> tuple[int, int, str]:
    """(height, width, colour space) as stored, of a JPEG that may be decoded; raises ImageError."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise ImageError(f"broken JPEG: {error}") from None
    check_size(width, height, max_pixels)
    _check_scans(data, width * height)
    return height, width, colorspace


def size(data: bytes) -> tuple[int, int]:
    """(height, width) that an encoded image is stored in, from its header; raises ImageError."""
    if is_jpeg(data):
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise ImageError(f"broken JPEG: {error}") from None
        return height, width
    import io

    from PIL import Image

    try:
        with quiet_pillow, Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
            return image.height, image.width
    except Exception as error:  # as in pillow.errors
        raise ImageError(f"broken image: {error or type(error).__name__}") from None


def load_batch(
    sources: Iterable[Source], spec: InputSpec, *, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """Several images -> (N, channels, height, width) uint8.

    Raises:
        ImageError: naming the item, or numbering it from 0 where it has no name.
    """
    pixels = []
    for index, source in enumerate(sources):
        try:
            pixels.append(load(source, spec, max_pixels=max_pixels))
        except ImageError as error:
            name = source if isinstance(source, str | os.PathLike) else f"image {index}"
            raise ImageError(f"{name}: {error}") from None
    if not pixels:
        return np.empty((0, *spec.shape), np.uint8)
    return np.stack(pixels)


def _decode_jpeg(data: bytes, spec: InputSpec, max_pixels: int) -> Pixels | None:
    """simplejpeg's decode at the smallest covering scale; None for CMYK, which Pillow converts."""
    height, width, colorspace = check_jpeg(data, max_pixels)
    if colorspace in ("CMYK", "YCCK"):
        return None
    orientation = exif.orientation(data)
    turned = orientation >= 5
    least = decode_size(*((width, height) if turned else (height, width)), spec)
    min_height, min_width = least[::-1] if turned else least
    try:
        pixels = simplejpeg.decode_jpeg(
            data,
            "GRAY" if spec.channels == 1 else "RGB",
            min_height=min_height,
            min_width=min_width,
        )
    except ValueError as error:
        raise ImageError(f"broken JPEG: {error}") from None
    scale = _dct_scale((height, width), pixels.shape[:2])
    box = (0.0, 0.0, width * scale, height * scale)
    return fit(
        exif.upright(pixels, orientation), spec, exif.upright_box(box, pixels.shape, orientation)
    )


def _dct_scale(stored: tuple[int, int], decoded: tuple[int, ...]) -> float:
    """The scale n/8 at which (H, W) was decoded to (ceil(H * n / 8), ceil(W * n / 8)).

    The last row and column may be picture only in part, and a resize must not count all of them.
    """
    for eighths in range(8, 0, -1):
        if tuple(-(-side * eighths // 8) for side in stored) == tuple(decoded):
            return eighths / 8
    return 1.0


def decode_with_pillow(data: bytes, channels: int, max_pixels: int) -> Pixels:
    """Encoded image bytes of any known format -> (H, W, channels) upright; raises ImageError."""
    import io

    from PIL import Image, ImageOps

    with (
        pillow.errors(max_pixels),
        Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image,
    ):
        check_size(*image.size, max_pixels)
        ImageOps.exif_transpose(image, in_place=True)  # else it copies upright ones, too
        return pillow.to_channels(image, channels)


def _from_array(array: npt.NDArray[np.generic], spec: InputSpec) -> Pixels:
    return fit(as_channels(array, spec.channels), spec)


def as_channels(array: npt.NDArray[np.generic], channels: int) -> Pixels:
    """A caller's array of any allowed shape -> (H, W, channels) uint8, perhaps a view of it.

    Raises:
        ImageError: another dtype or shape.
    """
    if array.dtype != np.uint8:
        raise ImageError(
            f"array of {array.dtype}; pixels are uint8, 0 to 255 (for floats from 0 to 1: "
            "(array * 255).round().astype('uint8'))"
        )
    pixels: Pixels = (array[:, :, None] if array.ndim == 2 else array).astype(np.uint8, copy=False)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ImageError(f"array of shape {array.shape}; allowed: (H, W), (H, W, 1), 3 or 4")
    if pixels.shape[2] == 4:
        pixels = pixels[:, :, :3]
    if pixels.shape[2] != channels:
        pixels = pillow.to_channels(fromarray(pixels), channels)
    return pixels


def _check_scans(data: bytes, pixels: int) -> None:
    """Bound the time that a progressive JPEG takes; a scan has at least ten bytes."""
    if len(data) // 10 * pixels > MAX_SCANNED_PIXELS:
        count = jpeg.scans(data)
        if count * pixels > MAX_SCANNED_PIXELS:
            raise ImageError(f"progressive JPEG of {count:,} scans, too many for {pixels:,} pixels")
