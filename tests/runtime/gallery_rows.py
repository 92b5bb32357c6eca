"""Rows for the tests of galleries, and what is in a page that was written."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from fer_runtime.faces.face import Face
from fer_runtime.gallery import Gallery
from fer_runtime.images.thumbnails import thumbnail
from fer_runtime.rows import Row

LABELS = ("happy", "sad", "neutral")
LANDMARKS = ((0.0, 0.0),) * 5


def face_row(
    name: str, *shares: float, number: int = 1, truth: str | None = None, grey: int = 128
) -> Row:
    """A row of a face in a picture of one grey level."""
    row = Row(name, LABELS, np.array(shares, np.float32), truth=truth)
    row.face, row.number = Face((20.0, 10.0, 40.0, 40.0), LANDMARKS, 0.875), number
    row.thumbnail = thumbnail(np.full((60, 80, 3), grey, np.uint8), row.face)
    return row


def empty_row(name: str) -> Row:
    """A row of a picture without a face."""
    row = Row(name, LABELS)
    row.note = "no face found"
    row.thumbnail = thumbnail(np.full((60, 80, 3), 20, np.uint8), None)
    return row


class Page(HTMLParser):
    """A page that was parsed.

    Attributes:
        tags: every tag that was opened, with its attributes.
        texts: the text of each element that has an id, and of the title.
        data: the rows, as the script reads them.
        jpegs: the thumbnails, decoded, one per row that has one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._name = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.data: dict[str, Any] = json.loads(self.texts["data"])
        sizes = [each[0] for each in self.data["thumbnails"] if each]
        ends = np.cumsum(sizes).tolist()
        text = self.texts.get("jpegs", "")
        assert len(text) == sum(sizes)
        self.jpegs = [
            base64.b64decode(text[end - size : end], validate=True)
            for end, size in zip(ends, sizes, strict=True)
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._name = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._name = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._name] = self.texts.get(self._name, "") + data

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        (policy,) = (
            attributes["content"]
            for tag, attributes in self.tags
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        )
        return policy or ""

    @property
    def figures(self) -> dict[str, str]:
        """What is above the pictures: title -> figure."""
        found = re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", self.source)
        return {title: figure.replace("\N{NO-BREAK SPACE}", " ") for title, figure in found}


def write(path: Path, rows: Sequence[Row], labels: tuple[str, ...] = LABELS) -> Path:
    """A gallery of the rows."""
    with Gallery(path, labels) as gallery:
        gallery.add(rows)
    return path
