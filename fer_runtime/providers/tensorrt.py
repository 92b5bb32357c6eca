"""TensorRT through onnxruntime: experimental, because it has not run on such a machine yet."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

from fer_runtime.providers import cuda, engine_cache
from fer_runtime.providers.cause import Cause
from fer_runtime.providers.options import Request

NAME = "TensorrtExecutionProvider"


def diagnose() -> list[Cause]:
    """Why TensorRT cannot run here, most basic cause first; empty where it should run."""
    import onnxruntime

    if NAME not in onnxruntime.get_available_providers():
        return [cuda.built_without("TensorRT")]
    causes = cuda.diagnose()
    library = "nvinfer_10.dll" if os.name == "nt" else "libnvinfer.so.10"
    try:
        ctypes.CDLL(library)
    except OSError as error:
        causes.append(
            Cause(
                "TensorRT's library is missing",
                "pip install tensorrt-cu13, and add its folder to the loader's path",
                cuda.loader_message(error),
            )
        )
    return causes


def options(request: Request) -> Mapping[str, str]:
    """What onnxruntime is given: fp32, and where engines are kept."""
    chosen = {"device_id": str(request.options.device_id), "trt_fp16_enable": "0"}
    if request.options.gpu_memory_limit is not None:
        chosen["trt_max_workspace_size"] = str(request.options.gpu_memory_limit * 2**20)
    gpu = cuda.devices()[request.options.device_id :][:1]
    device = gpu[0].name if gpu else f"gpu {request.options.device_id}"
    folder = engine_cache.folder_of(request.model, f"tensorrt-{_versions()}", device)
    if folder is not None:
        chosen |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }
    return chosen


def _versions() -> str:
    """Of TensorRT and onnxruntime, which compile together."""
    import onnxruntime

    library = ctypes.CDLL("nvinfer_10.dll" if os.name == "nt" else "libnvinfer.so.10")
    return f"{library.getInferLibVersion()}-onnxruntime-{onnxruntime.__version__}"
