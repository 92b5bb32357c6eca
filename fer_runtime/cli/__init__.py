"""`fer-infer`, `fer-pack`, `fer-serve`, `fer-doctor`: thin command lines over functions.

Nothing heavy is imported here, so that Ctrl-C during the imports of a command is caught as well.
"""

from __future__ import annotations

import sys
from importlib import import_module


def start(module: str) -> None:
    """Run the function `main` of a command's module; Ctrl-C while it is imported ends quietly."""
    try:
        import_module(module).main()
    except KeyboardInterrupt:
        sys.exit(130)


def run_infer() -> None:
    """Entry point of `fer-infer`, and of `python -m fer_runtime`."""
    start("fer_runtime.cli.infer")


def run_pack() -> None:
    """Entry point of `fer-pack`."""
    start("fer_runtime.cli.pack")


def run_doctor() -> None:
    """Entry point of `fer-doctor`."""
    start("fer_runtime.cli.doctor")


def run_serve() -> None:
    """Entry point of `fer-serve`."""
    start("fer_runtime.cli.serve")
