"""`fer-infer` as a process of its own, with what it cost."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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


def _start(
    program: str, arguments: Iterable[object], options: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
    return process
