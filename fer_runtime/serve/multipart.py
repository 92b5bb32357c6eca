"""multipart/form-data in memory: the files of a form, none of which is ever written to a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fer_runtime.serve.refusals import RefusedError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


class Part(NamedTuple):
    """An uploaded file: its name as the client gave it, or None, and its bytes."""

    name: str | None
    data: bytes


def boundary_of(content_type: bytes) -> bytes | None:
    """What separates the parts; None where the body is not multipart/form-data."""
    if not content_type[:19].lower().startswith(b"multipart/form-data"):
        return None
    from python_multipart.multipart import parse_options_header

    return parse_options_header(content_type)[1].get(b"boundary")


def files_of(body: bytes, boundary: bytes, *, most: int) -> list[Part]:
    """The files of a form; fields without a file name count as files too, if they are not empty.

    Raises:
        RefusedError: not such a form, cut off, without a file, or with more than `most` of them.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    form = _Form()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RefusedError("malformed", f"The form cannot be read: {error}") from None
    if not form.ended:
        raise RefusedError("malformed", "The form is cut off: its last boundary is missing.")
    if not form.files:
        raise RefusedError("malformed", "The form contains no file.")
    if len(form.files) > most:
        raise RefusedError(
            "too_large", f"The form has {len(form.files):,} files; {most} are allowed."
        )
    return form.files


class _Form:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.files: list[Part] = []
        self.ended = False
        self._start()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._start,
            "on_header_field": self._field,
            "on_header_value": self._value,
            "on_header_end": self._header,
            "on_part_data": self._part,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _start(self) -> None:
        self._name: str | None = None
        self._data: list[bytes] = []
        self._key = self._text = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _header(self) -> None:
        from python_multipart.multipart import parse_options_header

        if self._key.lower() == b"content-disposition":
            options = parse_options_header(self._text)[1]
            if b"filename" in options:
                self._name = options[b"filename"].decode("utf-8", "replace")
        self._key = self._text = b""

    def _part(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end(self) -> None:
        data = b"".join(self._data)
        if data or self._name:
            self.files.append(Part(self._name, data))

    def _finish(self) -> None:
        self.ended = True
