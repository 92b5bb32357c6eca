"""Image files, bytes and arrays -> uint8 pixels that fit an InputSpec.

The only decode and resize in the project: training's evaluation, calibration, parity and the
runtime all call `load`, so that none of them can differ from the others. JPEGs go through
simplejpeg (a grey model takes the luma plane as it is; large files are decoded at the smallest
DCT scale that still covers the input), everything else through Pillow. Down-scaling is
antialiased. Pillow is imported by the functions that need it: it costs a fifth of a cold start.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import simplejpeg

from fer_runtime.errors import ImageError
from fer_runtime.images import exif, jpeg
from fer_runtime.images.exif import Box
from fer_runtime.images.warning_filter import quiet_pillow
from fer_runtime.spec import InputSpec

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Source = str | os.PathLike[str] | bytes | Pixels

MAX_PIXELS = 50_000_000
"""Images with more pixels than this are refused before they are decoded."""
MAX_SCANNED_PIXELS = 100 * MAX_PIXELS
"""A progressive JPEG with more pixels times scans is refused: a small file can say thousands."""
MAX_FILE_BYTES = 512 * 1024 * 1024
"""Files larger than this are refused before they are read."""
DCT_MARGIN = 2
"""A JPEG is decoded at the smallest DCT scale that is still so many times the size needed: the
decoder's own scaling averages blocks, and what remains is left to the antialiased resize."""
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
)
"""The file name endings (lower case) that a folder's images are known by."""

_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")


def load(source: Source, spec: InputSpec, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Path, encoded bytes or (H, W[, C]) uint8 array -> (channels, height, width) uint8.

    An array is grey (H, W) or (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4); it is never written to.
    EXIF orientation is applied, alpha dropped, the first frame of several taken.

    Raises:
        ImageError: the file cannot be read, is no image, is broken or too large.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, spec)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(bytes(source), spec, max_pixels=max_pixels)
    if isinstance(source, str | os.PathLike):
        return decode(read(source), spec, max_pixels=max_pixels)
    raise ImageError(not_an_image(source))


def not_an_image(source: object) -> str:
    """What to say of an object that is no Source."""
    return (
        f"a {type(source).__name__} is no image; allowed: a path, the bytes of a file, a uint8 "
        "array (of a Pillow image: np.asarray(image.convert('RGB')))"
    )


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
    if data[:3] == b"\xff\xd8\xff":
        pixels = _decode_jpeg(data, spec, max_pixels)
        if pixels is not None:
            return pixels
    return _decode_pillow(data, spec, max_pixels)


