"""Why a provider cannot run: wheels, drivers, devices and libraries, each named with its remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import onnxruntime
import pytest

from fer_runtime import providers
from fer_runtime.providers import cuda, wheels
from tests.runtime.stand_ins import (
    CPU,
    CUDA,
    NO_CUBLAS,
    Driver,
    Pretend,
    refusal,
)

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
    (cause,) = providers.PROVIDERS["cuda"].diagnose()
    wheel = f"onnxruntime {onnxruntime.__version__}"
    assert cause.what == f"the installed wheel ({wheel}) is built without CUDA"
    remedy = "pip uninstall -y onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]'"
    assert cause.remedy == remedy
    assert str(cause) in refusal("cuda")


def test_a_missing_driver_is_named(pretend: Pretend) -> None:
    pretend(driver=None)
    (cause,) = providers.PROVIDERS["cuda"].diagnose()
    assert cause.what == "no NVIDIA driver is installed"
    assert cause.detail.startswith("libcuda.so.1: cannot open")
    assert "nvidia-smi" in cause.remedy
    assert str(cause) in refusal("cuda")


def test_a_driver_that_does_not_start_is_named(pretend: Pretend) -> None:
    """100 is CUDA_ERROR_NO_DEVICE."""
    pretend(Driver(status=100))
    (cause,) = providers.PROVIDERS["cuda"].diagnose()
    assert str(cause) == "the NVIDIA driver finds no usable device (CUDA error 100)"


def test_no_device_is_named(pretend: Pretend) -> None:
    pretend(Driver(devices=0))
    (cause,) = providers.PROVIDERS["cuda"].diagnose()
    assert str(cause) == "the NVIDIA driver finds no device (is CUDA_VISIBLE_DEVICES set?)"


def test_a_missing_library_is_named_with_the_required_versions_and_the_wheel(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(Driver(), {"providers_cuda": NO_CUBLAS})
    monkeypatch.setattr(cuda, "required_cuda", lambda: "CUDA 13.0 and cuDNN 9")
    (cause,) = providers.PROVIDERS["cuda"].diagnose()
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
    first, second = map(str, providers.PROVIDERS["cuda"].diagnose())
    assert "driver" in first
    assert "libcublasLt.so.13" in second
    message = refusal("cuda")
    assert message.index(first) < message.index(second)


def test_where_all_is_there_nothing_is_wrong(pretend: Pretend) -> None:
    pretend(Driver())
    assert providers.PROVIDERS["cuda"].diagnose() == []


def test_the_diagnosis_prints_nothing(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """preload_dlls prints what it does not find."""
    pretend(Driver(), {"providers_cuda": NO_CUBLAS})
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libfoo.so"))
    providers.PROVIDERS["cuda"].diagnose()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("message", "wheel"),
    [
        ("libcublasLt.so.12: cannot open shared object file", "nvidia-cublas-cu12"),
        ("libcublas.so.13: cannot open shared object file", "nvidia-cublas"),
        ("libcudnn_adv.so.9: cannot open shared object file", "nvidia-cudnn-cu13"),
        ("libcufft.so.11: cannot open shared object file", "nvidia-cufft-cu12"),
        ("libcurand.so.10: cannot open shared object file", "nvidia-curand-cu12"),
        ("libstdc++.so.6: version `GLIBCXX_3.4.32' not found", None),
        ("/usr/lib/libcudart.so.13: file too short", None),
    ],
)
def test_the_wheel_of_a_missing_library(
    monkeypatch: pytest.MonkeyPatch, message: str, wheel: str | None
) -> None:
    monkeypatch.setattr(cuda, "required_cuda", lambda: "CUDA 13.0 and cuDNN 9")
    assert cuda.wheel_of(message) == wheel


def test_devices_are_read_from_the_driver(pretend: Pretend) -> None:
    pretend(Driver(devices=2))
    assert cuda.devices() == [cuda.Device("GPU 0", 16384), cuda.Device("GPU 1", 16384)]
    assert cuda.driver_cuda() == "13.0"
    pretend(driver=None)
    assert (cuda.devices(), cuda.driver_cuda()) == ([], None)


def test_why_not_survives_two_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["onnxruntime", "onnxruntime-gpu"]
    monkeypatch.setattr(wheels, "installed_wheels", lambda: both)
    for name in ("cpu", "cuda", "tensorrt"):
        (cause,) = providers.why_not(providers.PROVIDERS[name])
        assert "both installed" in cause.what


def test_tensorrt_lists_what_cuda_lacks_too(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(None, {"nvinfer": "libnvinfer.so.10: cannot open shared object file"})
    available = ["TensorrtExecutionProvider", CUDA, CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    first, second = providers.PROVIDERS["tensorrt"].diagnose()
    assert first.what == "no NVIDIA driver is installed"
    assert second.what == "TensorRT's library is missing"
    assert "libnvinfer.so.10" in second.detail


def test_required_versions_are_those_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxruntime.capi import build_and_package_info

    monkeypatch.setattr(build_and_package_info, "cuda_version", "12.8", raising=False)
    assert cuda.required_cuda() == "CUDA 12.8 and cuDNN 9"
    monkeypatch.setattr(build_and_package_info, "cuda_version", "", raising=False)
    assert cuda.required_cuda() == "CUDA an unknown version and cuDNN 9"
