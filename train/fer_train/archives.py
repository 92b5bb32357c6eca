"""PyTorch's zip archives are checked before they are read: no zip bombs, no code that runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

from fer_runtime.errors import ModelFileError

MAX_GROWTH = 4
"""An archive may unpack to this many times its size; PyTorch compresses nothing but code."""
SMALL = 64 << 20
"""Bytes that any archive may unpack to."""


def check_size(path: Path) -> None:
    """Refuse an archive that unpacks to far more than it is; other files pass.

    Raises:
        ModelFileError: a zip bomb, or a zip whose directory is broken.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelFileError(f"{path} is a broken zip archive: {error}") from None
    stored = path.stat().st_size
    if unpacked > max(SMALL, MAX_GROWTH * stored):
        raise ModelFileError(
            f"{path} has {stored:,} bytes and would unpack to {unpacked:,}. PyTorch does not "
            "pack models like this, so it is refused."
        )


def check_program(path: Path) -> None:
    """Refuse a `.pt2` archive that would execute code when `torch.export.load` opens it.

    Raises:
        ModelFileError: a pickle in it contains more than tensors and plain values, it has compiled
            code or script objects, or it is broken.
    """
    import torch

    check_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.namelist()
            if len(set(entries)) < len(entries):
                # We cannot know which of the two PyTorch reads.
                raise ModelFileError(f"{path} contains an entry twice, so it is refused.")
            for entry in entries:
                name = entry.partition("/")[2]
                if name.startswith("data/aotinductor/") or "/custom_obj" in name:
                    raise ModelFileError(
                        f"{path} contains {name}, which would be executed on loading; refused."
                    )
            for entry in _pickles(archive):
                torch.load(io.BytesIO(archive.read(entry)), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelFileError(
            f"{path}: loading {entry} would execute code, so it is refused; fer-export writes "
            "tensors and plain values only."
        ) from None
    except (
        zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError,
        AttributeError,
    ) as error:  # fmt: skip
        reason = str(error) or type(error).__name__
        raise ModelFileError(f"{path} is not an archive of torch.export: {reason}") from None


def _pickles(archive: zipfile.ZipFile) -> list[str]:
    """The entries that `torch.export.load` unpickles."""
    found = [entry for entry in archive.namelist() if entry.endswith(".pt")]
    names = {entry.partition("/")[2]: entry for entry in archive.namelist()}
    for name, entry in names.items():
        if name.endswith("_config.json"):
            folder = name.rpartition("/")[0]
            for payload in json.loads(archive.read(entry))["config"].values():
                if payload["use_pickle"]:
                    found.append(names[f"{folder}/{payload['path_name']}"])
    return found
