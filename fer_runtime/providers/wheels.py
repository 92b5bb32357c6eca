"""Which onnxruntime wheel is installed: exactly one, or nothing runs."""

from __future__ import annotations

import contextlib
import os
import sys

from fer_runtime.errors import ProviderError

PLUGIN = "onnxruntime_ep_"
"""The names of plugin wheels start with it."""
_VARIANTS = {"", "-gpu", "-directml", "-openvino", "-qnn", "-rocm", "-training"}


def check_wheels() -> None:
    """Raise ProviderError unless exactly one onnxruntime wheel is installed."""
    wheels = installed_wheels()
    if len(wheels) > 1:
        raise ProviderError(
            f"{' and '.join(wheels)} are both installed, and overwrite one another's files; "
            f"keep one: pip uninstall -y {' '.join(wheels)}, then pip install onnxruntime, or "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'."
        )
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Ctrl-C while its library was loaded
            raise KeyboardInterrupt from None
        raise ProviderError(
            f"onnxruntime cannot be imported ({error}); "
            "pip install onnxruntime, or 'onnxruntime-gpu[cuda,cudnn]' for an NVIDIA GPU."
        ) from None
    if os.environ.get("ORT_DISABLE_TELEMETRY") == "1" and hasattr(
        onnxruntime, "disable_telemetry_events"
    ):
        onnxruntime.disable_telemetry_events()  # for a program that loaded onnxruntime before us
    if not hasattr(onnxruntime, "InferenceSession"):
        raise ProviderError(
            "onnxruntime is only partly installed (one wheel was removed over another); "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install one of them."
        )


def installed_wheels() -> list[str]:
    """Names of the installed distributions that provide the module onnxruntime."""
    found = {name.replace("_", "-") for name, _ in distributions()}
    return sorted(name for name in found if name.removeprefix("onnxruntime") in _VARIANTS)


def distributions() -> list[tuple[str, str]]:
    """(name, version) of the installed distributions whose names begin with onnxruntime.

    Read from the folder listing: importlib.metadata alone would cost a tenth of a cold start.
    """
    found = []
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder or "."):
                if entry.name.startswith("onnxruntime") and entry.name.endswith(".dist-info"):
                    name, dash, version = entry.name.removesuffix(".dist-info").partition("-")
                    if dash:
                        found.append((name, version))
    return found
