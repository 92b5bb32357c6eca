"""uvicorn's connections and server, with the time limits and the draining that it lacks.

uvicorn waits for ever for the headers of a request and for the body of one that is answered
already, and when it ends it closes idle connections on which a request may be coming.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from uvicorn import Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fer_runtime.serve.endpoint import Answer, refused
from fer_runtime.serve.refusals import CLOSE, RefusedError, busy
from fer_runtime.serve.service import Service

LAST_CALL = 0.5
"""Seconds after which a connection without a request is closed when the server ends."""
PAUSE = 0.25
"""Seconds for which nothing is read from a connection whose request was refused."""
SMALL = 64 * 1024
"""Bytes of a body that is read and thrown away, so that its connection can be used again."""
SWEEP = 0.5
"""Seconds between looks at connections that may be too slow."""


class OneWrite:
    """A transport that sends the head of an answer together with what is written next.

    uvicorn writes them one after the other, which are two system calls and two packets.
    """

    def __init__(self, transport: Any, loop: Any) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it now, or in a moment where it is a head."""
        if self._head:
            self._transport.write(self._head + data)
            self._head = b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""


class Connection(HttpToolsProtocol):
    """A connection that knows since when it waits for the rest of a request."""

    busy = b""
    """What a request is answered that comes when there are too many."""
    refusing = False
    """Whether the request that comes in now is refused already."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]
        self.service: Service = self.server_state.service  # type: ignore[attr-defined]
        self.receiving: float | None = self.loop.time()

    def on_message_begin(self) -> None:
        self.receiving = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if not self.answering and self._is_too_much():
            # Everything that a prediction costs but for its socket is saved by not asking for it.
            self.refusing = True
            return
        super().on_headers_complete()
        if self.service.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if not self.refusing:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.receiving = None
        if not self.refusing:
            super().on_message_complete()
            return
        self.refusing = False
        self.service.measures.error("busy")
        endpoint = "infer" if self.url.startswith(b"/v2/") else "predict"
        self.service.measures.request(endpoint, 503, 0.0)
        self.transport.write(self.busy)
        if self.service.draining or not self.parser.should_keep_alive():
            self.transport.close()
        else:
            self.on_response_complete()
            # A client that asks again at once, whatever Retry-After says, takes time from others.
            self.flow.pause_reading()
            self.loop.call_later(PAUSE, self._read_again)

    def _read_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _is_too_much(self) -> bool:
        """Whether it is a small request for predictions that would be answered too late."""
        admission = self.service.admission
        # Requests that came at the same time as this one have tasks, but are not counted yet.
        if not admission.is_full(max(0, len(self.tasks) - admission.in_flight)):
            return False
        if self.parser.get_method() != b"POST":
            return False
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return bool(lengths) and lengths[0].isdigit() and int(lengths[0]) <= SMALL

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; True where it still gets an answer."""
        if not self.answering:
            return False
        if self.cycle.more_body:
            self.refuse("malformed", "The body is shorter than its Content-Length.")
            return False
        self.cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        if self.answering and not self.cycle.more_body:
            # What follows a whole request is none; that request is answered all the same.
            self.cycle.keep_alive = False
            return
        self.refuse("malformed", "This is not a valid HTTP request.")

    @property
    def answering(self) -> bool:
        """Whether there is a request without its whole answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def refuse(self, kind: str, message: str) -> None:
        """Answer an error, unless an answer has begun, and close."""
        if self.transport.is_closing():
            return
        if not self.answering or not self.cycle.response_started:
            answer = refused(RefusedError(kind, message, CLOSE))
            self.transport.write(as_bytes(answer))
        self.transport.close()

    def end_if_slow(self, now: float, limit: float) -> None:
        """Close it where the rest of a request does not come."""
        if self.receiving is None or now - self.receiving <= limit or self.transport.is_closing():
            return
        if self.answering:  # the endpoint waits for the body, and has the same limit
            return
        if self.cycle is not None and self.cycle.response_started and self.cycle.more_body:
            self.transport.abort()  # answered before its body was there, which never ended
        elif self.headers is not None and self.url:
            self.refuse("slow", f"The request did not arrive within {limit:g} seconds.")
        else:
            self.transport.close()


def as_bytes(answer: Answer) -> bytes:
    """A whole answer, as it is sent."""
    lines = [b"HTTP/1.1 %d %s" % (answer.status, HTTPStatus(answer.status).phrase.encode())]
    headers = (*answer.headers, (b"content-length", b"%d" % len(answer.body)))
    lines += [b": ".join(pair) for pair in headers]
    return b"\r\n".join([*lines, b"", answer.body])


Connection.busy = as_bytes(refused(busy(1)))


class DrainingServer(Server):
    """uvicorn's server; it ends when `should_exit` is set, after every answer.

    Args:
        config: uvicorn's.
        service: what is served.
        on_drain: called when it begins to end.
    """

    def __init__(self, config: Any, service: Service, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self.server_state.service = service  # type: ignore[attr-defined]
        self._service, self._on_drain = service, on_drain
        self._time_limit = service.limits.time_limit
        self._swept = 0.0

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the business of `fer_runtime.serve.running`."""
        yield

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._swept >= SWEEP:
            self._swept = now
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.end_if_slow(now, self._time_limit)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        """Take no new connections, answer every request, close, and end."""
        self._service.draining = True
        self._on_drain()
        for server in self.servers:
            server.close()
        for connection in self._open():
            if connection.answering:
                connection.cycle.keep_alive = False
        await asyncio.sleep(LAST_CALL)
        ends = asyncio.get_running_loop().time() + self._time_limit + 1
        while self._open() or self.server_state.tasks:
            late = asyncio.get_running_loop().time() > ends or self.force_exit
            for connection in self._open():
                if late:
                    connection.transport.abort()
                elif not connection.answering:
                    connection.transport.close()
            if late:
                break
            await asyncio.sleep(0.02)
        await self.lifespan.shutdown()

    def _open(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]
