"""ASGI endpoints: a request's bytes in, an answer out; whatever fails is answered clearly."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar, NamedTuple

from fer_runtime.serve.refusals import CLOSE, ClientGoneError, Headers, RefusedError
from fer_runtime.serve.service import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON: Headers = ((b"content-type", b"application/json"),)
LOGGER = logging.getLogger("fer_runtime.serve")


class Answer(NamedTuple):
    """A status, a body, and its headers but for the length."""

    body: bytes
    status: int = 200
    headers: Headers = JSON


def refused(refusal: RefusedError) -> Answer:
    """The answer to a request that gets no prediction."""
    body = json.dumps({"error": refusal.message, "kind": refusal.kind}).encode()
    return Answer(body, refusal.status, (*JSON, *refusal.headers))


class Endpoint(ABC):
    """An ASGI application that answers POST requests with a body.

    Subclasses write `answer`; limits, errors and measures are here.

    Args:
        service: the server's state.
    """

    name: ClassVar[str]
    """As the metrics call it."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @abstractmethod
    async def answer(self, scope: Scope, body: bytes, held: Held) -> Answer:
        """The answer to a whole body, which `held` counts as one image; raises RefusedError."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        held = Held(self.service)
        try:
            answer = await self._answer(scope, receive, held)
        except ClientGoneError:
            self.service.measures.error("client_gone")
            return
        except RefusedError as refusal:
            self.service.measures.error(refusal.kind)
            answer = refused(refusal)
        except Exception:  # a fault of ours: it is logged, and the client learns no more
            LOGGER.exception("a request failed")
            self.service.measures.error("failed")
            answer = refused(RefusedError("failed", "The server failed; its log has the reason."))
        finally:
            held.release()
        await reply(answer, send)
        self.service.measures.request(self.name, answer.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, held: Held) -> Answer:
        if scope["method"] != "POST":
            raise RefusedError(
                "method", f"{scope['path']} takes POST.", ((b"allow", b"POST"), *CLOSE)
            )
        body: bytes | None = None
        try:
            body = await self._body(scope, receive, held)
            return await self.answer(scope, body, held)
        except asyncio.CancelledError:
            if not held.overdue:
                raise
        seconds = f"{self.service.limits.time_limit:g} seconds"
        if body is None:
            raise RefusedError("slow", f"The body did not arrive within {seconds}.", CLOSE)
        raise RefusedError(
            "time_limit", f"There was no answer within {seconds}; try again later.",
            ((b"retry-after", b"1"),),
        )  # fmt: skip

    async def _body(self, scope: Scope, receive: Receive, held: Held) -> bytes:
        limit = self.service.limits.max_body
        if (length := header(scope, b"content-length")) and int(length) > limit:
            raise _too_large(limit)
        held.begin()
        message = await receive()
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            held.add(len(part))
            if not message.get("more_body", False):
                return b"".join((*parts, part)) if parts else part
            parts.append(part)
            message = await receive()


def _too_large(limit: int) -> RefusedError:
    return RefusedError("too_large", f"The body is over the limit of {limit:,} bytes.", CLOSE)


class Held:
    """What one request takes of the server: a place among those in flight, and memory."""

    def __init__(self, service: Service) -> None:
        self._service, self._size, self._images = service, 0, 0
        self._task = asyncio.current_task()
        self.until = time.perf_counter() + service.limits.time_limit
        self.overdue = False
        service.requests[self] = None

    def cancel(self) -> None:
        """Its time is over."""
        assert self._task is not None
        self.overdue = True
        self._task.cancel()

    def begin(self) -> None:
        """It is accepted; raises RefusedError where it would be answered too late."""
        self._service.admit()
        self.count(1)

    def count(self, images: int) -> None:
        """It has so many more images."""
        self._images += images
        self._service.admission.begin(images)

    def add(self, size: int) -> None:
        """Count more of them; raises RefusedError where the server has too many."""
        self._service.hold(size)
        self._size += size

    def release(self) -> None:
        """The request is answered."""
        self._service.requests.pop(self, None)
        self._service.held -= self._size
        if self._images:
            self._service.admission.end(self._images)
        self._size = self._images = 0


async def reply(answer: Answer, send: Send) -> None:
    """Send an answer."""
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header (its name in lower case); the first of several."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None
