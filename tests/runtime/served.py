"""A server in a thread of the tests' process, and small clients for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fer_runtime.serve.limits import Limits
from fer_runtime.serve.service import ServeOptions, Service


class Answered(NamedTuple):
    """An answer: its status, headers in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A server that runs; `service` is its state."""

    def __init__(self, service: Service, port: int, server: Any) -> None:
        self.service, self.port, self.server = service, port, server

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answered:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            found = connection.getresponse()
            lower = {name.lower(): value for name, value in found.getheaders()}
            return Answered(found.status, lower, found.read())
        finally:
            connection.close()

    def post(self, body: bytes, path: str = "/predict", **headers: str) -> Answered:
        return self.request("POST", path, body, **headers)

    def send(self, data: bytes, *, end: bool = False, timeout: float = 10) -> bytes:
        """What the server sends back to some bytes until it closes; `end` closes our side."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as stream:
            stream.sendall(data)
            if end:
                stream.shutdown(socket.SHUT_WR)
            parts = []
            try:
                while part := stream.recv(1 << 16):
                    parts.append(part)
            except ConnectionResetError:
                pass
            return b"".join(parts)


def options(model: Path, **changed: Any) -> ServeOptions:
    """One thread of everything on the CPU."""
    given: dict[str, Any] = {"opening": {"provider": "cpu"}, "threads": 1, "decoders": 1}
    return ServeOptions(model, **given | changed)


@contextmanager
def running(model: Path, *, limits: Limits | None = None, **changed: Any) -> Iterator[Running]:
    """A server on a free port; it has ended when the context is left."""
    from fer_runtime.serve.running import listen, make_server

    service = Service(options(model, limits=limits or Limits(), **changed))
    listening = listen("127.0.0.1", 0)
    server = make_server(service, lambda: None)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        yield Running(service, listening.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def form(*files: tuple[str, bytes]) -> tuple[bytes, str]:
    """A multipart form with files -> its body and content type."""
    parts = [
        b'--XX\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n%s\r\n'
        % (name.encode(), data)
        for name, data in files
    ]
    return b"".join(parts) + b"--XX--\r\n", "multipart/form-data; boundary=XX"
