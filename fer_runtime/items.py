"""Items: one named image each, as sources yield them and the pipeline reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fer_runtime.errors import DataError, ImageError
from fer_runtime.images import EXTENSIONS, Pixels, Source, content_of, is_pillow

if TYPE_CHECKING:
    from fer_runtime.object_stores.objects import RemoteObject
    from fer_runtime.packed.reader import PackedImage


class Item(NamedTuple):
    """One image to classify: the name of its row, and what is read (or why it cannot be).

    `content` has the encoded bytes or the pixels of an image without a file of its own, or its
    place in a pack or an object store. `label` is the true label where the source knows it, as
    FER2013's CSV does.
    `extra` has the values of further columns: frame and time of a video, kept columns of a table.
    `stream` names the video whose frames follow one another; it is None for single pictures.
    """

    name: str
    path: str
    error: str | None = None
    content: bytes | Pixels | PackedImage | RemoteObject | None = None
    label: str | None = None
    extra: Mapping[str, Any] | None = None
    stream: str | None = None


def named(many: Iterable[Item | Source]) -> Iterator[Item]:
    """Paths and images of every kind that `images.load` takes -> items, one at a time.

    `many` may be a generator. Images without a name are numbered by their position: `image 0`. They
    are copied (an open file is read), because a generator may fill the same array again.

    Raises:
        ImageError: `many` is one image.
    """
    if is_one_image(many):
        raise ImageError("this is one image; pass a list of images, as [image]")
    for index, source in enumerate(many):
        if isinstance(source, Item):
            yield source
        elif isinstance(source, str | os.PathLike):
            path = os.fsdecode(source)
            yield Item(path, path)
        else:
            yield _without_a_name(f"image {index}", source)


def is_one_image(source: object) -> bool:
    """Whether it is one image where several are expected (an array may be several)."""
    known = isinstance(source, str | bytes | bytearray | memoryview | os.PathLike)
    return known or is_pillow(source) or callable(getattr(source, "read", None))


def _without_a_name(name: str, source: object) -> Item:
    try:
        return Item(name, "", content=content_of(source))
    except ImageError as error:
        return Item(name, "", str(error))


def held_bytes(item: Item) -> int:
    """Bytes of encoded images and arrays that an item keeps in memory; 0 for what is on a disk."""
    content = item.content
    if content is None:
        return 0
    return len(content) if isinstance(content, bytes) else int(getattr(content, "nbytes", 0))


def require_regular(path: str) -> None:
    """Pipes, devices and sockets are never opened; raises DataError."""
    if not os.path.exists(path):
        raise DataError(f"{path} does not exist.")
    if not os.path.isfile(path):
        raise DataError(f"{path} is not a regular file.")


def is_image_name(name: str) -> bool:
    """By its ending; `._face.jpg` is what macOS keeps beside face.jpg on foreign disks."""
    if name[name.rfind(".") :].lower() not in EXTENSIONS:
        return False
    if "/." not in f"/{name}" and "\\." not in name:  # most names, and three times as fast
        return True
    base = os.path.basename(name)
    return os.path.splitext(base)[1] != "" and not base.startswith("._")
