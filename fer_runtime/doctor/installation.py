"""Versions, cores, decoders and folders."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from fer_runtime import machine
from fer_runtime._version import __version__
from fer_runtime.doctor.finding import NOTE, OK, PROBLEM, Finding
from fer_runtime.user_cache import VARIABLE, user_folder

PACKAGES = (
    *("numpy", "pillow", "simplejpeg", "typer", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("pyarrow", "av", "torch", "torchvision", "onnx", "onnxscript"),
)
EXTRA_OF = {"pyarrow": "parquet", "av": "video"}


def versions() -> Iterator[Finding]:
    """fer-runtime, Python, the platform, and packages that matter."""
    section = "installation"
    python = f"{platform.python_version()} ({sys.executable})"
    yield Finding(section, "fer-runtime", OK, f"{__version__} ({Path(__file__).parent.parent})")
    yield Finding(section, "python", OK, python)
    yield Finding(section, "platform", OK, platform.platform())
    found = package_versions()
    there = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    missing = [name for name, version in found.items() if version is None]
    text = there + (f"; not installed: {', '.join(missing)}" if missing else "")
    yield Finding(section, "packages", OK, text, details=dict(found))


def package_versions() -> dict[str, str | None]:
    """Packages that matter -> their versions; None for what is not installed."""
    return {name: _version(name) for name in PACKAGES}


def cores() -> Iterator[Finding]:
    """The CPU, and how much of it this process may use, and why."""
    host = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else host
    quota, usable = machine.cgroup_cores(), machine.usable_threads()
    features = machine.cpu_features()
    yield Finding(
        "machine", "cpu", OK, f"{machine.processor()}; {', '.join(features) or 'no flags known'}",
        details={"name": machine.processor(), "features": features},
    )  # fmt: skip
    text = (
        f"{usable} used: {host} in the machine, {affinity} by affinity, "
        f"{'no quota' if quota is None else f'{quota} by the cgroup quota'}"
    )
    details = {"host": host, "affinity": affinity, "quota": quota, "usable": usable}
    yield Finding("machine", "threads", OK, text, details=details)


def decoders() -> Iterator[Finding]:
    """Whether images, tables and videos can be read; images by decoding one."""
    for name, ending in (("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")):
        try:
            worst = _decoded(ending)
        except Exception as error:  # of Pillow or simplejpeg, without a common base
            yield Finding("decoders", name, PROBLEM, f"cannot be decoded: {error}", status=6)
            continue
        fine = worst <= 8
        text = "decodes" if fine else f"decodes wrongly: {worst} levels from the picture"
        yield Finding("decoders", name, OK if fine else PROBLEM, text, status=0 if fine else 6)
    for package, extra in EXTRA_OF.items():
        version = _version(package)
        if version is None:
            text = f"{package} is not installed: pip install 'fer-runtime[{extra}]'"
        else:
            text = f"{package} {version}"
        yield Finding("decoders", extra, NOTE if version is None else OK, text)


def _decoded(kind: str) -> int:
    """Encode a smooth grey picture, decode it as the runtime does -> the largest difference."""
    import io

    from PIL import Image

    from fer_runtime import images
    from fer_runtime.spec import InputSpec

    picture = (np.add.outer(np.arange(48), np.arange(48)) * 2 + 30).astype(np.uint8)
    stream = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    Image.fromarray(picture).save(stream, kind, **options)
    spec = InputSpec(height=48, width=48, channels=1, mean=(0.0,), std=(1.0,))
    found = images.load(stream.getvalue(), spec)[0]
    return int(np.abs(found.astype(int) - picture).max())


def folders() -> Iterator[Finding]:
    """The folders that are written to: the user's cache, temporary files, shared memory."""
    cache = user_folder()
    if cache is None:
        yield Finding("folders", "cache", NOTE, f"none: {VARIABLE} is empty, or there is no home")
    else:
        writable = _writable(cache)
        text = f"{cache}" if writable else f"{cache} cannot be written, so nothing is kept"
        yield Finding("folders", "cache", OK if writable else NOTE, text)
    temporary = Path(tempfile.gettempdir())
    writable = _writable(temporary)
    free = shutil.disk_usage(temporary).free // 2**20 if writable else 0
    text = f"{temporary}, {free:,} MiB free" if writable else f"{temporary} cannot be written"
    yield Finding("folders", "temporary", OK if writable else PROBLEM, text, 0 if writable else 6)
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free // 2**20
        enough = free >= 256
        text = f"{shared}, {free:,} MiB free"
        if not enough:
            text += "; worker processes get images of iterables through pipes, which is slower"
        yield Finding("folders", "shared memory", OK if enough else NOTE, text)


def _writable(folder: Path) -> bool:
    """Whether a file can be made there, or the folder itself."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
