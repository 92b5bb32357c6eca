"""OpenVINO's own runtime, from its wheel: a CPU provider that needs no onnxruntime.

It would compute in bf16 without being asked where the CPU can; here the arithmetic is always said.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from fer_runtime.machine import usable_threads
from fer_runtime.providers import engine_cache
from fer_runtime.providers.cause import Cause
from fer_runtime.providers.graph import Metadata, Port
from fer_runtime.providers.options import Request

TYPES = {"u8": "tensor(uint8)", "f32": "tensor(float)", "f16": "tensor(float16)"}
"""OpenVINO's names of types -> ONNX's, of those that a model of pictures may have."""


def diagnose() -> list[Cause]:
    """Why OpenVINO cannot run here; empty where it should run."""
    try:
        from openvino import Core
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "openvino":
            return [Cause("OpenVINO is not installed", "pip install 'fer-runtime[openvino]'")]
        return [Cause("OpenVINO cannot be imported", "pip install --upgrade openvino", str(error))]
    try:
        devices = Core().available_devices
    except RuntimeError as error:
        return [Cause("OpenVINO cannot start", "pip install --upgrade openvino", str(error))]
    if "CPU" not in devices:
        return [Cause("OpenVINO finds no CPU that it can use")]
    return []


def diagnose_request(request: Request) -> list[Cause]:
    """Why it cannot compute what is asked for, where it runs otherwise."""
    if request.options.arithmetic != "bf16" or "BF16" in capabilities():
        return []
    return [Cause("this CPU has no bf16 instructions", "omit --arithmetic")]


def capabilities() -> list[str]:
    """What the CPU can compute in, as OpenVINO names it: FP32, INT8, BF16, ..."""
    from openvino import Core

    found: list[str] = Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def version() -> str:
    """Of the installed wheel, as 2026.4.1."""
    from openvino import get_version

    found: str = get_version().partition("-")[0]
    return found


class OpenVinoGraph:
    """A model in OpenVINO, with what a session needs of onnxruntime's class.

    Threads may run it side by side: each call takes a copy of the compiled model of its own, of
    which there are at most as many as the process may use cores.
    """

    def __init__(self, request: Request) -> None:
        from openvino import Core
        from openvino.frontend import FrontEndManager

        self._model = FrontEndManager().load_by_framework("onnx")
        self._model = self._model.convert(self._model.load(str(request.model)))
        self._core = Core()
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": request.options.arithmetic,
            "INFERENCE_NUM_THREADS": request.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # several copies would be pinned to the same cores
        }
        folder = engine_cache.folder_of(request.model, f"openvino-{version()}")
        if folder is not None:
            self._settings["CACHE_DIR"] = str(folder)
        self._inputs = [_port(entry) for entry in self._model.inputs]
        self._outputs = [_port(entry) for entry in self._model.outputs]
        self._free = [self._compiled()]
        self._made = 1
        self._changed = threading.Condition()

    def get_inputs(self) -> Sequence[Port]:
        """The graph's inputs."""
        return self._inputs

    def get_outputs(self) -> Sequence[Port]:
        """The graph's outputs."""
        return self._outputs

    def get_modelmeta(self) -> Metadata:
        """The metadata of the ONNX file, which OpenVINO keeps."""
        info = self._model.rt_info  # not a dict: it has no `get`
        kept = dict(info["framework"]) if "framework" in info else {}
        return Metadata({name: str(value.value) for name, value in kept.items()})

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Any]) -> list[Any]:
        """The named outputs, or all of them."""
        wanted = outputs or [output.name for output in self._outputs]
        request = self._take()
        try:
            request.infer(dict(inputs), share_inputs=True)
            return [request.get_tensor(name).data.copy() for name in wanted]
        finally:
            with self._changed:
                self._free.append(request)
                self._changed.notify()

    def _take(self) -> Any:
        """A compiled copy that nobody uses; made where there is none."""
        with self._changed:
            while not self._free and self._made >= usable_threads():
                self._changed.wait()
            if self._free:
                return self._free.pop()
            self._made += 1
        return self._compiled()

    def _compiled(self) -> Any:
        return self._core.compile_model(self._model, "CPU", self._settings).create_infer_request()


def _port(entry: Any) -> Port:
    kind = entry.element_type.get_type_name()
    shape = [None if size.is_dynamic else size.get_length() for size in entry.partial_shape]
    return Port(entry.any_name, TYPES.get(kind, kind), shape)
