"""A model repository for Triton Inference Server: config.pbtxt, labels and the ONNX file.

The fields are those of model_config.proto:
https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_runtime.errors import DataError
from fer_runtime.hashing import file_sha256
from fer_runtime.session import Session
from fer_runtime.spec import ModelSpec

TYPES = {
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
}
"""onnxruntime's names of types -> Triton's."""
LABELS = "labels.txt"
LABELLED = "probabilities"
"""The output that Triton's classification extension names by the labels."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of the graph, without the dimension of the batch."""

    name: str
    kind: str
    dims: tuple[int, ...]


def write(
    model: Path, folder: Path, *, max_batch_size: int = 64, gpu: bool = False,
    overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write a model repository -> the folder of the model in it.

    They are `folder/NAME/config.pbtxt`, `labels.txt` and `1/model.onnx` beside it, where NAME is
    the file's without its ending. The folder is made if needed; other models in it stay.

    Args:
        model: an ONNX file with its spec.
        folder: the repository.
        max_batch_size: images that Triton may put together.
        gpu: run it on the GPU; otherwise on the CPU, one thread an instance.
        overwrite: replace a model of the same name.

    Raises:
        ModelFileError: missing, broken or not ONNX.
        ModelSpecError: the file contains no spec.
        DataError: the folder cannot be written, or has a model of that name.
    """
    session = Session.open(model, provider="cpu", threads=1)
    name = model.name.removesuffix(".onnx")
    target = folder / name
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists already; pass --overwrite, or name another folder.")
    text = config(name, session, file_sha256(model), max_batch_size=max_batch_size, gpu=gpu)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".fer-export-", dir=folder))
        try:
            (draft / "1").mkdir()
            shutil.copyfile(model, draft / "1" / "model.onnx")
            labels = "".join(f"{label}\n" for label in session.spec.labels)
            (draft / LABELS).write_text(labels, encoding="utf-8")
            (draft / "config.pbtxt").write_text(text, encoding="utf-8")
            draft.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            os.replace(draft, target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from None
    return target


def config(name: str, session: Session, sha256: str, *, max_batch_size: int, gpu: bool) -> str:
    """The text of config.pbtxt."""
    batched = all(isinstance(shape[0], str) for _, _, shape in session.signature)
    tensors = [_tensor(each, batched=batched) for each in session.signature]
    lines = [
        f"name: {_text(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {max_batch_size if batched else 0}",
        *_message("input", [_entry(tensors[0])]),
        *_message("output", [_entry(tensor) for tensor in tensors[1:]]),
    ]
    if batched:
        # Without preferred sizes Triton takes what waits when an instance is free, and no request
        # waits for others.
        lines.append("dynamic_batching { }")
    kind = "KIND_GPU" if gpu else "KIND_CPU"
    lines.append(f"instance_group [ {{ count: 1 kind: {kind} }} ]")
    for key, value in _parameters(session.spec, sha256, gpu=gpu).items():
        lines.append(f"parameters {{ key: {_text(key)} value {{ string_value: {_text(value)} }} }}")
    return "\n".join([*lines, ""])


def _tensor(found: tuple[str, str, Sequence[Any]], *, batched: bool) -> Tensor:
    name, kind, shape = found
    sides = [side if isinstance(side, int) else -1 for side in shape]
    if kind not in TYPES:
        raise DataError(f"{name} is {kind}; Triton is given {', '.join(TYPES)} only.")
    return Tensor(name, TYPES[kind], tuple(sides[1:] if batched else sides))


def _entry(tensor: Tensor) -> str:
    dims = ", ".join(map(str, tensor.dims))
    labels = f" label_filename: {_text(LABELS)}" if tensor.name == LABELLED else ""
    return f"{{ name: {_text(tensor.name)} data_type: {tensor.kind} dims: [ {dims} ]{labels} }}"


def _message(name: str, entries: Sequence[str]) -> Iterator[str]:
    yield f"{name} ["
    for place, entry in enumerate(entries, 1):
        yield f"  {entry}{',' if place < len(entries) else ''}"
    yield "]"


def _parameters(spec: ModelSpec, sha256: str, *, gpu: bool) -> Mapping[str, str]:
    """What a reader of the configuration can check, and onnxruntime's threads."""
    threads = {} if gpu else {"intra_op_thread_count": "1", "inter_op_thread_count": "1"}
    verdict = spec.parity or {}
    return {
        **threads,
        "fer_runtime.sha256": sha256,
        "fer_runtime.parity": "passed" if verdict.get("passed") else "none",
        "fer_runtime.input": json.dumps(spec.to_dict()["input"], sort_keys=True),
    }


def _text(value: str) -> str:
    """A string of protobuf's text format; JSON's escapes are a part of its."""
    return json.dumps(value)
