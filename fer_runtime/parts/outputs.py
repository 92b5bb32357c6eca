"""Which outputs are folders of parts, and what these may be."""

from __future__ import annotations

from fer_runtime.errors import DataError
from fer_runtime.sinks.table import STDOUT, ending_of

PART_IMAGES = 10_240
"""Images of a part: minutes of work for a slow model, and a file worth its request."""
FORMATS = (".parquet", ".csv", ".jsonl")


def is_folder_of_parts(output: str) -> bool:
    """Whether an output is a folder of parts: its name ends in a slash."""
    return output.endswith("/")


def default_ending(output: str) -> str:
    """The format of an output that none is chosen for; raises DataError."""
    if is_folder_of_parts(output):
        return FORMATS[0]
    return ".csv" if output == STDOUT else ending_of(output)


def whole_batches(part_images: int, at_once: int) -> int:
    """Images of a part, rounded up so that batches are those of one output file.

    >>> whole_batches(10_000, 32)
    10016

    Raises:
        ValueError: below 1.
    """
    if part_images < 1:
        raise ValueError(f"part_images={part_images}; it must be at least 1")
    return -(-part_images // at_once) * at_once


def require_one_file(output: str) -> None:
    """Raises DataError for a folder of parts, where faces are followed from row to row."""
    if is_folder_of_parts(output):
        raise DataError(f"{output}: the faces of a video are followed; name one output file.")
