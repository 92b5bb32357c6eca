"""Stand-ins for NVIDIA's driver and onnxruntime's sessions, and a machine that they make up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from fer_runtime import providers
from fer_runtime.errors import ProviderError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NO_FALLBACK = "session.disable_cpu_ep_fallback"
NO_DRIVER = "libcuda.so.1: cannot open shared object file: No such file or directory"
NO_CUBLAS = "libcublasLt.so.13: cannot open shared object file: No such file or directory"


class Driver:
    """Replaces libcuda: cuInit answers `status`, cuDeviceGetCount counts `devices`."""

    def __init__(self, status: int = 0, devices: int = 1) -> None:
        self.status, self.devices = status, devices

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, pointer: Any) -> int:  # noqa: N802
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = self.devices
        return 0


class FakeSession:
    """Replaces InferenceSession: only reports where it runs."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def get_providers(self) -> list[str]:
        return self.names


class Create:
    """Replaces InferenceSession's constructor; records what it was given."""

    def __init__(self, *answers: FakeSession | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[list[str], dict[str, str]]] = []

    def __call__(self, names: list[tuple[str, dict[str, str]]], entries: dict[str, str]) -> Any:
        self.calls.append(([name for name, _ in names], entries))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


Pretend = Callable[..., None]


def refusal(provider: str, create: Create | None = None) -> str:
    with pytest.raises(ProviderError) as caught:
        providers.open_session(provider, create or Create())
    return str(caught.value)
