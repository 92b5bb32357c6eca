"""Worker processes that share the tasks of a run; one that dies costs only its batch."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from fer_runtime.errors import FerError, WorkerError
from fer_runtime.items import Item
from fer_runtime.session import Session
from fer_runtime.sinks.encoded import Rows
from fer_runtime.workers.lent import lend
from fer_runtime.workers.messages import (
    Classify,
    Done,
    Failed,
    Job,
    packed_items,
    unpacked_rows,
)
from fer_runtime.workers.process import WorkerProcess
from fer_runtime.workers.shared import SLOTS, SharedMemory

DEATHS = 2
"""A batch that so many workers died of is not tried again."""
STARTS = 3
"""A process that ends before it is ready, for no reason that it names, is started so often."""


class Task:
    """Some batches that follow one another, and the future of their rows."""

    def __init__(self, batches: list[list[Item]]) -> None:
        self.batches = batches
        self.future: Future[list[Rows]] = Future()
        self.seconds = 0.0
        self.deaths = [0] * len(batches)
        self._results: list[Rows | None] = [None] * len(batches)
        self._missing = len(batches)

    def set_results(self, places: range, results: list[Rows]) -> None:
        """What became of the batches at some places; the last ones complete the future."""
        self._results[places.start : places.stop] = results
        self._missing -= len(places)
        if not self._missing and not self.future.done():
            self.future.set_result([each for each in self._results if each is not None])

    def fail(self, error: BaseException) -> None:
        """End the future with an error."""
        if not self.future.done():
            self.future.set_exception(error)


class Unit(NamedTuple):
    """What is sent at once: a whole task, or one batch of a task that a worker died of."""

    task: Task
    places: range

    def batches(self) -> list[list[Item]]:
        """The batches to be sent."""
        return self.task.batches[self.places.start : self.places.stop]


class WorkerPool:
    """`count` worker processes, each with a thread here that sends it tasks and takes the rows.

    Use it as a context manager; leaving it ends the processes at once. A process that dies is
    started anew, and what it was working on is done again, batch by batch.

    Args:
        job: what the workers are started with.
        count: how many.
        session: what this process runs for all of them, where the job says that it is lent.
    """

    def __init__(self, job: Job, count: int, session: Session | None = None) -> None:
        self.job, self.count, self.process = job, count, os.getpid()
        self.session = session
        self.failure: BaseException | None = None
        self._waiting: deque[Unit] = deque()
        self._processes: list[WorkerProcess] = []
        self._ready = 0
        self._closed = False
        self._changed = threading.Condition()
        self._tending = count
        for number in range(count):
            # Daemons: a process that does not answer must not keep the program from ending.
            threading.Thread(target=self._tend, name=f"fer-worker-{number}", daemon=True).start()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ready(self) -> bool:
        """Whether a worker has opened the model."""
        return self._ready > 0

    def wait_ready(self) -> None:
        """Wait for the first worker; raises what kept all of them from starting."""
        with self._changed:
            self._changed.wait_for(lambda: self.ready or not self._tending)
            if not self.ready:
                raise self._why()

    def pids(self) -> list[int]:
        """The numbers of the processes that run."""
        with self._changed:
            return [process.pid for process in self._processes]

    def submit(self, batches: list[list[Item]]) -> Task:
        """Hand out batches as one task; its future has the rows of each, or an error."""
        task = Task(batches)
        with self._changed:
            if not self._tending:
                task.fail(self._why())
            self._waiting.append(Unit(task, range(len(batches))))
            self._changed.notify()
        return task

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for process in self._processes:
                process.kill()
            self._changed.wait_for(lambda: not self._tending, timeout=5)

    def _why(self) -> BaseException:
        if isinstance(self.failure, FerError):
            return self.failure
        return WorkerError(
            f"Worker processes cannot be started: {self.failure}. Pass --workers 0 to run in one "
            "process."
        )

    def _tend(self) -> None:
        """Keep one process running, and give it tasks, until the pool is closed."""
        failed = 0
        try:
            while not self._closed:
                how = self._run_one()
                failed = failed + 1 if how else 0
                if failed == STARTS:
                    raise ChildProcessError(f"one ended before it was ready ({how})")
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            with self._changed:
                self._tending -= 1
                if not self._tending and not self._closed:
                    for unit in self._waiting:
                        unit.task.fail(self._why())
                self._changed.notify_all()

    def _run_one(self) -> str:
        """One process from its start to its end; how it ended where it never was ready."""
        sent: deque[Unit] = deque()
        with contextlib.ExitStack() as stack:
            memory = _shared_memory(self.job.pixels())
            if memory is not None:
                stack.callback(memory.close)
            handle = memory.handle if memory is not None else None
            process = WorkerProcess(self.job._replace(memory=handle))
            with self._changed:
                self._processes.append(process)
                if self._closed:
                    process.kill()
            started = False
            try:
                process.wait_ready()
                with self._changed:
                    started = True
                    self._ready += 1
                    self._changed.notify_all()
                self._serve(process, memory, sent)
            except (EOFError, OSError):
                how = process.end()
                if not started:
                    return how
                self._died(sent, how)
            except BaseException as error:
                for unit in sent:
                    unit.task.fail(error)
                raise
            finally:
                with self._changed:
                    self._processes.remove(process)
                    self._ready -= started
                process.end()
        return ""

    def _serve(
        self, process: WorkerProcess, memory: SharedMemory | None, sent: deque[Unit]
    ) -> None:
        """Send tasks and take their rows; the next task is there before one is done."""
        number = 0
        while True:
            while len(sent) < SLOTS:
                unit = self._take(wait=not sent)
                if unit is None:
                    break
                if not sent and not process.alive:  # it died idle, which no batch is to blame for
                    self._put_back([unit])
                    raise EOFError
                sent.append(unit)
                batches = [packed_items(batch) for batch in unit.batches()]
                if memory is not None:
                    batches = memory.place(batches, number % SLOTS)
                process.send(batches)
                number += 1
            if not sent:
                return
            while isinstance(answer := process.receive(), Classify):
                assert self.session is not None
                process.send(lend(self.session, answer, memory))
            unit = sent[0]
            if isinstance(answer, Failed):
                unit.task.fail(answer.error)
            elif isinstance(answer, Done):
                unit.task.seconds = answer.seconds
                unit.task.set_results(unit.places, self._rows(unit, answer.results))
            sent.popleft()  # only now: what goes wrong before that fails its task, and hangs nobody

    def _rows(self, unit: Unit, results: list[Any]) -> list[Rows]:
        if self.job.output:
            return results
        pairs = zip(unit.batches(), results, strict=True)
        return [unpacked_rows(packed, batch, self.job.columns) for batch, packed in pairs]

    def _take(self, *, wait: bool) -> Unit | None:
        """The next unit; None when there is none yet and `wait` is false, or none ever again."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed or not self._waiting:
                return None
            return self._waiting.popleft()

    def _died(self, sent: Iterable[Unit], how: str) -> None:
        """Put back what a process had not finished; the first unit is what it died of."""
        again: list[Unit] = []
        for order, unit in enumerate(sent):
            if order == 0 and len(unit.places) == 1:
                place = unit.places.start
                unit.task.deaths[place] += 1
                if unit.task.deaths[place] >= DEATHS:
                    unit.task.fail(_poisonous(unit.task.batches[place], how))
                    continue
            if order == 0:
                again += [Unit(unit.task, range(place, place + 1)) for place in unit.places]
            else:
                again.append(unit)
        self._put_back(again)

    def _put_back(self, units: list[Unit]) -> None:
        """Units that are to be done before all others."""
        with self._changed:
            self._waiting.extendleft(reversed(units))
            self._changed.notify_all()


def _poisonous(batch: Sequence[Item], how: str) -> WorkerError:
    names = batch[0].name if len(batch) == 1 else f"{batch[0].name} to {batch[-1].name}"
    return WorkerError(
        f"Worker processes died twice on the same {len(batch)} images, {names} (the last one with "
        f"{how}). Remove the image that causes it, or pass a smaller --batch-size to find it."
    )


def _shared_memory(pixels: int) -> SharedMemory | None:
    """None where the system gives none: everything goes through the pipe then."""
    try:
        return SharedMemory(pixels)
    except OSError:
        return None
