"""Writing a pack: every image decoded once, in constant memory; complete or not there at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from fer_runtime import images
from fer_runtime._version import __version__
from fer_runtime.errors import DataError, ImageError
from fer_runtime.images import MAX_PIXELS, Pixels
from fer_runtime.items import Item
from fer_runtime.machine import usable_threads
from fer_runtime.packed.layout import (
    ENDING,
    HEADER,
    INDEX,
    LABELS,
    NAMES,
    NAMES_IN_BLOCK,
    PIXELS,
    Header,
    pixel_fields,
)
from fer_runtime.sinks.resume import lock
from fer_runtime.sources.combined import Sources
from fer_runtime.sources.table import SourceOptions
from fer_runtime.spec import InputSpec
from fer_runtime.stages.base import source_of

AT_ONCE = 64
"""Images that one thread decodes at once."""
MOST_LABELS = 32_767


class PackResult(NamedTuple):
    """What was packed.

    Attributes:
        output: the folder.
        images: how many images, those with an error too.
        errors: images that could not be read.
        skipped: other files in the sources.
        bytes: size of the pixels.
        seconds: from the first image to the end.
    """

    output: str
    images: int
    errors: int
    skipped: int
    bytes: int
    seconds: float


def pack(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sources,
    output: str | os.PathLike[str],
    spec: InputSpec,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    reading: SourceOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> PackResult:
    """Decode every image of `sources` as a model with `spec` takes it, into one folder.

    >>> from fer_runtime import infer, Classifier
    >>> spec = Classifier.load("compact_cnn").spec.input
    >>> pack([face], folder / "faces.ferpack", spec).images
    1
    >>> infer(folder / "faces.ferpack", folder / "packed.csv").rows
    1

    Args:
        sources: as those of `infer`.
        output: a folder whose name ends in .ferpack.
        spec: the input of the model; of it only what decides pixels matters.
        overwrite: replace an output that exists.
        threads: that decode; None for all that this process may use.
        max_pixels: larger images are errors.
        reading: how files that contain many images are read.
        progress: called with the number of images done so far.

    Raises:
        DataError: sources without images, an output that exists or cannot be written, or a source
            that cannot be packed (a camera, a video).
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    if not isinstance(sources, Sources):
        sources = Sources(sources, options=reading)
    target = _checked(output, sources, overwrite=overwrite)
    started = time.perf_counter()
    with _draft(target) as (draft, keep):
        writer = _Writer(draft, spec, max_pixels)
        try:
            for batch, found in _decoded(sources, spec, max_pixels, threads or usable_threads()):
                writer.write(batch, found)
                if progress is not None:
                    progress(writer.count)
            if not writer.count:
                raise DataError(f"{', '.join(sources.sources)}: no image files there.")
        finally:
            writer.close()
        writer.write_header()
        keep()
    size = writer.count * int(np.prod(spec.shape))
    seconds = time.perf_counter() - started
    return PackResult(str(target), writer.count, len(writer.errors), sources.skipped, size, seconds)


class _Writer:
    """Appends images to the files of a pack."""

    def __init__(self, folder: Path, spec: InputSpec, max_pixels: int) -> None:
        self.folder, self.spec, self.max_pixels = folder, spec, max_pixels
        self.count = 0
        self.errors: dict[int, str] = {}
        self._labels: dict[str, int] = {}
        self._starts: list[int] = []
        self._black = np.zeros(spec.shape, np.uint8)
        self._files: list[BinaryIO] = []
        for name in (PIXELS, NAMES, LABELS):
            self._files.append(open(folder / name, "wb", buffering=1 << 20))  # noqa: SIM115

    def write(self, batch: list[Item], found: list[Pixels | ImageError]) -> None:
        """The next images, or why they could not be read."""
        pixels, names, labels = self._files
        for item, each in zip(batch, found, strict=True):
            if self.count % NAMES_IN_BLOCK == 0:
                self._starts.append(names.tell())
            if isinstance(each, ImageError):
                self.errors[self.count] = str(each)
                each = self._black  # noqa: PLW2901
            pixels.write(np.ascontiguousarray(each).data)
            names.write(item.name.replace("\0", " ").encode("utf-8", "surrogateescape") + b"\0")
            labels.write(np.int16(self._number(item.label)).astype("<i2").tobytes())
            self.count += 1

    def _number(self, label: str | None) -> int:
        if label is None:
            return -1
        if len(self._labels) == MOST_LABELS:
            raise DataError(f"More than {MOST_LABELS:,} labels; these are not classes.")
        return self._labels.setdefault(label, len(self._labels))

    def write_header(self) -> None:
        """The file that makes the others a pack; they are complete on the disk before it."""
        np.array(self._starts, "<u8").tofile(self.folder / INDEX)
        header = Header(
            self.count, pixel_fields(self.spec), tuple(self._labels), self.errors,
            self.max_pixels, __version__,
        )  # fmt: skip
        (self.folder / HEADER).write_text(header.to_json(), encoding="utf-8")

    def close(self) -> None:
        """Close the files; raises OSError when the disk is full."""
        for file in self._files:
            file.close()


def _decoded(
    sources: Sources, spec: InputSpec, max_pixels: int, threads: int
) -> Iterator[tuple[list[Item], list[Pixels | ImageError]]]:
    """Batches of items with their pixels, in order."""

    def load(batch: list[Item]) -> list[Pixels | ImageError]:
        return [_load(item, spec, max_pixels) for item in batch]

    items = iter(sources)
    waiting: deque[tuple[list[Item], Future[list[Pixels | ImageError]]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="fer-pack") as pool:
        try:
            while True:
                while len(waiting) < 2 * threads and (batch := list(islice(items, AT_ONCE))):
                    waiting.append((batch, pool.submit(load, batch)))
                if not waiting:
                    return
                batch, found = waiting.popleft()
                yield batch, found.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _load(item: Item, spec: InputSpec, max_pixels: int) -> Pixels | ImageError:
    try:
        return images.load(source_of(item), spec, max_pixels=max_pixels)
    except ImageError as error:
        return error


def _checked(output: str | os.PathLike[str], sources: Sources, *, overwrite: bool) -> Path:
    """The path of the output, where it may be written."""
    target = Path(output)
    if target.suffix != ENDING:
        raise DataError(f"{target}: a pack is a folder whose name ends in {ENDING}.")
    leading, _ = sources.columns()
    if sources.live or leading:
        raise DataError("Videos and cameras cannot be packed; pack single images.")
    sources.check()
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists already; pass --overwrite to replace it.")
    if target.exists() and not ((target / HEADER).is_file() or not any(target.iterdir())):
        raise DataError(f"{target} is not a pack, so it is not replaced; name another output.")
    return target


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder to write to, and what gives it its name; without that it is removed."""
    draft = target.with_name(f"{target.name}.partial")
    try:
        draft.mkdir(parents=True, exist_ok=True)
        with open(draft / "lock", "ab") as held:
            lock(draft, held.fileno())
            for left in draft.iterdir():  # of a run that was killed
                if left.name != "lock":
                    left.unlink()
            try:
                yield draft, lambda: _rename(draft, target)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}") from None


def _rename(draft: Path, target: Path) -> None:
    """Put the finished folder in the place of an older one."""
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    (draft / "lock").unlink()
    os.replace(draft, target)
    shutil.rmtree(old, ignore_errors=True)
