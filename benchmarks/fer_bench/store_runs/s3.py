"""An S3 server of this machine (moto) in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from fer_runtime.errors import FerError
from fer_runtime.object_stores.stores import open_store, write

BUCKET = "s3://bench"
UPLOADS = 8


def point_at(port: int) -> None:
    """Let this process and its children use the server at a port."""
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", AWS_ACCESS_KEY_ID="someone",
        AWS_SECRET_ACCESS_KEY="secret", AWS_REGION="us-east-1", AWS_ALLOW_HTTP="true",
    )  # fmt: skip
    open_store.cache_clear()


@contextmanager
def server() -> Iterator[int]:
    """A running server with an empty bucket, which the environment leads to -> its port.

    Raises:
        FerError: moto is not installed, or the server does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    # It logs each request, and a pipe would fill up.
    log = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stderr=log)
    try:
        until = time.monotonic() + 60
        while not _made(f"http://127.0.0.1:{port}/bench"):
            if process.poll() is not None or time.monotonic() > until:
                log.seek(0)
                error = log.read().decode(errors="replace")
                raise FerError(f"moto's server does not start: {error[-500:]}")
            time.sleep(0.2)
        point_at(port)
        yield port
    finally:
        process.kill()
        process.wait()
        log.close()


def _made(bucket: str) -> bool:
    try:
        urlopen(Request(bucket, method="PUT"), timeout=5).close()
    except (URLError, OSError):
        return False
    return True


def upload(folder: str, files: Iterable[Path], count: int) -> None:
    """Write `count` objects below an address: the files in turns, under numbers."""
    many = list(files)

    def put(n: int) -> None:
        path = many[n % len(many)]
        write(f"{folder}{path.parent.name}/{n:07}{path.suffix}", path)

    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(put, range(count)))
