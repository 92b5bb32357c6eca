"""Bound buffers: what `run` gives, padded and cut, from buffers that are made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fer_runtime import binding
from fer_runtime.binding import BoundSession
from fer_runtime.providers.table import PROVIDERS, Provider
from fer_runtime.session import Session
from tests.runtime.conftest import SaveGraph
from tests.runtime.onnx_writer import FLOAT, node


@pytest.fixture
def plain(tiny_model: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(tiny_model, options, providers=["CPUExecutionProvider"])


def pixels(count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 1, 48, 48), dtype=np.uint8)


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 32, 33])
def test_any_number_of_images_gets_its_own_rows(plain: Any, count: int) -> None:
    bound = BoundSession(plain)
    bound.run(pixels(64))  # what earlier batches left in the buffers must not show
    for _ in range(2):
        assert_same(bound.run(pixels(count)), plain.run(None, {"images": pixels(count)}))


def test_more_than_the_largest_batch_is_run_in_pieces(
    plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "LARGEST", 8)
    assert_same(BoundSession(plain).run(pixels(21)), plain.run(None, {"images": pixels(21)}))


def test_no_image_is_no_row(plain: Any) -> None:
    assert [output.shape for output in BoundSession(plain).run(pixels(0))] == [(0, 7), (0, 7)]


def test_results_belong_to_the_caller(plain: Any) -> None:
    bound = BoundSession(plain)
    first = bound.run(pixels(4))
    kept = [output.copy() for output in first]
    bound.run(pixels(3))
    for output, copy in zip(first, kept, strict=True):
        assert np.array_equal(output, copy)
        output[:] = 0


def test_buffers_are_made_once_for_each_size(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    slot = binding._Slot

    def count(*arguments: Any) -> Any:
        made.append(arguments[2][0])
        return slot(*arguments)

    monkeypatch.setattr(binding, "_Slot", count)
    bound = BoundSession(plain)
    for _ in range(5):
        for size in (3, 4, 8, 7):
            bound.run(pixels(size))
    assert made == [4, 8]


def test_threads_share_it_with_two_batches_in_flight(plain: Any) -> None:
    bound = BoundSession(plain)
    inside, most = 0, 0
    lock = threading.Lock()
    run = binding._Slot.run

    def counted(self: Any, *arguments: Any) -> Any:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            return run(self, *arguments)
        finally:
            with lock:
                inside -= 1

    expected = {count: plain.run(None, {"images": pixels(count)}) for count in (5, 6, 7, 8)}
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(binding._Slot, "run", counted)
        counts = [5, 6, 7, 8] * 20
        for count, found in zip(
            counts, pool.map(lambda n: bound.run(pixels(n)), counts), strict=True
        ):
            assert_same(found, expected[count])
    assert most <= 2


def test_an_error_frees_its_buffers(plain: Any) -> None:
    bound = BoundSession(plain)
    for _ in range(4):  # more often than there are slots
        with pytest.raises(Exception, match=r"(?i)dimension|shape|rank"):
            bound.run(np.zeros((2, 1, 4, 4), np.uint8))
    assert len(bound.run(pixels(2))) == 2


def test_outputs_of_unknown_shape_are_bound_too(tmp_path: Path, save_graph: SaveGraph) -> None:
    path = save_graph(
        tmp_path / "free.onnx",
        [node("Identity", ["x"], ["y"])],
        [("x", FLOAT, ["N", "W"])],
        [("y", FLOAT, ["N", "W"])],
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = np.arange(6, dtype=np.float32).reshape(3, 2)
    (found,) = BoundSession(session).run(given)
    assert np.array_equal(found, given)


def test_a_graph_of_one_size_is_padded_to_it(tmp_path: Path, save_graph: SaveGraph) -> None:
    path = save_graph(
        tmp_path / "three.onnx",
        [node("Identity", ["x"], ["y"])],
        [("x", FLOAT, [3, 2])],
        [("y", FLOAT, [3, 2])],
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = np.arange(14, dtype=np.float32).reshape(7, 2)
    (found,) = BoundSession(session).run(given)
    assert np.array_equal(found, given)


def test_with_graphs_one_batch_runs_at_a_time_under_the_number_of_its_size() -> None:
    class Port:
        name, type, shape = "x", "tensor(float)", ("N", 2)

    class Binding:
        def bind_ortvalue_input(self, *_: Any) -> None:
            pass

        bind_ortvalue_output = bind_ortvalue_input

    class Session_:  # noqa: N801
        numbers: list[str] = []  # noqa: RUF012

        def get_inputs(self) -> list[Port]:
            return [Port()]

        get_outputs = get_inputs

        def io_binding(self) -> Binding:
            return Binding()

        def run_with_iobinding(self, _: Any, options: Any) -> None:
            self.numbers.append(options.get_run_config_entry("gpu_graph_id"))

    session = Session_()
    bound = BoundSession(session, graphs=True)
    for count in (3, 4, 5):
        bound.run(np.zeros((count, 2), np.float32))
    assert session.numbers == ["4", "4", "8"]


def test_a_session_of_a_device_runs_on_bound_buffers(
    tiny_model: Path, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Provider("bound CPU", "CPUExecutionProvider", device="cpu")
    monkeypatch.setitem(PROVIDERS, "bound", entry)
    session = Session.open(tiny_model, provider="bound", threads=1)
    expected = Session.open(tiny_model, provider="cpu", threads=1).run(faces)
    np.testing.assert_allclose(session.run(faces).logits, expected.logits, atol=1e-5)
    assert not session.in_workers
