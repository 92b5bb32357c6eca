"""fer-doctor: what runs, what does not and why, for a person, a bug report and a program."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fer_runtime import providers
from fer_runtime.doctor import golden, installation, report, running
from fer_runtime.doctor.finding import NOTE, OK, PROBLEM, Finding
from fer_runtime.providers import plugins, wheels
from fer_runtime.session import Session
from fer_runtime.shipped import NAMES
from tests.runtime.command import DOCTOR, environment
from tests.runtime.stand_ins import Driver, Pretend


def doctor(tmp_path: Path, *flags: str, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [*DOCTOR, *flags], cwd=tmp_path, env={**environment(), **variables},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == b""
    return done.returncode, done.stdout.decode()


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {each.name: each for each in findings}


# --- the command -----------------------------------------------------------------------------


def test_a_program_gets_everything_as_json(tiny_model: Path, tmp_path: Path) -> None:
    status, text = doctor(tmp_path, "--json", FER_MODEL=str(tiny_model))
    found = json.loads(text)
    assert status == found["status"]
    named = {each["name"]: each for each in found["findings"]}
    assert named["default"]["text"].startswith(str(tiny_model))
    assert named["packages"]["details"]["numpy"] == np.__version__
    assert named["onnxruntime"]["details"]["installed"] == providers.installed_wheels()
    assert named["compact_cnn on cpu"]["state"] == OK
    for name, entry in providers.PROVIDERS.items():
        causes = entry.diagnose()
        assert named[name]["details"]["runs"] == (not causes), name
        assert all(str(cause) in named[name]["text"] for cause in causes)


def test_a_person_gets_sections_and_a_verdict(tmp_path: Path) -> None:
    _, text = doctor(tmp_path)
    lines = text.splitlines()
    assert lines[0] == "installation:"
    assert any(line.split()[:3] == ["ok", "cpu", "runs"] for line in lines)
    assert lines[-1] == "No problem found." or "problem" in lines[-1]


def test_a_bug_report_gets_a_table(tmp_path: Path) -> None:
    _, text = doctor(tmp_path, "--markdown")
    lines = text.splitlines()
    assert lines[:2] == ["| | what | state | found |", "|---|---|---|---|"]
    assert any(line.startswith("| providers | cpu | ok | runs |") for line in lines)
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines if line.startswith("|"))


def test_a_model_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    status, text = doctor(tmp_path, FER_MODEL="nothing.onnx")
    assert status == 5
    assert "FER_MODEL is set to nothing.onnx, which does not exist" in text
    assert text.splitlines()[-1].startswith("1 problem: models: default")


def test_both_forms_at_once_are_a_usage_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DOCTOR, "--json", "--markdown"], cwd=tmp_path, env=environment(),
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2


# --- providers -------------------------------------------------------------------------------


def test_a_provider_that_nothing_points_at_is_a_note(pretend: Pretend) -> None:
    pretend(driver=None)
    found = by_name(running.table())
    assert found["cuda"].state == NOTE
    assert "no NVIDIA driver is installed" in found["cuda"].text
    assert (found["cpu"].state, found["cpu"].text) == (OK, "runs")


def test_a_gpu_that_cannot_be_used_is_a_problem(pretend: Pretend) -> None:
    pretend(Driver(), {"providers_cuda": "libcudnn.so.9: cannot open shared object file"})
    found = by_name(running.table())
    assert (found["cuda"].state, found["cuda"].status) == (PROBLEM, 4)
    assert "libcudnn.so.9" in found["cuda"].text
    assert "nvidia-cudnn-cu" in found["cuda"].text


def test_two_wheels_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["onnxruntime", "onnxruntime-gpu"]
    monkeypatch.setattr(wheels, "installed_wheels", lambda: both)
    (found,) = running.wheels()
    assert (found.state, found.status) == (PROBLEM, 4)
    assert "both installed" in found.text
    assert by_name(running.table())["cpu"].state == PROBLEM


def test_devices_are_listed(pretend: Pretend) -> None:
    pretend(Driver(devices=2))
    found = by_name(running.devices())
    assert found["nvidia driver"].text == "runs CUDA up to 13.0"
    assert found["gpu 1"].text == "GPU 1, 16,384 MiB"
    pretend(Driver(devices=0))
    assert by_name(running.devices())["gpu"].state == PROBLEM
    pretend(driver=None)
    assert by_name(running.devices())["nvidia driver"].state == NOTE


@pytest.mark.parametrize(
    ("names", "failure", "state", "words"),
    [
        (["WebGpuExecutionProvider"], "", NOTE, "which no provider here uses"),
        (["CUDAExecutionProvider"], "wrong API version", PROBLEM, "wrong API version"),
    ],
)
def test_plugins_are_listed(
    monkeypatch: pytest.MonkeyPatch, names: list[str], failure: str, state: str, words: str
) -> None:
    def register(*_: object) -> None:
        raise RuntimeError(failure)

    plugin = plugins.Plugin("onnxruntime_ep_x", "3.1")
    monkeypatch.setattr(plugins, "installed", lambda: [plugin])
    monkeypatch.setattr(plugins.Plugin, "names", lambda _: names)
    monkeypatch.setattr(plugins.Plugin, "path", lambda _: "lib.so")
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", register, raising=False)
    found = by_name(running.wheels())["onnxruntime-ep-x"]
    assert found.state == state
    assert words in found.text
    assert "3.1" in found.text


# --- models ----------------------------------------------------------------------------------


def test_shipped_models_compute_what_they_did_where_they_were_made() -> None:
    found = by_name(running.models())
    for name in NAMES:
        each = found[f"{name} on cpu"]
        assert each.state == OK
        assert each.details["difference"] < golden.TOLERANCE[name]


def test_logits_that_differ_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {name: logits + 1 for name, logits in golden.read().items()}
    monkeypatch.setattr(golden, "read", lambda: wrong)
    found = by_name(running.models())["compact_cnn on cpu"]
    assert (found.state, found.status) == (PROBLEM, 5)
    assert "computes something else than where it was made" in found.text


def test_an_incomplete_installation_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "FILE", golden.FILE.with_name("missing.json"))
    found = by_name(running.models())["golden logits"]
    assert (found.state, found.status) == (PROBLEM, 5)


def test_golden_pictures_are_arithmetic() -> None:
    pictures = golden.pictures(4, 6)
    assert pictures.shape == (8, 1, 4, 6)
    assert pictures[0, 0].tolist() == [
        [0, 3, 6, 9, 12, 15],
        [7, 11, 15, 19, 23, 27],
        [14, 19, 24, 29, 34, 39],
        [21, 27, 33, 39, 45, 51],
    ]


def test_golden_logits_can_be_written_again(tiny_model: Path, tmp_path: Path) -> None:
    session = Session.open(tiny_model, provider="cpu", threads=1)
    file = tmp_path / "golden.json"
    golden.write({"tiny": session}, file)
    written = np.array(json.loads(file.read_text())["tiny"])
    np.testing.assert_allclose(written, golden.logits(session), atol=1e-5)
    assert golden.difference(written + written.std() * 0.5, written) == pytest.approx(0.5)


# --- the machine -----------------------------------------------------------------------------


def test_threads_say_where_their_number_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_runtime.machine.cgroup_cores", lambda: 1)
    found = by_name(installation.cores())["threads"]
    assert found.text.startswith("1 used: ")
    assert found.text.endswith("1 by the cgroup quota")
    assert found.details["usable"] == 1


def test_decoders_decode() -> None:
    found = by_name(installation.decoders())
    assert all(found[name].state == OK for name in ("jpeg", "png", "webp"))


def test_a_decoder_that_decodes_wrongly_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def inverted(*_: object) -> Any:
        return np.full((1, 48, 48), 255, np.uint8)

    monkeypatch.setattr("fer_runtime.images.load", inverted)
    found = by_name(installation.decoders())["jpeg"]
    assert (found.state, found.status) == (PROBLEM, 6)
    assert "decodes wrongly" in found.text


def test_a_cache_that_cannot_be_written_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FER_CACHE", str(blocked / "below"))
    found = by_name(installation.folders())["cache"]
    assert found.state == NOTE
    assert "cannot be written" in found.text
    monkeypatch.setenv("FER_CACHE", "")
    assert "FER_CACHE is empty" in by_name(installation.folders())["cache"].text


# --- the report ------------------------------------------------------------------------------


def test_the_status_is_that_of_the_first_problem() -> None:
    findings = [
        Finding("a", "fine", OK, "x"),
        Finding("a", "absent", NOTE, "x"),
        Finding("b", "broken | twice", PROBLEM, "x | y", 4),
        Finding("b", "model", PROBLEM, "x", 5),
    ]
    assert report.exit_status(findings) == 4
    assert report.exit_status(findings[:2]) == 0
    assert report.as_text(findings).splitlines()[-1] == "2 problems: b: broken | twice, b: model."
    assert "x \\| y" in report.as_markdown(findings)
    assert report.as_plain(findings)["findings"][2]["status"] == 4
