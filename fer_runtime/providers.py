"""Execution providers: what onnxruntime is given, and the promise that it is what runs.

onnxruntime falls back to the CPU without raising, also where its list of available providers
names CUDA. Here an explicit request runs as asked or ends in a ProviderError that names the cause;
only "auto" may choose, and says what it chose and why.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fer_runtime.errors import ProviderError

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": (
        "CUDAExecutionProvider",
        {
            "use_tf32": "0",
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
        },
    ),
}
"""Our name -> onnxruntime's name and the options it is given; TF32 off keeps fp32 parity."""

_NO_FALLBACK = "session.disable_cpu_ep_fallback"
_LOG_FATAL, _LOG_WARNING = 4, 2

Create = Callable[
    [list[tuple[str, dict[str, str]]], dict[str, str]], "onnxruntime.InferenceSession"
]
"""(providers with options, session config entries) -> session; raises what onnxruntime raises."""


class Cause(NamedTuple):
    """Why a provider cannot run, what mends it, and what the system said of it, if anything."""

    what: str
    remedy: str = ""
    detail: str = ""

    def __str__(self) -> str:
        told = f"{self.what}: {self.detail}" if self.detail else self.what
        return f"{told} ({self.remedy})" if self.remedy else told


@dataclass(frozen=True)
class Opened:
    """A session, the provider that runs it, why it was chosen, and nodes left to the CPU."""

    session: onnxruntime.InferenceSession
    provider: str
    reason: str
    partly_on_cpu: bool = False


def open_session(provider: str, create: Create) -> Opened:
    """Open a session on `provider` ("cpu", "cuda" or "auto").

    Raises:
        ProviderError: an unknown name, a wheel missing or installed twice, or a provider that
            cannot run here; whatever `create` raises for a broken model passes through.
    """
    check_wheels()
    if provider == "auto":
        found = _open_alone(
            "cuda", create, "CUDA, because a device is there and its libraries load"
        )
        if isinstance(found, Opened):
            return found
        return Opened(_create(create, "cpu"), "cpu", f"CPU, because {found[0].what}")
    if provider not in PROVIDERS:
        raise ProviderError(
            f"Unknown provider {provider!r}; allowed: auto, {', '.join(PROVIDERS)}."
        )
    if provider == "cpu":
        return Opened(_create(create, "cpu"), "cpu", "CPU, as asked")
    found = _open_alone(provider, create, f"{provider.upper()}, as asked")
    if isinstance(found, Opened):
        return found
    raise ProviderError(
        f"{provider} was asked for and cannot run here: {'; '.join(map(str, found))}. "
        "To run on the CPU instead, say --provider cpu (or provider='cpu')."
    )


def _open_alone(provider: str, create: Create, reason: str) -> Opened | list[Cause]:
    """Open with `provider` alone, or say why not; CPU nodes are fine if the provider runs too."""
    causes = diagnose_cuda()
    if causes:
        return causes
    try:
        session = _create(create, provider, {_NO_FALLBACK: "1"})
        partly_on_cpu, first = False, None
    except Exception as error:
        # onnxruntime raises its own classes without a common base. Either the provider cannot
        # run, or some nodes belong on the CPU: opening without the flag tells which.
        session = _create(create, provider)
        partly_on_cpu, first = True, error
    if session.get_providers()[0] != PROVIDERS[provider][0]:
        why = f": {first}" if first else ""
        return [Cause(f"{provider.upper()} failed, and onnxruntime fell back to the CPU{why}")]
    return Opened(session, provider, reason, partly_on_cpu)


def _create(
    create: Create, provider: str, entries: Mapping[str, str] | None = None
) -> onnxruntime.InferenceSession:
    import onnxruntime

    name, options = PROVIDERS[provider]
    # Provider libraries log through the process-wide logger; the exception says what matters.
    onnxruntime.set_default_logger_severity(_LOG_FATAL)
    try:
        return create([(name, dict(options))], dict(entries or {}))
    finally:
        onnxruntime.set_default_logger_severity(_LOG_WARNING)