def size(data: bytes) -> tuple[int, int]:
    """(height, width) that an encoded image is stored in, from its header; raises ImageError."""
    if data[:3] == b"\xff\xd8\xff":
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
    except Exception as error:  # as in _decode_pillow
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
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(width, height, max_pixels)
        _check_scans(data, width * height)
        if colorspace in ("CMYK", "YCCK"):
            return None
        orientation = exif.orientation(data)
        turned = orientation >= 5
        fit = _scaled_size(*((width, height) if turned else (height, width)), spec)
        cover_height, cover_width = fit[::-1] if turned else fit
        pixels = simplejpeg.decode_jpeg(
            data,
            "GRAY" if spec.channels == 1 else "RGB",
            min_height=min(DCT_MARGIN * cover_height, height),
            min_width=min(DCT_MARGIN * cover_width, width),
        )
    except ValueError as error:
        raise ImageError(f"broken JPEG: {error}") from None
    scale = _dct_scale((height, width), pixels.shape[:2])
    box = (0.0, 0.0, width * scale, height * scale)
    return _fit(
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


def _decode_pillow(data: bytes, spec: InputSpec, max_pixels: int) -> Pixels:
    import io

    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with quiet_pillow, Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
            _check_size(*image.size, max_pixels)
            upright = ImageOps.exif_transpose(image)
            pixels = _to_channels(upright, spec.channels)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        own = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # beyond it Pillow refuses before it tells the size
        raise ImageError(f"image is over the limit of {min(max_pixels, own):,} pixels") from None
    except UnidentifiedImageError:
        raise ImageError(
            "not an image of a known format (JPEG, PNG, WebP, BMP, TIFF, GIF)"
        ) from None
    except Exception as error:
        # Pillow's parsers raise OSError, ValueError, SyntaxError, struct.error, EOFError,
        # IndexError, MemoryError … on broken files; all of them mean the same to a caller.
        raise ImageError(f"broken image: {error or type(error).__name__}") from None
    return _fit(pixels, spec)


def _to_channels(image: Image.Image, channels: int) -> Pixels:
    """A Pillow image of any mode -> (H, W, C) uint8; 16-bit grey is scaled, not clipped."""
    if image.mode == "I":
        raise ImageError("32-bit integer pixels have no agreed range; save it as 8 or 16 bit")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = _fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ImageError("floating-point pixels have no agreed range; save it as 8 or 16 bit")
    elif image.mode in ("P", "PA") and channels == 1:
        image = image.convert("RGB")
    converted = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return converted if converted.ndim == 3 else converted[:, :, None]


def _from_array(array: npt.NDArray[np.generic], spec: InputSpec) -> Pixels:
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
    if pixels.shape[2] != spec.channels:
        pixels = _to_channels(_fromarray(pixels), spec.channels)
    return _fit(pixels, spec)


def _fit(pixels: Pixels, spec: InputSpec, box: Box | None = None) -> Pixels:
    """(H, W, C) uint8 of any size -> (channels, height, width) uint8 as the spec says.

    `box` (left, top, right, bottom) is the part that is picture; by default all of it is.
    """
    height, width = pixels.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    box = box or whole
    if (height, width) != (spec.height, spec.width) or box != whole:
        size = (spec.height, spec.width)
        if spec.resize_mode == "crop":
            box = _middle(box, spec)
        elif spec.resize_mode == "pad":
            size = _scaled_size(box[3] - box[1], box[2] - box[0], spec)
        pixels = _padded(_resized(pixels, size, spec.interpolation, box), spec)
    return np.array(pixels.transpose(2, 0, 1), order="C")  # never a view of the caller's array


def _resized(pixels: Pixels, size: tuple[int, int], interpolation: str, box: Box) -> Pixels:
    """The box of (H, W, C) pixels -> (*size, C); antialiased where it shrinks."""
    from PIL import Image

    resample = Image.Resampling[interpolation.upper()]
    resized = np.asarray(_fromarray(pixels).resize(size[::-1], resample, box))
    return resized if resized.ndim == 3 else resized[:, :, None]


def _middle(box: Box, spec: InputSpec) -> Box:
    """The largest part in the middle of a box that has the input's aspect ratio."""
    left, top, right, bottom = box
    scale = max(spec.height / (bottom - top), spec.width / (right - left))
    across = max(0.0, (right - left - spec.width / scale) / 2)
    down = max(0.0, (bottom - top - spec.height / scale) / 2)
    return left + across, top + down, right - across, bottom - down


def _scaled_size(height: float, width: float, spec: InputSpec) -> tuple[int, int]:
    """(H, W) of the whole picture at the input's scale, what "crop" cuts off included."""
    if spec.resize_mode == "stretch":
        return spec.height, spec.width
    choose = max if spec.resize_mode == "crop" else min
    scale = choose(spec.height / height, spec.width / width)
    clamp = max if spec.resize_mode == "crop" else min
    return (
        clamp(spec.height, max(1, math.floor(height * scale + 0.5))),
        clamp(spec.width, max(1, math.floor(width * scale + 0.5))),
    )


def _padded(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Centre (H, W, C) pixels in the input's window, which is black around them."""
    height, width, channels = pixels.shape
    if (height, width) == (spec.height, spec.width):
        return pixels
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    window = np.zeros((spec.height, spec.width, channels), np.uint8)
    window[top : top + height, left : left + width] = pixels
    return window


def _fromarray(pixels: Pixels) -> Image.Image:
    from PIL import Image

    return Image.fromarray(
        np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels)
    )


def _check_scans(data: bytes, pixels: int) -> None:
    """Bound the time that a progressive JPEG takes; a scan has at least ten bytes."""
    if len(data) // 10 * pixels > MAX_SCANNED_PIXELS:
        count = jpeg.scans(data)
        if count * pixels > MAX_SCANNED_PIXELS:
            raise ImageError(f"progressive JPEG of {count:,} scans, too many for {pixels:,} pixels")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"image of {width} x {height} pixels is over the limit of {max_pixels:,} pixels"
        )
    if width < 1 or height < 1:
        raise ImageError(f"image of {width} x {height} pixels")
