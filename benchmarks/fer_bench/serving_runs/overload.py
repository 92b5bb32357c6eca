"""Several times what the server can do, for minutes: the limit holds, the rest is refused at once.

Photographs come at times of their own, whatever the server does, each on a connection that is free,
or on a new one; their latency is counted from the moment at which they were due. Of small crops a
server does more than a client written in Python can offer: there wrk keeps thousands of connections
busy, and the latency is that of twenty connections beside it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_bench.serving_runs import servers, wrk

TOGETHER = 16
"""Connections at which the server's own rate is measured."""
BESIDE, PAUSE = 20, 0.05
"""Connections beside wrk's, and the seconds that each waits after an answer."""
QUIET = 5.0
"""Seconds of the quiet loads before and after."""


class Answers(NamedTuple):
    """Seconds of each answer by its status."""

    seconds: dict[int, list[float]]
    lost: int
    lasted: float

    def p99(self, status: int) -> float:
        """The 99th percentile of a status, in seconds."""
        values = self.seconds.get(status)
        return float(np.quantile(values, 0.99)) if values else float("nan")

    def count(self, status: int) -> int:
        """How many answers have a status."""
        return len(self.seconds.get(status, []))


class Overload(NamedTuple):
    """What an overload found; rates in requests per second, memory in bytes."""

    rate: float
    offered: float
    limit: float
    answers: Answers
    before: float
    after: float
    memory: list[int]
    crowd: wrk.Load | None

    @property
    def grown(self) -> float:
        """Memory of the last tenth against that of the second tenth."""
        tenth = max(1, len(self.memory) // 10)
        early = statistics.median(self.memory[tenth : 2 * tenth] or self.memory[:1])
        return statistics.median(self.memory[-tenth:]) / early

    @property
    def holds(self) -> bool:
        """Whether the limit held, nothing was lost, and only 200 and 503 were answered."""
        known = set(self.answers.seconds) <= {200, 503}
        return known and not self.answers.lost and self.answers.p99(200) < self.limit

    def lines(self) -> list[str]:
        """For a terminal."""
        answers = self.answers
        others = {s: len(v) for s, v in answers.seconds.items() if s not in (200, 503)}
        accepted = answers.count(200) / answers.lasted
        if self.crowd:
            accepted = self.crowd.rate
        return [
            f"does {self.rate:,.0f} requests/s; offered {self.offered:,.0f}/s for "
            f"{answers.lasted:.0f} s",
            f"accepted: {accepted:,.0f}/s, p99 of {answers.count(200):,}: "
            f"{1000 * answers.p99(200):.0f} ms; the limit is {1000 * self.limit:.0f} ms",
            f"refused (503): {answers.count(503):,}, p99 {1000 * answers.p99(503):.0f} ms; other "
            f"answers {others or 'none'}; lost {answers.lost}",
            f"one at a time, median: {1000 * self.before:.2f} ms before, "
            f"{1000 * self.after:.2f} ms after",
            f"resident: {self.memory[0] / 1e6:.0f} MB at first, {max(self.memory) / 1e6:.0f} MB at "
            f"most, {self.memory[-1] / 1e6:.0f} MB at the end; last tenth / second tenth "
            f"{self.grown:.3f}",
        ]


class Setting(NamedTuple):
    """What is offered, for how many seconds; `connections` of wrk, or None for photographs."""

    seconds: float
    times: float
    max_latency: float
    connections: int | None


def measure(files: list[Path], model: str, setting: Setting) -> Overload:
    """Measure the rate of a server, and offer several times as much."""
    bodies = [path.read_bytes() for path in files]
    port = servers.free_port()
    flags = ["--faces"] if setting.connections is None else []
    command = servers.ours(port, "--model", model, "--max-latency", setting.max_latency, *flags)
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.started(command, port, body=bodies[0]) as process,
    ):
        script = wrk.write_script(Path(folder), files)
        return asyncio.run(_measure(_Clients(port, bodies), process.pid, script, setting))


async def _measure(clients: _Clients, process: int, script: Path, setting: Setting) -> Overload:
    await clients.closed_loop(1, 1)
    before = _middle(await clients.closed_loop(1, QUIET))
    load = partial(wrk.load, clients.port, script)
    memory: list[int] = []
    crowd = None
    if setting.connections is None:
        rate = (await clients.closed_loop(TOGETHER, QUIET)).count(200) / QUIET
        offered = setting.times * rate
        watching = asyncio.create_task(_watch(process, memory))
        answers = await clients.open_loop(offered, setting.seconds)
    else:
        rate = (await asyncio.to_thread(load, connections=64, seconds=QUIET)).rate
        watching = asyncio.create_task(_watch(process, memory))
        lasting = setting.seconds + 2 * QUIET
        loading = asyncio.create_task(
            asyncio.to_thread(load, connections=setting.connections, seconds=lasting)
        )
        await asyncio.sleep(QUIET)  # until all are connected
        answers = await clients.closed_loop(BESIDE, setting.seconds, pause=PAUSE)
        crowd = await loading
        offered = crowd.requests / crowd.seconds
    await asyncio.sleep(2)
    after = _middle(await clients.closed_loop(1, QUIET))
    watching.cancel()
    return Overload(rate, offered, setting.max_latency, answers, before, after, memory, crowd)


def _middle(answers: Answers) -> float:
    return statistics.median(answers.seconds[200])


async def _watch(process: int, memory: list[int]) -> None:
    """The resident memory of a process, once a second."""
    while True:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        memory.append(int(status.split("VmRSS:")[1].split()[0]) * 1024)
        await asyncio.sleep(1)


class _Clients:
    """Connections to a server; each has one request at a time."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        self.port, self._bodies, self._next = port, bodies, 0
        self._free: list[tuple[Any, Any]] = []
        self._seconds: dict[int, list[float]] = {}
        self._lost = 0

    async def closed_loop(self, connections: int, seconds: float, *, pause: float = 0.0) -> Answers:
        """Connections with a request at all times, but for a pause after each."""
        self._seconds, self._lost = {}, 0
        until = time.monotonic() + seconds

        async def client() -> None:
            while time.monotonic() < until:
                await self._one(time.monotonic())
                await asyncio.sleep(pause)

        await asyncio.gather(*(client() for _ in range(connections)))
        return Answers(self._seconds, self._lost, seconds)

    async def open_loop(self, rate: float, seconds: float) -> Answers:
        """Requests at even distances, whatever becomes of them."""
        self._seconds, self._lost = {}, 0
        tasks: set[asyncio.Task[None]] = set()
        start = time.monotonic()
        for n in range(int(rate * seconds)):
            due = start + n / rate
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(self._one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=60)
        return Answers(self._seconds, self._lost + len(tasks), seconds)

    async def _one(self, due: float) -> None:
        self._next += 1
        body = self._bodies[self._next % len(self._bodies)]
        try:
            while self._free and self._free[-1][0].at_eof():  # idle for so long that it was closed
                self._free.pop()
            reader, writer = (
                self._free.pop()
                if self._free
                else await asyncio.open_connection("127.0.0.1", self.port)
            )
            head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(lines.partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self._lost += 1
            return
        self._seconds.setdefault(int(lines[9:12]), []).append(time.monotonic() - due)
        if b"connection: close" in lines:
            writer.close()
        else:
            self._free.append((reader, writer))
