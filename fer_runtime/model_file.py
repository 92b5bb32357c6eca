"""What an ONNX file must be before it runs: of the right kind, and in agreement with its spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fer_runtime.errors import ModelFileError, ModelSpecError
from fer_runtime.shipped import NAMES
from fer_runtime.spec import METADATA_KEY, InputSpec, ModelSpec


def refuse_other_kinds(model: Path) -> None:
    """Name the kind of a file that is not ONNX; protobuf itself has no magic number."""
    if not model.exists():
        raise ModelFileError(
            f"{model} does not exist. `fer-export onnx best.pt` makes a model from a checkpoint; "
            f"those that come with the package are named {', '.join(NAMES)}."
        )
    if not model.is_file():
        raise ModelFileError(f"{model} is not a file.")
    try:
        with open(model, "rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise ModelFileError(f"{model} cannot be read: {error.strerror}") from None
    runs = {
        ".torchscript": "TorchScript, which torch.jit.load runs",
        ".pt2": "an ExportedProgram, which torch.export.load runs",
    }.get(model.suffix)
    if runs:
        raise ModelFileError(
            f"{model} is {runs}; fer-runtime runs ONNX without torch: `fer-export onnx best.pt`."
        )
    if not start:
        raise ModelFileError(f"{model} is empty.")
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
        raise ModelFileError(
            f"{model} is a PyTorch file, not ONNX; make one: `fer-export onnx {model}`."
        )
    if start.lstrip()[:1] == b"<":
        raise ModelFileError(f"{model} is a web page, not ONNX; the download failed.")


def refuse_detector(session: Any, model: Path) -> None:
    """A face detector is in the same folder as the shipped classifiers."""
    if {"cls_8", "obj_8", "bbox_8", "kps_8"} <= {output.name for output in session.get_outputs()}:
        raise ModelFileError(
            f"{model} is a face detector, not a classifier: it finds faces and has no labels. "
            "Pass a classifier, such as compact_cnn; to find faces first, add --faces."
        )


def settled_spec(session: Any, model: Path, given: ModelSpec | None) -> ModelSpec:
    """The file's own spec, or the given one where the file contains none."""
    if given is None:
        return _embedded_spec(session, model)
    if METADATA_KEY in session.get_modelmeta().custom_metadata_map:
        own = _embedded_spec(session, model)
        for name in ("labels", "input", "temperature"):
            if getattr(own, name) != getattr(given, name):
                raise ModelSpecError(
                    f"{model} contains a spec, and the given one has another {name}. Omit --spec; "
                    f"`fer-export attach-spec {model} --spec JSON` makes a copy with another spec."
                )
    return given


def _embedded_spec(session: Any, model: Path) -> ModelSpec:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelSpecError(
            f"{model} contains no ModelSpec, so its labels and input are unknown. Describe them in "
            "a JSON file and pass --spec spec.json; to start from:\n" + _spec_template(session)
        )
    try:
        return ModelSpec.from_json(text)
    except ModelSpecError as error:
        raise ModelSpecError(f"{model}: {error}") from None


def _spec_template(session: Any) -> str:
    """A spec for a foreign model, filled in as far as its signature allows."""
    first = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else None for size in first.shape]
    nhwc = len(shape) == 4 and shape[3] in (1, 3)
    order = (3, 1, 2) if nhwc else (1, 2, 3)
    channels, height, width = (shape[i] if len(shape) == 4 else None for i in order)
    channels = channels if channels in (1, 3) else 3
    outputs = session.get_outputs()[0].shape
    count = outputs[-1] if outputs and isinstance(outputs[-1], int) else 7
    uint8 = first.type == "tensor(uint8)"
    spec = ModelSpec(
        labels=tuple(f"class {index}" for index in range(max(2, count))),
        input=InputSpec(
            name=first.name,
            height=height or 224,
            width=width or 224,
            channels=channels,
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
            layout="NHWC" if nhwc else "NCHW",
            dtype="uint8" if uint8 else "float32",
            value_range=(0, 255) if uint8 else (0, 1),
        ),
    )
    return spec.to_json()


def check_signature(session: Any, spec: ModelSpec, model: Path) -> None:
    """The graph's own input and outputs must be what the spec says."""
    inputs = {entry.name: entry for entry in session.get_inputs()}
    name = spec.input.name
    if name not in inputs:
        raise ModelFileError(
            f"{model}: the spec has the input {name!r}, but the graph has {', '.join(inputs)}."
        )
    others = sorted(set(inputs) - {name})
    if others:
        raise ModelFileError(
            f"{model}: the graph requires {', '.join(others)} beside {name!r}; fer-runtime runs "
            "models with one input, the images."
        )
    wanted = "tensor(uint8)" if spec.input.dtype == "uint8" else "tensor(float)"
    if inputs[name].type != wanted:
        raise ModelFileError(
            f"{model}: the spec has {wanted} for {name!r}; the graph takes {inputs[name].type}."
        )
    channels, height, width = spec.input.shape
    expected = (
        (channels, height, width) if spec.input.layout == "NCHW" else (height, width, channels)
    )
    actual = inputs[name].shape[1:]
    if len(actual) != 3 or any(
        isinstance(have, int) and have != want for have, want in zip(actual, expected, strict=True)
    ):
        raise ModelFileError(
            f"{model}: the spec has (N, {', '.join(map(str, expected))}) for {name!r}, but the "
            f"graph takes {inputs[name].shape}."
        )
    classes = session.get_outputs()[0].shape[-1:]
    if classes and isinstance(classes[0], int) and classes[0] != len(spec.labels):
        raise ModelFileError(
            f"{model}: the spec has {len(spec.labels)} labels, but the graph outputs {classes[0]}."
        )
