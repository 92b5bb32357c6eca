"""The gallery's page and file: what is in it, that text cannot escape, and errors."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from fer_runtime.errors import DataError
from fer_runtime.gallery import Gallery, collection
from fer_runtime.rows import Row
from tests.runtime.gallery_rows import LABELS, Page, empty_row, face_row, write

HOSTILE = "</script><img src=x onerror=alert(1)><!--\"'&amp;{{data}}"


def test_each_face_is_on_the_page_once_with_its_label_probability_and_box(tmp_path: Path) -> None:
    rows = [
        face_row("a/party.jpg", 0.9, 0.06, 0.04, grey=40),
        face_row("a/party.jpg", 0.2, 0.5, 0.3, number=2, grey=220),
        empty_row("a/wall.jpg"),
        Row("a/broken.jpg", LABELS, error="broken image: cut short"),
    ]
    page = Page(write(tmp_path / "out.html", rows))
    data = page.data
    assert data["names"] == ["a/party.jpg", "a/party.jpg", "a/wall.jpg", "a/broken.jpg"]
    assert data["numbers"] == [1, 2, 0, 0]
    assert data["predicted"] == [0, 1, -1, -2]
    assert data["probabilities"] == [9000, 600, 400, 2000, 5000, 3000, 0, 0, 0, 0, 0, 0]
    assert data["boxes"] == [[20, 10, 40, 40, 0.875]] * 2 + [0, 0]
    assert data["reasons"] == {"2": "no face found", "3": "broken image: cut short"}
    assert [each and each[1:] for each in data["thumbnails"]] == [
        [48, 48, 14, 9, 34, 39],
        [48, 48, 14, 9, 34, 39],
        [80, 60],
        0,
    ]
    levels = [simplejpeg.decode_jpeg(jpeg, "GRAY").mean() for jpeg in page.jpegs]
    assert levels == pytest.approx([40, 220, 20], abs=2)
    assert page.figures == {"faces": "2", "without a face": "1", "with an error": "1"}
    assert data["counts"] == [1, 1, 0, 1, 1, 0]


def test_the_truth_is_the_sources_or_the_folder_named_after_a_label(tmp_path: Path) -> None:
    rows = [
        face_row("happy/1.jpg", 0.9, 0.1, 0.0),
        face_row("happy/2.jpg", 0.3, 0.7, 0.0),
        face_row("happy/3.jpg", 0.3, 0.7, 0.0, truth="sad"),
        face_row("other/4.jpg", 0.3, 0.7, 0.0),
        face_row("happy/1.jpg", 0.3, 0.7, 0.0, number=2),
    ]
    page = Page(write(tmp_path / "out.html", rows))
    assert page.data["truths"] == [0, 0, 1, -1, -1], "of a picture, the largest face"
    assert page.figures == {"faces": "5", "accuracy": "66.7 %", "wrong, truth known": "1 of 3"}
    table = re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', page.source)
    cells = {label: re.findall(r"<td>(.*?)</td>", row) for label, row in table}
    # predicted, share, mean probability, labelled, recall, precision of those with a truth
    assert [c.replace("\N{NO-BREAK SPACE}", " ") for c in cells["sad"]] == [
        *("4", "80 %", "70 %", "1", "100 %", "50 %"),
    ]
    assert cells["neutral"][2:] == ["–", "0", "–", "–"]


def test_the_page_asks_for_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    page = Page(write(tmp_path / "out.html", [face_row("a.jpg", 0.9, 0.1, 0.0)]))
    assert re.findall(r"https?:|url\(|@import|@font-face", page.source) == []
    asking = [(tag, key) for tag, keys in page.tags for key in keys if key in ("src", "srcset")]
    assert asking == []
    assert [keys["href"] for tag, keys in page.tags if "href" in keys] == ["#grid"]
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "base", "form")]
    style, script = (
        base64.b64encode(hashlib.sha256(page.texts[name].encode()).digest()).decode()
        for name in ("style", "script")
    )
    assert page.policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; "
        f"script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval", page.source)
    assert "not\n  what a person feels" in page.source


def test_text_of_any_kind_stays_text(tmp_path: Path) -> None:
    row = face_row(f"dir/{HOSTILE}.jpg", 1.0, 0.0, 0.0)
    row.extra = {HOSTILE: HOSTILE, "skipped": None}
    row.columns = type(row.columns)((HOSTILE, "sad", "neutral"))
    row.label = HOSTILE
    broken = Row(HOSTILE, LABELS, error=HOSTILE)
    labels = (HOSTILE, "sad", "neutral")
    harmless = [face_row("a.jpg", 1.0, 0.0, 0.0), Row("b.jpg", LABELS, error="broken")]
    plain = Page(write(tmp_path / "plain.html", harmless))
    page = Page(write(tmp_path / "out.html", [row, broken], labels))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.data["names"] == [f"dir/{HOSTILE}.jpg", HOSTILE]
    assert page.data["labels"] == list(labels)
    assert page.data["values"] == {"0": [[HOSTILE, HOSTILE]]}
    assert page.data["reasons"] == {"1": HOSTILE}
    assert page.texts["script"] == plain.texts["script"]


def test_names_that_mislead_are_shown_as_escapes(tmp_path: Path) -> None:
    names = ["a\u202egpj.exe", "caf\udce9.jpg", "two\nlines.jpg", "zero\u200bwidth", "日本é.jpg"]
    page = Page(write(tmp_path / "out.html", [face_row(name, 1.0, 0.0, 0.0) for name in names]))
    assert page.data["names"] == [
        *(r"a\u202egpj.exe", r"caf\xe9.jpg", r"two\x0alines.jpg", r"zero\u200bwidth", "日本é.jpg"),
    ]


def test_whole_images_without_faces_are_called_images(tmp_path: Path) -> None:
    rows = [Row("a.jpg", LABELS, np.array([0.1, 0.2, 0.7], np.float32))]
    page = Page(write(tmp_path / "out.html", rows))
    assert page.texts["h1"] == "Apparent expressions in 1 image"
    assert page.figures == {"images": "1"}
    assert (page.data["numbers"], page.data["boxes"], page.jpegs) == ([0], [0], [])


def test_a_run_without_rows_is_a_page_too(tmp_path: Path) -> None:
    page = Page(write(tmp_path / "out.html", []))
    assert page.data["names"] == []
    assert page.figures == {"images": "0"}


def test_beyond_the_limit_rows_are_counted_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(collection.MOST, ".html", 3)
    rows = [face_row(f"{i}.jpg", 0.9, 0.1, 0.0) for i in range(5)]
    page = Page(write(tmp_path / "out.html", rows))
    assert page.data["names"] == ["0.jpg", "1.jpg", "2.jpg"]
    assert page.figures == {"faces": "5"}
    assert "The first 3 of 5 rows are on this page" in page.source


@pytest.mark.parametrize("name", ["out.htm", "out", ".html", "out.jpg", ""])
def test_another_ending_is_an_error_before_the_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"not a kind of gallery. Name a file that ends in \.html"):
        Gallery(tmp_path / name if name else "", LABELS)


def test_an_existing_file_is_kept_unless_overwrite_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "out.HTML"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="exists already; pass --overwrite"):
        Gallery(path, LABELS)
    with Gallery(path, LABELS, overwrite=True):
        assert path.read_text(encoding="utf-8") == "mine"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_folder_that_is_missing_or_named_as_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing is not a folder; make it first"):
        Gallery(tmp_path / "missing" / "out.html", LABELS)
    (tmp_path / "out.html").mkdir()
    with pytest.raises(DataError, match="is a folder; name a file"):
        Gallery(tmp_path / "out.html", LABELS, overwrite=True)


def test_a_folder_without_permission_is_an_error_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(DataError, match="no permission to write in"):
        Gallery(tmp_path / "out.html", LABELS)


@pytest.mark.parametrize("ending", [".html", ".png"])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = tmp_path / f"out{ending}"
    path.write_bytes(b"mine")

    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    gallery = Gallery(path, LABELS, overwrite=True)
    gallery.add([face_row("a.jpg", 0.9, 0.1, 0.0)])
    with pytest.raises(DataError, match=r"cannot be written: No space left on device\. Name a"):
        gallery.write()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"mine"


def test_a_run_that_failed_leaves_no_gallery(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        Gallery(tmp_path / "out.html", LABELS) as gallery,
    ):
        gallery.add([face_row("a.jpg", 0.9, 0.1, 0.0)])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
