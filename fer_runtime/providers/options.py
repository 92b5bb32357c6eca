"""How a provider computes, beside what the model says; each takes some of these options."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ARITHMETICS = ("f32", "bf16")


class ProviderOptions(NamedTuple):
    """Options of a provider; one that a provider does not take is an error, never ignored.

    Attributes:
        arithmetic: "f32" computes what the file says; "bf16" is faster and less exact, and runs
            only on a CPU with such instructions, after it was compared with f32.
        device_id: the number of the GPU, as nvidia-smi counts them.
        gpu_memory_limit: MiB of GPU memory that the model may take; None for no limit.
        cuda_graphs: capture each batch size as a CUDA graph, which saves launching kernels.
    """

    arithmetic: str = "f32"
    device_id: int = 0
    gpu_memory_limit: int | None = None
    cuda_graphs: bool = False

    def checked(self) -> ProviderOptions:
        """Itself; raises ValueError for a value out of range."""
        if self.arithmetic not in ARITHMETICS:
            allowed = ", ".join(ARITHMETICS)
            raise ValueError(f"arithmetic={self.arithmetic!r}; allowed: {allowed}")
        if self.device_id < 0:
            raise ValueError(f"device_id={self.device_id}; it must be at least 0")
        if self.gpu_memory_limit is not None and self.gpu_memory_limit < 1:
            raise ValueError(
                f"gpu_memory_limit={self.gpu_memory_limit}; it must be at least 1 (MiB)"
            )
        return self

    def given(self) -> list[str]:
        """Names of the options that are not at their defaults."""
        default = ProviderOptions()
        return [name for name in self._fields if getattr(self, name) != getattr(default, name)]


class Request(NamedTuple):
    """What is to be opened.

    Attributes:
        model: the ONNX file.
        threads: CPU threads of one call.
        options: of the provider.
    """

    model: Path = Path()
    threads: int = 1
    options: ProviderOptions = ProviderOptions()
