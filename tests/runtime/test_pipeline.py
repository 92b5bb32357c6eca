"""Pipeline: a row per item, in order, equal to a plain loop; bounded memory; threads that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import images, pipeline
from fer_runtime.errors import ImageError
from fer_runtime.pipeline import BATCHES_IN_FLIGHT, Pipeline, Row
from fer_runtime.providers.table import PROVIDERS, Provider
from fer_runtime.session import Session
from fer_runtime.sources import Item

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory, faces: Pixels) -> list[Item]:
    """23 items, of which 0, 5, 6, 7 and 22 cannot be read."""
    folder = tmp_path_factory.mktemp("items")
    made = []
    for index in range(23):
        path = folder / f"{index}.jpg"
        if index in (0, 5, 6, 7, 22):
            path.write_text("no image")
        else:
            Image.fromarray(faces[index, 0]).save(path, quality=95)
        made.append(Item(f"name of {index}", str(path)))
    return made


def plain_loop(session: Session, items: list[Item]) -> list[Row]:
    rows = []
    for item in items:
        try:
            pixels = images.load(item.path, session.spec.input)
        except ImageError as error:
            rows.append(Row(item.name, session.spec.labels, None, str(error)))
        else:
            rows.append(
                Row(item.name, session.spec.labels, session.run(pixels[None]).probabilities[0])
            )
    return rows


def assert_equal(found: Sequence[Row], expected: Sequence[Row]) -> None:
    assert [(row.name, row.error) for row in found] == [(row.name, row.error) for row in expected]
    for one, other in zip(found, expected, strict=True):
        if one.probabilities is None or other.probabilities is None:
            assert one.probabilities is other.probabilities
        else:
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("fer-pipeline")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    assert threads() == []
    yield
    assert threads() == []


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 23, 24, 100])
def test_rows_equal_a_plain_loop_in_the_order_of_items(
    tiny_session: Session, items: list[Item], threads: int, batch_size: int
) -> None:
    pipeline = Pipeline(tiny_session, threads=threads, batch_size=batch_size)
    batches = list(pipeline.run(items))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert_equal([row for batch in batches for row in batch], plain_loop(tiny_session, items))


def test_order_holds_where_the_first_batches_are_the_slowest(
    tiny_session: Session, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = images.load

    def slow(source: str, *rest: object, **options: object) -> Pixels:
        time.sleep(0.05 if Path(source).stem in ("0", "1", "2") else 0)
        return load(source, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "load", slow)
    rows = [
        row for batch in Pipeline(tiny_session, threads=4, batch_size=2).run(items) for row in batch
    ]
    assert [row.name for row in rows] == [item.name for item in items]


def test_error_rows_stand_in_place_and_say_why(tiny_session: Session, items: list[Item]) -> None:
    (rows,) = Pipeline(tiny_session, threads=2, batch_size=50).run(items)
    broken = [index for index, row in enumerate(rows) if row.error]
    assert broken == [0, 5, 6, 7, 22]
    assert all("not an image" in (rows[index].error or "") for index in broken)
    assert all((row.probabilities is None) == (row.error is not None) for row in rows)


def test_a_batch_of_errors_only_runs_nothing(
    tiny_session: Session, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise AssertionError("the session ran")

    monkeypatch.setattr(tiny_session, "run", fail, raising=True)
    (rows,) = Pipeline(tiny_session, threads=1).run(items[5:8])
    assert [row.probabilities for row in rows] == [None] * 3


def test_an_item_that_comes_with_an_error_is_not_read(
    tiny_session: Session, items: list[Item]
) -> None:
    listed = [Item("folder", items[1].path, "folder cannot be listed"), items[1]]
    (rows,) = Pipeline(tiny_session, threads=1).run(listed)
    assert rows[0] == Row("folder", tiny_session.spec.labels, None, "folder cannot be listed")
    assert rows[1].error is None


def test_no_items_give_no_batches(tiny_session: Session) -> None:
    assert list(Pipeline(tiny_session, threads=2).run([])) == []


def test_a_pipeline_runs_again_and_beside_itself(tiny_session: Session, items: list[Item]) -> None:
    pipeline = Pipeline(tiny_session, threads=2, batch_size=4)
    expected = plain_loop(tiny_session, items)
    assert_equal([row for batch in pipeline.run(items) for row in batch], expected)
    for one, other in zip(pipeline.run(items), pipeline.run(items), strict=True):
        assert_equal(one, other)


def test_the_buffer_of_a_batch_shows_nothing_of_the_one_before(
    tiny_session: Session, items: list[Item]
) -> None:
    """Rows are kept while one worker's buffer is filled again and again."""
    good = [item for index, item in enumerate(items) if index not in (0, 5, 6, 7, 22)]
    batches = list(Pipeline(tiny_session, threads=1, batch_size=2).run(good))
    assert_equal([row for batch in batches for row in batch], plain_loop(tiny_session, good))


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 1), (2, 3), (3, 2)])
def test_only_so_many_batches_are_taken_ahead(
    tiny_session: Session, items: list[Item], threads: int, batch_size: int
) -> None:
    taken = 0

    def endless() -> Iterator[Item]:
        nonlocal taken
        while True:
            taken += 1
            yield items[1]

    batches = Pipeline(tiny_session, threads=threads, batch_size=batch_size).run(endless())
    assert taken == 0
    for consumed in range(1, 8):
        assert len(next(batches)) == batch_size
        ahead = taken - (consumed - 1) * batch_size
        assert ahead <= threads * BATCHES_IN_FLIGHT * batch_size
    batches.close()  # type: ignore[attr-defined]


