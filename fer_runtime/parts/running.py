"""A run whose output is a folder of parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from fer_runtime.parts.folder import open_folder
from fer_runtime.parts.plan import Ledger, Part, chunks
from fer_runtime.parts.writing import PartWriter
from fer_runtime.sinks.resume import Finished

if TYPE_CHECKING:
    from fer_runtime.items import Item
    from fer_runtime.run import Run
    from fer_runtime.run_options import Counts


class Todo:
    """The parts that are not finished, and the images of each, read ahead across parts.

    Args:
        items: the share's images.
        ledger: what is finished.
        size: images of a part.
    """

    def __init__(self, items: Iterator[Item], ledger: Ledger, size: int) -> None:
        self._chunks, self._ledger = chunks(items, size), ledger
        self._finished: list[Part] = []
        self.count = 0

    def finished(self) -> Finished:
        """The rows of the parts that were finished before; complete after iterating."""
        rows = sum(part.rows for part in self._finished)
        return Finished(rows=rows, errors=sum(part.errors for part in self._finished))

    def __iter__(self) -> Iterator[tuple[int, list[Item]]]:
        for chunk in self._chunks:
            index = self.count
            self.count += 1
            part = self._ledger.finished(index, chunk)
            if part is None:
                yield index, chunk
            else:
                self._finished.append(part)
        self._ledger.require_nothing_after(self.count)


def execute(run: Run, counts: Counts, progress: Callable[[int], None] | None) -> Finished:
    """Write the parts that are missing -> the rows that were finished before.

    Args:
        run: a run that is set up.
        counts: what is written is added to it.
        progress: called with the number of rows of each part that was written.

    Raises:
        DataError: the sources have changed, or the folder cannot be written.
    """
    ledger = Ledger(
        open_folder(run.output), run.identity or {}, run.sources.shard, resume=run.resume
    )
    todo = Todo(iter(run.sources), ledger, run.part_images)
    for part in _on_cluster(run, todo) if run.ray is not None else _here(run, todo, ledger):
        counts.add_counted(part.rows, part.errors, part.images, part.faces)
        if progress is not None:
            progress(part.rows)
    return todo.finished()


def _on_cluster(run: Run, todo: Todo) -> Iterator[Part]:
    from fer_runtime.cluster.driver import write_parts

    assert run.ray is not None
    return write_parts(run, run.ray, todo)


def _here(run: Run, todo: Todo, ledger: Ledger) -> Iterator[Part]:
    """Write one part after the other; what is in an object store is read ahead across parts."""
    writer = PartWriter(ledger.folder, run.pipeline, run.ending, top_k=run.top_k)
    begun: deque[tuple[int, list[Item]]] = deque()

    def images() -> Iterator[Item]:
        for index, chunk in todo:
            begun.append((index, chunk))
            yield from chunk

    ahead = run.sources.read_ahead(images())
    for first in ahead:
        index, chunk = begun.popleft()
        rest = islice(ahead, len(chunk) - 1)
        yield writer.write(run.sources.shard, index, chunk, _with(first, rest))


def _with(first: Item, rest: Iterator[Item]) -> Iterator[Item]:
    yield first
    yield from rest
