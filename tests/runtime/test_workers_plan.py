"""When worker processes pay, and the memory that they share with their parent."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_runtime.items import Item, named
from fer_runtime.packed.reader import PackedImage
from fer_runtime.pipeline import Pipeline
from fer_runtime.session import Session
from fer_runtime.workers import plan
from fer_runtime.workers.messages import PackedRun, packed_items, unpacked_items
from fer_runtime.workers.plan import Lookahead, Plan, images_needed
from fer_runtime.workers.running import Running
from fer_runtime.workers.shared import SLOT_BYTES, Contents, Placed, SharedMemory


def batches_of(count: int, content: bytes | None = None) -> Iterator[list[Item] | Exception]:
    for start in range(0, count, 10):
        yield [Item(str(i), str(i), content=content) for i in range(start, min(start + 10, count))]


@pytest.mark.parametrize(
    ("cpu", "cores", "needed"),
    [
        (1.0, 2, plan.START_SECONDS / 0.5e-3),  # one of two cores was idle
        (1.0, 8, plan.START_SECONDS / 0.875e-3),
        (2.0, 2, math.inf),  # both were busy
        (1.97, 2, math.inf),  # too little to be more than noise
        (1.0, 1, math.inf),
        (5.0, 2, math.inf),  # other clocks
    ],
)
def test_images_needed(cpu: float, cores: int, needed: float) -> None:
    assert images_needed(1000, 1.0, cpu, cores) == pytest.approx(needed)


def test_lookahead_loses_nothing() -> None:
    ahead = Lookahead(batches_of(95))
    assert ahead.items_ahead(31) == (40, False)
    first = next(ahead)
    assert isinstance(first, list) and first[0].name == "0"
    assert ahead.items_ahead(1000) == (85, True)
    names = [item.name for batch in ahead if isinstance(batch, list) for item in batch]
    assert names == [str(i) for i in range(10, 95)]


def test_lookahead_stops_at_an_error_and_at_contents() -> None:
    def failing() -> Iterator[list[Item] | Exception]:
        yield from batches_of(20)
        yield ValueError("broken")

    assert Lookahead(failing()).items_ahead(100) == (20, True)
    assert Lookahead(batches_of(100, b"content")).items_ahead(100) == (10, False)


def slow_plan(seconds: float, cores: int = 2) -> Plan:
    """A plan of a run that has lasted so long, with one core busy."""
    made = Plan(cores)
    assert not made.pays(1, Lookahead(batches_of(10)))
    made._wall -= seconds
    made._cpu -= seconds
    return made


def test_a_plan_starts_workers_where_there_is_enough_work() -> None:
    needed = images_needed(1000, 1.0, 1.0, 2)
    assert needed == 1200
    assert not slow_plan(1.0).pays(1001, Lookahead(batches_of(900)))
    assert slow_plan(1.0).pays(1001, Lookahead(batches_of(1500)))
    assert not slow_plan(1.0, cores=1).pays(1001, Lookahead(batches_of(1500)))
    assert not slow_plan(plan.FIRST_LOOK / 2).pays(1001, Lookahead(batches_of(10**5)))


def test_of_contents_a_run_is_taken_to_go_on_as_long_again() -> None:
    assert not slow_plan(1.0).pays(1001, Lookahead(batches_of(1500, b"x")))
    assert slow_plan(2.0).pays(2001, Lookahead(batches_of(1500, b"x")))


def test_a_run_moves_to_workers_and_keeps_its_order(
    tiny_session: Session, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(plan, "images_needed", lambda *_: 10)
    images = [faces[index % len(faces), 0] for index in range(400)]
    pipeline = Pipeline(tiny_session, threads=2, batch_size=8)
    running = Running(pipeline)

    def unhurried() -> Iterator[np.ndarray]:
        for place, image in enumerate(images):
            if not running.processes and place > 100:
                time.sleep(0.01)
            yield image

    found: list[Any] = [
        row for rows in running.run(pipeline.batches(named(unhurried()))) for row in rows
    ]
    expected = [row for rows in pipeline.run(images) for row in rows]
    assert running.processes == 2
    assert [dict(row) for row in found] == [dict(row) for row in expected]


def test_items_are_sent_as_they_are(tmp_path: Path) -> None:
    plain = [Item(name, name) for name in ("a.jpg", "\udcff.jpg")]
    assert packed_items(plain) == ["a.jpg", "\udcff.jpg"]
    assert unpacked_items(packed_items(plain)) == plain
    for strange in (
        Item("a", "b"),
        Item("".join(["a", "b"]), "ab", label="happy"),
        Item("a", "a", error="broken"),
        Item("a", "", content=b"x"),
        Item("a", "a", extra={"frame": 1}, stream="v.mp4"),
    ):
        assert unpacked_items(packed_items([*plain, strange])) == [*plain, strange]


def test_a_run_of_a_pack_is_sent_as_one_place() -> None:
    def image(place: int, **fields: Any) -> Item:
        name = f"{place}.jpg"
        return Item(name, name, None, PackedImage("faces.ferpack", place))._replace(**fields)

    run = [image(place) for place in range(3, 7)]
    sent = packed_items(run)
    names = [f"{place}.jpg" for place in range(3, 7)]
    assert sent == PackedRun("faces.ferpack", 3, names, None)
    assert unpacked_items(sent) == run
    labelled = [image(3, label="sad"), image(4)]
    sent = packed_items(labelled)
    assert isinstance(sent, PackedRun) and sent.labels == ["sad", None]
    assert unpacked_items(sent) == labelled
    for strange in (
        image(9),
        image(7, name="another"),
        image(7, content=None, error="broken"),
        image(7, extra={"frame": 1}),
        image(7, content=PackedImage("other.ferpack", 7)),
        Item("7.jpg", "7.jpg"),
    ):
        for batch in ([*run, strange], [strange, *run]):
            assert packed_items(batch) == batch
            assert unpacked_items(packed_items(batch)) == batch


def test_contents_go_through_shared_memory() -> None:
    memory = SharedMemory()
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    items = [
        Item("bytes", "", content=b"encoded"),
        Item("array", "", content=array),
        Item("every other", "", content=array[:, ::2]),
        Item("path", "path"),
        Item("empty", "", content=b""),
        Item("too large", "", content=bytes(SLOT_BYTES)),
    ]
    contents = Contents(memory.handle)
    placed: Any
    for slot in (0, 1):
        (placed,) = memory.place([items], slot)
        assert [isinstance(item.content, Placed) for item in placed] == [True] * 3 + [False] * 3
        found = [contents.found(item) for item in placed]
        assert found[0].content == b"encoded"
        np.testing.assert_array_equal(np.asarray(found[1].content), array)
        np.testing.assert_array_equal(np.asarray(found[2].content), array[:, ::2])
        assert [item.content for item in found[3:]] == [None, b"", bytes(SLOT_BYTES)]
    with pytest.raises(ValueError, match="read-only"):
        found[1].content[0, 0, 0] = 1  # type: ignore[index]
    memory.close()


@pytest.mark.parametrize(
    ("count", "model", "available", "expected"),
    [
        (8, 0, 2 * 8 * plan.WORKER_BYTES, 8),
        (8, 0, 2 * 8 * plan.WORKER_BYTES - 1, 7),
        (8, plan.WORKER_BYTES // plan.MODEL_TIMES, 2 * 8 * plan.WORKER_BYTES, 4),
        (8, 0, 0, 1),
        (8, 0, None, 8),
    ],
)
def test_workers_fit_into_half_of_the_free_memory(
    count: int, model: int, available: int | None, expected: int
) -> None:
    assert plan.affordable(count, model, available) == expected
