"""The only InferenceSession of the project: a model file and its spec, opened and checked.

`open_graph` makes it; a classifier's `Session` and the face detector are opened by it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fer_runtime import providers
from fer_runtime.errors import FerError, ModelFileError, ProviderError
from fer_runtime.fork_lock import ForkLock, never_destroy
from fer_runtime.machine import usable_threads
from fer_runtime.model_file import (
    check_signature,
    refuse_detector,
    refuse_other_kinds,
    settled_spec,
)
from fer_runtime.providers import ProviderOptions
from fer_runtime.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    from fer_runtime.binding import BoundSession

Floats = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """(N, K) float32 each; the arrays belong to the caller."""

    logits: Floats
    probabilities: Floats


class Session:
    """An ONNX model with its spec, on a provider that was checked. `Session.open` makes one.

    >>> from fer_runtime.shipped import find_model
    >>> session = Session.open(find_model("compact_cnn"), provider="cpu", threads=1)
    >>> outputs = session.run(np.zeros((2, 1, 48, 48), np.uint8))
    >>> outputs.probabilities.shape
    (2, 7)

    Threads may call `run` side by side: onnxruntime runs each call on the calling thread when
    `threads` is 1, which is how the pipeline uses all cores.

    It is pickled as its configuration: the file is opened again where it is unpickled. After a fork
    the child opens it again on its first run, because threads of onnxruntime are not forked.

    Attributes:
        spec: what the model expects, and its labels.
        path: the ONNX file.
        threads: CPU threads of one call.
        provider: the provider that runs it, as "cpu" or "cuda".
        provider_reason: why, in a few words for a person.
        provider_options: how it computes.
        arithmetic: what it computes in, as "f32", "bf16" or "f32 without TF32".
        in_workers: whether each worker process may open the model for itself.
    """

    def __init__(
        self, opened: providers.Opened, spec: ModelSpec, request: providers.Request
    ) -> None:
        self.spec = spec
        self.path = request.model
        self.threads = request.threads
        self.provider_options = request.options
        self.provider = opened.provider
        self.provider_reason = opened.reason
        if opened.partly_on_cpu:
            self.provider_reason += "; some nodes run on the CPU"
        self.arithmetic = opened.arithmetic
        self._entry = providers.PROVIDERS[opened.provider]
        self.in_workers = self._entry.in_workers
        self._session = opened.session
        self._process = os.getpid()
        self._reopening = ForkLock()
        self._given: ModelSpec | None = None
        self._outputs = [output.name for output in opened.session.get_outputs()]
        batch = opened.session.get_inputs()[0].shape[0]
        self._fixed_batch = batch if isinstance(batch, int) else None
        self._bound: BoundSession | None = None
        if self._entry.device:
            from fer_runtime.binding import BoundSession

            self._bound = BoundSession(
                opened.session, device=self._entry.device, device_id=request.options.device_id,
                graphs=request.options.cuda_graphs,
            )  # fmt: skip

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        provider: str = "auto",
        threads: int | None = None,
        spec: ModelSpec | None = None,
        provider_options: ProviderOptions | None = None,
    ) -> Session:
        """Open an ONNX file.

        Args:
            path: the file.
            provider: a name of `fer_runtime.providers.PROVIDERS` (or an error), or "auto".
            threads: CPU threads of one call; default: the cores that this process may use.
            spec: required only where the file contains none.
            provider_options: how the provider computes; default: `ProviderOptions()`.

        Raises:
            ValueError: `threads` below 1, or an option out of range.
            ModelFileError: missing, broken, not ONNX, or contradicting its spec.
            ModelSpecError: the file contains no spec and none was given, a broken one, or another
                than the one given.
            ProviderError: the provider cannot run here, does not take one of the options, or is
                not exact enough in the arithmetic that was asked for.
        """
        model = Path(path)
        options = (provider_options or ProviderOptions()).checked()
        request = providers.Request(model, checked_threads(threads), options)
        opened = open_graph(request, provider=provider)
        refuse_detector(opened.session, model)
        settled = settled_spec(opened.session, model, spec)
        check_signature(opened.session, settled, model)
        session = cls(opened, settled, request)
        session._given = spec
        if options.arithmetic != "f32":
            from fer_runtime.arithmetic import check_arithmetic

            exact = options._replace(arithmetic="f32")
            check_arithmetic(session, cls.open(**session.opening | {"provider_options": exact}))
        return session

    @property
    def opening(self) -> dict[str, Any]:
        """The arguments of `open`, but for `threads`, that make another such session."""
        return {
            "path": self.path,
            "provider": self.provider,
            "spec": self._given,
            "provider_options": self.provider_options,
        }

    @property
    def signature(self) -> list[tuple[str, str, list[Any]]]:
        """(name, type, shape) of the input and of each output, as onnxruntime has them."""
        nodes = [*self._session.get_inputs(), *self._session.get_outputs()]
        return [(node.name, node.type, list(node.shape)) for node in nodes]

    def reopen(self, *, threads: int) -> Session:
        """The same model on the same provider with another number of threads; errors as `open`."""
        return Session.open(**self.opening, threads=threads)

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

    def features(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """(N, C, H, W) uint8 pixels -> (N, D) float32, the output `features` of the graph.

        Raises:
            ModelFileError: the graph has no such output.
        """
        if "features" not in self._outputs:
            raise ModelFileError(
                f"{self.path} has no output `features`, only {', '.join(self._outputs)}; "
                "`fer-export onnx best.pt --features` makes a file that has it."
            )
        found: Floats = self.run_named(pixels)["features"]
        return found

    def run_named(self, pixels: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """(N, C, H, W) uint8 pixels -> every output of the graph as it is, by name."""
        if self._process != os.getpid():
            self._reopen_after_fork()
        tensor = feed(pixels, self.spec.input)
        if self._bound is not None:
            results = self._bound.run(tensor)
        elif self._fixed_batch is None:
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

    def __reduce__(self) -> Any:
        return _reopened, (self.opening, self.threads, self.spec)

    def _reopen_after_fork(self) -> None:
        """Raises ProviderError where the provider does not survive a fork."""
        if not self._entry.survives_fork:
            raise ProviderError(
                f"{self.provider} cannot be used in a process that was forked after a model was "
                "opened; start processes by spawn, or open the model in each of them."
            )
        with self._reopening:
            if self._process != os.getpid():
                never_destroy(self._session)  # it would wait for threads that were not forked
                self._session = self.reopen(threads=self.threads)._session
                self._process = os.getpid()

    def warm_up(self, batch_size: int) -> None:
        """One run on zeros, so that the first real batch pays for no allocation."""
        self.run(np.zeros((batch_size, *self.spec.input.shape), np.uint8))


def _reopened(opening: dict[str, Any], threads: int, spec: ModelSpec) -> Session:
    """A session from its pickle; raises ModelFileError where the file has another spec now."""
    session = Session.open(**opening, threads=threads)
    if session.spec != spec:
        raise ModelFileError(
            f"{session.path} is not the file that was pickled: its spec differs. Copy the same "
            "file to every machine."
        )
    return session


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


def open_graph(request: providers.Request, *, provider: str) -> providers.Opened:
    """An ONNX file of any kind on a provider that was checked, as `Session.open`.

    Raises:
        ModelFileError: missing, broken or not ONNX.
        ProviderError: the provider cannot run here.
    """
    model = request.model
    refuse_other_kinds(model)

    def create(chosen: providers.Chosen) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = request.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Spinning threads would take the cores that decode the next batch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for key, value in chosen.entries.items():
            options.add_session_config_entry(key, value)
        if chosen.devices:
            options.add_provider_for_devices(chosen.devices, chosen.providers[0][1])
            return onnxruntime.InferenceSession(str(model), options)
        return onnxruntime.InferenceSession(str(model), options, providers=chosen.providers)

    try:
        return providers.open_session(provider, create, request)
    except FerError:
        raise
    except Exception as error:
        # onnxruntime's exceptions share no base class; after the provider is settled, what is
        # left is a file that it cannot load.
        raise ModelFileError(
            f"{model} cannot be loaded as ONNX: {_reason(error)} (`fer-export inspect {model}` "
            "shows what it contains.)"
        ) from None


def _reason(error: Exception) -> str:
    """The line of a message that says something; OpenVINO begins with where in its code it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    places = ("Exception from", "Check '", "FrontEnd API")
    return next((line for line in lines if not line.startswith(places)), lines[0])
