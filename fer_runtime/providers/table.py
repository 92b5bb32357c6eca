"""The table of execution providers: a new provider is one entry here (and its diagnosis)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from fer_runtime.providers import cuda
from fer_runtime.providers.cause import Cause


class Provider(NamedTuple):
    """How one of onnxruntime's execution providers is opened.

    Attributes:
        onnxruntime_name: what onnxruntime calls it.
        title: how messages call it.
        options: what onnxruntime is given.
        diagnose: why it cannot run here, most basic cause first; empty where it should run.
        is_expected: whether this machine seems made for it, so that `auto` explains not using it.
        automatic: whether `auto` tries it; several are tried in the order of the table.
        fixed_batch: whether batches are padded to one size, because each size costs a new plan.
    """

    onnxruntime_name: str
    title: str
    options: Mapping[str, str] = MappingProxyType({})
    diagnose: Callable[[], list[Cause]] = list
    is_expected: Callable[[], bool] = lambda: True
    automatic: bool = False
    fixed_batch: bool = False


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "CPU"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "CUDA",
        # TF32 off keeps fp32 parity.
        {
            "use_tf32": "0",
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
        },
        cuda.diagnose,
        cuda.has_driver,
        automatic=True,
        fixed_batch=True,
    ),
}
"""Our name -> provider. `--provider` also takes "auto"."""
FALLBACK = "cpu"
"""What `auto` uses where no automatic provider runs."""


def choices() -> tuple[str, ...]:
    """What `--provider` takes."""
    return ("auto", *PROVIDERS)