def check_wheels() -> None:
    """Raise ProviderError unless exactly one onnxruntime wheel is installed."""
    wheels = installed_wheels()
    if len(wheels) > 1:
        raise ProviderError(
            f"{' and '.join(wheels)} are both installed, and overwrite one another's files; "
            f"keep one: pip uninstall -y {' '.join(wheels)}, then pip install onnxruntime, or "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'."
        )
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Ctrl-C while its library was loaded
            raise KeyboardInterrupt from None
        raise ProviderError(
            f"onnxruntime cannot be imported ({error}); "
            "pip install onnxruntime, or 'onnxruntime-gpu[cuda,cudnn]' for an NVIDIA GPU."
        ) from None
    if os.environ.get("ORT_DISABLE_TELEMETRY") == "1" and hasattr(
        onnxruntime, "disable_telemetry_events"
    ):
        onnxruntime.disable_telemetry_events()  # for a program that loaded onnxruntime before us
    if not hasattr(onnxruntime, "InferenceSession"):
        raise ProviderError(
            "onnxruntime is installed in part (one wheel was removed over another); "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install one of them."
        )


def installed_wheels() -> list[str]:
    """Names of the installed distributions that provide the module onnxruntime.

    Read from the folder listing: importlib.metadata alone would cost a tenth of a cold start.
    """
    found = set()
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder or "."):
                name, dash, _ = entry.name.partition("-")
                if dash and entry.name.endswith(".dist-info") and name.startswith("onnxruntime"):
                    found.add(name.replace("_", "-"))
    return sorted(name for name in found if name.removeprefix("onnxruntime") in _VARIANTS)


_VARIANTS = {"", "-gpu", "-directml", "-openvino", "-qnn", "-rocm", "-training"}


def diagnose_cuda() -> list[Cause]:
    """Why CUDA cannot run here, most basic cause first; empty where it should run."""
    import onnxruntime

    if PROVIDERS["cuda"][0] not in onnxruntime.get_available_providers():
        wheels = " and ".join(installed_wheels()) or "onnxruntime"
        return [
            Cause(
                f"the installed wheel ({wheels} {onnxruntime.__version__}) is built without CUDA",
                f"pip uninstall -y {wheels}; pip install 'onnxruntime-gpu[cuda,cudnn]'",
            )
        ]
    return [*_diagnose_driver(), *_diagnose_libraries()]


def _diagnose_driver() -> list[Cause]:
    """Ask the driver itself for devices (CUDA driver API: cuInit, cuDeviceGetCount)."""
    library = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError as error:
        remedy = "it needs an NVIDIA GPU and its driver; nvidia-smi shows whether both are there"
        return [Cause("no NVIDIA driver is installed", remedy, _loader_words(error))]
    status = driver.cuInit(0)
    count = ctypes.c_int(0)
    if status == 0:
        status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return [Cause(f"the NVIDIA driver finds no usable device (CUDA error {status})")]
    if count.value == 0:
        return [Cause("the NVIDIA driver finds no device", "is CUDA_VISIBLE_DEVICES set?")]
    return []


def _diagnose_libraries() -> list[Cause]:
    """Load the provider library and let the loader say which library it misses."""
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
                f"onnxruntime {onnxruntime.__version__} wants {wanted_cuda()}, and a library of it "
                "is missing",
                "pip install 'onnxruntime-gpu[cuda,cudnn]' brings all of them",
                _loader_words(error),
            )
        ]
    return []


def _loader_words(error: OSError) -> str:
    """`libX.so.1: cannot open shared object file: No such file or directory`, without the end."""
    return str(error).removesuffix(": No such file or directory")


def wanted_cuda() -> str:
    """The CUDA and cuDNN versions that the installed onnxruntime was built for."""
    from onnxruntime.capi import build_and_package_info

    cuda = getattr(build_and_package_info, "cuda_version", "") or "an unknown version"
    return f"CUDA {cuda} and cuDNN 9"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """preload_dlls prints what it does not find; the loader's message below says it better."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def describe() -> dict[str, Any]:
    """What `fer-doctor` prints about providers: wheels, versions, what loads and what does not."""
    wheels = installed_wheels()
    try:
        check_wheels()
    except ProviderError as error:
        return {"wheels": wheels, "error": str(error)}
    import onnxruntime

    causes = diagnose_cuda()
    return {
        "wheels": wheels,
        "onnxruntime": onnxruntime.__version__,
        "compiled_in": onnxruntime.get_available_providers(),
        "cpu": "runs",
        "cuda": "; ".join(map(str, causes)) if causes else "runs",
    }
