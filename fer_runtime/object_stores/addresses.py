"""Addresses of objects: which names are some, and what they are made of."""

from __future__ import annotations

from typing import NamedTuple

from fer_runtime.errors import DataError

SCHEMES = ("s3", "gs", "az", "https", "http")
_STARTS = tuple(f"{scheme}://" for scheme in SCHEMES)
_ROOT_PARTS = {"az": 2}
"""How many parts of an address name the store: an account and container, or else a bucket."""


class Address(NamedTuple):
    """An object, or a folder of objects.

    Attributes:
        root: the store, as "s3://bucket".
        key: what is in it, as "faces/one.jpg"; "" for all of it.
    """

    root: str
    key: str

    def of(self, key: str) -> str:
        """The whole name of another object of this store."""
        return f"{self.root}/{key}"


def is_remote(name: str) -> bool:
    """Whether a name is an address in an object store.

    >>> is_remote("s3://bucket/faces/"), is_remote("faces/")
    (True, False)
    """
    return name.startswith(_STARTS)


def parse(name: str) -> Address:
    """An address from its name.

    >>> parse("s3://bucket/faces/one.jpg")
    Address(root='s3://bucket', key='faces/one.jpg')

    Raises:
        DataError: no store is named, or it has a query or a password.
    """
    scheme, _, rest = name.partition("://")
    count = _ROOT_PARTS.get(scheme, 1)
    parts = rest.split("/", count)
    if len(parts) < count or not all(parts[:count]):
        form = {"az": "az://ACCOUNT/CONTAINER/KEY"}.get(scheme, f"{scheme}://BUCKET/KEY")
        raise DataError(f"{name} names no store; write {form}.")
    if "@" in parts[0]:
        raise DataError(f"{scheme}://: credentials do not belong into an address; see docs.")
    if scheme in ("https", "http") and ("?" in rest or "#" in rest):
        raise DataError(f"{name.partition('?')[0]}: addresses with a query are not supported.")
    return Address(f"{scheme}://{'/'.join(parts[:count])}", parts[count] if parts[count:] else "")
