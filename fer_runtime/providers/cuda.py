"""Why CUDA cannot run here: the driver, its devices, and the libraries that onnxruntime loads.

onnxruntime's own exception names no library, so the provider library is loaded here and the
loader's message read.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fer_runtime.providers import wheels
from fer_runtime.providers.cause import Cause
from fer_runtime.providers.options import Request

NAME = "CUDAExecutionProvider"
WHEELS = {
    "cudart": "nvidia-cuda-runtime",
    "cublas": "nvidia-cublas",
    "cudnn": "nvidia-cudnn",
    "curand": "nvidia-curand",
    "cufft": "nvidia-cufft",
    "nvrtc": "nvidia-cuda-nvrtc",
    "nvJitLink": "nvidia-nvjitlink",
}
"""The beginning of a library's name -> NVIDIA's wheel with it, without the version of CUDA."""
CUDA_OF = {
    ("cufft", "11"): "12",
    ("cufft", "12"): "13",
    ("curand", "10"): "12",
}
"""(library, its own version) -> CUDA's version, where the two differ."""


def diagnose() -> list[Cause]:
    """Why CUDA cannot run here, most basic cause first; empty where it should run."""
    import onnxruntime

    if NAME not in onnxruntime.get_available_providers():
        if not any(name.startswith(wheels.PLUGIN) for name, _ in wheels.distributions()):
            return [built_without("CUDA")]
        from fer_runtime.providers import plugins

        causes = plugins.register(NAME)
        if causes is None:
            return [built_without("CUDA")]
        return [*_diagnose_driver(), *causes]
    from fer_runtime.providers import plugins

    if plugins.devices(NAME):  # of a plugin that was registered before, which brings its libraries
        return _diagnose_driver()
    return [*_diagnose_driver(), *_diagnose_libraries()]


def options(request: Request) -> Mapping[str, str]:
    """What onnxruntime is given; TF32 off keeps fp32 parity."""
    chosen = {
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "device_id": str(request.options.device_id),
        "enable_cuda_graph": str(int(request.options.cuda_graphs)),
    }
    if request.options.gpu_memory_limit is not None:
        chosen["gpu_mem_limit"] = str(request.options.gpu_memory_limit * 2**20)
    return chosen


def built_without(what: str) -> Cause:
    """The cause where the installed wheel lacks a provider of NVIDIA's."""
    import onnxruntime

    installed = " and ".join(wheels.installed_wheels()) or "onnxruntime"
    return Cause(
        f"the installed wheel ({installed} {onnxruntime.__version__}) is built without {what}",
        f"pip uninstall -y {installed}; pip install 'onnxruntime-gpu[cuda,cudnn]'",
    )


def has_driver() -> bool:
    """Whether the NVIDIA driver is installed, so that a GPU can be expected."""
    return not isinstance(_load_driver(), OSError)


def _diagnose_driver() -> list[Cause]:
    """Ask the driver itself for devices (CUDA driver API: cuInit, cuDeviceGetCount)."""
    driver = _load_driver()
    if isinstance(driver, OSError):
        remedy = "it needs an NVIDIA GPU and its driver; nvidia-smi shows whether both are there"
        return [Cause("no NVIDIA driver is installed", remedy, loader_message(driver))]
    status = driver.cuInit(0)
    count = ctypes.c_int(0)
    if status == 0:
        status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return [Cause(f"the NVIDIA driver finds no usable device (CUDA error {status})")]
    if count.value == 0:
        return [Cause("the NVIDIA driver finds no device", "is CUDA_VISIBLE_DEVICES set?")]
    return []


def _load_driver() -> ctypes.CDLL | OSError:
    try:
        return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError as error:
        return error


def _diagnose_libraries() -> list[Cause]:
    """Load the provider library, and report which library the loader does not find."""
    import onnxruntime

    with _quiet():
        onnxruntime.preload_dlls()
    folder = Path(onnxruntime.__file__).parent / "capi"
    pattern = (
        "onnxruntime_providers_{}.dll" if os.name == "nt" else "libonnxruntime_providers_{}.so"
    )
    try:
        ctypes.CDLL(str(folder / pattern.format("shared")))
        ctypes.CDLL(str(folder / pattern.format("cuda")))
    except OSError as error:
        message = loader_message(error)
        wheel = wheel_of(message)
        alone = f"pip install {wheel} brings it, and " if wheel else ""
        return [
            Cause(
                f"onnxruntime {onnxruntime.__version__} requires {required_cuda()}, and one of its "
                "libraries is missing",
                f"{alone}pip install 'onnxruntime-gpu[cuda,cudnn]' brings all of them",
                message,
            )
        ]
    return []


def wheel_of(message: str) -> str | None:
    """The wheel with the library that a loader's message begins with; None for others.

    >>> wheel_of("libcublasLt.so.12: cannot open shared object file")
    'nvidia-cublas-cu12'
    """
    found = re.match(r"lib([A-Za-z]+)[^ ]*\.so\.(\d+)", message)
    if found is None:
        return None
    library, version = found.groups()
    for start, wheel in WHEELS.items():
        if library.startswith(start):
            if start == "cudnn":
                return f"{wheel}-cu{required_cuda().split()[1].partition('.')[0]}"
            # From CUDA 13 on NVIDIA's wheels are named without the version.
            cuda = CUDA_OF.get((start, version), version)
            return f"{wheel}-cu{cuda}" if int(cuda) < 13 else wheel
    return None


class Device(NamedTuple):
    """A GPU: its name, as "NVIDIA H100", and its memory in MiB."""

    name: str
    memory: int


def devices() -> list[Device]:
    """The GPUs that the driver lists, in the order of `device_id`; [] without a driver."""
    driver = _load_driver()
    if isinstance(driver, OSError) or driver.cuInit(0) != 0:
        return []
    count, device = ctypes.c_int(0), ctypes.c_int(0)
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    found = []
    for number in range(count.value):
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        found.append(Device(name.value.decode("utf-8", "replace"), memory.value // 2**20))
    return found


def driver_cuda() -> str | None:
    """The newest CUDA that the driver can run, as "13.0"; None without a driver."""
    driver, version = _load_driver(), ctypes.c_int(0)
    if isinstance(driver, OSError) or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def loader_message(error: OSError) -> str:
    """`libX.so.1: cannot open shared object file: No such file or directory`, without the end."""
    return str(error).removesuffix(": No such file or directory")


def required_cuda() -> str:
    """The CUDA and cuDNN versions that the installed onnxruntime was built for."""
    from onnxruntime.capi import build_and_package_info

    cuda = getattr(build_and_package_info, "cuda_version", "") or "an unknown version"
    return f"CUDA {cuda} and cuDNN 9"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """preload_dlls prints what it does not find; the loader's message is clearer."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
