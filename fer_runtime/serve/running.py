"""Run the server until a signal ends it: SIGTERM and SIGINT drain it, SIGHUP reloads the model."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fer_runtime.errors import DataError, FerError
from fer_runtime.serve.service import Service

if TYPE_CHECKING:
    from fer_runtime.serve.connections import DrainingServer

SWITCH_INTERVAL = 0.0002
"""Seconds after which a thread hands the interpreter's lock on: at Python's 5 ms a finished batch
would wait for the event loop longer than it took to compute."""
BACKLOG = 2048
KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than usual proxies keep theirs."""


def serve(
    service: Service, host: str, port: int, *, say: Callable[[str], None], ready: str = ""
) -> None:
    """Serve until SIGTERM or SIGINT, and answer what was accepted before it ends.

    Args:
        service: what is served.
        host: the address to listen at.
        port: the port; 0 for any that is free.
        say: called with a line for a person.
        ready: what to say after the address.

    Raises:
        DataError: the address cannot be listened at.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()  # what is there now stays; looking at it again and again takes 3 % of the time
    listening = listen(host, port)
    with listening:
        # Not uvloop: it looks at a thousand sockets up to 48 times before it lets any request go
        # on, so that under overload some wait for seconds; and at 64 connections it is slower.
        asyncio.run(_serve(service, listening, say, ready))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises DataError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Without the protocol asyncio does not know that it may set TCP_NODELAY.
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DataError(f"--host {host}: {error.strerror or error}.") from None
    try:
        if sys.platform != "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
        found.setblocking(False)
    except OSError as error:
        found.close()
        raise DataError(
            f"{host}:{port} cannot be listened at: {error.strerror or error}. Pass another --port, "
            "or 0 for any that is free."
        ) from None
    return found


def make_server(service: Service, on_drain: Callable[[], None]) -> DrainingServer:
    """A uvicorn server for a service, on which nothing runs yet.

    Args:
        service: what is served.
        on_drain: called when the server begins to end.
    """
    from uvicorn import Config

    from fer_runtime.serve.app import Direct, make_app
    from fer_runtime.serve.connections import Connection, DrainingServer

    app: Any = make_app(service)
    if not service.options.allowed_origins:  # which only Starlette's middleware looks at
        app = Direct(app, service)
    config = Config(
        app, http=Connection, ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, date_header=True, backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE, proxy_headers=False,
    )  # fmt: skip
    return DrainingServer(config, service, on_drain)


async def _serve(
    service: Service, listening: socket.socket, say: Callable[[str], None], ready: str
) -> None:
    server = make_server(service, lambda: say("ending: answering what was accepted"))
    loop = asyncio.get_running_loop()
    reloading: set[asyncio.Task[None]] = set()

    def end(*_: object) -> None:
        server.force_exit = server.should_exit  # a second signal waits for nothing
        server.should_exit = True

    def reload() -> None:
        task = loop.create_task(_reload(service, say))
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    if sys.platform == "win32":
        signal.signal(signal.SIGINT, end)
    else:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        loop.add_signal_handler(signal.SIGHUP, reload)
    host, port = listening.getsockname()[:2]
    say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}{ready}")
    await server.serve(sockets=[listening])


async def _reload(service: Service, say: Callable[[str], None]) -> None:
    try:
        say(await service.reload())
    except (FerError, OSError) as error:
        say(f"not reloaded, the old model stays: {error}")
