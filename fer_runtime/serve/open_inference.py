"""The Open Inference Protocol, version 2: tensors in and out, as Triton's client sends them.

The one input is uint8 pixels (N, C, H, W), whatever the graph takes: what is done to pixels after
that is the model's own. https://github.com/kserve/open-inference-protocol, and for tensors as
bytes Triton's extension_binary_data.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fer_runtime._version import __version__
from fer_runtime.images import Pixels
from fer_runtime.serve.endpoint import Answer, Endpoint, Held, Scope, header
from fer_runtime.serve.model import Served
from fer_runtime.serve.refusals import RefusedError
from fer_runtime.session import Outputs

HEADER_LENGTH = b"inference-header-content-length"
BINARY = "binary_data"
VERSION = "1"
MOST_IMAGES = 4096


def server_metadata() -> dict[str, Any]:
    """What GET /v2 answers."""
    return {"name": "fer-runtime", "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(model: Served) -> dict[str, Any]:
    """What GET /v2/models/NAME answers."""
    classes = len(model.labels)
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {
                "name": model.session.spec.input.name,
                "datatype": "UINT8",
                "shape": [-1, *model.session.spec.input.shape],
            }
        ],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, classes]} for name in Outputs._fields
        ],
        "parameters": {"labels": ",".join(model.labels), "sha256": model.sha256},
    }


def require_model(model: Served, name: str, version: str | None = None) -> None:
    """Raises RefusedError where another model, or another version of it, is asked for."""
    if name != model.name:
        raise RefusedError(
            "unknown_model", f"There is no model {name!r} here, only {model.name!r}."
        )
    if version not in (None, "", VERSION):
        raise RefusedError("unknown_model", f"{name} has version {VERSION} only, not {version!r}.")


class Infer(Endpoint):
    """POST /v2/models/NAME/infer."""

    name: ClassVar[str] = "infer"

    async def answer(self, scope: Scope, body: bytes, held: Held) -> Answer:
        model = self.service.model
        named = scope["path_params"]
        require_model(model, named["name"], named.get("version"))
        request = read_request(body, header(scope, HEADER_LENGTH))
        pixels = read_pixels(request, model)
        held.count(len(pixels) - 1)
        assert model.batches is not None
        outputs = await model.batches.run(pixels)
        return write_outputs(request, model, outputs)


class InferRequest(NamedTuple):
    """The JSON of a request, and the bytes of tensors that follow it."""

    json: Mapping[str, Any]
    tensors: bytes


def read_request(body: bytes, header_length: bytes | None) -> InferRequest:
    """Divide a body into its JSON and the bytes of tensors; raises RefusedError."""
    length = len(body)
    if header_length is not None:
        if not header_length.isdigit() or int(header_length) > len(body):
            raise _malformed(
                f"Inference-Header-Content-Length is {header_length.decode('latin-1')}, and the "
                f"body has {len(body)} bytes."
            )
        length = int(header_length)
    try:
        found = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise _malformed(f"The request is not JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("inputs"), list):
        raise _malformed('The request has no list of "inputs".')
    return InferRequest(found, body[length:])


def read_pixels(request: InferRequest, model: Served) -> Pixels:
    """(N, C, H, W) uint8 of the request's one input; raises RefusedError."""
    spec = model.session.spec.input
    inputs = request.json["inputs"]
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _malformed(f'"inputs" has {len(inputs)} tensors; the model takes one, {spec.name!r}.')
    tensor = inputs[0]
    if tensor.get("name") != spec.name:
        raise _malformed(f"The input is {tensor.get('name')!r}; the model takes {spec.name!r}.")
    if tensor.get("datatype") != "UINT8":
        raise _malformed(
            f"{spec.name} is {tensor.get('datatype')!r}; the model takes UINT8 pixels, 0 to 255."
        )
    shape = tensor.get("shape")
    wanted = f"[N, {', '.join(map(str, spec.shape))}], N from 1 to {MOST_IMAGES}"
    if not _fits(shape, spec.shape):
        raise _malformed(f"{spec.name} has the shape {shape}; the model takes {wanted}.")
    assert isinstance(shape, list)
    size = _parameters(tensor).get("binary_data_size")
    count = int(np.prod(shape))
    if size is not None:
        if size != count or len(request.tensors) != count:
            raise _malformed(
                f"{spec.name} of shape {shape} takes {count} bytes; binary_data_size is {size}, "
                f"and {len(request.tensors)} bytes follow the JSON."
            )
        return np.frombuffer(request.tensors, np.uint8).reshape(shape)
    try:
        # int64 first, so that a value out of range is an error in every version of numpy.
        values = np.array(tensor.get("data"), dtype=object).astype(np.int64).ravel()
    except (TypeError, ValueError, OverflowError) as error:
        raise _malformed(f"The data of {spec.name} are not whole numbers: {error}") from None
    if len(values) != count or values.min() < 0 or values.max() > 255:
        raise _malformed(
            f"The data of {spec.name} are {len(values)} numbers; the shape {shape} takes {count}, "
            "from 0 to 255."
        )
    return values.astype(np.uint8).reshape(shape)


def write_outputs(request: InferRequest, model: Served, outputs: Outputs) -> Answer:
    """The answer with the outputs that were asked for, or with all."""
    available = outputs._asdict()
    wanted = request.json.get("outputs") or [{"name": name} for name in available]
    binary = bool(_parameters(request.json).get("binary_data_output", False))
    described: list[dict[str, Any]] = []
    tensors: list[bytes] = []
    for output in wanted if isinstance(wanted, list) else [wanted]:
        name = output.get("name") if isinstance(output, dict) else output
        if name not in available or not isinstance(output, dict):
            raise _malformed(f"There is no output {name!r}; there are {', '.join(available)}.")
        values = np.ascontiguousarray(available[name], "<f4")
        entry: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
        if _parameters(output).get(BINARY, binary):
            tensors.append(values.tobytes())
            entry["parameters"] = {"binary_data_size": len(tensors[-1])}
        else:
            entry["data"] = values.ravel().tolist()
        described.append(entry)
    head: dict[str, Any] = {"model_name": model.name, "model_version": VERSION}
    if isinstance(request.json.get("id"), str):
        head["id"] = request.json["id"]
    text = json.dumps(head | {"outputs": described}, separators=(",", ":")).encode()
    if not tensors:
        return Answer(text)
    headers = (
        (b"content-type", b"application/octet-stream"),
        (HEADER_LENGTH, b"%d" % len(text)),
    )
    return Answer(b"".join((text, *tensors)), headers=headers)


def _fits(shape: object, image: tuple[int, ...]) -> bool:
    """Whether a shape is [N, C, H, W] of the model, with an N that is allowed."""
    if not isinstance(shape, list) or len(shape) != 1 + len(image):
        return False
    if not all(type(side) is int for side in shape) or tuple(shape[1:]) != image:
        return False
    return bool(1 <= shape[0] <= MOST_IMAGES)


def _parameters(described: Mapping[str, Any]) -> Mapping[str, Any]:
    found = described.get("parameters")
    return found if isinstance(found, Mapping) else {}


def _malformed(message: str) -> RefusedError:
    return RefusedError("malformed", message)
