"""This project's engine, on each provider: the ONNX file in a session of `fer_runtime`."""

from __future__ import annotations

from importlib import metadata

from fer_bench.artefacts import Artefacts
from fer_bench.engines.engine import Engine
from fer_runtime.hashing import file_sha256
from fer_runtime.providers import ProviderOptions
from fer_runtime.session import Session


def cpu(artefacts: Artefacts, threads: int) -> Engine:
    """onnxruntime on the CPU."""
    return _on("cpu", artefacts, threads)


def openvino(artefacts: Artefacts, threads: int) -> Engine:
    """OpenVINO's own runtime, in f32."""
    return _on("openvino", artefacts, threads)


def openvino_bf16(artefacts: Artefacts, threads: int) -> Engine:
    """OpenVINO's own runtime in bf16, which it chooses itself on CPUs that have it."""
    return _on("openvino", artefacts, threads, ProviderOptions(arithmetic="bf16"))


def cuda(artefacts: Artefacts, threads: int) -> Engine:
    """onnxruntime on an NVIDIA GPU."""
    return _on("cuda", artefacts, threads)


def tensorrt(artefacts: Artefacts, threads: int) -> Engine:
    """onnxruntime with TensorRT."""
    return _on("tensorrt", artefacts, threads)


def _on(
    provider: str, artefacts: Artefacts, threads: int, options: ProviderOptions | None = None
) -> Engine:
    session = Session.open(
        artefacts.onnx, provider=provider, threads=threads, provider_options=options
    )
    facts = {
        "model": file_sha256(artefacts.onnx),
        "provider": session.provider,
        "arithmetic": session.arithmetic,
        "threads": threads,
    } | _versions(provider)
    return Engine(lambda pixels: session.run(pixels).probabilities, facts)


def _versions(provider: str) -> dict[str, str]:
    for package in ("openvino",) if provider == "openvino" else ("onnxruntime", "onnxruntime-gpu"):
        try:
            return {package: metadata.version(package)}
        except metadata.PackageNotFoundError:
            continue
    return {}
