"""What a `.ferpack` folder contains, and which parts of an InputSpec its pixels depend on.

    pixels.bin   (N, C, H, W) uint8; an image that could not be read is black
    names.bin    the N names, UTF-8, a NUL after each
    names.idx    uint64: where every 1,024th name begins
    labels.bin   int16: the true label of each image, -1 where none is known
    pack.json    everything else: see `Header`

Packs are read by memory map, so that any number of processes share one copy in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec

ENDING = ".ferpack"
FORMAT = 1
PIXELS, NAMES, INDEX, LABELS, HEADER = (
    *("pixels.bin", "names.bin", "names.idx", "labels.bin", "pack.json"),
)
NAMES_IN_BLOCK = 1024
DECIDES_PIXELS = ("height", "width", "channels", "resize_mode", "interpolation", "resize_to")
"""Fields of InputSpec: two models that agree in these get the same pixels of every image."""


class Header(NamedTuple):
    """What `pack.json` says.

    Attributes:
        images: how many.
        input: the fields of `DECIDES_PIXELS`.
        labels: the true labels, in the order of the numbers in `labels.bin`.
        errors: why an image could not be read, by its place.
        max_pixels: larger images were refused.
        version: of fer-runtime that wrote it; decoders may differ in another one.
    """

    images: int
    input: Mapping[str, Any]
    labels: tuple[str, ...]
    errors: Mapping[int, str]
    max_pixels: int
    version: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each image."""
        channels, height, width = (int(self.input[k]) for k in ("channels", "height", "width"))
        return channels, height, width

    def to_json(self) -> str:
        """The text of `pack.json`."""
        return json.dumps({"format": FORMAT, **self._asdict()}, indent=2) + "\n"

    def sizes(self) -> dict[str, int | None]:
        """Bytes that each file must have; None where that is not known."""
        channels, height, width = self.shape
        blocks = -(-self.images // NAMES_IN_BLOCK)
        pixels = self.images * channels * height * width
        return {PIXELS: pixels, LABELS: 2 * self.images, INDEX: 8 * blocks, NAMES: None}

    def require(self, spec: InputSpec, folder: str) -> None:
        """Raises DataError where a model requires other pixels than these."""
        for name, wanted in pixel_fields(spec).items():
            if self.input.get(name) != wanted:
                raise DataError(
                    f"{folder} was packed with {name} {self.input.get(name)}, but the model "
                    f"requires {wanted}. Pack the images again with `fer-pack --model`, or run on "
                    "the files themselves."
                )


def pixel_fields(spec: InputSpec) -> dict[str, Any]:
    """The fields of `DECIDES_PIXELS` as JSON has them."""
    found = {name: getattr(spec, name) for name in DECIDES_PIXELS}
    size = found["resize_to"]
    return {**found, "resize_to": list(size) if isinstance(size, tuple) else size}


def read_header(folder: str | os.PathLike[str]) -> Header:
    """The header of a pack whose files have the sizes that it says; raises DataError."""
    path = Path(folder)
    try:
        text = (path / HEADER).read_text(encoding="utf-8")
    except OSError as error:
        why = "it has no pack.json" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path} is not a pack of images ({why}); fer-pack makes one.") from None
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise DataError(f"{path} is of another format than {FORMAT}; pack the images again.")
        header = Header(**found)
        header = header._replace(
            images=int(header.images),
            labels=tuple(header.labels),
            errors={int(place): str(why) for place, why in header.errors.items()},
        )
        sizes = header.sizes()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path / HEADER} is broken ({error}); pack the images again.") from None
    for name, size in sizes.items():
        try:
            actual = (path / name).stat().st_size
        except OSError as error:
            raise DataError(f"{path / name} cannot be read: {error.strerror}") from None
        if size is not None and actual != size:
            raise DataError(
                f"{path / name} has {actual:,} bytes, not {size:,}; it was cut off or changed. "
                "Pack the images again."
            )
    return header
