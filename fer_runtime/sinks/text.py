"""Sinks of lines: text for a person, CSV and JSON Lines for programs."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fer_runtime.columns import UNCERTAIN, has_faces
from fer_runtime.row_batch import RowBatch
from fer_runtime.rows import Row, top1
from fer_runtime.sinks.lines import Entry, LinesSink

ROWS_AT_ONCE = 512
"""Rows of whole images that are written together."""


class CsvSink(LinesSink):
    """`path,label,probability,<one column per label>,error`; probabilities with six decimals.

    With faces, videos or columns that are kept, as `Columns` orders them; boxes have two decimals.
    """

    resumable: ClassVar[bool] = True
    quoted: ClassVar[bool] = True

    def begin(self, started: bool) -> None:
        self._writer = csv.writer(self.stream, lineterminator="\n")
        # Until Python 3.13 csv leaves a carriage return unquoted, and readers take it for an end.
        self._quoting = csv.writer(self.stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        if not started:
            self._writer.writerow(self.columns.names)
        self._blank = [""] * (len(self.labels) + 2)
        self._kept: list[RowBatch] = []
        self._kept_rows = 0
        self._quoted_labels = [_quoted(label) for label in (*self.labels, UNCERTAIN)]

    def write_batch(self, rows: RowBatch) -> None:
        if rows.errors or not self.columns.plain:
            self.settle()
            super().write_batch(rows)
            return
        self._kept.append(rows)
        self._kept_rows += len(rows)
        # On standard output somebody may be waiting; a file is written in larger pieces anyway.
        if self._kept_rows >= ROWS_AT_ONCE or self.to_stdout:
            self.settle()

    def settle(self) -> None:
        kept, self._kept, self._kept_rows = self._kept, [], 0
        if not kept:
            return
        names = [item.name for rows in kept for item in rows.items]
        if SPECIAL.search("".join(names)):
            for rows in kept:
                super().write_batch(rows)
            return
        # One format for many lines: csv's cells would take longer than all else that is Python in
        # a run of many small images.
        values = np.concatenate([rows.probabilities for rows in kept])
        best = top1(values)
        chosen = values[np.arange(len(values)), best]
        cells = six_decimals(np.column_stack([chosen, values]))
        best = np.where(chosen.astype(float) < self.columns.min_probability, len(self.labels), best)
        labels = self._quoted_labels
        places = zip(names, best.tolist(), cells, strict=True)
        self.stream.write("".join([f"{name},{labels[b]}{each},\n" for name, b, each in places]))

    def write_row(self, row: Row) -> None:
        cells = [row.name, *self._blank, row.error]
        if row.probabilities is not None:
            values = [f"{value:.6f}" for value in row.probabilities.tolist()]
            cells = [row.name, row.label, f"{row.probability:.6f}", *values, ""]
        if not self.columns.plain:
            cells = self._with_more(row, cells)
            strange = "\r" in "".join(filter(None, cells))
        else:
            strange = "\r" in f"{row.name}{row.error}"
        (self._quoting if strange else self._writer).writerow(cells)

    def _with_more(self, row: Row, cells: list[str | None]) -> list[str | None]:
        """The cells of a whole image, with those that this run has beside them."""
        columns = self.columns
        leading = [cell_of(row.extra.get(column.name)) for column in columns.leading]
        kept = [cell_of(row.extra.get(column.name)) for column in columns.kept]
        if not columns.faces:
            return [cells[0], *leading, *cells[1:], *kept]
        face = [""] * 6
        if row.face is not None:
            sides = [f"{side:.2f}" for side in row.face.box]
            face = [str(row.number), *sides, f"{row.face.score:.4f}"]
        return [cells[0], *leading, *face, *cells[1:], row.note or "", *kept]

    @classmethod
    def has_header(cls) -> bool:
        return True

    @classmethod
    def are_faces(cls, record: str, header: str) -> bool:
        return has_faces(next(csv.reader([header])))

    @classmethod
    def parse(cls, record: str, header: str) -> Entry:
        names, values = next(csv.reader([header])), next(csv.reader([record]))
        starts = values[names.index("face")] in ("", "1") if has_faces(names) else True
        return Entry(values[names.index("path")], values[names.index("error")] or None, starts)


def six_decimals(values: npt.NDArray[np.float32]) -> list[str]:
    """(N, K) probabilities -> N times `,0.123456,…`, as "%.6f" writes them, but all at once.

    A float32 times a million is exact in float64, so that both round the same number, half to even.

    >>> six_decimals(np.array([[0.5, 1.0], [0.1234565, 0.0]], np.float32))
    [',0.500000,1.000000', ',0.123457,0.000000']
    """
    if not ((values >= 0) & (values <= 1)).all():  # a broken model's NaN, too
        return ["".join(f",{value:.6f}" for value in row) for row in values.tolist()]
    millionths = np.rint(values.astype(np.float64) * 1e6).astype(np.int64)
    rest, last = np.divmod(millionths, 1000)
    whole, first = np.divmod(rest, 1000)
    text = np.empty((*values.shape, 9), np.uint8)
    text[..., 0], text[..., 2] = ord(","), ord(".")
    text[..., 1] = whole + ord("0")
    digits = _digits()
    text[..., 3:6], text[..., 6:9] = digits[first], digits[last]
    line, length = text.tobytes().decode("ascii"), 9 * values.shape[1]
    return [line[start : start + length] for start in range(0, len(line), length)]


@lru_cache(maxsize=1)
def _digits() -> npt.NDArray[np.uint8]:
    """(1000, 3): "000" to "999"; made when it is needed, as most cold starts never do."""
    text = "".join(f"{number:03}" for number in range(1000)).encode()
    return np.frombuffer(text, np.uint8).reshape(1000, 3)


SPECIAL = re.compile('[,"\r\n]')
"""Names with one of these are quoted in CSV."""


def _quoted(text: str) -> str:
    """A cell as csv writes it."""
    if not SPECIAL.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def cell_of(value: Any) -> str:
    """A value as text in a CSV file: nothing for None, JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.9g}"
    found = plain(value)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def plain(value: Any) -> Any:
    """A value of a source's column as JSON has it: bytes in Base64, null for NaN and infinity."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value)


class JsonLinesSink(LinesSink):
    """One object per line: path, label, probability, probabilities, top (best first), error.

    With faces also face, box, landmarks, score and note; frame, time and track of a video; and the
    columns that are kept.
    """

    resumable: ClassVar[bool] = True

    def write_row(self, row: Row) -> None:
        entry: dict[str, Any] = {"path": row.name}
        for column in self.columns.leading:
            entry[column.name] = row.extra.get(column.name)
        if self.columns.faces:
            entry.update(_face_entry(row))
        if row.probabilities is not None:
            best = row.prediction()
            entry["label"] = best.label
            entry["probability"] = round(best.probability, 6)
            entry["probabilities"] = {k: round(v, 6) for k, v in best.probabilities.items()}
            entry["top"] = [label for label, _ in best.top(self.top_k)]
        entry["error"] = row.error
        if self.columns.faces:
            entry["note"] = row.note
        for name, column in zip(self.columns.kept_names, self.columns.kept, strict=True):
            entry[name] = plain(row.extra.get(column.name))
        # JSON is UTF-8: other bytes of a name are escaped, as Python's json reads them back.
        text = json.dumps(entry, ensure_ascii=not _is_utf8(row.name))
        self.stream.write(text + "\n")

    @classmethod
    def are_faces(cls, record: str, header: str) -> bool:
        return bool({"face", "box"} <= json.loads(record).keys())

    @classmethod
    def parse(cls, record: str, header: str) -> Entry:
        entry = json.loads(record)
        error = entry["error"]
        starts = "box" not in entry or entry.get("face") in (None, 1)
        return Entry(str(entry["path"]), None if error is None else str(error), starts)


def _face_entry(row: Row) -> dict[str, Any]:
    if row.face is None:
        return {"face": None, "box": None, "landmarks": None, "score": None}
    return {
        "face": row.number,
        "box": [round(side, 2) for side in row.face.box],
        "landmarks": [[round(x, 2), round(y, 2)] for x, y in row.face.landmarks],
        "score": round(row.face.score, 4),
    }


CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
"""How a name's control characters are shown: a line feed could forge a row, an escape sequence
change the terminal."""


class TextSink(LinesSink):
    """`path: happy 93.1 %, neutral 4.2 %, …` for a person to read; it cannot be resumed."""

    is_data: ClassVar[bool] = False

    def write_row(self, row: Row) -> None:
        if row.probabilities is None:
            text = row.note or f"ERROR {row.error}"
        else:
            top = row.prediction().top(self.top_k)
            text = ", ".join(f"{label} {value:.1%}" for label, value in top)
            if row.uncertain:
                text = f"{UNCERTAIN} ({text})"
        self.stream.write(f"{row.name}{_where(row)}: {text}".translate(CONTROLS) + "\n")


def _where(row: Row) -> str:
    """Which moment of a video, and which face of a picture: " at 1.40 s, face 2"."""
    parts = []
    if row.extra.get("time") is not None:
        parts.append(f"at {row.extra['time']:.2f} s")
    if row.extra.get("track") is not None:
        parts.append(f"track {row.extra['track']}")
    elif row.number is not None:
        parts.append(f"face {row.number}")
    return " " + ", ".join(parts) if parts else ""


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
