"""The engines by name; one more is one function and one entry here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

KEEP_BLOCKS: Mapping[str, str] = MappingProxyType(
    {
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
        "MALLOC_TOP_PAD_": str(256 << 20),
    }
)
"""glibc keeps large blocks instead of giving them back to the system. By default a tensor of some
megabytes is new memory in each run, which the kernel has to find and clear."""


def _always() -> None:
    return None


def _without_compiler() -> str | None:
    return None if shutil.which("g++") or shutil.which("clang++") else "no C++ compiler (g++)"


def _without_provider(name: str) -> Callable[[], str | None]:
    def why_not() -> str | None:
        from fer_runtime.providers import PROVIDERS
        from fer_runtime.providers import why_not as causes_of

        causes = causes_of(PROVIDERS[name])
        return "; ".join(str(cause) for cause in causes) or None

    return why_not


@cache
def _without_bf16() -> str | None:
    """Also where this CPU's bf16 is not exact enough for the model that ships."""
    from fer_runtime.errors import ProviderError
    from fer_runtime.providers import ProviderOptions, openvino
    from fer_runtime.session import Session
    from fer_runtime.shipped import SHIPPED

    if (reason := _without_provider("openvino")()) is not None:
        return reason
    if "BF16" not in openvino.capabilities():
        return "this CPU has no bf16 instructions"
    options = ProviderOptions(arithmetic="bf16")
    try:
        Session.open(SHIPPED, provider="openvino", threads=1, provider_options=options)
    except ProviderError as error:
        return str(error).replace(str(SHIPPED), SHIPPED.name)
    return None


class Entry(NamedTuple):
    """How an engine is opened.

    Attributes:
        home: "module:function", (artefacts, threads) -> Engine.
        why_not: why it cannot run here; None where it can.
        environment: variables that its process is started with.
        tolerance: how far its probabilities may be from eager PyTorch's.
    """

    home: str
    why_not: Callable[[], str | None] = _always
    environment: Mapping[str, str] = MappingProxyType({})
    tolerance: float = 1e-5


_TORCH = "fer_bench.engines.pytorch"
_RUNTIME = "fer_bench.engines.runtime"

ENGINES: dict[str, Entry] = {
    "eager": Entry(f"{_TORCH}:eager"),
    "eager, blocks kept": Entry(f"{_TORCH}:eager", environment=KEEP_BLOCKS),
    "channels last, blocks kept": Entry(f"{_TORCH}:channels_last", environment=KEEP_BLOCKS),
    "torch.compile, blocks kept": Entry(f"{_TORCH}:compiled", _without_compiler, KEEP_BLOCKS),
    "TorchScript": Entry(f"{_TORCH}:torchscript"),
    "TorchScript, blocks kept": Entry(f"{_TORCH}:torchscript", environment=KEEP_BLOCKS),
    "exported program, blocks kept": Entry(f"{_TORCH}:exported_program", environment=KEEP_BLOCKS),
    "runtime": Entry(f"{_RUNTIME}:cpu"),
    "runtime, OpenVINO": Entry(f"{_RUNTIME}:openvino", _without_provider("openvino")),
    "runtime, OpenVINO in bf16": Entry(f"{_RUNTIME}:openvino_bf16", _without_bf16, tolerance=0.03),
    "runtime, CUDA": Entry(f"{_RUNTIME}:cuda", _without_provider("cuda")),
    "runtime, TensorRT": Entry(f"{_RUNTIME}:tensorrt", _without_provider("tensorrt")),
}
"""Name -> engine. "Blocks kept" is `KEEP_BLOCKS`: PyTorch at its best, which a conclusion is drawn
from; without it PyTorch as people start it."""
