"""What a model file holds, read from its metadata and zip entries; nothing in it is executed."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_runtime.errors import ModelFileError, ModelSpecError
from fer_runtime.spec import EXTRA_FILE, METADATA_KEY, ModelSpec
from fer_train import archives

MAX_SPEC_BYTES = 1 << 22
MAX_ONNX_BYTES = 1 << 31


@dataclass(frozen=True)
class Inspection:
    """Kind, size in bytes, the spec if there is one, and facts by name."""

    path: Path
    kind: str
    size_bytes: int
    spec: ModelSpec | None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "size_bytes": self.size_bytes,
            **self.facts,
            "spec": self.spec.to_dict() if self.spec else None,
        }


def inspect(path: Path) -> Inspection:
    """Look into an ONNX file, a TorchScript or `.pt2` archive, or a checkpoint.

    Raises:
        ModelFileError: no such file, or none of these kinds.
        ModelSpecError: a spec that is there but broken.
    """
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist, or is not a file.")
    return _archive(path) if zipfile.is_zipfile(path) else _onnx(path)


def _onnx(path: Path) -> Inspection:
    import onnx
    from google.protobuf.message import DecodeError

    size = path.stat().st_size
    if not 0 < size < MAX_ONNX_BYTES:
        raise ModelFileError(f"{path} is {'empty' if not size else 'over 2 GiB'}.")
    try:
        # Without a format onnx goes by the ending, and parses a .json or .txt as text.
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError) as error:
        with open(path, "rb") as stream:
            if stream.read(64).lstrip()[:1] == b"<":
                raise ModelFileError(
                    f"{path} is a web page, not a model; the download went wrong."
                ) from None
        raise ModelFileError(
            f"{path} is neither ONNX nor a PyTorch archive ({error}); it may be truncated."
        ) from None
    if not model.graph.node:
        raise ModelFileError(f"{path} is no ONNX model: it has no graph.")
    text = {prop.key: prop.value for prop in model.metadata_props}.get(METADATA_KEY)
    operators = Counter(node.op_type for node in model.graph.node)
    parameters = sum(_count(entry.dims) for entry in model.graph.initializer)
    facts = {
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": [_signature(entry) for entry in model.graph.input],
        "outputs": [_signature(entry) for entry in model.graph.output],
        "operators": dict(operators.most_common()),
        "parameters": parameters,
        "external_data": _external(model),
    }
    return Inspection(path, "ONNX", size, _spec(path, text) if text else None, facts)


def _archive(path: Path) -> Inspection:
    """PyTorch's zip kinds differ by their entries."""
    archives.check_size(path)
    with zipfile.ZipFile(path) as archive:
        inner = {entry.partition("/")[2]: entry for entry in archive.namelist()}
        if "data.pkl" in inner and "constants.pkl" not in inner:
            return _checkpoint(path)
        spec = _extra_spec(archive, inner, path)
        kind = "TorchScript" if "constants.pkl" in inner else "unknown zip archive"
        if any(entry.startswith("models/") for entry in inner):
            kind = "torch.export program"
        return Inspection(path, kind, path.stat().st_size, spec, {"entries": len(inner)})


def _extra_spec(archive: zipfile.ZipFile, inner: Mapping[str, str], path: Path) -> ModelSpec | None:
    entry = inner.get(f"extra/{EXTRA_FILE}")
    if entry is None:
        return None
    if archive.getinfo(entry).file_size > MAX_SPEC_BYTES:
        raise ModelFileError(f"{path}: its {EXTRA_FILE} is too large to be a spec.")
    return _spec(path, archive.read(entry).decode("utf-8", "replace"))


def _spec(path: Path, text: str) -> ModelSpec:
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


def _signature(entry: Any) -> str:
    import onnx

    kind = entry.type.tensor_type
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    sizes = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
    return f"{entry.name}: {name} ({', '.join(sizes)})"


def _external(model: Any) -> list[str]:
    """The files beside the model that hold its weights, as it names them; they are not opened."""
    return sorted(
        {
            pair.value
            for entry in model.graph.initializer
            for pair in entry.external_data
            if pair.key == "location"
        }
    )


def _count(dims: Any) -> int:
    count = 1
    for size in dims:
        count *= size
    return count
