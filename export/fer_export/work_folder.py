"""Files that appear under their name only when complete: a folder to make them in, a function."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from fer_runtime.errors import DataError


class WorkFolder:
    """A temporary folder beside the target, removed afterwards in every case.

    An OSError in between becomes a DataError that names the target.
    """

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> Path:
        if self.target.is_dir():
            raise DataError(f"{self.target} is a folder; name a file.")
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=".fer-export-", dir=self.target.parent))
        except OSError as error:
            raise DataError(f"{self.target.parent} cannot be written: {error.strerror}") from None
        return self.folder

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            why = error.strerror or error
            raise DataError(f"{self.target} cannot be written: {why}") from None


def write_whole(target: Path, content: bytes) -> None:
    """Write a file, which is replaced if it exists; raises DataError that names it."""
    try:
        descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=".fer-export-")
        try:
            with open(descriptor, "wb") as stream:
                stream.write(content)
            os.chmod(draft, 0o644)
            os.replace(draft, target)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}") from None
