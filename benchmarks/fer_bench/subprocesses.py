"""`fer-infer` as a process of its own, with what it cost."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = "import sys; sys.argv[0] = 'fer-infer'; from fer_runtime.cli.infer import main; main()"
# The kernel's own record (ru_maxrss) begins with what the process was before it became Python.
PEAK = (
    "import atexit, os; atexit.register("
    "lambda: os.write({}, open('/proc/self/status', 'rb').read())); "
)


@dataclass(frozen=True)
class Ended:
    """Exit status (negative: the signal), seconds, peak resident bytes, and what it printed.

    The peak is 0 of a process that was killed.
    """

    status: int
    seconds: float
    peak_bytes: int
    stdout: bytes
    stderr: bytes


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """`fer-infer ARGUMENTS`; `options` are those of Popen."""
    return _start(PROGRAM, arguments, options)


def run(*arguments: object, before: Callable[[], None] | None = None) -> Ended:
    """`fer-infer ARGUMENTS` to its end; `before` runs in the child before it starts."""
    with tempfile.TemporaryFile() as status:
        program = PEAK.format(status.fileno()) + PROGRAM
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": before}
        started = time.perf_counter()
        process = _start(program, arguments, options | {"pass_fds": [status.fileno()]})
        stdout, stderr = process.communicate()
        seconds = time.perf_counter() - started
        status.seek(0)
        peak = re.search(rb"VmHWM:\s+(\d+) kB", status.read())
    peak_bytes = int(peak.group(1)) * 1024 if peak else 0
    return Ended(process.returncode, seconds, peak_bytes, stdout, stderr)


class Watched:
    """Looks at the memory of this process's descendants ten times a second, as long as it is open.

    Memory that several share is divided among them (proportional set size, Linux only).
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.peak_bytes = max(self.peak_bytes, sum(map(_memory_of, _children(os.getpid()))))


def _children(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread or a process that has just ended
            for child in map(int, path.read_text().split()):
                found += [child, *_children(child)]
    return found


def _memory_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    size = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(size[1]) * 1024 if size else 0


def _start(
    program: str, arguments: Iterable[object], options: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
    return process
