"""Servers as processes that answer: ours, and those to compare it with."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fer_runtime.errors import FerError

OURS = "from fer_runtime.cli import run_serve; import sys; sys.argv[0] = 'fer-serve'; run_serve()"
FOLDER = Path(__file__).parent
STARTS_WITHIN = 60


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ours(port: int, *arguments: object) -> list[str]:
    """The command of `fer-serve ARGUMENTS`."""
    given = map(str, arguments)
    return [sys.executable, "-c", OURS, "--provider", "cpu", "--port", str(port), *given]


def bare(port: int, model: str) -> list[str]:
    """The command of the least that can serve a session."""
    return [sys.executable, str(FOLDER / "bare_server.py"), model, str(port)]


def litserve(port: int, model: str, python: Path, setting: str) -> list[str]:
    """The command of LitServe, in an environment that has it."""
    return [str(python), str(FOLDER / "lit_server.py"), model, str(port), setting]


@contextmanager
def started(command: Sequence[str], port: int, *, body: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers `body` with a prediction; it and its children end with the context.

    Raises:
        FerError: it ended, or did not answer within a minute.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        until = time.monotonic() + STARTS_WITHIN
        while not _answers(port, body):
            if process.poll() is not None or time.monotonic() > until:
                os.killpg(process.pid, signal.SIGKILL)  # its children have its standard error too
                assert process.stderr is not None
                error = process.stderr.read().decode(errors="replace")
                raise FerError(f"{command[1]} does not serve: {error[-2000:]}")
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _answers(port: int, body: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/predict", body)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
