"""The machine that a figure was measured on."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np


def machine() -> dict[str, Any]:
    """CPU, cores that this process may use, and versions."""
    from fer_runtime.machine import processor, usable_threads

    return {
        "cpu": processor(),
        "cores": usable_threads(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "numpy": np.__version__,
    }
