"""PyTorch's zip archives are checked before they are read: no zip bombs, no code that runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

from fer_runtime.errors import ModelFileError
from fer_train.pickles import foreign_objects, plain_types

MAX_GROWTH = 4
"""An archive may unpack to this many times its size; PyTorch compresses nothing but code."""
SMALL = 64 << 20
"""Bytes that any archive may unpack to."""
SHOWN = 3
"""Refused objects that a message names."""


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


def read(path: Path, *, trust_pickle: bool = False, advice: str = "") -> Any:
    """The content of a file that `torch.save` wrote, on the CPU.

    Nothing in it is executed unless `trust_pickle`. Beside tensors and plain values, objects of
    common harmless types (NumPy scalars and arrays, paths, dates, `argparse.Namespace`) are
    accepted and come back as `Inert` placeholders.

    Args:
        path: a file of torch.save, in the zip or in the old format.
        trust_pickle: unpickle everything, which executes code in the file.
        advice: appended to the message where a pickle is refused.

    Raises:
        ModelFileError: no such file, another kind of file, a broken one, or (without
            `trust_pickle`) one whose loading would execute code; the message names the entries.
    """
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist, or is not a file.")
    check_size(path)
    if not zipfile.is_zipfile(path) and not _is_pickle(path):
        raise ModelFileError(_not_a_checkpoint(path))
    import torch

    try:
        with torch.serialization.safe_globals(plain_types()):
            return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        try:
            found = foreign_objects(path)
        except (pickle.UnpicklingError, *_BROKEN):
            found = []
        if not found:
            raise ModelFileError(_not_a_checkpoint(path, error)) from None
        shown = ", ".join(f"{key or 'the whole file'} ({name})" for key, name in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ModelFileError(
            f"{path} contains objects that are not tensors or plain values: {shown}{more}. Loading "
            "those would execute code, so it is refused. Save the weights alone instead: "
            f"torch.save(model.state_dict(), path){advice or '.'}"
        ) from None
    except ImportError as error:
        raise ModelFileError(
            f"{path} is a pickle that requires the module {error.name!r}, which is not installed; "
            "run from the project that made it, or save a state dict instead."
        ) from None
    except _BROKEN as error:
        raise ModelFileError(_not_a_checkpoint(path, error)) from None


_BROKEN = (
    RuntimeError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError,
    AssertionError, ArithmeticError, MemoryError,
)  # fmt: skip
"""What torch.load raises for files that are truncated or of another kind."""


def _not_a_checkpoint(path: Path, error: BaseException | None = None) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0] if error else ""
    return (
        f"{path} is not a checkpoint that torch.save wrote{f' ({reason})' if reason else ''}; it "
        "may be truncated, or another kind of file."
    )


def _is_pickle(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(1) == pickle.PROTO


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
