"""Worker processes: the same bytes as threads, whatever dies; nothing is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime import Classifier, infer
from fer_runtime.errors import DataError, ImageError, ModelFileError, WorkerError
from fer_runtime.items import Item, named
from fer_runtime.pipeline import Pipeline
from fer_runtime.session import Session
from fer_runtime.sinks.table import open_sink
from fer_runtime.workers import pool as pools
from fer_runtime.workers.messages import Done, packed_rows
from fer_runtime.workers.pool import Task, WorkerPool
from fer_runtime.workers.running import Running
from tests.runtime.command import INFER, environment, wait_until

Pixels = npt.NDArray[np.uint8]
Count = Callable[[int], bytes]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, face: bytes) -> Path:
    """A folder of 150 images, of which every 40th cannot be read."""
    folder = tmp_path_factory.mktemp("many")
    for index in range(150):
        broken = index % 40 == 7
        (folder / f"{index:03}, a.jpg").write_bytes(b"no image" if broken else face)
    return folder


def children() -> set[int]:
    """The processes that this one has started, and that run."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = folder.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.add(int(folder.parent.name))
    return found


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    wait_until(lambda: children() <= before)


def pipeline(session: Session, **options: Any) -> Pipeline:
    return Pipeline(session, threads=2, batch_size=8, **options)


def workers_on(session: Session, images: Iterable[Any]) -> Iterator[Any]:
    """The rows of two workers."""
    pipe = pipeline(session)
    return Running(pipe, count=2).run(pipe.batches(named(images)))


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".txt"])
def test_workers_write_the_bytes_that_threads_write(
    ending: str, many: Path, tiny_model: Path, tmp_path: Path
) -> None:
    for workers in (0, 2):
        output = tmp_path / f"{workers}{ending}"
        result = infer([many], output, model=tiny_model, workers=workers, batch_size=16)
        assert (result.rows, result.errors, result.processes) == (150, 4, workers)
    assert (tmp_path / f"2{ending}").read_bytes() == (tmp_path / f"0{ending}").read_bytes()


