"""The table of providers: a new one is one entry here (and its diagnosis).

Three kinds: built into onnxruntime's wheel, in a plugin library that is registered when it is
needed, and a runtime of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from fer_runtime._lazy import resolve
from fer_runtime.providers.cause import Cause
from fer_runtime.providers.options import Request

if TYPE_CHECKING:
    from fer_runtime.providers.graph import Graph

_CUDA, _TENSORRT, _OPENVINO = (
    f"fer_runtime.providers.{name}" for name in ("cuda", "tensorrt", "openvino")
)


class Provider(NamedTuple):
    """How a model is opened on a provider, and what a run must know about it.

    A function may be given as "package.module:name", which is imported when it is first called: a
    cold start needs one provider.

    Attributes:
        title: how messages call it.
        onnxruntime_name: what onnxruntime calls it; "" where it is a runtime of its own.
        runtime: opens a model in a runtime of its own.
        onnxruntime_options: what onnxruntime is given for a request.
        beside: providers of onnxruntime that may take the nodes that this one leaves.
        takes: the fields of ProviderOptions that it takes.
        diagnosis: why it cannot run here, most basic cause first; empty where it should run.
        request_diagnosis: why it cannot do what is asked for; where it runs otherwise.
        expectation: whether this machine seems made for it, so that `auto` explains not using it.
        automatic: whether `auto` tries it; several are tried in the order of the table.
        arithmetic: what it computes in, where that is not f32 as the file says.
        device: where onnxruntime's IO binding puts buffers, for memory that is not this process's;
            batches are padded to a few sizes there, because each size costs a new plan.
        in_workers: whether each worker process opens the model for itself; otherwise this process
            runs it for all of them.
        survives_fork: whether it can be opened in a process that was forked after it was used.
    """

    title: str
    onnxruntime_name: str = ""
    runtime: str | Callable[[Request], Graph] | None = None
    onnxruntime_options: str | Callable[[Request], Mapping[str, str]] = lambda _: {}
    beside: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset()
    diagnosis: str | Callable[[], list[Cause]] = list
    request_diagnosis: str | Callable[[Request], list[Cause]] = lambda _: []
    expectation: str | Callable[[], bool] = lambda: True
    automatic: bool = False
    arithmetic: str = ""
    device: str = ""
    in_workers: bool = False
    survives_fork: bool = False

    def diagnose(self) -> list[Cause]:
        """Why it cannot run here, most basic cause first; empty where it should run."""
        found: list[Cause] = resolve(self.diagnosis)()
        return found

    def diagnose_request(self, request: Request) -> list[Cause]:
        """Why it cannot do what is asked for, where it runs otherwise."""
        found: list[Cause] = resolve(self.request_diagnosis)(request)
        return found

    def is_expected(self) -> bool:
        """Whether this machine seems made for it."""
        return bool(resolve(self.expectation)())

    def options(self, request: Request) -> Mapping[str, str]:
        """What onnxruntime is given."""
        found: Mapping[str, str] = resolve(self.onnxruntime_options)(request)
        return found

    def open(self, request: Request) -> Graph:
        """The model in a runtime of its own."""
        found: Graph = resolve(self.runtime)(request)
        return found


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPU", "CPUExecutionProvider", in_workers=True, survives_fork=True),
    "cuda": Provider(
        "CUDA",
        "CUDAExecutionProvider",
        onnxruntime_options=f"{_CUDA}:options",
        takes=frozenset({"device_id", "gpu_memory_limit", "cuda_graphs"}),
        diagnosis=f"{_CUDA}:diagnose",
        expectation=f"{_CUDA}:has_driver",
        automatic=True,
        arithmetic="f32 without TF32",
        device="cuda",
    ),
    "tensorrt": Provider(
        "TensorRT (experimental)",
        "TensorrtExecutionProvider",
        onnxruntime_options=f"{_TENSORRT}:options",
        beside=("CUDAExecutionProvider",),
        takes=frozenset({"device_id", "gpu_memory_limit"}),
        diagnosis=f"{_TENSORRT}:diagnose",
        expectation=f"{_CUDA}:has_driver",
        device="cuda",
    ),
    "openvino": Provider(
        "OpenVINO",
        runtime=f"{_OPENVINO}:OpenVinoGraph",
        takes=frozenset({"arithmetic"}),
        diagnosis=f"{_OPENVINO}:diagnose",
        request_diagnosis=f"{_OPENVINO}:diagnose_request",
        in_workers=True,
        survives_fork=True,
    ),
}
"""Our name -> provider. `--provider` also takes "auto"."""
FALLBACK = "cpu"
"""What `auto` uses where no automatic provider runs."""


def choices() -> tuple[str, ...]:
    """What `--provider` takes."""
    return ("auto", *PROVIDERS)
