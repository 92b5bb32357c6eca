"""Image files, bytes, Pillow images and arrays -> uint8 pixels that fit an InputSpec.

The only decode and resize in the project: training's evaluation, calibration, parity and the
runtime all call `load`, so that none of them can differ from the others.
"""

from fer_runtime.images.fitting import Pixels
from fer_runtime.images.in_memory import BinaryFile, Source, content_of, is_pillow
from fer_runtime.images.limits import MAX_FILE_BYTES, MAX_PIXELS
from fer_runtime.images.loading import EXTENSIONS, decode, load, load_batch, read, size

__all__ = [
    "EXTENSIONS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "BinaryFile",
    "Pixels",
    "Source",
    "content_of",
    "decode",
    "is_pillow",
    "load",
    "load_batch",
    "read",
    "size",
]
