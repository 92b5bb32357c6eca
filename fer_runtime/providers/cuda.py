"""Why CUDA cannot run here: the driver, its devices, and the libraries that onnxruntime loads.

onnxruntime's own exception names no library, so the provider library is loaded here and the
loader's message read.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
from collections.abc import Iterator
from pathlib import Path

from fer_runtime.providers import wheels
from fer_runtime.providers.cause import Cause


def diagnose() -> list[Cause]:
    """Why CUDA cannot run here, most basic cause first; empty where it should run."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        installed = " and ".join(wheels.installed_wheels()) or "onnxruntime"
        return [
            Cause(
                f"the installed wheel ({installed} {onnxruntime.__version__}) is built "
                "without CUDA",
                f"pip uninstall -y {installed}; pip install 'onnxruntime-gpu[cuda,cudnn]'",
            )
        ]
    return [*_diagnose_driver(), *_diagnose_libraries()]


def has_driver() -> bool:
    """Whether the NVIDIA driver is installed, so that a GPU can be expected."""
    return not isinstance(_load_driver(), OSError)


def _diagnose_driver() -> list[Cause]:
    """Ask the driver itself for devices (CUDA driver API: cuInit, cuDeviceGetCount)."""
    driver = _load_driver()
    if isinstance(driver, OSError):
        remedy = "it needs an NVIDIA GPU and its driver; nvidia-smi shows whether both are there"
        return [Cause("no NVIDIA driver is installed", remedy, _loader_message(driver))]
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
        return [
            Cause(
                f"onnxruntime {onnxruntime.__version__} requires {required_cuda()}, and one of its "
                "libraries is missing",
                "pip install 'onnxruntime-gpu[cuda,cudnn]' brings all of them",
                _loader_message(error),
            )
        ]
    return []


def _loader_message(error: OSError) -> str:
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
