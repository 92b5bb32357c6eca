"""`fer-doctor`: what is installed and what runs here, as a value and as text."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Annotated, Any

import typer

from fer_runtime._version import __version__
from fer_runtime.cli.console import VersionFlag, make_app, run_app

app = make_app()
PACKAGES = (
    "numpy",
    "pillow",
    "simplejpeg",
    "pyarrow",
    "av",
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
)


def report() -> dict[str, Any]:
    """Versions, cores, default model and providers, in plain values."""
    from fer_runtime import providers
    from fer_runtime.classifier import find_model
    from fer_runtime.errors import ModelFileError
    from fer_runtime.machine import usable_threads

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


@app.command()
def fer_doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    version: VersionFlag = False,
) -> None:
    """Show what is installed, which providers run here, and why the others do not."""
    found = report()
    if as_json:
        import json

        print(json.dumps(found, indent=2))
    else:
        print(as_text(found), end="")


def main() -> None:
    """Run the command line."""
    run_app(app)
