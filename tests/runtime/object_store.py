"""An S3 server of this machine (moto) for the tests, with the environment that obstore reads."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

moto = pytest.importorskip("moto.server", reason="moto is not installed")
obstore = pytest.importorskip("obstore", reason="the extra `cloud` is not installed")

SECRET = "a-secret-that-nobody-may-see"


class Bucket:
    """A bucket of the server; `store` is obstore's, `address` is "s3://name"."""

    def __init__(self, name: str) -> None:
        from fer_runtime.object_stores.stores import open_store

        self.address = f"s3://{name}"
        self.store: Any = open_store(self.address)

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self.store, key, data)

    def keys(self, prefix: str = "") -> list[str]:
        found = obstore.list(self.store, prefix=prefix or None)
        return sorted(str(entry["path"]) for some in found for entry in some)

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self.store, key).bytes())


@contextmanager
def server() -> Iterator[Mapping[str, str]]:
    """A running server -> the environment variables that lead to it."""
    from fer_runtime.object_stores.stores import open_store

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    before = dict(os.environ)
    os.environ.update(variables)
    open_store.cache_clear()
    try:
        yield variables
    finally:
        os.environ.clear()
        os.environ.update(before)
        open_store.cache_clear()
        running.stop()


def make_bucket(endpoint: str, name: str) -> Bucket:
    """A new bucket of a server."""
    from urllib.request import Request, urlopen

    urlopen(Request(f"{endpoint}/{name}", method="PUT"))
    return Bucket(name)
