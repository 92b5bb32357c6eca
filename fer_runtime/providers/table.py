"""The table of providers: a new one is one entry here (and its diagnosis).

Three kinds: built into onnxruntime's wheel, in a plugin library that is registered when it is
needed, and a runtime of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fer_runtime.providers import cuda, openvino, tensorrt
from fer_runtime.providers.cause import Cause
from fer_runtime.providers.graph import Graph
from fer_runtime.providers.options import Request


class Provider(NamedTuple):
    """How a model is opened on a provider, and what a run must know about it.

    Attributes:
        title: how messages call it.
        onnxruntime_name: what onnxruntime calls it; "" where it is a runtime of its own.
        runtime: opens a model in a runtime of its own.
        options: what onnxruntime is given.
        beside: providers of onnxruntime that may take the nodes that this one leaves.
        takes: the fields of ProviderOptions that it takes.
        diagnose: why it cannot run here, most basic cause first; empty where it should run.
        diagnose_request: why it cannot do what is asked for; where it runs otherwise.
        is_expected: whether this machine seems made for it, so that `auto` explains not using it.
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
    runtime: Callable[[Request], Graph] | None = None
    options: Callable[[Request], Mapping[str, str]] = lambda _: {}
    beside: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset()
    diagnose: Callable[[], list[Cause]] = list
    diagnose_request: Callable[[Request], list[Cause]] = lambda _: []
    is_expected: Callable[[], bool] = lambda: True
    automatic: bool = False
    arithmetic: str = ""
    device: str = ""
    in_workers: bool = False
    survives_fork: bool = False


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPU", "CPUExecutionProvider", in_workers=True, survives_fork=True),
    "cuda": Provider(
        "CUDA",
        "CUDAExecutionProvider",
        options=cuda.options,
        takes=frozenset({"device_id", "gpu_memory_limit", "cuda_graphs"}),
        diagnose=cuda.diagnose,
        is_expected=cuda.has_driver,
        automatic=True,
        arithmetic="f32 without TF32",
        device="cuda",
    ),
    "tensorrt": Provider(
        "TensorRT (experimental)",
        tensorrt.NAME,
        options=tensorrt.options,
        beside=("CUDAExecutionProvider",),
        takes=frozenset({"device_id", "gpu_memory_limit"}),
        diagnose=tensorrt.diagnose,
        is_expected=cuda.has_driver,
        device="cuda",
    ),
    "openvino": Provider(
        "OpenVINO",
        runtime=openvino.OpenVinoGraph,
        takes=frozenset({"arithmetic"}),
        diagnose=openvino.diagnose,
        diagnose_request=openvino.diagnose_request,
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
