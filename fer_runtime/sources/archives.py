"""Tar archives of images as WebDataset writes them, read as streams."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fer_runtime.errors import DataError
from fer_runtime.images import MAX_FILE_BYTES
from fer_runtime.items import Item, is_image_name, require_regular
from fer_runtime.sources.samples import BESIDE, Beside, SampleColumns, joined
from fer_runtime.sources.table import SourceKind, SourceOptions

if TYPE_CHECKING:
    from fer_runtime.sources.table import FoundColumns

_TAR_BLOCK = 512
_UNPACKERS = {
    (".tar.gz", ".tgz"): "gzip",
    (".tar.bz2", ".tbz2"): "bz2",
    (".tar.xz", ".txz"): "lzma",
}
"""Endings of compressed archives -> the module that unpacks them."""


def tar_members(path: str, options: SourceOptions | None = None) -> Iterator[Item | None]:
    """The images of a tar archive, read as a stream, and None for each other file in it.

    `.cls` and `.json` members that share an image's key give its label and values. An archive that
    is damaged or truncated ends with an item that has an error.

    Raises:
        DataError: not an archive at all.
    """
    return joined(_members(path), options or SourceOptions())


def _columns(path: str, options: SourceOptions) -> FoundColumns:
    """The columns that were asked for; for all of them the first samples are looked at."""
    names = SampleColumns(options.columns)
    if names.all:
        with suppress(DataError):  # the run reports it
            names.look_at(_members(path))
    return (), names.found


TAR = SourceKind(tar_members, _columns)


def _members(path: str) -> Iterator[Item | Beside | None]:
    """The images, what may be beside them, and None for each other file."""
    require_regular(path)
    archive_opened = False
    try:
        with (
            _unpacked(path) as file,
            tarfile.open(fileobj=(tail := _Tail(file)), mode="r|") as archive,  # type: ignore[call-overload]
        ):
            archive_opened = True
            for member in archive:
                if is_image_name(member.name):
                    yield _image(f"{path}/{member.name}", archive, member)
                elif member.isfile():
                    yield _beside(f"{path}/{member.name}", archive, member)
            if broken := tail.why_no_end(archive.offset):
                yield Item(path, path, broken)
    except Exception as error:
        # tarfile raises TarError, OSError, EOFError, zlib.error, TypeError … on broken files.
        reason = getattr(error, "strerror", None) or error
        if not archive_opened:
            raise DataError(f"{path} cannot be read as a tar archive: {reason}") from None
        yield Item(path, path, f"the archive cannot be read further: {reason}")


def _image(name: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Item:
    if not member.isfile():
        return Item(name, name, "is not a regular file in its archive")
    if member.size > MAX_FILE_BYTES:
        return Item(name, name, f"file of {member.size:,} bytes is over the limit")
    return Item(name, name, content=_content(archive, member))


def _beside(name: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Beside | None:
    most = BESIDE.get(name[name.rfind(".") :].lower())
    if most is None:
        return None
    return Beside(name, _content(archive, member) if member.size <= most else None)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream.read()


def _unpacked(path: str) -> Any:
    """A tar archive's bytes as a stream."""
    name = path.lower()
    for endings, module in _UNPACKERS.items():
        if name.endswith(endings):
            return import_module(module).open(path)
    return open(path, "rb")


class _Tail:
    """Passes a stream on and knows where its zeros begin: tarfile accepts anything as an end."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.size = self.zeros = 0

    def read(self, size: int) -> bytes:
        data: bytes = self.stream.read(size)
        content = data.rstrip(b"\0")
        if content:
            self.zeros = self.size + len(content)
        self.size += len(data)
        return data

    def why_no_end(self, offset: int) -> str | None:
        """Read what is left; from the end of the last member on, an archive is blocks of zeros."""
        while self.read(1 << 16):
            pass
        if self.zeros > offset:
            return f"the archive is damaged at byte {offset:,}, or another one follows; not read on"
        if self.size < offset + _TAR_BLOCK:
            return "the archive ends too early; what follows is lost"
        return None
