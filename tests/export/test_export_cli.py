"""`fer-export` as it is typed: results on stdout, progress on stderr, documented exit status."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from fer_bench.artefacts import Artefacts


def fer_export(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from fer_export.cli import main; main()", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_verify_prints_json_and_passes(exported: Artefacts) -> None:
    done = fer_export("verify", exported.checkpoint, exported.onnx, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"] is True


def test_export_says_what_it_wrote(exported: Artefacts, tmp_path: Path) -> None:
    target = tmp_path / "a model.torchscript"
    done = fer_export("torchscript", exported.checkpoint, "-o", target)
    assert done.returncode == 0, done.stderr
    assert "PASSED" in done.stdout
    assert f"wrote {target}" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "a model.torchscript", "a model.torchscript.parity.json",
    }  # fmt: skip


def test_failed_parity_is_status_5(exported: Artefacts) -> None:
    done = fer_export("verify", exported.checkpoint, exported.onnx, "--tolerance", "1e-12")
    assert done.returncode == 5
    assert "FAILED" in done.stdout and "logits differ by up to" in done.stdout


def test_unusable_checkpoint_is_a_sentence_and_status_5(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_text("not a model")
    done = fer_export("onnx", tmp_path / "best.pt")
    assert done.returncode == 5
    assert "is not a checkpoint" in done.stderr and "Traceback" not in done.stderr


def test_inspect_shows_labels(exported: Artefacts) -> None:
    done = fer_export("inspect", exported.torchscript, "--json")
    assert json.loads(done.stdout)["spec"]["labels"][0] == "angry"
    assert "surprise" in fer_export("inspect", exported.onnx).stdout


def test_ctrl_c_leaves_nothing(exported: Artefacts, tmp_path: Path) -> None:
    """SIGINT while the artefact is being made: status 130, and the folder as it was."""
    (tmp_path / "mine.txt").write_text("stays")
    command = [sys.executable, "-c", "from fer_export.cli import main; main()", "onnx"]
    process = subprocess.Popen(
        [*command, str(exported.checkpoint), "-o", str(tmp_path / "m.onnx")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A job in the background starts with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".fer-export-*")):
        assert process.poll() is None and time.monotonic() < deadline, "it ended too early"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
