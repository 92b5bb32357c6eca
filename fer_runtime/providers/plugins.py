"""Plugin libraries: wheels named onnxruntime-ep-NAME, each with a provider for onnxruntime.

onnxruntime loads such a library when it is registered, once for the process. It may be registered
already, by the program around us or by onnxruntime itself.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from fer_runtime.providers import wheels
from fer_runtime.providers.cause import Cause


class Plugin(NamedTuple):
    """An installed plugin wheel: the module's name, and the version."""

    module: str
    version: str

    @property
    def wheel(self) -> str:
        """The name that pip knows."""
        return self.module.replace("_", "-")

    def names(self) -> list[str]:
        """What onnxruntime calls the providers in it; raises Exception for a broken wheel."""
        module = importlib.import_module(self.module)
        found = module.get_ep_names() if hasattr(module, "get_ep_names") else [module.get_ep_name()]
        return list(found)

    def path(self) -> str:
        """Its library; raises Exception for a broken wheel."""
        return str(importlib.import_module(self.module).get_library_path())


def installed() -> list[Plugin]:
    """The plugin wheels that are installed, as their names say."""
    return sorted(
        Plugin(name, version)
        for name, version in wheels.distributions()
        if name.startswith(wheels.PLUGIN)
    )


def devices(name: str) -> list[Any]:
    """What onnxruntime lists for a provider of a plugin, each device once; [] where it is none."""
    import onnxruntime

    if not hasattr(onnxruntime, "get_ep_devices"):
        return []
    found: dict[tuple[Any, ...], Any] = {}
    for entry in onnxruntime.get_ep_devices():
        if entry.ep_name == name:  # twice where its library was registered under two names
            device = entry.device
            found.setdefault((device.type, device.device_id, *device.metadata.items()), entry)
    return list(found.values())


def register(name: str) -> list[Cause] | None:
    """See to it that a provider's plugin is registered -> why it cannot be; None without a plugin.

    Nothing is done where onnxruntime lists devices for it already.
    """
    import onnxruntime

    if devices(name):
        return []
    causes: list[Cause] | None = None
    for plugin in installed():
        try:
            if name not in plugin.names():
                continue
            onnxruntime.register_execution_provider_library(name, plugin.path())
        except Exception as error:  # of a foreign module, or of onnxruntime, without a common base
            if "already registered" not in str(error):
                reason = str(error).strip().splitlines()[0]
                causes = [
                    Cause(
                        f"the plugin {plugin.wheel} {plugin.version} does not load in onnxruntime "
                        f"{onnxruntime.__version__}",
                        f"pip install --upgrade onnxruntime {plugin.wheel}",
                        reason,
                    )
                ]
                continue
        if devices(name):
            return []
        causes = [Cause(f"the plugin {plugin.wheel} {plugin.version} finds no device")]
    return causes
