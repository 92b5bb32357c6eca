"""What a worker process runs: batches of items in, their rows out, until the parent has gone."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, cast

from fer_runtime.rows import Row, before_error
from fer_runtime.session import Session
from fer_runtime.sinks.encoded import Encoded
from fer_runtime.sinks.table import sink_of
from fer_runtime.stages.choice import stage_of
from fer_runtime.workers.lent import LentSession
from fer_runtime.workers.messages import (
    Classify,
    Done,
    Failed,
    Job,
    Ready,
    Sent,
    own_streams,
    packed_rows,
    receive,
    send,
    sendable,
    unpacked_items,
)
from fer_runtime.workers.shared import Contents

Messages = queue.SimpleQueue[Any]


def main() -> None:
    """Serve the parent over standard input and output, which nothing else can write to."""
    try:
        serve(*own_streams())
    except OSError:  # the parent has gone
        sys.exit(1)


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Open the model and answer tasks until the parent closes its end."""
    tasks: Messages = queue.SimpleQueue()
    answers: Messages = queue.SimpleQueue()

    def ask(message: Classify) -> Any:
        send(outgoing, message)
        answer = answers.get()
        if answer is None:
            raise OSError("the parent has gone")
        return answer

    try:
        work = Work(receive(incoming), ask)
    except Exception as error:
        send(outgoing, sendable(error))
        return
    send(outgoing, Ready())
    # On a thread, so that the parent can always send: both would wait if both were sending.
    threading.Thread(target=_read, args=(incoming, tasks, answers), daemon=True).start()
    while (task := tasks.get()) is not None:
        send(outgoing, work.answer(task))


def _read(incoming: BinaryIO, tasks: Messages, answers: Messages) -> None:
    """Sort what comes: tasks, which are lists, and answers to what was asked."""
    try:
        while True:
            message = receive(incoming)
            (tasks if isinstance(message, list) else answers).put(message)
    except (EOFError, OSError):
        tasks.put(None)
        answers.put(None)


class Work:
    """A stage with a session, and what its rows are turned into.

    Args:
        job: what this worker is for.
        ask: asks the parent, where it runs the session.

    Raises:
        Exception: what opening the model raises.
    """

    def __init__(self, job: Job, ask: Callable[[Classify], Any]) -> None:
        self.job = job
        self.contents = Contents(job.memory) if job.memory else None
        if job.lent is None:
            session = Session.open(**job.opening, threads=1)
        else:
            session = cast("Session", LentSession(job.lent, ask, self.contents))
        self.stage = stage_of(
            session, job.faces, batch_size=job.batch_size, max_pixels=job.max_pixels,
            columns=job.columns, thumbnails=job.thumbnails,
        )  # fmt: skip
        self.encode = None
        if job.output:
            ending, top_k = job.output
            self.encode = sink_of(ending).encoder(job.columns, top_k=top_k)

    def answer(self, batches: list[Sent]) -> Done | Failed:
        """The rows of some batches; an error that is not about an image ends the run."""
        started = time.perf_counter()
        results = []
        try:
            for batch in batches:
                items = unpacked_items(batch)
                if self.contents is not None:
                    items = [self.contents.found(item) for item in items]
                results.append(self.result(self.stage.rows(items)))
        except Exception as error:
            return sendable(error)
        return Done(results, (time.perf_counter() - started) / max(1, len(batches)))

    def result(self, rows: Sequence[Row]) -> Any:
        """Rows as they are sent: encoded, where the parent only writes them."""
        if self.encode is None:
            return packed_rows(rows)
        rows, failure = before_error(rows) if self.job.stop_at_error else (rows, None)
        return Encoded.of(rows, self.encode, failure)
