"""Images that a caller has in memory: encoded bytes, open files, Pillow images, arrays.

Neither Pillow nor torch is imported to recognise their objects: whoever made one has done so.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, Union

import numpy as np

from fer_runtime.errors import ImageError
from fer_runtime.images import pillow
from fer_runtime.images.fitting import Pixels
from fer_runtime.images.limits import MAX_FILE_BYTES

if TYPE_CHECKING:
    from PIL import Image


class BinaryFile(Protocol):
    """A file opened with mode "rb", an `io.BytesIO` or an upload: its `read` returns bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


Source = Union[str, os.PathLike[str], bytes, Pixels, BinaryFile, "Image.Image"]


def content_of(source: object) -> bytes | Pixels:
    """A copy of what an object that is not a path contains: encoded bytes, or (H, W[, C]) uint8.

    Raises:
        ImageError: no image, or a file that cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, np.ndarray):
        return source.copy()
    if is_pillow(source):
        return pillow.upright_pixels(source)
    if callable(getattr(source, "read", None)):
        return _read_open(source)
    raise ImageError(not_an_image(source))


def is_pillow(source: object) -> TypeGuard[Image.Image]:
    """Whether it is a Pillow image; Pillow is not imported for it."""
    return isinstance(source, _imported("PIL.Image", "Image"))


def not_an_image(source: object) -> str:
    """What to tell the caller about an object that is not a Source."""
    if isinstance(source, _imported("torch", "Tensor")):
        return _advice_for(source)
    return (
        f"a {type(source).__name__} is not an image; allowed: a path, the bytes of a file, an open "
        "binary file, a Pillow image, a uint8 array"
    )


def _imported(module: str, name: str) -> Any:
    """A class if its module is imported already; else (), of which nothing is an instance."""
    return getattr(sys.modules.get(module), name, ())


def _advice_for(tensor: Any) -> str:
    """The array to write for a torch tensor, by its shape, type and device."""
    shape = tuple(tensor.shape)
    code = "tensor"
    code += ".detach()" if tensor.requires_grad else ""
    code += ".cpu()" if tensor.device.type != "cpu" else ""
    if len(shape) == 4:
        return f"a torch tensor of shape {shape} is a batch; pass its images one at a time"
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        code += ".permute(1, 2, 0)"
    code += ".numpy()"
    if not str(tensor.dtype).endswith("uint8"):
        code = f"({code} * 255).round().astype('uint8'), if its values are from 0 to 1"
    return f"a torch tensor of shape {shape} is not taken; pass an array (H, W[, C]): {code}"


def _read_open(stream: Any) -> bytes:
    """The rest of an open binary file."""
    parts, count = [], 0
    try:
        while part := stream.read(MAX_FILE_BYTES + 1 - count):
            if not isinstance(part, bytes):
                raise ImageError(
                    f"read() of this {type(stream).__name__} gives {type(part).__name__}, not "
                    'bytes; open the file with mode "rb"'
                )
            parts.append(part)
            count += len(part)
            if count > MAX_FILE_BYTES:
                raise ImageError(f"file is over the {MAX_FILE_BYTES:,} limit of bytes")
    except (OSError, ValueError, TypeError) as error:  # a closed file is a ValueError
        raise ImageError(f"cannot be read: {error}") from None
    if not parts:
        raise ImageError("no bytes left to read; rewind the file with seek(0), or open it again")
    return b"".join(parts)
