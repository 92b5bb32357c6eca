"""The table of export formats: a new format is one module and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fer_runtime._lazy import resolve
from fer_runtime.errors import DataError, ModelFileError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fer_export.inspection import Inspection
    from fer_runtime.spec import ModelSpec
    from fer_train.models import Deployable

    Arrays = dict[str, npt.NDArray[Any]]
    Runner = Callable[[npt.NDArray[np.uint8]], Arrays]


@dataclass(frozen=True)
class NoSettings:
    """The settings of a format that has none."""


@dataclass(frozen=True)
class Values:
    """What both sides compute on the way, by name, for `--bisect`.

    Attributes:
        reference: PyTorch's values.
        candidate: the artefact's, in the order of its graph.
        places: name -> (node, operator, module of the model).
    """

    reference: Mapping[str, npt.NDArray[Any]]
    candidate: Mapping[str, npt.NDArray[Any]]
    places: Mapping[str, tuple[str, str, str]]


@dataclass(frozen=True)
class Format:
    """How one kind of artefact is written, recognised, hashed and run.

    Functions may be given as "package.module:name", so that the table imports neither torch nor
    onnx.

    Attributes:
        ending: of its files; `verify` recognises them by it.
        title: what `inspect` and messages call such a file.
        help: of its command, `fer-export NAME`; the first line is shown in the list of commands.
        converter: (deployable, spec, path, **settings) writes the file. The deployable is in
            evaluation mode. Raises ModelFileError where it cannot be converted.
        embedder: (path, spec) writes the file again with another spec.
        hasher: (path) -> hash of all of the file but its spec.
        opener: (path, provider) -> Runner: (N, C, H, W) uint8 -> arrays `logits`, `probabilities`.
        inspector: (path) -> Inspection, or None where the file is of another kind; executes nothing
            in it.
        settings: dataclass of the format's own options, each made by `option`; `converter` takes
            them as keywords.
        precisions: those of `PRECISIONS` that it can be written in.
        providers: those of `fer_runtime.providers.PROVIDERS` that `opener` takes. Export compares
            on each that runs here.
        runtime: whether `fer_runtime` runs it, so that files are compared with labels too.
        timed_opener: as `opener`, on one thread, for measuring speed; default: `opener` on the CPU.
        bisector: (deployable, spec, path, (N, C, H, W) uint8) -> Values; None where its values have
            no names.
    """

    ending: str
    title: str
    help: str
    converter: str | Callable[..., None]
    embedder: str | Callable[[Path, ModelSpec], None]
    hasher: str | Callable[[Path], str]
    opener: str | Callable[[Path, str], Runner]
    inspector: str | Callable[[Path], Inspection | None]
    settings: str | type = NoSettings
    precisions: tuple[str, ...] = ("fp32",)
    providers: tuple[str, ...] = ("cpu",)
    runtime: bool = False
    timed_opener: str | Callable[[Path], Runner] | None = None
    bisector: str | Callable[..., Values] | None = None

    def convert(
        self, deployable: Deployable, spec: ModelSpec, path: Path, settings: Mapping[str, Any]
    ) -> None:
        """Write the artefact; `settings` are those of the format's own options that differ."""
        resolve(self.converter)(deployable, spec, path, **settings)

    def embed(self, path: Path, spec: ModelSpec) -> None:
        """Write the file again with another spec."""
        resolve(self.embedder)(path, spec)

    def sha256(self, path: Path) -> str:
        """Hash of all of the file but its spec."""
        return cast(str, resolve(self.hasher)(path))

    def runner(self, path: Path, provider: str = "cpu") -> Runner:
        """Open the file: (N, C, H, W) uint8 pixels -> named arrays."""
        return cast("Runner", resolve(self.opener)(path, provider))

    def timed_runner(self, path: Path) -> Runner:
        """Open the file on one CPU thread, as far as the format decides on that itself."""
        if self.timed_opener is None:
            return self.runner(path)
        return cast("Runner", resolve(self.timed_opener)(path))

    def inspect(self, path: Path) -> Inspection | None:
        """What the file contains, or None where it is of another kind."""
        return cast("Inspection | None", resolve(self.inspector)(path))

    def settings_type(self) -> type:
        """The dataclass of its own options."""
        return cast(type, resolve(self.settings))

    def setting_names(self) -> tuple[str, ...]:
        """The names of its own options."""
        return tuple(entry.name for entry in fields(self.settings_type()))


_ONNX = "fer_export.formats.to_onnx"
_TORCHSCRIPT = "fer_export.formats.to_torchscript"
_PROGRAM = "fer_export.formats.to_exported_program"

FORMATS: dict[str, Format] = {
    "onnx": Format(
        ending=".onnx",
        title="ONNX",
        help="Export to ONNX, which fer-infer runs without torch.",
        converter=f"{_ONNX}:convert",
        embedder=f"{_ONNX}:embed",
        hasher=f"{_ONNX}:weights_sha256",
        opener=f"{_ONNX}:runner",
        inspector="fer_export.formats.graph:inspect",
        settings="fer_export.formats.onnx_settings:OnnxSettings",
        precisions=("fp32", "fp16", "fp16-weights", "int8"),
        providers=("cpu", "cuda", "tensorrt", "openvino"),
        runtime=True,
        timed_opener=f"{_ONNX}:timed_runner",
        bisector=f"{_ONNX}:values",
    ),
    "torchscript": Format(
        ending=".torchscript",
        title="TorchScript",
        help="Export to TorchScript, for torch.jit.load.\n\n"
        "PyTorch deprecates it since 2.11; pt2 is its successor. Loading TorchScript executes the "
        "code inside the file.",
        converter=f"{_TORCHSCRIPT}:convert",
        embedder=f"{_TORCHSCRIPT}:embed",
        hasher=f"{_TORCHSCRIPT}:weights_sha256",
        opener=f"{_TORCHSCRIPT}:runner",
        inspector=f"{_TORCHSCRIPT}:inspect",
    ),
    "pt2": Format(
        ending=".pt2",
        title="torch.export program",
        help="Export to a program of torch.export (.pt2), for torch.export.load.\n\n"
        "Loading a .pt2 unpickles its constants, which can execute code; fer-export refuses one "
        "that would.",
        converter=f"{_PROGRAM}:convert",
        embedder=f"{_PROGRAM}:embed",
        hasher=f"{_PROGRAM}:weights_sha256",
        opener=f"{_PROGRAM}:runner",
        inspector=f"{_PROGRAM}:inspect",
        bisector=f"{_PROGRAM}:values",
    ),
}
"""Name of the command -> format. `fer-export all` exports to each, in this order.

To add one from outside, put an entry here before `fer_export.cli` is imported.
"""


def format_of(artefact: Path) -> Format:
    """The format of a file by its ending; raises ModelFileError for an unknown one."""
    for chosen in FORMATS.values():
        if artefact.suffix == chosen.ending:
            return chosen
    endings = ", ".join(chosen.ending for chosen in FORMATS.values())
    raise ModelFileError(f"{artefact}: unknown ending; an artefact ends in one of {endings}.")


def format_named(name: str) -> Format:
    """The format of a name in the table; raises DataError for an unknown one."""
    if name not in FORMATS:
        raise DataError(f"{name!r} is not an export format; allowed: {', '.join(FORMATS)}.")
    return FORMATS[name]
