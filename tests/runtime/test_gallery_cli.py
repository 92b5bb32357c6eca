"""`fer-infer --gallery`: the run's rows on the page, errors too; what it refuses before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import simplejpeg
from PIL import Image

from tests.runtime.command import ROWS, Infer, read_csv
from tests.runtime.gallery_rows import Page
from tests.runtime.tiny import LABELS


def test_the_page_has_the_rows_of_the_run(infer: Infer, messy: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    done = infer(messy, "-o", output, "--gallery", tmp_path / "page.html")
    assert done.returncode == 3, done.stderr
    page, rows = Page(tmp_path / "page.html"), read_csv(output.read_bytes())
    names = [str(messy / name).replace("\udce9", "\\xe9") for name, _ in ROWS]
    assert page.data["names"] == names
    labels = [*LABELS, "", "no face"]  # -2 is an error
    assert [labels[place] for place in page.data["predicted"]] == [row["label"] for row in rows]
    assert set(page.data["reasons"]) == {"1", "2", "3", "6"}
    assert "broken JPEG" in page.data["reasons"]["1"]
    assert [simplejpeg.decode_jpeg_header(jpeg)[:2] for jpeg in page.jpegs] == [(48, 48)] * 3
    assert page.figures == {"images": "3", "with an error": "4"}


def test_the_contact_sheet_is_a_picture(infer: Infer, face: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(face)
    done = infer(tmp_path / "a.jpg", "--gallery", tmp_path / "sheet.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--gallery", "{}/a.pdf"], 2, b"not a kind of"),
        (["--gallery", "{}/there.html"], 6, b"exists already"),
        (["--gallery", "{}/missing/a.html"], 6, b"make it first"),
        (["--gallery", "{}/a.html", "-o", "{}/rows.csv", "--resume"], 2, b"--gallery look at"),
    ],
)
def test_what_cannot_be_written_is_an_error_before_the_run(
    infer: Infer, face: bytes, tmp_path: Path, options: list[str], status: int, message: bytes
) -> None:
    (tmp_path / "a.jpg").write_bytes(face)
    (tmp_path / "there.html").write_text("mine", encoding="utf-8")
    done = infer(tmp_path / "a.jpg", *(each.format(tmp_path) for each in options))
    assert (done.returncode, done.stdout) == (status, b"")
    assert message in done.stderr
    assert sorted(each.name for each in tmp_path.glob("*.*")) == ["a.jpg", "there.html"]
    assert (tmp_path / "there.html").read_text(encoding="utf-8") == "mine"
