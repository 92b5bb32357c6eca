"""Where a data set's images are: folders of splits and classes, walked as inference walks them."""

from __future__ import annotations

from pathlib import Path

from fer_runtime.errors import DataError
from fer_runtime.sources.files import Files

FOLDERS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
"""Split -> the names that its folder may have."""


def split_folder(root: Path, name: str) -> Path | None:
    """The folder of a split; for train, `root` itself where it contains classes and no splits."""
    for candidate in FOLDERS[name]:
        if (root / candidate).is_dir():
            return root / candidate
    if name != "train" or not root.is_dir():
        return None
    taken = {folder for folders in FOLDERS.values() for folder in folders}
    classes = class_folders(root)
    return root if len(classes) > 1 and not taken & set(classes) else None


def class_folders(folder: Path) -> list[str]:
    """The names of a split's classes, sorted; hidden folders are not classes."""
    return sorted(e.name for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """The images below a folder, sorted by their paths.

    Raises:
        DataError: a folder that cannot be listed.
    """
    items = list(Files([folder]))
    for item in items:
        if item.error:
            raise DataError(f"{item.path}: {item.error}")
    return [Path(item.path) for item in items]
