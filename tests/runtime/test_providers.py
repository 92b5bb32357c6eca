"""Providers: what was requested for runs, or an error names the cause; only `auto` may choose."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from fer_runtime import providers
from fer_runtime.errors import ProviderError
from fer_runtime.providers import cuda, wheels
from fer_runtime.session import Session

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NO_FALLBACK = "session.disable_cpu_ep_fallback"
NO_DRIVER = "libcuda.so.1: cannot open shared object file: No such file or directory"
NO_CUBLAS = "libcublasLt.so.13: cannot open shared object file: No such file or directory"


class Driver:
    """Stands in for libcuda: cuInit answers `status`, cuDeviceGetCount counts `devices`."""

    def __init__(self, status: int = 0, devices: int = 1) -> None:
        self.status, self.devices = status, devices

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, pointer: Any) -> int:  # noqa: N802
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = self.devices
        return 0


class FakeSession:
    """Stands in for InferenceSession: only reports where it runs."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def get_providers(self) -> list[str]:
        return self.names


class Create:
    """Stands in for InferenceSession's constructor; records what it was given."""

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


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Play a machine: its driver and the libraries that do not load, as the loader reports them."""

    def play(driver: Driver | None = None, missing: dict[str, str] | None = None) -> None:
        def load(name: str, *_: object, **__: object) -> object:
            if name == "libcuda.so.1":
                if driver is None:
                    raise OSError(NO_DRIVER)
                return driver
            for part, message in (missing or {}).items():
                if part in name:
                    raise OSError(message)
            return object()

        monkeypatch.setattr(wheels, "installed_wheels", lambda: ["onnxruntime-gpu"])
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
        monkeypatch.setattr(ctypes, "CDLL", load)

    return play


def refusal(provider: str, create: Create | None = None) -> str:
    with pytest.raises(ProviderError) as caught:
        providers.open_session(provider, create or Create())
    return str(caught.value)


# --- this machine ----------------------------------------------------------------------------


def needs_no_cuda() -> None:
    if not providers.diagnose_cuda():
        pytest.skip("needs a machine without CUDA, and this one has it")


def test_auto_uses_the_cpu_here_without_a_word_about_a_gpu_that_is_not_there(
    tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    needs_no_cuda()
    session = Session.open(tiny_model, provider="auto")
    assert session.provider == "cpu"
    if cuda.has_driver():
        assert session.provider_reason == f"CPU, because {providers.diagnose_cuda()[0].what}"
    else:
        assert session.provider_reason == "CPU"
    assert capfd.readouterr() == ("", "")


def test_cuda_is_refused_here_with_the_cause_quickly_and_silently(
    tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    needs_no_cuda()
    started = time.perf_counter()
    with pytest.raises(ProviderError) as caught:
        Session.open(tiny_model, provider="cuda")
    assert time.perf_counter() - started < 5
    assert str(providers.diagnose_cuda()[0]) in str(caught.value)
    assert "cuda was requested but cannot run here" in str(caught.value)
    assert "--provider cpu" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_cpu_runs_here_as_requested(tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    session = Session.open(tiny_model, provider="cpu")
    assert (session.provider, session.provider_reason) == ("cpu", "CPU, as requested")
    assert capfd.readouterr() == ("", "")


@pytest.mark.gpu
def test_cuda_runs_as_asked(tiny_model: Path) -> None:
    session = Session.open(tiny_model, provider="cuda")
    assert (session.provider, session.provider_reason) == ("cuda", "CUDA, as requested")


@pytest.mark.parametrize("name", ["gpu", "CUDA", "", "CPUExecutionProvider", "rocm"])
def test_unknown_names_list_the_allowed_ones(name: str) -> None:
    message = refusal(name)
    assert f"Unknown provider {name!r}" in message
    assert "allowed: auto, cpu, cuda" in message


# --- wheels ----------------------------------------------------------------------------------


def test_both_wheels_are_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["onnxruntime", "onnxruntime-gpu"]
    monkeypatch.setattr(wheels, "installed_wheels", lambda: both)
    for provider in ("cpu", "auto", "cuda"):
        message = refusal(provider)
        assert "onnxruntime and onnxruntime-gpu are both installed" in message
        assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
        assert "pip install onnxruntime, or pip install 'onnxruntime-gpu[cuda,cudnn]'" in message


def test_no_wheel_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "installed_wheels", list)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    message = refusal("auto")
    assert "onnxruntime cannot be imported" in message
    assert "pip install onnxruntime, or 'onnxruntime-gpu[cuda,cudnn]'" in message


def test_a_wheel_removed_over_another_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip uninstall onnxruntime` leaves an empty folder, which Python takes for a package."""
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    assert "only partly installed" in refusal("cpu")


