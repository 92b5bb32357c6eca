"""One session for all worker processes, as on a GPU; here on the CPU, by an entry of the table."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime import Classifier, infer
from fer_runtime.pipeline import Pipeline
from fer_runtime.providers.table import PROVIDERS, Provider
from fer_runtime.session import Session
from fer_runtime.sinks.table import open_sink
from fer_runtime.workers import pool as pools
from fer_runtime.workers.lent import LentSession, lend
from fer_runtime.workers.messages import Classify, Failed
from fer_runtime.workers.running import Running
from fer_runtime.workers.shared import Contents, SharedMemory
from tests.runtime.command import wait_until

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def lent(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session whose provider runs in one process only."""
    entry = Provider("one process", "CPUExecutionProvider", device="cpu", in_workers=False)
    monkeypatch.setitem(PROVIDERS, "one", entry)
    return Session.open(tiny_model, provider="one", threads=1)


@pytest.fixture
def runs(lent: Session, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each run of a session in this process had."""
    counted: list[int] = []
    run = Session.run

    def count(self: Session, pixels: Pixels) -> Any:
        counted.append(len(pixels))
        return run(self, pixels)

    monkeypatch.setattr(Session, "run", count)
    return counted


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_rows_are_those_of_threads(
    messy: Path, tiny_model: Path, tmp_path: Path, runs: list[int], ending: str
) -> None:
    written = {}
    for workers in (0, 2):
        output = tmp_path / f"{workers}{ending}"
        result = infer(
            [messy] * 3, output, model=tiny_model, provider="one", workers=workers, batch_size=4
        )
        assert (result.processes, result.provider) == (workers, "one")
        written[workers] = output.read_bytes()
    assert written[0] == written[2]
    half = len(runs) // 2
    assert sorted(runs[:half]) == sorted(runs[half:]), "the same batches ran here both times"


def test_arrays_and_generators_go_through_it(lent: Session, runs: list[int], faces: Pixels) -> None:
    expected = Classifier(lent, batch_size=8).predict_batch(faces[:, 0])
    with Classifier(lent, batch_size=8, workers=2) as classifier:
        found = classifier.predict_batch(face[0] for face in faces)
    assert [each.label for each in found] == [each.label for each in expected]
    assert sum(runs) == 2 * len(faces)


def test_faces_are_found_in_the_workers(tiny_model: Path, lent: Session, tmp_path: Path) -> None:
    photo = Path(__file__).parent.parent / "data" / "astronaut.jpg"
    written = []
    for workers in (0, 1):
        output = tmp_path / f"{workers}.csv"
        infer([photo] * 3, output, model=tiny_model, provider="one", workers=workers, faces=True)
        written.append(output.read_text())
    assert written[0] == written[1]


def test_an_error_of_the_session_reaches_the_caller(
    lent: Session, faces: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of GPU memory")

    monkeypatch.setattr(Session, "run", fail)
    pipe = Pipeline(lent, threads=1, batch_size=8)
    running = Running(pipe, count=1)
    with running.pool() as pool, pytest.raises(RuntimeError, match="out of GPU memory"):
        list(running.rows_of(pool, faces[:, 0]))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_worker_that_is_killed_costs_only_its_batch(
    lent: Session, face: bytes, tmp_path: Path
) -> None:
    images = [face] * 300
    pipe = Pipeline(lent, threads=2, batch_size=8)
    written = []
    for kill in (False, True):
        output = tmp_path / f"{kill}.csv"
        running = Running(pipe, count=2)
        with running.pool() as pool, open_sink(str(output), lent.spec.labels) as sink:

            def disturbed(pids: Any = pool.pids, kill: bool = kill) -> Iterator[bytes]:
                for place, image in enumerate(images):
                    if kill and place == 120:
                        os.kill(pids()[0], signal.SIGKILL)
                        time.sleep(0.05)
                    yield image

            for rows in running.rows_of(pool, disturbed()):
                sink.write(rows)
        written.append(output.read_bytes())
    assert written[0] == written[1]


def test_without_shared_memory_pixels_go_through_the_pipe(
    lent: Session, runs: list[int], faces: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_shared_memory", lambda _: None)
    with Classifier(lent, batch_size=8, workers=1) as classifier:
        assert len(classifier.predict_batch(faces[:20, 0])) == 20
    assert sum(runs) == 20


def test_pixels_cross_in_shared_memory_where_they_fit(tiny_session: Session) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 1, 48, 48), dtype=np.uint8)
    memory = SharedMemory(pixels.nbytes)
    asked: list[Classify] = []

    def ask(message: Classify) -> Any:
        asked.append(message)
        return lend(tiny_session, message, memory)

    session = LentSession(tiny_session.spec, ask, Contents(memory.handle))
    expected = tiny_session.run(pixels)
    assert np.array_equal(session.run(pixels).logits, expected.logits)
    assert asked[-1].pixels is None
    more = np.concatenate([pixels, pixels])
    assert np.array_equal(session.run(more).logits[3:], tiny_session.run(more).logits[3:])
    assert asked[-1].pixels is not None
    wrong = lend(tiny_session, Classify((1, 1, 2, 2), np.zeros((1, 1, 2, 2), np.uint8)), None)
    assert isinstance(wrong, Failed)
    memory.close()


def test_no_process_is_left(lent: Session, faces: Pixels) -> None:
    classifier = Classifier(lent, workers=1)
    classifier.predict_batch(faces[:, 0])
    assert classifier._pool is not None
    pids = classifier._pool.pids()
    classifier.close()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