def test_workers_write_the_table_that_threads_write(
    many: Path, tiny_model: Path, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    tables = []
    for workers in (0, 2):
        output = tmp_path / f"{workers}.parquet"
        infer([many], output, model=tiny_model, workers=workers, batch_size=16)
        tables.append(parquet.read_table(output))
    assert tables[0].num_rows == 150
    assert tables[1].equals(tables[0])


def test_observers_get_equal_rows(many: Path, tiny_model: Path, tmp_path: Path) -> None:
    class Seen:
        def __init__(self) -> None:
            self.rows: list[dict[str, Any]] = []

        def add(self, rows: Any) -> None:
            self.rows += map(dict, rows)

    seen = [Seen(), Seen()]
    for workers, each in zip((0, 2), seen, strict=True):
        output = tmp_path / f"{workers}.csv"
        infer([many], output, model=tiny_model, workers=workers, observers=[each])
    assert len(seen[0].rows) == 150
    assert seen[1].rows == seen[0].rows


def test_faces_of_photographs_are_equal(tiny_model: Path, tmp_path: Path) -> None:
    photo = Path(__file__).parents[1] / "data" / "astronaut.jpg"
    for workers in (0, 1):
        infer(
            [photo, photo], tmp_path / f"{workers}.csv", model=tiny_model, workers=workers,
            faces=True,
        )  # fmt: skip
    rows = (tmp_path / "1.csv").read_bytes()
    assert rows == (tmp_path / "0.csv").read_bytes()
    assert rows.count(b"astronaut.jpg") == 2


@pytest.mark.parametrize("kept", [1, 8, 37, 149])
def test_resume_with_workers_writes_equal_bytes(
    kept: int, many: Path, tiny_model: Path, tmp_path: Path
) -> None:
    whole, target = tmp_path / "whole.csv", tmp_path / "rows.csv"
    options: dict[str, Any] = {"model": tiny_model, "batch_size": 8}
    infer([many], whole, workers=0, **options)

    class Stop:
        rows = 0

        def add(self, rows: Any) -> None:
            self.rows += len(rows)
            if self.rows >= kept:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        infer([many], target, workers=2, resume=True, observers=[Stop()], **options)
    lines = (tmp_path / "rows.csv.partial").read_bytes().splitlines(keepends=True)
    (tmp_path / "rows.csv.partial").write_bytes(b"".join(lines[: kept + 1]) + lines[1][:9])
    result = infer([many], target, workers=2, resume=True, **options)
    assert (result.finished_rows, result.rows) == (kept, 150 - kept)
    assert target.read_bytes() == whole.read_bytes()


def test_the_first_error_can_end_a_run(many: Path, tiny_model: Path, tmp_path: Path) -> None:
    partials = []
    for workers in (0, 2):
        output = tmp_path / f"{workers}.csv"
        with pytest.raises(ImageError, match=r"007, a\.jpg: not an image"):
            infer([many], output, model=tiny_model, workers=workers, on_error="fail")
        partials.append((tmp_path / f"{workers}.csv.partial").read_bytes())
    assert partials[0].count(b"\n") == 1 + 7
    assert partials[1] == partials[0]


def test_arrays_bytes_and_generators(tiny_model: Path, faces: Pixels, face: bytes) -> None:
    images = [*faces[:, 0], face, b"no image", np.zeros((900, 700, 3), np.uint8)] * 3
    with_threads = Classifier.load(tiny_model, threads=1, batch_size=8)
    with_workers = Classifier.load(tiny_model, threads=1, batch_size=8, workers=2)
    try:
        expected = [dict(row) for row in with_threads.rows(images)]
        assert sum(row["error"] is not None for row in expected) == 3
        assert [dict(row) for row in with_workers.rows(image for image in images)] == expected
        good = [image for image in images if image is not images[41]]
        assert with_workers.predict_batch(good) == with_threads.predict_batch(good)
    finally:
        with_workers.close()


def test_what_a_source_raises_comes_after_the_rows_of_all_before(
    tiny_session: Session, faces: Pixels
) -> None:
    def failing() -> Iterator[Pixels]:
        yield from faces[:20, 0]
        raise DataError("the disk is gone")

    found = 0
    with pytest.raises(DataError, match="the disk is gone"):
        for rows in workers_on(tiny_session, failing()):
            found += len(rows) if not hasattr(rows, "payload") else 0
    assert found == 20


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_workers_that_are_killed_change_nothing(
    tiny_session: Session, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(many.iterdir()) * 4
    pipe = pipeline(tiny_session)
    expected = tmp_path / "expected.csv"
    found = tmp_path / "found.csv"
    with open_sink(str(expected), tiny_session.spec.labels) as sink:
        for rows in pipe.run(paths):
            sink.write(rows)
    tasks: list[Task] = []
    killed: set[int] = set()
    running = Running(pipe, count=2)
    with running.pool() as pool, open_sink(str(found), tiny_session.spec.labels) as sink:
        submit = pool.submit

        def submitted(batches: list[list[Item]]) -> Task:
            tasks.append(submit(batches))
            return tasks[-1]

        def may_kill() -> bool:
            """Whether no batch would be died of for the second time, which is an error."""
            noticed = not killed & set(pool.pids())
            waiting = [task for task in tasks if not task.future.done()]
            return not waiting or (noticed and not any(any(task.deaths) for task in waiting))

        def disturbed() -> Iterator[Path]:
            for place, path in enumerate(paths):
                if place % 180 == 50:
                    wait_until(may_kill, 60)
                    for victim in sorted(set(pool.pids()) - killed)[:1]:
                        os.kill(victim, signal.SIGKILL)
                        killed.add(victim)
                yield path

        monkeypatch.setattr(pool, "submit", submitted)
        for rows in running.rows_of(pool, disturbed()):
            sink.write(rows)
    assert len(killed) >= 2
    assert found.read_bytes() == expected.read_bytes()


class Fragile:
    """A stand-in for a process, which dies of every batch with a poisonous image."""

    pid = 0
    started = 0
    alive = True

    def __init__(self, job: Any) -> None:
        Fragile.started += 1
        self.batches: list[Any] = []
        self.work = Pipeline(Session.open(**job.opening, threads=1), threads=1, batch_size=8).stage

    def wait_ready(self) -> None:
        """It is."""

    def send(self, message: Any) -> None:
        self.batches.append(message)

    def receive(self) -> Done:
        batches = self.batches.pop(0)
        if any("poison" in name for batch in batches for name in batch):
            raise EOFError
        rows = [self.work.rows([Item(name, name) for name in batch]) for batch in batches]
        return Done([packed_rows(each) for each in rows], 0.001)

    def kill(self) -> None:
        """It ends by itself."""

    def end(self) -> str:
        return "SIGSEGV"


def test_a_batch_that_kills_twice_is_named(
    tiny_session: Session, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "WorkerProcess", Fragile)
    paths = [str(path) for path in sorted(many.iterdir())]
    running = Running(pipeline(tiny_session), count=1)
    with WorkerPool(running.job, 1) as pool:
        batches = [[Item(path, path) for path in paths[start : start + 8]] for start in (0, 8, 16)]
        whole = pool.submit(batches).future.result(10)
        assert [len(rows) for rows in whole] == [8, 8, 8]  # type: ignore[arg-type]
        batches[1][3] = Item("poison.jpg", "poison.jpg")
        Fragile.started = 0
        with pytest.raises(WorkerError) as caught:
            pool.submit(batches).future.result(10)
        again = pool.submit(batches[2:]).future.result(10)
        assert len(again[0]) == 8  # type: ignore[arg-type]
        assert Fragile.started == 3  # after it died with its neighbours, and twice alone
    first, last = batches[1][0].name, batches[1][-1].name
    assert f"twice on the same 8 images, {first} to {last}" in str(caught.value)
    assert "SIGSEGV" in str(caught.value)


def test_a_model_that_is_gone_is_an_error(tiny_model: Path, tmp_path: Path, faces: Pixels) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(tiny_model.read_bytes())
    session = Session.open(copy, threads=1)
    copy.unlink()
    with pytest.raises(ModelFileError, match="does not exist"):
        next(workers_on(session, faces[:, 0]))


def test_workers_that_cannot_start_are_an_error(
    tiny_session: Session, faces: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])  # so that the new process finds no fer_runtime
    with pytest.raises(WorkerError, match=r"cannot be started.*No module named") as caught:
        next(workers_on(tiny_session, faces[:, 0]))
    assert "--workers 0" in str(caught.value)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_ends_early(
    how: signal.Signals, tiny_model: Path, face: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(face)
    for index in range(1, 6000):
        os.link(folder / "0.jpg", folder / f"{index}.jpg")
    output = tmp_path / "rows.csv"
    process = subprocess.Popen(
        [*INFER, folder, "--model", tiny_model, "-o", output, "--workers", "2", "--threads", "1"],
        stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    partial = tmp_path / "rows.csv.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size > 0)
    workers = grandchildren(process.pid)
    process.send_signal(how)
    _, stderr = process.communicate()
    if how == signal.SIGINT:
        assert process.returncode in (130, 0)
        assert b"Traceback" not in stderr
    assert workers
    wait_until(lambda: not any(map(alive, workers)))


def grandchildren(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(each) for each in task.read_text().split()]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_negative_number_is_refused(tiny_model: Path, many: Path) -> None:
    with pytest.raises(ValueError, match="workers=-1"):
        infer([many], "-", model=tiny_model, workers=-1)
    with pytest.raises(ValueError, match="workers=-1"):
        Classifier.load(tiny_model, workers=-1)
