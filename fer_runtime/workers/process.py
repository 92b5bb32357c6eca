"""One worker process, as its parent sees it: started, sent tasks, and found dead."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any, BinaryIO, cast

from fer_runtime.errors import WorkerError
from fer_runtime.workers.messages import Failed, Job, receive, send

COMMAND = "import sys; sys.path[:] = {!r}; from fer_runtime.workers.child import main; main()"
"""With the parent's path: a program may have changed it, and needs no guard against a new start."""


class WorkerProcess:
    """A Python process of its own with the model open in it; not for several threads at once.

    It is started anew, not forked, so that it works in the same way on every system and beside
    threads. It ends when its parent does, in whatever way.

    Raises:
        OSError: the system starts no process.
        WorkerError: this Python has no executable.
    """

    def __init__(self, job: Job) -> None:
        if not sys.executable:
            raise WorkerError("This Python has no executable, so worker processes cannot start.")
        descriptor = job.memory.descriptor if job.memory else -1
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            # Ctrl-C reaches every process of the terminal's group; only the parent should act.
            options["process_group"] = 0
            options["pass_fds"] = [descriptor] if descriptor >= 0 else []
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        with contextlib.ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", COMMAND.format(sys.path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0,
                **options,
            )  # fmt: skip
            stack.pop_all()
        self._outgoing = cast("BinaryIO", self._process.stdin)
        self._incoming = cast("BinaryIO", self._process.stdout)
        self._job = job
        self._how: str | None = None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as the system has noticed."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Give it its job, and wait until the model is open.

        Raises:
            EOFError, OSError: it died.
            Exception: what opening the model raised there.
        """
        self.send(self._job)
        answer = self.receive()
        if isinstance(answer, Failed):
            raise answer.error

    def send(self, message: object) -> None:
        """Send a message; raises OSError where the process is dead."""
        send(self._outgoing, message)

    def receive(self) -> Any:
        """Wait for a message; raises EOFError where the process is dead."""
        return receive(self._incoming)

    def kill(self) -> None:
        """End it at once; another thread that waits for it gets its end."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def end(self) -> str:
        """End it, and give everything back; how it had ended and what it printed last."""
        if self._how is None:
            self._how = self._end()
        return self._how

    def _end(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)  # it may be dying, and its own status says more than ours
        self.kill()
        status = self._process.wait()
        for stream in (self._outgoing, self._incoming):
            with contextlib.suppress(OSError):
                stream.close()
        with self._log as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 2000))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
        return f"{_described(status)}: {lines[-1]}" if lines else _described(status)


def _described(status: int) -> str:
    """How a process ended, for a message."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"{name}, as when memory runs out" if name == "SIGKILL" else name
