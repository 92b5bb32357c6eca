"""The folder that parts are written to: here, or in an object store; names appear at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fer_runtime.errors import DataError
from fer_runtime.object_stores.addresses import is_remote, parse


def open_folder(name: str) -> LocalFolder | RemoteFolder:
    """A folder by its name, which ends in a slash."""
    return RemoteFolder(name) if is_remote(name) else LocalFolder(name)


class LocalFolder:
    """A folder of this machine; it is made when something is written.

    Its methods raise DataError.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._path = Path(name)
        if self._path.exists() and not self._path.is_dir():
            raise DataError(f"{name} is a file; name a folder.")

    def names(self, below: str = "") -> list[str]:
        """The names of the files in a folder of it, drafts of a killed run left out."""
        folder = self._path / below
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(each.name for each in found if not each.name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes | Path) -> None:
        """Write bytes, or a file's content, under a name that then appears as a whole."""
        target = self._path / name
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, Path):
                shutil.copyfile(data, draft)
            else:
                draft.write_bytes(data)
            with open(draft, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(draft, target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise DataError(f"{target} cannot be written: {error.strerror}") from None

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self._path / name).unlink(missing_ok=True)


class RemoteFolder:
    """A folder of an object store, as `LocalFolder`."""

    def __init__(self, name: str) -> None:
        self.name = name
        parse(name)

    def names(self, below: str = "") -> list[str]:
        """The names of the objects in a folder of it; [] where there is none."""
        from fer_runtime.object_stores.stores import list_keys

        address = parse(self.name + below)
        start = address.key.rstrip("/") + "/" if address.key else ""
        keys = (key[len(start) :] for key, _ in list_keys(address))
        return sorted(key for key in keys if "/" not in key)

    def read(self, name: str) -> bytes | None:
        """The bytes of an object; None where there is none."""
        from fer_runtime.object_stores.stores import NotThereError, read

        try:
            return read(self.name + name)
        except NotThereError:
            return None

    def put(self, name: str, data: bytes | Path) -> None:
        """Write bytes, or a file's content, under a name that then appears as a whole."""
        from fer_runtime.object_stores.stores import write

        write(self.name + name, data)

    def delete(self, name: str) -> None:
        """Remove an object."""
        from fer_runtime.object_stores.stores import delete

        delete(self.name + name)
