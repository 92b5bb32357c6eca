"""The command fer-serve as a process: signals, reloading, ports, options."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fer_runtime.shipped import SHIPPED
from tests.runtime.command import environment

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("httptools", reason="the extra `serve` is not installed")

from fer_runtime.serve.running import listen

SERVE = [sys.executable, "-c", "from fer_runtime.cli import run_serve; run_serve()"]
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGTERM and SIGHUP")


class Process:
    """A running fer-serve: its port, and what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.port = 0
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line)
            if "listening on" in line:
                self.port = int(line.split(",")[0].rpartition(":")[2])
                break

    def wait_for(self, text: str) -> str:
        """The next line that contains a text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in {self.lines}")

    def post(self, body: bytes, path: str = "/predict") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def served(*arguments: str) -> Iterator[Process]:
    command = [*SERVE, "--port", "0", "--provider", "cpu", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            found = Process(process)
            assert found.port, found.lines
            yield found
        finally:
            process.kill()


def failing(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*SERVE, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=60, check=False
    )


@pytest.fixture
def face(tmp_path: Path) -> bytes:
    from PIL import Image

    Image.new("L", (48, 48), 90).save(tmp_path / "face.jpg")
    return (tmp_path / "face.jpg").read_bytes()


@posix
def test_sigterm_answers_what_was_accepted(tiny_model: Path, face: bytes) -> None:
    lost: list[str] = []
    answered: list[int] = []
    with served("--model", str(tiny_model)) as server:

        def load() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            while True:
                try:
                    connection.connect()
                except OSError:
                    return  # nobody listens any more
                while True:
                    try:
                        connection.request("POST", "/predict", face)
                        answer = connection.getresponse()
                        body = answer.read()
                    except OSError as error:
                        lost.append(repr(error))
                        return
                    if answer.status != 200 or b'"label"' not in body:
                        lost.append(str(answer.status))
                    answered.append(answer.status)
                    if answer.getheader("connection") == "close":
                        connection.close()
                        break

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        assert server.process.wait(20) == 0
    assert len(answered) > 20
    assert not lost
    listen("127.0.0.1", server.port).close()  # the next server can start at once


@posix
def test_sighup_serves_a_changed_file_only_after_its_checks(
    tmp_path: Path, tiny_model: Path, face: bytes
) -> None:
    model = tmp_path / "served.onnx"
    int8 = SHIPPED.with_name("compact_cnn.int8.onnx")
    shutil.copy(SHIPPED, model)
    with served("--model", str(model)) as server:
        before = server.post(face)

        def replace(data: bytes) -> None:
            (tmp_path / "new").write_bytes(data)
            os.replace(tmp_path / "new", model)
            server.process.send_signal(signal.SIGHUP)

        server.process.send_signal(signal.SIGHUP)
        server.wait_for("has not changed")
        replace(b"not a model")
        assert "not reloaded, the old model stays" in server.wait_for("not reloaded")
        replace(tiny_model.read_bytes())
        assert "contains no verdict of an export" in server.wait_for("not reloaded")
        assert server.post(face) == before
        replace(int8.read_bytes())
        server.wait_for("anew")
        after = server.post(face)
        assert after[0] == 200
        assert after != before


def test_a_port_that_is_taken_and_an_address_that_is_not_ours(tiny_model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = failing("--model", str(tiny_model), "--port", port)
    assert done.returncode == 6
    assert f"127.0.0.1:{port} cannot be listened at: Address already in use" in done.stderr
    assert "--port" in done.stderr
    done = failing("--model", str(tiny_model), "--host", "no.such.host.invalid")
    assert done.returncode == 6
    assert "--host no.such.host.invalid" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--model", "missing.onnx"), 5, "missing.onnx"),
        (("--provider", "abacus"), 2, "abacus"),
        (("--detect-size", "640"), 2, "needs --faces"),
        (("--port", "70000"), 2, "70000"),
        (("--time-limit", "0"), 2, "time-limit"),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], status: int, message: str) -> None:
    done = failing(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_the_error_names_it() -> None:
    block = "import sys; sys.modules['uvicorn'] = None; "
    done = subprocess.run(
        [*SERVE[:2], block + SERVE[2]], capture_output=True, text=True, env=environment(),
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install '.[serve]'" in done.stderr
