"""An engine in a process of its own, as this process sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from fer_bench.artefacts import Artefacts
from fer_bench.engines.engine import Opened, Ran
from fer_bench.engines.table import Entry
from fer_runtime.errors import FerError
from fer_runtime.workers.messages import Failed, receive, send

_seconds = [0.0]


def clock() -> float:
    """A clock that runs while an engine does: the seconds of all runs of all engines so far."""
    return _seconds[0]


class Hosted:
    """Starts the process and opens the engine in it; leave it as a context manager.

    >>> with Hosted(ENGINES["runtime"], artefacts, threads=2) as engine:  # doctest: +SKIP
    ...     engine.take(pixels)
    ...     engine.run().seconds

    Args:
        entry: the engine.
        artefacts: one model in all files.
        threads: CPU threads.

    Raises:
        FerError: the engine cannot be opened, or its process ended.
    """

    def __init__(self, entry: Entry, artefacts: Artefacts, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fer_bench.engines.host"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={**os.environ, **entry.environment},
        )  # fmt: skip
        try:
            opened = self._ask((entry.home, artefacts, threads))
        except BaseException:
            self.close()
            raise
        assert isinstance(opened, Opened)
        self.facts = opened.facts | dict(entry.environment)
        self.tolerance = entry.tolerance

    def __enter__(self) -> Hosted:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def take(self, pixels: npt.NDArray[np.uint8]) -> None:
        """(N, C, H, W) for the runs that follow."""
        self._send(pixels)

    def run(self) -> Ran:
        """One run of the pixels."""
        ran: Ran = self._ask("run")
        _seconds[0] += ran.seconds
        return ran

    def probabilities(self) -> npt.NDArray[np.float32]:
        """(N, K) of the last run."""
        found: npt.NDArray[np.float32] = self._ask("probabilities")
        return found

    def peak_bytes(self) -> int:
        """The most memory that the process has taken so far."""
        peak: int = self._ask("peak")
        return peak

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, message: object) -> Any:
        self._send(message)
        try:
            answer = receive(cast("BinaryIO", self._process.stdout))
        except EOFError:
            raise self._ended() from None
        if isinstance(answer, Failed):
            raise answer.error
        return answer

    def _send(self, message: object) -> None:
        try:
            send(cast("BinaryIO", self._process.stdin), message)
        except OSError:
            raise self._ended() from None

    def _ended(self) -> FerError:
        return FerError(f"the engine's process ended with {self._process.wait()}")
