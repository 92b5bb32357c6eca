"""Providers: what was requested for runs, or an error names the cause; only `auto` may choose."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from fer_runtime import providers
from fer_runtime.errors import ProviderError
from fer_runtime.providers import cuda
from fer_runtime.session import Session
from tests.runtime.stand_ins import (
    CPU,
    CUDA,
    NO_FALLBACK,
    Create,
    Driver,
    FakeSession,
    Pretend,
    refusal,
)

# --- this machine ----------------------------------------------------------------------------


def needs_no_cuda() -> None:
    if not providers.PROVIDERS["cuda"].diagnose():
        pytest.skip("needs a machine without CUDA, and this one has it")


def test_auto_uses_the_cpu_here_without_a_word_about_a_gpu_that_is_not_there(
    tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    needs_no_cuda()
    session = Session.open(tiny_model, provider="auto")
    assert session.provider == "cpu"
    if cuda.has_driver():
        assert (
            session.provider_reason
            == f"CPU, because {providers.PROVIDERS['cuda'].diagnose()[0].what}"
        )
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
    assert str(providers.PROVIDERS["cuda"].diagnose()[0]) in str(caught.value)
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
    assert (session.provider, session.provider_reason) == (
        "cuda",
        "CUDA in f32 without TF32, as requested",
    )


@pytest.mark.parametrize("name", ["gpu", "CUDA", "", "CPUExecutionProvider", "rocm"])
def test_unknown_names_list_the_allowed_ones(name: str) -> None:
    message = refusal(name)
    assert f"Unknown provider {name!r}" in message
    assert "allowed: auto, cpu, cuda" in message


# --- strictness ------------------------------------------------------------------------------


def test_cuda_is_opened_alone_and_without_a_fallback(pretend: Pretend) -> None:
    pretend(Driver())
    create = Create(FakeSession(CUDA))
    opened = providers.open_session("cuda", create)
    assert create.calls == [([CUDA], {NO_FALLBACK: "1"})]
    assert (opened.provider, opened.reason) == ("cuda", "CUDA in f32 without TF32, as requested")
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
    def fail() -> Any:
        raise AssertionError("diagnosed")

    entry = providers.PROVIDERS["cuda"]._replace(diagnosis=fail)
    monkeypatch.setitem(providers.PROVIDERS, "cuda", entry)
    create = Create(FakeSession(CPU))
    assert providers.open_session("cpu", create).provider == "cpu"
    assert create.calls == [([CPU], {})]


# --- auto ------------------------------------------------------------------------------------


def test_auto_takes_cuda_where_it_runs(pretend: Pretend) -> None:
    pretend(Driver())
    opened = providers.open_session("auto", Create(FakeSession(CUDA)))
    assert opened.provider == "cuda"
    assert opened.reason.startswith("CUDA in f32 without TF32, because")


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


# --- options ---------------------------------------------------------------------------------


def test_options_reach_onnxruntime(pretend: Pretend) -> None:
    pretend(Driver(devices=2))
    create = Create(FakeSession(CUDA))
    options = providers.ProviderOptions(device_id=1, gpu_memory_limit=512)
    opened = providers.open_session("cuda", create, providers.Request(options=options))
    given = create.options[0]
    assert (given["device_id"], given["gpu_mem_limit"]) == ("1", "536870912")
    assert given["use_tf32"] == "0"
    assert opened.arithmetic == "f32 without TF32"


@pytest.mark.parametrize(
    ("provider", "options", "words"),
    [
        ("cpu", {"device_id": 1}, "--device-id (or device_id) is not an option of cpu"),
        ("cuda", {"arithmetic": "bf16"}, "one of openvino: pass --provider openvino"),
        ("openvino", {"gpu_memory_limit": 9}, "one of cuda and tensorrt: pass --provider cuda"),
    ],
)
def test_an_option_that_is_not_taken_is_an_error(
    pretend: Pretend, provider: str, options: dict[str, Any], words: str
) -> None:
    pretend(Driver())
    request = providers.Request(options=providers.ProviderOptions(**options))
    with pytest.raises(ProviderError, match=re.escape(words)):
        providers.open_session(provider, Create(), request)


def test_auto_never_ignores_an_option(pretend: Pretend) -> None:
    """With CUDA it is taken; where auto would use the CPU, it is an error."""
    request = providers.Request(options=providers.ProviderOptions(device_id=1))
    pretend(Driver(devices=2))
    assert providers.open_session("auto", Create(FakeSession(CUDA)), request).provider == "cuda"
    pretend(driver=None)
    with pytest.raises(ProviderError, match="device_id"):
        providers.open_session("auto", Create(FakeSession(CPU)), request)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arithmetic": "fp8"}, "arithmetic='fp8'; allowed: f32, bf16"),
        ({"device_id": -1}, "device_id=-1; it must be at least 0"),
        ({"gpu_memory_limit": 0}, "gpu_memory_limit=0; it must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(
    tiny_model: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Session.open(tiny_model, provider_options=providers.ProviderOptions(**options))


def test_the_table_says_what_each_provider_is() -> None:
    """`--provider` lists it; each names what runs it, and automatic ones come from one kind."""
    assert providers.choices() == ("auto", "cpu", "cuda", "tensorrt", "openvino")
    for name, entry in providers.PROVIDERS.items():
        assert bool(entry.onnxruntime_name) != (entry.runtime is not None), name
        assert entry.takes <= set(providers.ProviderOptions._fields), name
    assert [name for name, entry in providers.PROVIDERS.items() if entry.automatic] == ["cuda"]
