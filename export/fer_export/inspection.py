"""What a model file contains, read from its metadata and zip entries; nothing in it is executed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_export.formats.table import FORMATS
from fer_runtime.errors import ModelFileError, ModelSpecError
from fer_runtime.hashing import file_sha256
from fer_runtime.spec import EXTRA_FILE, ModelSpec
from fer_train import archives

MAX_SPEC_BYTES = 1 << 22


@dataclass(frozen=True)
class Inspection:
    """What a model file contains.

    Attributes:
        path: the file.
        kind: "ONNX", "TorchScript", "torch.export program", "checkpoint", the title of another
            format, or "unknown zip archive".
        size_bytes: of the file.
        spec: the ModelSpec inside, or None.
        facts: more about it by name, in plain values.
    """

    path: Path
    kind: str
    size_bytes: int
    spec: ModelSpec | None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file, as `sha256sum` and model-signing have it."""
        return file_sha256(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            **self.facts,
            "spec": self.spec.to_dict() if self.spec else None,
        }


def inspect(path: Path) -> Inspection:
    """Inspect an artefact of any format, or a checkpoint; the content decides, not the ending.

    Raises:
        ModelFileError: no such file, a broken one, or one of another kind.
        ModelSpecError: the spec inside is broken.
    """
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist, or is not a file.")
    archives.check_size(path)
    for chosen in FORMATS.values():
        found = chosen.inspect(path)
        if found is not None:
            return found
    entries = zip_entries(path)
    if "data.pkl" in entries:
        return _checkpoint(path)
    if entries:
        facts = {"entries": len(entries)}
        return Inspection(path, "unknown zip archive", path.stat().st_size, spec_entry(path), facts)
    raise ModelFileError(_unknown(path))


def read_spec(artefact: Path) -> ModelSpec:
    """The spec inside an artefact, without executing anything in it.

    Raises:
        ModelFileError: no such file, broken, or without a spec.
    """
    found = inspect(artefact)
    if found.spec is None:
        raise ModelFileError(f"{artefact} contains no ModelSpec.")
    return found.spec


def zip_entries(path: Path) -> dict[str, str]:
    """Inner name -> name of each entry of a PyTorch archive; empty for a file that is not a zip.

    Raises:
        ModelFileError: a zip bomb, or a broken zip.
    """
    archives.check_size(path)
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        return {inner_name(entry): entry for entry in archive.namelist()}


def inner_name(entry: str) -> str:
    """An entry's name below the archive's own top folder, which is named after the file."""
    return entry.partition("/")[2]


def spec_entry(path: Path) -> ModelSpec | None:
    """The spec that PyTorch's archives contain as an extra file, or None.

    Raises:
        ModelFileError: the entry is too large.
        ModelSpecError: the spec is broken.
    """
    entry = zip_entries(path).get(f"extra/{EXTRA_FILE}")
    if entry is None:
        return None
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(entry).file_size > MAX_SPEC_BYTES:
            raise ModelFileError(f"{path}: its {EXTRA_FILE} is too large to be a spec.")
        return spec_from(path, archive.read(entry).decode("utf-8", "replace"))


def spec_from(path: Path, text: str) -> ModelSpec:
    """The spec that a file contains as JSON; raises ModelSpecError that names the file."""
    try:
        return ModelSpec.from_json(text)
    except ModelSpecError as error:
        raise ModelSpecError(f"{path}: {error}") from None


def _checkpoint(path: Path) -> Inspection:
    from fer_train import checkpoint

    loaded = checkpoint.load(path)
    tensors = loaded.state_dict
    facts = {"tensors": len(tensors), "parameters": sum(t.numel() for t in tensors.values())}
    return Inspection(path, "checkpoint", path.stat().st_size, loaded.spec, facts)


def _unknown(path: Path) -> str:
    with open(path, "rb") as stream:
        start = stream.read(64)
    if not start:
        return f"{path} is empty."
    if start.lstrip()[:1] == b"<":
        return f"{path} is a web page, not a model; the download went wrong."
    kinds = ", ".join(chosen.title for chosen in FORMATS.values())
    return (
        f"{path} is not a model file that fer-export knows ({kinds}, or a checkpoint); it may be "
        "truncated."
    )
