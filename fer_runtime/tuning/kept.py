"""The file of what was tuned, in the user's folder: a broken one is as good as none."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

from fer_runtime.machine import processor, usable_threads
from fer_runtime.tuning.settings import Settings
from fer_runtime.user_cache import TUNED, user_folder

SCHEMA_VERSION = 1


def find(model: Path, provider: str, *, faces: bool) -> Settings | None:
    """What was found for this model, provider and machine; None where nothing was."""
    file = _file()
    if file is None:
        return None
    try:
        return Settings.of(_read(file).get(_key(model, provider, faces=faces)))
    except OSError:  # the model is not there, which the run says
        return None


def keep(settings: Settings, model: Path, provider: str, *, faces: bool) -> Path | None:
    """Keep what was found -> the file; None where the folder cannot be written."""
    file = _file()
    if file is None:
        return None
    entries = _read(file) | {_key(model, provider, faces=faces): settings._asdict()}
    text = json.dumps({"schema_version": SCHEMA_VERSION, "settings": entries}, indent=2)
    partial = file.with_name(f"{TUNED}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        return None
    return file


def _file() -> Path | None:
    folder = user_folder()
    return folder / TUNED if folder else None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        entries = found["settings"] if found["schema_version"] == SCHEMA_VERSION else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _key(model: Path, provider: str, *, faces: bool) -> str:
    """What settings depend on: another of these, and they are not found."""
    from fer_runtime.providers.wheels import distributions

    # Not SHA-256: loading OpenSSL takes longer than all of this, and a wrong hit only costs speed.
    content = f"{zlib.crc32(model.read_bytes()):08x}"
    libraries = "+".join(sorted("-".join(each) for each in distributions()))
    parts = (content, provider, processor(), usable_threads(), libraries)
    return "|".join(map(str, (*parts, "faces" if faces else "whole images")))
