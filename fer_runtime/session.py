"""The only InferenceSession of the project: a model file and its spec, opened and checked.

`open_graph` makes it; a classifier's `Session` and the face detector are opened by it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fer_runtime import providers
from fer_runtime.errors import FerError, ModelFileError, ModelSpecError
from fer_runtime.machine import usable_threads
from fer_runtime.spec import METADATA_KEY, InputSpec, ModelSpec

Floats = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """(N, K) float32 each; the arrays belong to the caller."""

    logits: Floats
    probabilities: Floats


class Session:
    """An ONNX model with its spec, on a provider that was checked. `Session.open` makes one.

    >>> from fer_runtime.classifier import find_model
    >>> session = Session.open(find_model("compact_cnn"), provider="cpu", threads=1)
    >>> outputs = session.run(np.zeros((2, 1, 48, 48), np.uint8))
    >>> outputs.probabilities.shape
    (2, 7)

    Threads may call `run` side by side: onnxruntime runs each call on the calling thread when
    `threads` is 1, which is how the pipeline uses all cores.

    Attributes:
        spec: what the model expects, and its labels.
        path: the ONNX file.
        threads: CPU threads of one call.
        provider: the provider that runs it, as "cpu" or "cuda".
        provider_reason: why, in a few words for a person.
        fixed_batch: whether batches should be padded to one size on this provider.
    """

    def __init__(self, opened: providers.Opened, spec: ModelSpec, path: Path, threads: int) -> None:
        self.spec = spec
        self.path = path
        self.threads = threads
        self.provider = opened.provider
        self.provider_reason = opened.reason
        if opened.partly_on_cpu:
            self.provider_reason += "; some nodes run on the CPU"
        self.fixed_batch = providers.PROVIDERS[opened.provider].fixed_batch
        self._session = opened.session
        self._given: ModelSpec | None = None
        self._outputs = [output.name for output in opened.session.get_outputs()]
        batch = opened.session.get_inputs()[0].shape[0]
        self._fixed_batch = batch if isinstance(batch, int) else None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        provider: str = "auto",
        threads: int | None = None,
        spec: ModelSpec | None = None,
    ) -> Session:
        """Open an ONNX file.

        Args:
            path: the file.
            provider: "cpu", "cuda" (or an error), or "auto".
            threads: CPU threads of one call; default: the cores that this process may use.
            spec: required only where the file contains none.

        Raises:
            ValueError: `threads` below 1.
            ModelFileError: missing, broken, not ONNX, or contradicting its spec.
            ModelSpecError: the file contains no spec and none was given, a broken one, or another
                than the one given.
            ProviderError: the provider cannot run here.
        """
        model = Path(path)
        threads = checked_threads(threads)
        opened = open_graph(model, provider=provider, threads=threads)
        _refuse_detector(opened.session, model)
        settled = _settled_spec(opened.session, model, spec)
        _check_signature(opened.session, settled, model)
        session = cls(opened, settled, model, threads)
        session._given = spec
        return session

    def reopen(self, *, threads: int) -> Session:
        """The same model on the same provider with another number of threads; errors as `open`."""
        return Session.open(self.path, provider=self.provider, threads=threads, spec=self._given)

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        """(N, C, H, W) uint8 pixels as `fer_runtime.images` makes them -> Outputs of N rows.

        Raises:
            ValueError: another dtype or shape than the spec's.
        """
        if pixels.dtype != np.uint8 or pixels.shape[1:] != self.spec.input.shape:
            raise ValueError(
                f"pixels are {pixels.dtype} {pixels.shape}; the model takes uint8 "
                f"(N, {', '.join(map(str, self.spec.input.shape))})"
            )
        named = self.run_named(pixels)
        logits = named.get("logits", next(iter(named.values())))
        probabilities = named.get("probabilities")
        if probabilities is None:
            probabilities = softmax(logits, self.spec.temperature)
        return Outputs(logits, probabilities)

    def run_named(self, pixels: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """(N, C, H, W) uint8 pixels -> every output of the graph as it is, by name."""
        tensor = feed(pixels, self.spec.input)
        if self._fixed_batch is None:
            results = self._session.run(None, {self.spec.input.name: tensor})
        else:
            results = self._run_fixed(tensor, self._fixed_batch)
        return dict(zip(self._outputs, results, strict=True))

    def _run_fixed(self, tensor: npt.NDArray[Any], size: int) -> list[npt.NDArray[Any]]:
        """Run a graph that takes exactly `size` images: in pieces, the last one padded by zeros."""
        pieces = []
        for start in range(0, len(tensor), size):
            piece = tensor[start : start + size]
            lacking = size - len(piece)
            padded = np.pad(piece, [(0, lacking), *[(0, 0)] * (tensor.ndim - 1)])
            outputs = self._session.run(None, {self.spec.input.name: padded})
            pieces.append([output[: len(piece)] for output in outputs])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def warm_up(self, batch_size: int) -> None:
        """One run on zeros, so that the first real batch pays for no allocation."""
        self.run(np.zeros((batch_size, *self.spec.input.shape), np.uint8))


def feed(pixels: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[Any]:
    """(N, C, H, W) uint8 -> the input tensor that InputSpec describes; `pixels` stay as is."""
    if spec.dtype == "uint8":
        tensor: npt.NDArray[Any] = pixels
    else:
        low, high = spec.value_range
        mean = np.array(spec.mean, np.float32).reshape(-1, 1, 1)
        std = np.array(spec.std, np.float32).reshape(-1, 1, 1)
        scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        tensor = np.float32(low) + np.float32(high - low) * scaled
    return np.ascontiguousarray(tensor.transpose(0, 2, 3, 1)) if spec.layout == "NHWC" else tensor


def softmax(logits: npt.NDArray[Any], temperature: float = 1.0) -> Floats:
    """(N, K) -> (N, K) float32 rows that sum to one."""
    exponents = np.exp((logits - logits.max(1, keepdims=True)).astype(np.float32) / temperature)
    probabilities: Floats = exponents / exponents.sum(1, keepdims=True)
    return probabilities


def checked_threads(threads: int | None) -> int:
    """CPU threads of one call; by default the cores that this process may use.

    Raises:
        ValueError: below 1.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads={threads}; it must be at least 1")
    return threads or usable_threads()


