"""Stores by obstore: opened once each, with retries, and with errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from fer_runtime.errors import DataError
from fer_runtime.object_stores.addresses import Address, parse

MAX_RETRIES = 10
GIVES_UP = timedelta(minutes=3)
_SECRETS = re.compile(r"(?i)(x-amz-[\w-]+|signature|sig|token|key[\w-]*|secret[\w-]*)=[^&\s\"']+")
_LONGEST = 200


@lru_cache(maxsize=64)
def open_store(root: str) -> Any:
    """The store of "s3://bucket"; credentials, region and endpoint are those of the environment.

    Raises:
        DataError: obstore is not installed, or the environment does not fit the store.
    """
    try:
        from obstore.store import from_url
    except ImportError:
        raise DataError(
            f"{root}: object stores need obstore: pip install '.[cloud]' in a checkout."
        ) from None
    with explained(root):
        return from_url(
            root,
            client_options={"timeout": "60s", "allow_http": True},
            retry_config={"max_retries": MAX_RETRIES, "retry_timeout": GIVES_UP},
        )


class NotThereError(DataError):
    """There is no such object."""


@contextmanager
def explained(name: str) -> Iterator[None]:
    """obstore's errors become a DataError that names the object and no secret."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise NotThereError(f"{name} does not exist.") from None
    except Exception as error:
        # obstore's errors are classes of its own, Python's, and those of its HTTP client.
        raise DataError(f"{name}: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Why an object cannot be had, in a few words."""
    kind = type(error).__name__
    if kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return "access is denied; check the credentials in the environment."
    text = _SECRETS.sub(r"\1=…", str(error).strip().splitlines()[0] if str(error) else kind)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def read(name: str) -> bytes:
    """The bytes of an object; raises DataError."""
    import obstore

    address = parse(name)
    store = open_store(address.root)
    with explained(name):
        return bytes(obstore.get(store, address.key).bytes())


def write(name: str, data: bytes | Path) -> None:
    """Write an object, which appears as a whole or not at all; raises DataError."""
    import obstore

    address = parse(name)
    store = open_store(address.root)
    with explained(name):
        obstore.put(store, address.key, data)


def delete(name: str) -> None:
    """Delete an object; raises DataError."""
    import obstore

    address = parse(name)
    with explained(name):
        obstore.delete(open_store(address.root), address.key)


def exists(name: str) -> bool:
    """Whether an object is there; raises DataError where that cannot be known."""
    import obstore

    address = parse(name)
    store = open_store(address.root)
    try:
        with explained(name):
            obstore.head(store, address.key)
    except NotThereError:
        return False
    return True


def list_keys(address: Address) -> Iterator[tuple[str, int]]:
    """(key, bytes) of every object below an address, by name, as a stream; raises DataError."""
    import obstore

    store = open_store(address.root)
    with explained(address.of(address.key)):
        for some in obstore.list(store, prefix=address.key.rstrip("/") or None, chunk_size=1000):
            for entry in some:
                yield str(entry["path"]), int(entry["size"])
