"""A thousand requests, each tenth of them hostile: every one gets the answer that it must have.

The good ones must equal what `Classifier` predicts; the bad ones must get a 4xx with a message.
Afterwards the server must have no more open files than before, and none of its connections.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from fer_bench.serving_runs import servers
from fer_runtime import Classifier

TIME_LIMIT = 1.0
AT_ONCE = 8
CLOSES = "closes the connection halfway"


class Hostile(NamedTuple):
    """What hostile requests found."""

    good: int
    statuses: dict[str, Counter[int]]
    files: tuple[int, int]
    wrong: list[str]

    def lines(self) -> list[str]:
        """For a terminal."""
        bad = [
            f"  {name}: {', '.join(f'{count} x {status}' for status, count in found.items())}"
            for name, found in self.statuses.items()
        ]
        return [
            *self.wrong,
            f"{self.good} good requests: all as Classifier predicts, unless listed above",
            "hostile ones, by status (0 where the client closed first):",
            *bad,
            f"open files of the server: {self.files[0]} before, {self.files[1]} after",
        ]


def measure(files: list[Path], model: str, *, requests: int, seed: int) -> Hostile:
    """Send them, eight at a time."""
    bodies = [path.read_bytes() for path in files]
    expected = [
        prediction.label
        for prediction in Classifier.load(model, provider="cpu", threads=1).predict_batch(bodies)
    ]
    generator = random.Random(seed)
    port = servers.free_port()
    command = servers.ours(port, "--model", model, "--time-limit", TIME_LIMIT)
    statuses: dict[str, Counter[int]] = {}
    wrong: list[str] = []
    good = 0
    with servers.started(command, port, body=bodies[0]) as process:
        before = _open_files(process.pid)
        work: list[tuple[str, bytes, bool, str]] = []
        for n in range(requests):
            body = bodies[n % len(bodies)]
            if n % 10 == 9:
                name, make = generator.choice(list(ATTACKS.items()))
                work.append((name, *make(body, generator), ""))
            else:
                good += 1
                work.append(("", request(body), False, expected[n % len(bodies)]))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda each: _send(port, each[1], closes=each[2]), work))
        for (name, _, closes, label), answer in zip(work, answers, strict=True):
            status, text = _read(answer)
            if name:
                statuses.setdefault(name, Counter())[status] += 1
                if not (closes and status == 0) and not _clear(status, text):
                    wrong.append(f"{name}: {answer[:300]!r}")
            elif status != 200 or json.loads(text)["images"][0]["label"] != label:
                wrong.append(f"a good request: {answer[:300]!r}")
        after = _settled(process.pid, before)
        if after > before:
            wrong.append(f"{after - before} files or connections are left open")
        errors = _drain_stderr(process.stderr)
        if b"Traceback" in errors:
            wrong.append(f"a traceback: {errors[-1000:].decode(errors='replace')}")
    return Hostile(good, statuses, (before, after), wrong)


def request(body: bytes, *, length: int | None = None, kind: str = "image/jpeg") -> bytes:
    """A whole request; `length` is what it says its body has."""
    stated = len(body) if length is None else length
    return (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        f"Content-Length: {stated}\r\n\r\n"
    ).encode() + body


Attack = Callable[[bytes, random.Random], tuple[bytes, bool]]
"""(a good image, chance) -> what is sent, and whether the client then closes."""


def _truncated(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    return request(body[: chance.randrange(2, len(body) // 2)]), False


def _bomb(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """A PNG of a few kilobytes that says that it has 3.6 thousand million pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000), 9)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return request(png), False


def _text(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    return request(b"This is not an image.\n" * chance.randrange(1, 100)), False


def _empty(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    return request(b""), False


def _too_long(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """A length of two gigabytes."""
    return request(body, length=2_000_000_000), False


def _slow(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """The rest of the body never comes."""
    return request(body[: len(body) // 2], length=len(body)), False


def _slow_head(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    return request(body)[: chance.randrange(5, 40)], False


def _shorter(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """The stated length is too small, so that the image is cut and garbage follows."""
    return request(body, length=len(body) // 3), False


def _halfway(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    whole = request(body)
    return whole[: chance.randrange(1, len(whole))], True


def _form(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """A form without its end."""
    start = b'--X\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n\r\n'
    return request(start + body, kind="multipart/form-data; boundary=X"), False


def _noise(body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    return chance.randbytes(300) + b"\r\n\r\n", False


ATTACKS: dict[str, Attack] = {
    "truncated image": _truncated,
    "decompression bomb": _bomb,
    "text": _text,
    "empty body": _empty,
    "length of 2 GB": _too_long,
    "slow sender of a body": _slow,
    "slow sender of a head": _slow_head,
    "length too small": _shorter,
    CLOSES: _halfway,
    "form without its end": _form,
    "noise": _noise,
}


def _send(port: int, data: bytes, *, closes: bool) -> bytes:
    parts: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), 30) as stream:
        try:
            stream.sendall(data)
            if not closes:
                parts.extend(_received(stream))
        except OSError:
            pass
    return b"".join(parts)


def _received(stream: socket.socket) -> Iterator[bytes]:
    try:
        while part := stream.recv(1 << 16):
            yield part
    except ConnectionError:
        return


def _read(answer: bytes) -> tuple[int, str]:
    """Status and body of an answer; (0, "") without one."""
    found = re.match(rb"HTTP/1\.1 (\d+) .*?\r\n\r\n(.*)", answer, re.DOTALL)
    if found is None:
        return 0, ""
    return int(found[1]), found[2].decode(errors="replace")


def _clear(status: int, text: str) -> bool:
    """Whether an answer is a 4xx with a message."""
    try:
        error = json.load(io.StringIO(text))["error"]
    except (ValueError, KeyError):
        return False
    return 400 <= status < 500 and len(error) > 10


def _open_files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def _settled(process: int, before: int) -> int:
    """Open files, when the last connections have had time to end."""
    until = time.monotonic() + 10
    while _open_files(process) > before and time.monotonic() < until:
        time.sleep(0.1)
    return _open_files(process)


def _drain_stderr(stream: object) -> bytes:
    """What the server has printed so far."""
    assert isinstance(stream, io.BufferedReader)
    os.set_blocking(stream.fileno(), False)
    return stream.read() or b""
