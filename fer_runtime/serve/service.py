"""What the endpoints share: the model, its threads, the limits and the measures of one server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from fer_runtime.errors import FerError
from fer_runtime.hashing import file_sha256
from fer_runtime.serve.admission import Admission
from fer_runtime.serve.batching import MicroBatches
from fer_runtime.serve.limits import Limits
from fer_runtime.serve.measures import Measures
from fer_runtime.serve.model import Served, require_golden, require_verdict
from fer_runtime.serve.refusals import CLOSE, RefusedError, busy

if TYPE_CHECKING:
    from fer_runtime.faces.options import FaceOptions

T = TypeVar("T")
LOOK_EVERY = 0.1
"""Seconds between looks at requests whose time may be over."""


class ServeOptions(NamedTuple):
    """What is served, and how.

    Attributes:
        model: the ONNX file; it is read again on a reload.
        opening: further arguments of `Session.open`: provider, provider_options, spec.
        threads: threads that run the model side by side.
        decoders: threads that decode images and find faces.
        batch_size: most images in one run of the model.
        faces: how faces are found; None where every image is the crop of one face.
        min_probability: a less probable prediction gets the label "uncertain".
        limits: what is refused.
        allowed_origins: web pages of these origins may read answers; none by default.
    """

    model: Path
    opening: dict[str, Any]
    threads: int
    decoders: int
    batch_size: int = 32
    faces: FaceOptions | None = None
    min_probability: float = 0.0
    limits: Limits = Limits()
    allowed_origins: tuple[str, ...] = ()


class Timed(Protocol):
    """A request that is cancelled when its time is over."""

    until: float

    def cancel(self) -> None:
        """End it."""


class Service:
    """One server's state; made outside an event loop, `start`ed and used inside one.

    Raises:
        FerError: the model cannot be opened.
        ValueError: a limit that lets nothing through.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options, self.limits = options, options.limits.checked()
        self.model = self._open()
        self.measures = Measures(lambda: self.waiting)
        self.draining = False
        self.held = 0
        self._decoding = 0
        self.admission = Admission(self.limits.max_latency)
        self._decoders = ThreadPoolExecutor(options.decoders, thread_name_prefix="fer-decode")
        self.requests: dict[Timed, None] = {}
        self._clock: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()

    @property
    def batches(self) -> MicroBatches:
        """Those of the model that is served now."""
        assert self.model.batches is not None, "the service is not started"
        return self.model.batches

    @property
    def waiting(self) -> int:
        """Images that wait or are being worked on."""
        return self._decoding + (self.model.batches.waiting if self.model.batches else 0)

    async def start(self) -> None:
        """Start the threads; call it in the event loop."""
        self._begin(self.model)
        self._clock = asyncio.create_task(self._end_what_is_late())

    async def stop(self) -> None:
        """End the threads; call it when every request is answered."""
        if self._clock is not None:
            self._clock.cancel()
        await self.batches.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def admit(self) -> None:
        """Raises RefusedError where a new request would wait too long."""
        if self.admission.is_full():
            raise busy(self.admission.expected_delay())

    def hold(self, size: int) -> None:
        """Count bytes of a request that are in memory; raises RefusedError for too many."""
        if self.held + size > self.limits.max_held:
            refusal = busy(1)
            raise RefusedError("busy", refusal.message, (*refusal.headers, *CLOSE))
        self.held += size

    async def on_thread(self, work: Callable[..., T], *args: Any) -> T:
        """The result of decoding an image on one of the threads for it."""

        def timed() -> T:
            started = time.perf_counter()
            try:
                return work(*args)
            finally:
                self.measures.decoded(time.perf_counter() - started)

        self._decoding += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoders, timed)
        finally:
            self._decoding -= 1

    async def _end_what_is_late(self) -> None:
        """Cancel requests whose time is over; one clock for all costs less than one for each."""
        while True:
            await asyncio.sleep(min(LOOK_EVERY, self.limits.time_limit / 4))
            now = time.perf_counter()
            for request in list(self.requests):
                if request.until > now:
                    break  # the others came later
                del self.requests[request]
                request.cancel()

    async def reload(self) -> str:
        """Serve the file anew if it has changed and passes its checks; what was done, as a text.

        Raises:
            FerError: the new file is not served, and the old one still is.
        """
        async with self._reloading:
            try:
                if await asyncio.to_thread(file_sha256, self.options.model) == self.model.sha256:
                    self.measures.reload("unchanged")
                    return f"{self.options.model} has not changed"
                new = await asyncio.to_thread(self._open_checked)
            except (FerError, OSError):
                self.measures.reload("refused")
                raise
            old = self.model
            self._begin(new)
            self.model = new
            before = set(self.requests)
            while before & self.requests.keys():  # they may be decoding, for the old model
                await asyncio.sleep(LOOK_EVERY)
            if old.batches is not None:
                await old.batches.close()
            self.measures.reload("done")
            return f"serving {new.session.path} anew, {new.sha256[:12]}"

    def _open(self) -> Served:
        options = self.options
        served = Served.open(
            options.model, faces=options.faces, max_pixels=self.limits.max_pixels, threads=1,
            min_probability=options.min_probability, **options.opening,
        )  # fmt: skip
        served.session.warm_up(1)
        served.session.warm_up(options.batch_size)
        return served

    def _open_checked(self) -> Served:
        new = self._open()
        require_verdict(new.session)
        require_golden(new.session)
        return new

    def _begin(self, model: Served) -> None:
        model.batches = MicroBatches(
            model.session, batch_size=self.options.batch_size, threads=self.options.threads,
            watch=self.measures.batch,
        )  # fmt: skip
        self.measures.serving(model)