def open_graph(model: Path, *, provider: str, threads: int) -> providers.Opened:
    """A session of an ONNX file of any kind, on a provider that was checked, as `Session.open`.

    Raises:
        ModelFileError: missing, broken or not ONNX.
        ProviderError: the provider cannot run here.
    """
    _refuse_other_kinds(model)

    def create(names: list[tuple[str, dict[str, str]]], entries: dict[str, str]) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Spinning threads would take the cores that decode the next batch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        return onnxruntime.InferenceSession(str(model), options, providers=names)

    try:
        return providers.open_session(provider, create)
    except FerError:
        raise
    except Exception as error:
        # onnxruntime's exceptions share no base class; after the provider is settled, what is
        # left is a file that it cannot load.
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(
            f"{model} cannot be loaded as ONNX: {reason} (`fer-export inspect {model}` shows "
            "what it contains.)"
        ) from None


def _refuse_other_kinds(model: Path) -> None:
    """Name the kind of a file that is not ONNX; protobuf itself has no magic number."""
    if not model.exists():
        raise ModelFileError(
            f"{model} does not exist. `fer-export onnx best.pt` makes a model from a checkpoint; "
            "those that come with the package are named compact_cnn and compact_cnn.int8."
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


def _refuse_detector(session: Any, model: Path) -> None:
    """A face detector is in the same folder as the shipped classifiers."""
    if {"cls_8", "obj_8", "bbox_8", "kps_8"} <= {output.name for output in session.get_outputs()}:
        raise ModelFileError(
            f"{model} is a face detector, not a classifier: it finds faces and has no labels. "
            "Pass a classifier, such as compact_cnn; to find faces first, add --faces."
        )


def _settled_spec(session: Any, model: Path, given: ModelSpec | None) -> ModelSpec:
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


def _check_signature(session: Any, spec: ModelSpec, model: Path) -> None:
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
