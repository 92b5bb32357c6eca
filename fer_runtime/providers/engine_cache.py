"""Where engines that were compiled for this machine are kept, so that the next start is faster.

Each has a folder of its own for the model's content, the library's version and the device, so that
a stale one is never found. Without a folder that can be written, nothing is kept.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from fer_runtime.machine import processor
from fer_runtime.user_cache import user_folder


def folder_of(model: Path, library: str, device: str = "") -> Path | None:
    """The folder for a model's engines, made if need be; None where it cannot be written.

    Args:
        model: the ONNX file.
        library: name and version of what compiles it.
        device: the device it is compiled for; default: this CPU.
    """
    base = user_folder()
    if base is None:
        return None
    from fer_runtime.hashing import file_sha256

    key = re.sub(r"[^A-Za-z0-9.]+", "-", f"{library}-{device or processor()}").strip("-")
    folder = base / "engines" / f"{file_sha256(model)[:16]}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
