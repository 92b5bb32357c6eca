"""What a run of `fer-infer` says while it goes on and at its end: counts, a bar, the last line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fer_runtime.console import count
from fer_runtime.errors import DataError, ImageError
from fer_runtime.resume import Finished

if TYPE_CHECKING:
    from fer_runtime.pipeline import Row
    from fer_runtime.session import Session
    from fer_runtime.sources import Sources


class Tally:
    """Counts what went by, and stops the run at the first error where that was asked for.

    `finished` is what an earlier run had done already.
    """

    def __init__(self, on_error: str) -> None:
        self.on_error = on_error
        self.started = time.perf_counter()
        self.images = self.errors = 0
        self.finished = Finished()

    def counted(self, batches: Iterable[list[Row]], repeated: int) -> Iterator[list[Row]]:
        """Batches without their first `repeated` rows, which are finished already."""
        for batch in batches:
            rows, repeated = batch[repeated:], 0
            failed = [place for place, row in enumerate(rows) if row.error is not None]
            if failed and self.on_error == "fail":
                yield rows[: failed[0]]
                raise ImageError(f"{rows[failed[0]].name}: {rows[failed[0]].error}")
            self.images += len(rows)
            self.errors += len(failed)
            yield rows

    def require_images(self, sources: list[str], skipped: int) -> None:
        if not self.images + self.finished.rows:
            others = f" ({count(skipped, 'other file')})" if skipped else ""
            raise DataError(f"{', '.join(sources)}: no image files there{others}.")

    def summary(self, skipped: int, session: Session, output: str | None) -> str:
        seconds = time.perf_counter() - self.started
        parts = [
            f"{count(self.images, 'image')} in {seconds:.2f} s "
            f"({self.images / seconds:,.0f} images/s) on {session.provider}",
            f"{self.errors:,} with an error" if self.errors else "",
            f"{count(skipped, 'other file')} skipped" if skipped else "",
            f"{self.finished.rows:,} finished before" if self.finished.rows else "",
            f"{self.finished.errors:,} of these with an error" if self.finished.errors else "",
        ]
        line = ", ".join(part for part in parts if part)
        return f"{line} -> {output}" if output and output != "-" else line


def shown(
    batches: Iterable[list[Row]], files: Sources, finished: int, output: str
) -> Iterator[list[Row]]:
    """Pass batches on; with a bar on stderr where a person watches and rows do not scroll by."""
    if not sys.stderr.isatty() or (output == "-" and sys.stdout.isatty()):
        yield from batches
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} images/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    started, done = time.perf_counter(), 0
    with bar:
        task = bar.add_task("", total=files.total(), rate="")
        for rows in batches:
            done += len(rows)
            rate = done / (time.perf_counter() - started)
            bar.update(task, completed=finished + done, rate=f"{rate:,.0f}")
            yield rows
