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

from fer_runtime.serve.endpoint import refused
from fer_runtime.serve.refusals import CLOSE, RefusedError

LAST_CALL = 0.5
"""Seconds after which a connection without a request is closed when the server ends."""
SWEEP = 0.5
"""Seconds between looks at connections that may be too slow."""


class Connection(HttpToolsProtocol):
    """A connection that knows since when it waits for the rest of a request."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.receiving: float | None = self.loop.time()

    def on_message_begin(self) -> None:
        self.receiving = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if getattr(self.server_state, "draining", False):
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self.receiving = None
        super().on_message_complete()

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
            phrase = HTTPStatus(answer.status).phrase.encode()
            lines = [b"HTTP/1.1 %d %s" % (answer.status, phrase)]
            headers = (*answer.headers, (b"content-length", b"%d" % len(answer.body)))
            lines += [b": ".join(pair) for pair in headers]
            self.transport.write(b"\r\n".join([*lines, b"", answer.body]))
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


class DrainingServer(Server):
    """uvicorn's server; it ends when `should_exit` is set, after every answer.

    Args:
        config: uvicorn's.
        time_limit: seconds for the headers of a request.
        on_drain: called when it begins to end.
    """

    def __init__(self, config: Any, *, time_limit: float, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._time_limit, self._on_drain = time_limit, on_drain
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
        self._on_drain()
        self.server_state.draining = True  # type: ignore[attr-defined]
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
