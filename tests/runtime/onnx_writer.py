"""Writes small ONNX files without the onnx package, which the lean installation does not have.

An ONNX file is one protobuf message, `ModelProto` of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3. A message is a list of fields: a varint
(field number * 8 + wire type), then either a varint or a length and that many bytes
(https://protobuf.dev/programming-guides/encoding). The numbers below are those of onnx.proto3;
test_onnx_writer.py compares the result with what onnx.helper makes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FLOAT, UINT8, INT64 = 1, 2, 7
"""Element types of TensorProto.DataType."""
NUMBER_OF = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): UINT8, np.dtype(np.int64): INT64}
IR_VERSION, OPSET = 10, 17

Value = tuple[str, int, Sequence[int | str]]
"""Name, element type and shape of an input or output; a string in the shape is a free axis."""


def node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> bytes:
    """A NodeProto; attributes are integers, floats, or lists of integers."""
    parts = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs]
    parts.append(_text(4, op_type))
    parts += [_bytes(5, _attribute(*entry)) for entry in sorted(attributes.items())]
    return b"".join(parts)


def model(
    nodes: Sequence[bytes],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: dict[str, npt.NDArray[Any]] | None = None,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """A ModelProto of opset 17: what an .onnx file contains."""
    graph = b"".join(
        [
            *(_bytes(1, each) for each in nodes),
            _text(2, "tiny"),
            *(_bytes(5, _tensor(*entry)) for entry in (weights or {}).items()),
            *(_bytes(11, _value(*entry)) for entry in inputs),
            *(_bytes(12, _value(*entry)) for entry in outputs),
        ]
    )
    opset = _text(1, "") + _integer(2, OPSET)
    properties = [
        _bytes(14, _text(1, key) + _text(2, value)) for key, value in (metadata or {}).items()
    ]
    return b"".join([_integer(1, IR_VERSION), _bytes(7, graph), _bytes(8, opset), *properties])


def save(path: Path, *arguments: Any) -> Path:
    """Write `model(*arguments)` to `path`, and return the path."""
    path.write_bytes(model(*arguments))
    return path


def _attribute(name: str, value: float | int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _integer(3, value) + _integer(20, 2)
    if isinstance(value, float):
        return _text(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _integer(20, 1)
    return _text(1, name) + b"".join(_integer(8, each) for each in value) + _integer(20, 7)


def _tensor(name: str, values: npt.NDArray[Any]) -> bytes:
    array = np.asarray(values)
    dims = b"".join(_integer(1, size) for size in array.shape)
    little = array.astype(array.dtype.newbyteorder("<"))
    return dims + _integer(2, NUMBER_OF[array.dtype]) + _text(8, name) + _bytes(9, little.tobytes())


def _value(name: str, element_type: int, shape: Sequence[int | str]) -> bytes:
    axes = [_text(2, axis) if isinstance(axis, str) else _integer(1, axis) for axis in shape]
    dims = b"".join(_bytes(1, axis) for axis in axes)
    return _text(1, name) + _bytes(2, _bytes(1, _integer(1, element_type) + _bytes(2, dims)))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative value as its 64-bit two's complement."""
    rest, parts = value % (1 << 64), bytearray()
    while rest > 0x7F:
        parts.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*parts, rest])
