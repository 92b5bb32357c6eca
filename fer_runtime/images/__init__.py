"""Image files, bytes and arrays -> uint8 pixels that fit an InputSpec.

The only decode and resize in the project: training's evaluation, calibration, parity and the
runtime all call `load`, so that none of them can differ from the others.
"""

from fer_runtime.images.loading import (
    EXTENSIONS,
    MAX_FILE_BYTES,
    MAX_PIXELS,
    Pixels,
    Source,
    decode,
    load,
    load_batch,
    not_an_image,
    read,
    size,
)

__all__ = [
    "EXTENSIONS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "Pixels",
    "Source",
    "decode",
    "load",
    "load_batch",
    "not_an_image",
    "read",
    "size",
]
