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

    def cuDriverGetVersion(self, pointer: Any) -> int:  # noqa: N802
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = 13000
        return 0

    def cuDeviceGet(self, pointer: Any, number: int) -> int:  # noqa: N802
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = number
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = f"GPU {device.value}".encode()
        return 0

    def cuDeviceTotalMem_v2(self, pointer: Any, device: Any) -> int:  # noqa: N802
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_size_t))[0] = 16 * 2**30
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
        self.options: list[dict[str, str]] = []
        self.devices: list[Any] = []

    def __call__(self, chosen: providers.Chosen) -> Any:
        self.calls.append(([name for name, _ in chosen.providers], chosen.entries))
        self.options.append(chosen.providers[0][1])
        self.devices.append(chosen.devices)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


Pretend = Callable[..., None]


def refusal(provider: str, create: Create | None = None) -> str:
    with pytest.raises(ProviderError) as caught:
        providers.open_session(provider, create or Create())
    return str(caught.value)
