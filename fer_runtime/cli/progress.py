"""The progress bar of a run, where a person watches and rows do not scroll by."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_runtime.run import Run


class Bar:
    """A context manager whose `progress` moves a bar on stderr; None where nobody watches."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.progress: Callable[[int], None] | None = None
        self._bar: Any = None

    def __enter__(self) -> Bar:
        rows_scroll_by = self.run.output == "-" and sys.stdout.isatty()
        if sys.stderr.isatty() and not rows_scroll_by:
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task("", total=self.run.sources.total(), rate="")
            self._started, self._done = time.perf_counter(), 0
            self.progress = self.add
        return self

    def add(self, rows: int) -> None:
        """Count rows that were written."""
        self._done += rows
        rate = self._done / (time.perf_counter() - self._started)
        finished = self.run.finished.rows
        self._bar.update(self._task, completed=finished + self._done, rate=f"{rate:,.0f}")

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} images/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
