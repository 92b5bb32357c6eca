"""What is installed and what runs here, as a value and as text."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

from fer_runtime import providers
from fer_runtime._version import __version__
from fer_runtime.classifier import find_model
from fer_runtime.errors import ModelFileError
from fer_runtime.machine import usable_threads

PACKAGES = ("numpy", "pillow", "simplejpeg", "torch", "torchvision", "onnx", "onnxscript")


def report() -> dict[str, Any]:
    """Versions, cores, default model and providers, in plain values."""
    try:
        model = str(find_model())
    except ModelFileError as error:
        model = f"none: {error}"
    return {
        "fer-runtime": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cores": usable_threads(),
        "model": model,
        "packages": {name: _version(name) for name in PACKAGES},
        "providers": providers.describe(),
    }


def as_text(found: dict[str, Any]) -> str:
    """The report as lines of `name  value`."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {key:<14}{_plain(entry)}" for key, entry in value.items()]
        else:
            lines.append(f"{name:<16}{value}")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    if value is None:
        return "not installed"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
