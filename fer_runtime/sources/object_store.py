"""Object stores as sources: `s3://bucket/faces/`, `gs://`, `az://`, `https://` (extra `cloud`).

Listed as a stream; the objects themselves are read later, ahead of their turn.
"""

from __future__ import annotations

from collections.abc import Iterator

from fer_runtime.errors import DataError
from fer_runtime.items import Item, is_image_name
from fer_runtime.object_stores import stores
from fer_runtime.object_stores.addresses import parse
from fer_runtime.object_stores.objects import RemoteObject
from fer_runtime.sources.table import SourceKind, SourceOptions

LISTED = ("s3://", "gs://", "az://")


def objects(source: str, options: SourceOptions) -> Iterator[Item | None]:
    """The image that an address names, or the images below it, by name; None for other objects.

    Raises:
        DataError: the store cannot be listed, or nothing is below the address.
    """
    if is_image_name(source) or not source.startswith(LISTED):
        yield Item(source, source, content=RemoteObject(source))
        return
    address = parse(source)
    empty = True
    for key, size in stores.list_keys(address):
        empty = False
        if is_image_name(key):
            name = address.of(key)
            yield Item(name, name, content=RemoteObject(name, size))
        elif not (size == 0 and key.endswith("/")):
            yield None
    if empty:
        raise DataError(f"{source}: nothing is there.")


def check(source: str, options: SourceOptions) -> None:
    """Raises DataError for an address that is not one, or a store that cannot be opened."""
    stores.open_store(parse(source).root)


OBJECTS = SourceKind(objects, check=check, remote=True)
