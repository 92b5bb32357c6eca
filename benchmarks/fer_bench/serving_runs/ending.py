"""SIGTERM under load: every request that was sent is answered, and nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import NamedTuple

from fer_bench.serving_runs import servers


class Ending(NamedTuple):
    """What several endings under load found.

    Attributes:
        answered: requests with a prediction, in all.
        seconds: from SIGTERM to the end of the process, of each.
        wrong: what went wrong, as lines.
    """

    answered: int
    seconds: list[float]
    wrong: list[str]

    def lines(self) -> list[str]:
        """For a terminal."""
        return [
            *self.wrong,
            f"{len(self.seconds)} endings: {self.answered:,} requests answered, "
            f"{len(self.wrong)} wrong; ended within {max(self.seconds):.2f} s",
        ]


def measure(files: list[Path], model: str, *, times: int, connections: int) -> Ending:
    """End a loaded server at random moments."""
    bodies = [path.read_bytes() for path in files]
    generator = random.Random(0)
    answered, seconds, wrong = 0, [], []
    for n in range(times):
        port = servers.free_port()
        command = servers.ours(port, "--model", model)
        with servers.started(command, port, body=bodies[0]) as process:
            load = _Load(port, bodies)
            took = asyncio.run(_end(load, connections, process.pid, 0.3 + generator.random()))
            try:
                status = process.wait(30)
            except TimeoutError:
                status = -1
            seconds.append(took)
            answered += load.answered
            wrong += [f"{n}: {each}" for each in load.wrong]
            if status != 0:
                wrong.append(f"{n}: exit status {status}")
            if _group_lives(process.pid):
                wrong.append(f"{n}: a process is left")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
    return Ending(answered, seconds, wrong)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def _end(load: _Load, connections: int, process: int, after: float) -> float:
    """Load the server, end it, and wait for the clients -> seconds that the ending took."""
    clients = [asyncio.create_task(load.client(n)) for n in range(connections)]
    await asyncio.sleep(after)
    started = time.monotonic()
    os.kill(process, signal.SIGTERM)
    await asyncio.gather(*clients)
    return time.monotonic() - started


class _Load:
    """Clients that send one request after the other until nobody listens any more."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        self._port, self._bodies = port, bodies
        self.answered = 0
        self.wrong: list[str] = []

    async def client(self, n: int) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                return
            try:
                while await self._request(reader, writer, self._bodies[n % len(self._bodies)]):
                    n += 1
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.wrong.append(f"a request has no answer: {error!r}")
                return
            finally:
                writer.close()

    async def _request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> bool:
        """Whether the connection may be used again."""
        writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200") or b'"label"' not in answer:
            self.wrong.append(f"answered {head[:20]!r} {answer[:100]!r}")
        self.answered += 1
        return b"connection: close" not in head
