"""Plugin libraries: registered once, whoever did it first, and named where they do not load."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fer_runtime import providers
from fer_runtime.errors import ProviderError
from fer_runtime.providers import plugins, wheels
from fer_runtime.session import Session
from tests.runtime.stand_ins import CPU, CUDA, Create, Driver, FakeSession, Pretend, refusal

NAME = "onnxruntime_ep_cuda13"


class Runtime:
    """Replaces what onnxruntime knows about plugins."""

    def __init__(self, found: int, failure: str = "") -> None:
        self.found, self.failure = found, failure
        self.registered: list[str] = []

    def register(self, name: str, path: str) -> None:
        if self.failure:
            raise RuntimeError(self.failure)
        if name in self.registered:
            raise RuntimeError(f"EP library is already registered under {name}")
        self.registered.append(name)

    def devices(self) -> list[Any]:
        """Each device once for every registration."""
        return [
            SimpleNamespace(
                ep_name=CUDA,
                device=SimpleNamespace(type="GPU", device_id=number, metadata={"slot": number}),
            )
            for _ in self.registered
            for number in range(self.found)
        ]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, pretend: Pretend) -> Any:
    """A plugin wheel with CUDA, beside a wheel of onnxruntime without it."""

    def make(found: int = 1, failure: str = "", devices: int = 1) -> Runtime:
        pretend(Driver(devices=devices))
        runtime = Runtime(found, failure)
        module = ModuleType(NAME)
        module.get_ep_names = lambda: [CUDA]  # type: ignore[attr-defined]
        module.get_library_path = lambda: "lib.so"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, NAME, module)
        monkeypatch.setattr(wheels, "distributions", lambda: [(NAME, "1.2"), ("onnxruntime", "2")])
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
        monkeypatch.setattr(
            onnxruntime, "register_execution_provider_library", runtime.register, raising=False
        )
        monkeypatch.setattr(onnxruntime, "get_ep_devices", runtime.devices, raising=False)
        return runtime

    return make


def test_a_plugin_is_registered_when_it_is_needed(plugin: Any) -> None:
    runtime = plugin()
    providers.open_session("cpu", Create(FakeSession(CPU)))
    assert runtime.registered == []
    opened = providers.open_session("cuda", Create(FakeSession(CUDA)))
    assert (opened.provider, runtime.registered) == ("cuda", [CUDA])


def test_auto_takes_a_plugin(plugin: Any) -> None:
    plugin()
    assert providers.open_session("auto", Create(FakeSession(CUDA))).provider == "cuda"


def test_registered_twice_is_fine(plugin: Any) -> None:
    """By us again, or by the program around us under a name of its own."""
    runtime = plugin()
    runtime.registered.append("their name")
    for _ in range(2):
        assert providers.open_session("cuda", Create(FakeSession(CUDA))).provider == "cuda"
    assert runtime.registered == ["their name"]
    runtime.registered.append("again")
    assert len(plugins.devices(CUDA)) == 1


def test_a_library_that_is_registered_without_devices_says_so(plugin: Any) -> None:
    runtime = plugin(found=0)
    runtime.registered.append(CUDA)
    assert "the plugin onnxruntime-ep-cuda13 1.2 finds no device" in refusal("cuda")


def test_a_plugin_of_a_wrong_version_is_named_with_its_remedy(plugin: Any) -> None:
    plugin(failure="The requested API version [99] is not available\nmore")
    message = refusal("cuda")
    assert (
        "the plugin onnxruntime-ep-cuda13 1.2 does not load in onnxruntime "
        f"{onnxruntime.__version__}: The requested API version [99] is not available "
        "(pip install --upgrade onnxruntime onnxruntime-ep-cuda13)" in message
    )
    opened = providers.open_session("auto", Create(FakeSession(CPU)))
    assert opened.provider == "cpu"
    assert "does not load in onnxruntime" in opened.reason


def test_the_device_of_a_plugin_is_chosen_by_its_number(plugin: Any) -> None:
    plugin(found=2)
    create = Create(FakeSession(CUDA))
    options = providers.ProviderOptions(device_id=1)
    providers.open_session("cuda", create, providers.Request(options=options))
    assert [entry.device.device_id for entry in create.devices[0]] == [1]
    options = providers.ProviderOptions(device_id=2)
    with pytest.raises(ProviderError, match=r"cuda has 2 devices here.*device_id 2 is not there"):
        providers.open_session("cuda", Create(), providers.Request(options=options))


def test_a_broken_plugin_wheel_does_not_hide_the_cause(
    plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin()
    monkeypatch.setitem(sys.modules, NAME, None)
    assert "the plugin onnxruntime-ep-cuda13 1.2 does not load" in refusal("cuda")


def test_installed_plugins_are_read_from_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime_ep_webgpu-0.4.0", "onnxruntime-1.31.1", "onnxruntime_genai-0.9"):
        (tmp_path / f"{name}.dist-info").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    (found,) = plugins.installed()
    assert (found.wheel, found.version) == ("onnxruntime-ep-webgpu", "0.4.0")


def test_a_real_plugin_runs_a_model(
    tiny_model: Path, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(
        "onnxruntime_ep_openvino", reason="needs a plugin wheel, such as onnxruntime-ep-openvino"
    )
    name = "OpenVINOExecutionProvider"
    entry = providers.Provider(
        "plugin", name, diagnosis=lambda: plugins.register(name) or [], arithmetic="f32"
    )
    monkeypatch.setitem(providers.PROVIDERS, "plugin", entry)
    session = Session.open(tiny_model, provider="plugin", threads=1)
    expected = Session.open(tiny_model, provider="cpu", threads=1).run(faces)
    np.testing.assert_allclose(session.run(faces).logits, expected.logits, atol=1e-4)
