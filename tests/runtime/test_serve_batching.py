"""Micro-batches: what waits goes together, nothing waits for others, and nothing is mixed up."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("prometheus_client", reason="the extra `serve` is not installed")

from fer_runtime.serve.admission import Admission
from fer_runtime.serve.batching import Batch, MicroBatches
from fer_runtime.serve.endpoint import Held
from fer_runtime.serve.limits import Limits
from fer_runtime.serve.refusals import RefusedError
from fer_runtime.serve.service import Service
from fer_runtime.session import Outputs
from fer_runtime.shipped import SHIPPED
from tests.runtime.served import options


class Echo:
    """A session whose logits are each image's first pixel; `gate` holds it back."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.sizes: list[int] = []

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        self.gate.wait(10)
        self.sizes.append(len(pixels))
        if (pixels == 255).any():
            raise RuntimeError("the device is lost")
        values = pixels[:, 0, 0, :1].astype(np.float32)
        return Outputs(values, values + 0.5)


def image(value: int, count: int = 1) -> npt.NDArray[np.uint8]:
    return np.full((count, 1, 2, 2), value, np.uint8)


def with_batches(
    work: Callable[[MicroBatches, Echo], Coroutine[Any, Any, None]], *, threads: int = 1
) -> list[Batch]:
    """Run a test in an event loop with micro-batches of at most 4; what was watched."""
    seen: list[Batch] = []
    echo: Any = Echo()

    async def run() -> None:
        batches = MicroBatches(echo, batch_size=4, threads=threads, watch=seen.append)
        await work(batches, echo)
        await batches.close()

    asyncio.run(run())
    return seen


def test_one_image_does_not_wait_for_others() -> None:
    async def work(batches: MicroBatches, echo: Echo) -> None:
        outputs = await batches.run(image(3))
        assert outputs.logits.tolist() == [[3.0]]
        assert outputs.probabilities.tolist() == [[3.5]]

    assert [batch.images for batch in with_batches(work)] == [1]


def test_what_came_meanwhile_goes_together_and_each_gets_its_own() -> None:
    async def work(batches: MicroBatches, echo: Echo) -> None:
        echo.gate.clear()
        first = asyncio.ensure_future(batches.run(image(0)))
        await asyncio.sleep(0.05)  # it is being run now
        rest = [asyncio.ensure_future(batches.run(image(n))) for n in range(1, 7)]
        await asyncio.sleep(0.01)
        assert batches.waiting == 7
        echo.gate.set()
        found = [float((await each).logits[0, 0]) for each in (first, *rest)]
        assert found == [0, 1, 2, 3, 4, 5, 6]
        assert echo.sizes == [1, 4, 2]
        assert batches.waiting == 0

    seen = with_batches(work)
    assert [batch.images for batch in seen] == [1, 4, 2]
    assert seen[1].longest_wait > 0


def test_jobs_are_not_split_and_large_ones_are_put_together_again() -> None:
    async def work(batches: MicroBatches, echo: Echo) -> None:
        many = np.concatenate([image(n) for n in range(10)])
        outputs = await batches.run(many)
        assert outputs.logits[:, 0].tolist() == list(range(10))
        assert echo.sizes == [4, 4, 2]

    with_batches(work)


def test_threads_share_what_waits() -> None:
    async def work(batches: MicroBatches, echo: Echo) -> None:
        found = await asyncio.gather(*(batches.run(image(n % 200)) for n in range(300)))
        assert [float(each.logits[0, 0]) for each in found] == [n % 200 for n in range(300)]

    assert sum(batch.images for batch in with_batches(work, threads=3)) == 300


def test_a_failing_session_fails_the_batch_and_nothing_else() -> None:
    async def work(batches: MicroBatches, echo: Echo) -> None:
        with pytest.raises(RuntimeError, match="the device is lost"):
            await batches.run(image(255))
        assert (await batches.run(image(1))).logits.tolist() == [[1.0]]

    with_batches(work)


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    async def work(batches: MicroBatches, echo: Echo) -> None:
        echo.gate.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batches.run(image(1)), 0.02)
        echo.gate.set()
        assert (await batches.run(image(2))).logits.tolist() == [[2.0]]
        assert batches.waiting == 0

    with_batches(work)


def test_closing_finishes_what_waits() -> None:
    async def work(batches: MicroBatches, echo: Echo) -> None:
        echo.gate.clear()
        waiting = [asyncio.ensure_future(batches.run(image(n))) for n in range(5)]
        await asyncio.sleep(0.01)
        closing = asyncio.ensure_future(batches.close())
        echo.gate.set()
        await closing
        assert [float((await each).logits[0, 0]) for each in waiting] == [0, 1, 2, 3, 4]
        with pytest.raises(RuntimeError, match="closed"):
            await batches.run(image(1))

    with_batches(work)


def test_a_full_service_refuses_and_an_idle_one_never_does(tiny_model: Path) -> None:
    service = Service(options(tiny_model, limits=Limits(max_latency=0.1)))
    admission = service.admission
    admission.seconds_each = 3.0  # one image takes longer than the limit
    service.admit()
    admission.begin()
    admission.begin()
    with pytest.raises(RefusedError) as caught:
        service.admit()
    assert caught.value.status == 503
    assert dict(caught.value.headers)[b"retry-after"] == b"6"
    admission.end(2)
    service.admit()


def test_the_rate_is_that_of_busy_time_and_not_of_half_a_burst(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    admission = Admission(max_latency=1.0)
    for _ in range(30):  # ten images at a time, in 0.04 s, and then nothing for a second
        admission.begin(10)
        now[0] += 0.04
        for _ in range(10):
            admission.end()
        now[0] += 1.0
    assert admission.seconds_each == pytest.approx(0.004, rel=0.01)
    assert not admission.is_full(coming=80)
    assert admission.is_full(coming=90)
    admission.begin(50)
    assert admission.expected_delay() == pytest.approx(0.2, rel=0.01)


def test_bytes_in_memory_are_bounded(tiny_model: Path) -> None:
    service = Service(options(tiny_model, limits=Limits(max_held=1000)))
    service.hold(600)
    with pytest.raises(RefusedError) as caught:
        service.hold(600)
    assert (caught.value.kind, service.held) == ("busy", 600)


def test_a_limit_that_lets_nothing_through_is_an_error(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="time_limit=0"):
        Service(options(tiny_model, limits=Limits(time_limit=0)))


def test_a_reload_waits_for_what_the_old_model_has_to_answer(tmp_path: Path) -> None:
    """A request that decodes while the file changes is answered by the model that it began with."""
    model = tmp_path / "served.onnx"
    shutil.copy(SHIPPED, model)
    service = Service(options(model))

    async def work() -> None:
        await service.start()
        held, old = Held(service), service.model
        shutil.copy(SHIPPED.with_name("compact_cnn.int8.onnx"), tmp_path / "new")
        os.replace(tmp_path / "new", model)
        reloading = asyncio.ensure_future(service.reload())
        while service.model is old:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert not reloading.done()
        assert old.batches is not None
        pixels = np.zeros((1, 1, 48, 48), np.uint8)
        assert (await old.batches.run(pixels)).logits.shape == (1, 7)
        held.release()
        assert "anew" in await reloading
        await service.stop()

    asyncio.run(work())