def test_installed_wheels_are_read_from_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, other = tmp_path / "site", tmp_path / "other"
    for folder in (
        site / "onnxruntime_gpu-1.23.0.dist-info",
        site / "onnxruntime_genai-0.9.dist-info",
        site / "onnxruntime_extensions-0.14.dist-info",
        site / "onnxruntime",
        site / "onnx-1.19.dist-info",
        other / "onnxruntime-1.23.0.dist-info",
        other / "onnxruntime_gpu-1.23.0.dist-info",
    ):
        folder.mkdir(parents=True)
    monkeypatch.setattr("sys.path", [str(site), str(tmp_path / "missing"), str(tmp_path / "x.zip")])
    assert providers.installed_wheels() == ["onnxruntime-gpu"]
    monkeypatch.setattr("sys.path", [str(site), str(other)])
    assert providers.installed_wheels() == ["onnxruntime", "onnxruntime-gpu"]
    monkeypatch.setattr("sys.path", [])
    assert providers.installed_wheels() == []


def test_this_installation_has_one_wheel() -> None:
    assert providers.installed_wheels() in (["onnxruntime"], ["onnxruntime-gpu"])


# --- causes ----------------------------------------------------------------------------------


def test_a_wheel_without_cuda_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "installed_wheels", lambda: ["onnxruntime"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    (cause,) = providers.diagnose_cuda()
    wheel = f"onnxruntime {onnxruntime.__version__}"
    assert cause.what == f"the installed wheel ({wheel}) is built without CUDA"
    remedy = "pip uninstall -y onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]'"
    assert cause.remedy == remedy
    assert str(cause) in refusal("cuda")


def test_a_missing_driver_is_named(pretend: Pretend) -> None:
    pretend(driver=None)
    (cause,) = providers.diagnose_cuda()
    assert cause.what == "no NVIDIA driver is installed"
    assert cause.detail.startswith("libcuda.so.1: cannot open")
    assert "nvidia-smi" in cause.remedy
    assert str(cause) in refusal("cuda")


def test_a_driver_that_does_not_start_is_named(pretend: Pretend) -> None:
    """100 is CUDA_ERROR_NO_DEVICE."""
    pretend(Driver(status=100))
    (cause,) = providers.diagnose_cuda()
    assert str(cause) == "the NVIDIA driver finds no usable device (CUDA error 100)"


def test_no_device_is_named(pretend: Pretend) -> None:
    pretend(Driver(devices=0))
    (cause,) = providers.diagnose_cuda()
    assert str(cause) == "the NVIDIA driver finds no device (is CUDA_VISIBLE_DEVICES set?)"


def test_a_missing_library_is_named_with_the_required_versions_and_the_wheel(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(Driver(), {"providers_cuda": NO_CUBLAS})
    monkeypatch.setattr(cuda, "required_cuda", lambda: "CUDA 13.0 and cuDNN 9")
    (cause,) = providers.diagnose_cuda()
    required = f"onnxruntime {onnxruntime.__version__} requires CUDA 13.0 and cuDNN 9"
    assert cause.what == f"{required}, and one of its libraries is missing"
    assert cause.detail == "libcublasLt.so.13: cannot open shared object file"
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in cause.remedy


@pytest.mark.parametrize(
    "words",
    [
        "libcudnn.so.9: version `libcudnn.so.9' not found (required by providers_cuda.so)",
        "/usr/lib/libcublas.so.13: undefined symbol: cublasLtGetVersion, version libcublasLt.so.13",
        "/usr/lib/libcudart.so.13: file too short",
    ],
)
def test_what_the_loader_says_is_handed_on(pretend: Pretend, words: str) -> None:
    pretend(Driver(), {"providers_cuda": words})
    assert words in refusal("cuda")


def test_causes_are_all_listed_most_basic_first(pretend: Pretend) -> None:
    pretend(None, {"providers_cuda": NO_CUBLAS})
    first, second = map(str, providers.diagnose_cuda())
    assert "driver" in first
    assert "libcublasLt.so.13" in second
    message = refusal("cuda")
    assert message.index(first) < message.index(second)


def test_where_all_is_there_nothing_is_wrong(pretend: Pretend) -> None:
    pretend(Driver())
    assert providers.diagnose_cuda() == []


def test_the_diagnosis_prints_nothing(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """preload_dlls prints what it does not find."""
    pretend(Driver(), {"providers_cuda": NO_CUBLAS})
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libfoo.so"))
    providers.diagnose_cuda()
    assert capfd.readouterr() == ("", "")


# --- strictness ------------------------------------------------------------------------------


def test_cuda_is_opened_alone_and_without_a_fallback(pretend: Pretend) -> None:
    pretend(Driver())
    create = Create(FakeSession(CUDA))
    opened = providers.open_session("cuda", create)
    assert create.calls == [([CUDA], {NO_FALLBACK: "1"})]
    assert (opened.provider, opened.reason) == ("cuda", "CUDA, as requested")
    assert not opened.partly_on_cpu


def test_nodes_that_belong_on_the_cpu_are_accepted_and_reported(pretend: Pretend) -> None:
    """The flag trips over shape nodes too; CUDA first among the providers means that it runs."""
    pretend(Driver())
    session = FakeSession(CUDA, CPU)
    create = Create(RuntimeError("This session contains graph nodes that are assigned"), session)
    opened = providers.open_session("cuda", create)
    assert create.calls == [([CUDA], {NO_FALLBACK: "1"}), ([CUDA], {})]
    assert opened.session is session  # type: ignore[comparison-overlap]
    assert opened.provider == "cuda"
    assert opened.partly_on_cpu


def test_a_silent_fallback_is_an_error_with_the_first_cause(pretend: Pretend) -> None:
    pretend(Driver())
    create = Create(RuntimeError("cuDNN failed with status 1"), FakeSession(CPU))
    message = refusal("cuda", create)
    assert "fell back to the CPU: cuDNN failed with status 1" in message
    assert len(create.calls) == 2


def test_a_fallback_that_the_flag_did_not_catch_is_an_error(pretend: Pretend) -> None:
    """The guarantee rests on what the session reports, not on a flag alone."""
    pretend(Driver())
    assert "CPU" in refusal("cuda", Create(FakeSession(CPU), FakeSession(CPU)))


def test_a_broken_model_is_not_blamed_on_the_provider(pretend: Pretend) -> None:
    pretend(Driver())
    with pytest.raises(ValueError, match="INVALID_PROTOBUF"):
        providers.open_session("cuda", Create(ValueError("flag"), ValueError("INVALID_PROTOBUF")))


def test_cuda_that_cannot_run_is_refused_before_a_session_is_made(pretend: Pretend) -> None:
    pretend(driver=None)
    create = Create()
    refusal("cuda", create)
    assert create.calls == []


def test_cpu_never_looks_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[str]:
        raise AssertionError("diagnosed")

    entry = replace(providers.PROVIDERS["cuda"], diagnose=fail)
    monkeypatch.setitem(providers.PROVIDERS, "cuda", entry)
    create = Create(FakeSession(CPU))
    assert providers.open_session("cpu", create).provider == "cpu"
    assert create.calls == [([CPU], {})]


# --- auto ------------------------------------------------------------------------------------


def test_auto_takes_cuda_where_it_runs(pretend: Pretend) -> None:
    pretend(Driver())
    opened = providers.open_session("auto", Create(FakeSession(CUDA)))
    assert opened.provider == "cuda"
    assert opened.reason.startswith("CUDA, because")


def test_auto_takes_the_cpu_where_a_cause_stands_against_cuda(pretend: Pretend) -> None:
    pretend(Driver(devices=0))
    create = Create(FakeSession(CPU))
    opened = providers.open_session("auto", create)
    assert create.calls == [([CPU], {})]
    assert opened.provider == "cpu"
    assert opened.reason.startswith("CPU, because the NVIDIA driver finds no device")


def test_auto_takes_the_cpu_where_cuda_fails_at_the_last_moment(pretend: Pretend) -> None:
    pretend(Driver())
    create = Create(RuntimeError("out of memory"), FakeSession(CPU), FakeSession(CPU))
    opened = providers.open_session("auto", create)
    assert opened.provider == "cpu"
    assert opened.reason.startswith("CPU, because CUDA failed")
    assert "out of memory" in opened.reason
    assert "asked for" not in opened.reason, "CUDA was not requested"
    assert create.calls[-1] == ([CPU], {})


# --- describe --------------------------------------------------------------------------------


def test_describe_reports_what_runs_and_why_not(pretend: Pretend) -> None:
    pretend(Driver(devices=0))
    found = providers.describe()
    assert found["wheels"] == ["onnxruntime-gpu"]
    assert found["onnxruntime"] == onnxruntime.__version__
    assert found["compiled_in"] == [CUDA, CPU]
    assert found["cpu"] == "runs"
    assert "finds no device" in found["cuda"]
    pretend(Driver())
    assert providers.describe()["cuda"] == "runs"


def test_describe_survives_two_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["onnxruntime", "onnxruntime-gpu"]
    monkeypatch.setattr(wheels, "installed_wheels", lambda: both)
    found = providers.describe()
    assert found["wheels"] == both
    assert "both installed" in found["error"]


def test_required_versions_are_those_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxruntime.capi import build_and_package_info

    monkeypatch.setattr(build_and_package_info, "cuda_version", "12.8", raising=False)
    assert cuda.required_cuda() == "CUDA 12.8 and cuDNN 9"
    monkeypatch.setattr(build_and_package_info, "cuda_version", "", raising=False)
    assert cuda.required_cuda() == "CUDA an unknown version and cuDNN 9"
