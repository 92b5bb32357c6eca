"""The table of engines: a new engine is one module and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fer_runtime._lazy import resolve
from fer_runtime.errors import DataError

if TYPE_CHECKING:
    from fer_export.engines.arrays import Pixels, Ran
    from fer_runtime.spec import ModelSpec

ALL = "all"


@dataclass(frozen=True)
class Engine:
    """An engine that runs artefacts.

    Functions may be given as "package.module:name", so that the table imports no engine.

    Attributes:
        title: what messages call it.
        endings: of the files that it runs.
        runner: (path, spec, batches of (N, C, H, W) uint8) -> Ran. Any exception is a failure.
        missing: () -> why it cannot run here, "" where it can.
    """

    title: str
    endings: tuple[str, ...]
    runner: str | Callable[[Path, ModelSpec, Sequence[Pixels]], Ran]
    missing: str | Callable[[], str]

    def why_not(self) -> str:
        """Why it cannot run here; "" where it can."""
        return cast(str, resolve(self.missing)())

    def run(self, path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
        """Run an artefact on each batch."""
        return cast("Ran", resolve(self.runner)(path, spec, batches))


_HERE = "fer_export.engines"


def _engine(title: str, module: str, ending: str = ".onnx", suffix: str = "") -> Engine:
    name = f"{_HERE}.{module}"
    return Engine(title, (ending,), f"{name}:run{suffix}", f"{name}:missing")


ENGINES: Mapping[str, Engine] = {
    "onnxruntime": _engine("onnxruntime", "native"),
    "openvino": _engine("OpenVINO, asked for f32", "openvino"),
    "openvino-default": _engine(
        "OpenVINO, as it chooses by itself", "openvino", suffix="_by_default"
    ),
    "onnxruntime-web": _engine("onnxruntime-web, in node", "web"),
    "opencv": _engine("OpenCV's dnn", "opencv"),
    "torchscript": _engine("TorchScript", "torchscript", ".torchscript"),
    "pt2": _engine("torch.export program", "exported_program", ".pt2"),
    "hub": _engine("the graph of a hub folder, in onnxruntime", "hub"),
}
"""Name of `--engine` -> engine."""


def chosen(names: str) -> Sequence[str]:
    """The engines that an option names: "all", or names with commas between.

    Raises:
        DataError: an unknown name, or none.
    """
    if names == ALL:
        return tuple(ENGINES)
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in found if name not in ENGINES]
    if unknown or not found:
        raise DataError(
            f"{unknown[0] if unknown else names!r} is not an engine; allowed: "
            f"{', '.join(ENGINES)}, or all."
        )
    return found
