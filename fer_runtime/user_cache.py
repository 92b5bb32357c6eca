"""The folder of what fer-runtime keeps for a user between runs; nothing depends on it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "FER_CACHE"
"""Names the folder of all that fer-runtime keeps for this user; empty for none."""


TUNED = "tuned.json"
"""The file there of what `--tune` found."""


def user_folder() -> Path | None:
    """The folder of what fer-runtime keeps for this user; None where nothing is kept."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return Path(given) if given else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "fer-runtime"
