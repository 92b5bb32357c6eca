"""Hard links that stand for more images than there are."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from fer_runtime.errors import DataError
from fer_runtime.sources import Files


def link(data: Path, target: Path, count: int, *, in_each: int | None = None) -> None:
    """Links to the images of a folder, again and again, named by their number and their own names.

    Args:
        data: folder of images.
        target: where the links are made, on the same file system.
        count: how many.
        in_each: links in each folder below `target`; None for all in `target` itself.

    Raises:
        DataError: no images in `data`.
    """
    originals = [item.path for item in Files([data])]
    if not originals:
        raise DataError(f"{data}: no image files there.")
    for index, path in enumerate(itertools.islice(itertools.cycle(originals), count)):
        folder = target if in_each is None else target / f"{index // in_each:05}"
        if index % (in_each or count) == 0:
            folder.mkdir(parents=True, exist_ok=True)
        os.link(path, folder / f"{index:07}_{os.path.basename(path)}")