def test_large_contents_are_not_taken_ahead(
    tiny_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of tar shards and arrays are in memory until their row is there."""
    monkeypatch.setattr(pipeline, "BYTES_IN_FLIGHT", 10_000)
    taken = 0

    def items() -> Iterator[Item]:
        nonlocal taken
        for index in range(30):
            taken += 1
            yield Item(f"{index}", "", content=np.zeros((60, 60), np.uint8))

    seen = 0
    for rows in Pipeline(tiny_session, threads=4, batch_size=2).run(items()):
        seen += len(rows)
        assert taken <= seen + 2 * 2, "10,000 bytes are two batches of two images"
    assert seen == 30


def test_a_batch_of_large_contents_is_decoded_as_it_is_read(
    tiny_session: Session, monkeypatch: pytest.MonkeyPatch, items: list[Item]
) -> None:
    """32 archive members of 500 MB each must not be in memory together."""
    contents = [item._replace(content=Path(item.path).read_bytes()) for item in items[:9]]
    expected = [row for rows in Pipeline(tiny_session, threads=1).run(contents) for row in rows]
    monkeypatch.setattr(pipeline, "BYTES_IN_FLIGHT", 2000)
    held = list(Pipeline(tiny_session, threads=1).batches(iter(contents)))
    assert sum(isinstance(item.content, np.ndarray) for item in held[0]) > 3  # type: ignore[union-attr]
    found = [row for rows in Pipeline(tiny_session, threads=2).run(contents) for row in rows]
    assert_equal(found, expected)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 9])
def test_what_was_read_before_the_source_failed_is_not_lost(
    tiny_session: Session, items: list[Item], count: int
) -> None:
    def failing() -> Iterator[Item]:
        yield from items[:count]
        raise OSError("the camera is gone")

    rows: list[Row] = []
    with pytest.raises(OSError, match="the camera is gone"):
        for batch in Pipeline(tiny_session, threads=2, batch_size=2).run(failing()):
            rows += batch
    assert [row.name for row in rows] == [item.name for item in items[:count]]


def test_paths_and_arrays_are_items_too(tiny_session: Session, items: list[Item]) -> None:
    mixed: list[Any] = [items[1].path, Path(items[2].path), np.zeros((9, 9), np.uint8), items[3]]
    (rows,) = Pipeline(tiny_session, threads=1).run(mixed)
    assert [row.name for row in rows] == [items[1].path, items[2].path, "image 2", "name of 3"]
    assert all(row.error is None for row in rows)


def test_a_batch_is_as_large_as_it_was_said_to_be(tiny_session: Session, items: list[Item]) -> None:
    small = Pipeline(tiny_session, threads=1, batch_size=2)
    assert small.classify([]) == []
    with pytest.raises(ValueError, match="3 items; a batch is at most 2"):
        small.classify(items[:3])


def test_memory_does_not_grow_with_the_number_of_items(
    tiny_session: Session, items: list[Item]
) -> None:
    import tracemalloc

    def many(count: int) -> Iterator[Item]:
        return (items[1] for _ in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in Pipeline(tiny_session, threads=2, batch_size=8).run(many(count)):
            pass
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    peak(50)
    assert peak(1000) < peak(100) + 100_000


def test_a_consumer_that_stops_or_fails_ends_the_threads(
    tiny_session: Session, items: list[Item]
) -> None:
    pipeline = Pipeline(tiny_session, threads=3, batch_size=2)
    batches = pipeline.run(items)
    next(batches)
    assert threads()
    batches.close()  # type: ignore[attr-defined]
    assert threads() == []
    with pytest.raises(RuntimeError, match="the disk is full"):
        for _ in pipeline.run(items):
            raise RuntimeError("the disk is full")


def test_an_unexpected_error_in_a_worker_reaches_the_consumer(
    tiny_session: Session, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(tiny_session, "run", fail)
    with pytest.raises(MemoryError, match="no memory"):
        list(Pipeline(tiny_session, threads=2, batch_size=3).run(items))


def test_an_error_in_the_source_reaches_the_consumer(
    tiny_session: Session, items: list[Item]
) -> None:
    def breaking() -> Iterator[Item]:
        yield from items[:4]
        raise OSError("the share went away")

    with pytest.raises(OSError, match="the share went away"):
        list(Pipeline(tiny_session, threads=2, batch_size=3).run(breaking()))


def test_images_over_the_callers_pixel_limit_are_error_rows(
    tiny_session: Session, items: list[Item]
) -> None:
    (rows,) = Pipeline(tiny_session, threads=1, max_pixels=100).run(items[1:3])
    assert ["limit of 100 pixels" in (row.error or "") for row in rows] == [True, True]


def test_on_bound_buffers_the_last_batch_is_padded_and_cut(
    tiny_model: Path, tiny_session: Session, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Provider("bound CPU", "CPUExecutionProvider", device="cpu", in_workers=True)
    monkeypatch.setitem(PROVIDERS, "bound", entry)
    session = Session.open(tiny_model, provider="bound", threads=1)
    expected = plain_loop(tiny_session, items)
    batches = list(Pipeline(session, threads=2, batch_size=8).run(items))
    assert [len(batch) for batch in batches] == [8, 8, 7]
    assert_equal([row for batch in batches for row in batch], expected)


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 0), (0, 1), (1, -1), (-1, 1)])
def test_sizes_that_would_lose_rows_are_refused(
    tiny_session: Session, items: list[Item], threads: int, batch_size: int
) -> None:
    with pytest.raises(ValueError):
        list(Pipeline(tiny_session, threads=threads, batch_size=batch_size).run(items))
