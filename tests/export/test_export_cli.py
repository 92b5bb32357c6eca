"""`fer-export` as it is typed: results on stdout, progress on stderr, documented exit status."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from fer_bench.artefacts import Artefacts
from fer_export import exporter
from fer_export.cli import main
from fer_export.formats.table import Format
from fer_runtime.session import Session

COMMAND = [sys.executable, "-c", "from fer_export.cli import main; main()"]
Done = subprocess.CompletedProcess[str]


def fer_export(*arguments: object) -> Done:
    """The command in this process, where torch is imported already."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    given = ["fer-export", *map(str, arguments)]
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", given)
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return Done(given, status, out.getvalue(), err.getvalue())


def test_verify_prints_json_and_passes(exported: Artefacts) -> None:
    command = [*COMMAND, "verify", str(exported.checkpoint), str(exported.onnx), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"] is True


def test_export_prints_what_it_wrote(exported: Artefacts, tmp_path: Path) -> None:
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


def test_unusable_checkpoint_is_a_clear_message_and_status_5(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_text("not a model")
    done = fer_export("onnx", tmp_path / "best.pt")
    assert done.returncode == 5
    assert "is not a checkpoint" in done.stderr and "Traceback" not in done.stderr


def test_no_command_writes_over_what_it_reads(exported: Artefacts, tmp_path: Path) -> None:
    checkpoint, model, spec = tmp_path / "a.pt", tmp_path / "a.onnx", tmp_path / "spec.json"
    checkpoint.write_bytes(exported.checkpoint.read_bytes())
    model.write_bytes(exported.onnx.read_bytes())
    spec.write_text(Session.open(model, provider="cpu").spec.to_json())
    link = tmp_path / "link.onnx"
    link.symlink_to(checkpoint)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments, status, words in (
        (("onnx", checkpoint, "-o", checkpoint), 2, "is an input too"),
        (("onnx", checkpoint, "-o", link), 2, "is an input too"),
        (("onnx", checkpoint, "-o", tmp_path / "a.txt"), 6, "ends in .onnx"),
        (("pt2", checkpoint, "--report", checkpoint), 2, "--report"),
        (("verify", checkpoint, model, "--report", model), 2, "--report"),
        (("attach-spec", model, "--spec", spec, "-o", model), 2, "is an input too"),
        (("attach-spec", model, "--spec", spec, "-o", spec), 2, "is an input too"),
    ):
        done = fer_export(*arguments)
        said = " ".join(done.stderr.replace("\u2502", " ").split())  # out of the box that wraps it
        assert (done.returncode, words in said) == (status, True), done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_inspect_takes_a_file_by_what_is_in_it(exported: Artefacts, tmp_path: Path) -> None:
    """onnx itself would go by the ending, and parse these as text."""
    model, spec = tmp_path / "model.json", tmp_path / "model.textproto"
    model.write_bytes(exported.onnx.read_bytes())
    spec.write_text('{"schema_version": 1}')
    assert "surprise" in fer_export("inspect", model).stdout
    done = fer_export("inspect", spec)
    assert done.returncode == 5 and "is not a model file that fer-export knows" in done.stderr


def test_inspect_shows_labels(exported: Artefacts) -> None:
    done = fer_export("inspect", exported.torchscript, "--json")
    assert json.loads(done.stdout)["spec"]["labels"][0] == "angry"
    table = fer_export("inspect", exported.onnx).stdout
    assert "surprise" in table
    assert "level:0.9:0.0" in table


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_that_other_code_swallows_is_not_lost(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a library does whose import is in a `try` with a bare `except:`."""
    convert = Format.convert

    def swallowing(*arguments: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        convert(*arguments)

    monkeypatch.setattr(Format, "convert", swallowing)
    with pytest.raises(KeyboardInterrupt):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_leaves_nothing(exported: Artefacts, tmp_path: Path) -> None:
    """SIGINT while the artefact is being made: status 130, and the folder as it was."""
    (tmp_path / "mine.txt").write_text("stays")
    process = subprocess.Popen(
        [*COMMAND, "onnx", str(exported.checkpoint), "-o", str(tmp_path / "m.onnx")],
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
