"""Providers: what was requested for runs, or an error names the cause; only `auto` may choose."""

from __future__ import annotations

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
    def fail() -> Any:
        raise AssertionError("diagnosed")

    entry = providers.PROVIDERS["cuda"]._replace(diagnose=fail)
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
