"""The observer that collects the rows of a run and writes them as a page or a contact sheet."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fer_runtime.errors import DataError
from fer_runtime.gallery.figures import Figures
from fer_runtime.rows import Row

MOST: dict[str, int] = {".html": 20_000, ".png": 1_000}
"""Ending -> how many rows are shown: beyond it a browser takes seconds, and a contact sheet over 20
megapixels. The figures count every row, and the file says how many are shown."""


class Gallery:
    """Collects the rows of a run, and writes them as one HTML page or one PNG contact sheet.

    The page (`.html`) has every face with its label, probability and box, filters, sorting and
    details; it is one file and requests nothing from anywhere. The contact sheet (`.png`) is a
    picture of the same. Use it as a context manager around a run: the file appears when the block
    ends without an exception. An observer of a run; not for several threads at once.

    About 5 kB of memory per row (most of it the thumbnail), for the first 20,000 rows of a page
    and the first 1,000 of a contact sheet; the rows after them are counted and not kept.

    >>> row = Row("happy/a.jpg", ("happy", "sad"), np.array([0.9, 0.1], np.float32))
    >>> with Gallery(folder / "gallery.html", ("happy", "sad")) as gallery:
    ...     gallery.add([row])
    >>> (folder / "gallery.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    True

    The truth about a row is that of its source where the source knows it, else the innermost of its
    folders that is named after a label, and it is about the largest face of its picture, as for
    `Evaluation`. Wrong ones come first on the page.

    Args:
        output: FILE.html or FILE.png.
        labels: the model's labels.
        overwrite: replace the file if it exists.

    Raises:
        DataError: another ending, a file that exists already, or a folder that does not exist or
            cannot be written. So it is known before the run.
    """

    def __init__(
        self, output: str | os.PathLike[str], labels: Sequence[str], *, overwrite: bool = False
    ) -> None:
        self.output = Path(output)
        self.ending = gallery_ending(output)
        _require_writable(self.output, overwrite)
        self.figures = Figures(tuple(labels))
        self._rows: list[Row] = []

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in."""
        most = MOST[self.ending]
        for row in rows:
            self.figures.add(row)
            if len(self._rows) < most:
                self._rows.append(row)

    def write(self) -> None:
        """Write what was collected; the file appears under its name when it is complete.

        Raises:
            DataError: it cannot be written. Nothing is left under its name, and a file that was
                there stays as it was.
        """
        with _replacing(self.output) as stream:
            if self.ending == ".html":
                from fer_runtime.gallery.page import write_page

                write_page(stream, self._rows, self.figures, self.output.name)
            else:
                from fer_runtime.gallery.contact_sheet import draw_sheet

                sheet = draw_sheet(self._rows, self.figures)
                sheet.save(stream, "PNG", compress_level=3)  # a third of the default's time

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the file, unless an exception ended the block."""
        if kind is None:
            self.write()


def gallery_ending(output: str | os.PathLike[str]) -> str:
    """The ending of a gallery's file, in lower case.

    >>> gallery_ending("out/Faces.HTML")
    '.html'

    Raises:
        DataError: it is neither .html nor .png.
    """
    ending = Path(output).suffix.lower()
    if ending not in MOST:
        raise DataError(
            f"{os.fspath(output) or 'an empty name'}: {ending or 'no ending'} is not a kind of "
            "gallery. Name a file that ends in .html (a page) or .png (a contact sheet)."
        )
    return ending


def _require_writable(output: Path, overwrite: bool) -> None:
    folder = output.parent
    if output.is_dir():
        raise DataError(f"{output} is a folder; name a file for the gallery.")
    if output.exists() and not overwrite:
        raise DataError(
            f"{output} exists already; pass --overwrite to replace it, or name another gallery."
        )
    if not folder.is_dir():
        raise DataError(f"{output} cannot be written: {folder} is not a folder; make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(
            f"{output} cannot be written: no permission to write in {folder}; name another."
        )


@contextmanager
def _replacing(output: Path) -> Iterator[BinaryIO]:
    """A stream to a file beside `output`, which gets its name when the block ends well."""
    draft = output.with_name(f".fer-gallery-{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        try:
            with open(draft, "xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(draft, output)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(
            f"{output} cannot be written: {error.strerror or error}. Name a gallery on a disk with "
            "room that you may write to, and run again."
        ) from None
