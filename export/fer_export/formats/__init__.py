"""The kinds of artefact: how each is written, given its spec, hashed and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_export import inspection
from fer_export.formats import runners, to_exported_program, to_onnx, to_torchscript
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable


@dataclass(frozen=True)
class Format:
    """How one kind of artefact is written, given a spec, hashed and run."""

    name: str
    ending: str
    convert: Callable[[Deployable, ModelSpec, Path], None]
    embed: Callable[[Path, ModelSpec], None]
    sha256: Callable[[Path], str]
    runner: Callable[[Path], runners.Runner]


FORMATS: Mapping[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            "onnx", ".onnx",
            to_onnx.convert, to_onnx.embed, to_onnx.weights_sha256, runners.onnx,
        ),
        Format(
            "torchscript", ".torchscript",
            to_torchscript.convert, to_torchscript.embed, to_torchscript.weights_sha256,
            runners.torchscript,
        ),
        Format(
            "pt2", ".pt2",
            to_exported_program.convert, to_exported_program.embed,
            to_exported_program.weights_sha256, runners.exported_program,
        ),
    )
}  # fmt: skip
"""Command -> format; adding an exporter touches its module and this table."""


def format_of(artefact: Path) -> Format:
    """The format of a file by its ending; raises ModelFileError for an unknown one."""
    for chosen in FORMATS.values():
        if artefact.suffix == chosen.ending:
            return chosen
    endings = ", ".join(chosen.ending for chosen in FORMATS.values())
    raise ModelFileError(f"{artefact}: an artefact ends in one of {endings}.")


def read_spec(artefact: Path) -> ModelSpec:
    """The spec inside an artefact, without executing anything in it.

    Raises:
        ModelFileError: no such file, broken, or without a spec.
    """
    found = inspection.inspect(artefact)
    if found.spec is None:
        raise ModelFileError(f"{artefact} carries no ModelSpec.")
    return found.spec
